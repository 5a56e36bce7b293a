//! Every fault of a model server on every wire, and what it does to a build: the same whatever the wire. The kinds of
//! the faults, and those that are silence, are in `llm`'s own table.

use crate::author::{KEY, said, settings};
use crate::support::{World, auto, scope};
use agentwright_domain::ids::RunId;
use agentwright_llm::{Role, RoleConfig, Wire};
use agentwright_testkit::eventually;
use agentwright_testkit::model_server::{Fault, ModelServer, Step};

/// What a build does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Tries again later.
    Retry,
    /// Waits until the provider answers again.
    Park,
    /// Ends.
    Fail,
}

/// The fault, its effect, and what the message must hold. The one that closes its provider comes last.
fn table() -> Vec<(Fault, Effect, &'static str)> {
    use Effect::{Fail, Park, Retry};
    let limited = |retry_after| Fault::RateLimited { retry_after };
    vec![
        (limited(None), Retry, "limits how often it is asked"),
        (limited(Some(2)), Retry, "limits how often it is asked"),
        (Fault::Overloaded, Retry, "is overloaded"),
        (Fault::Server, Retry, "failed on its side"),
        (Fault::Unauthorized, Fail, "key"),
        (Fault::PaymentRequired, Fail, "credit and billing"),
        (Fault::UnknownModel, Fail, "the model some-model"),
        (Fault::HtmlBadGateway, Retry, "failed on its side"),
        (Fault::ContextOverflow, Fail, "raise context_tokens"),
        (Fault::InvalidJson, Retry, "is not in the form of"),
        (Fault::EmptyBody, Retry, "answer"),
        (Fault::TruncatedJson, Retry, "answer"),
        (Fault::WrongKind, Retry, "is not in the form of"),
        (Fault::Cut, Retry, "answer"),
        (Fault::EarlyEnd, Retry, "answer"),
        (Fault::ErrorEvent, Retry, "broke its answer off"),
        (Fault::InvalidUtf8, Retry, "answer"),
        (Fault::Reset, Retry, "test at http://127.0.0.1"),
        (limited(Some(7_200)), Park, "limits how often it is asked"),
    ]
}

/// The first thing that a build did about its model.
async fn effect(world: &World, id: &RunId) -> (Effect, String) {
    eventually("the fault shows", async || {
        let events = world.store.events(&scope(), id, 0, 100).await.unwrap();
        events.iter().find_map(|event| match event.event.as_str() {
            "stage.retry" => Some((Effect::Retry, event.message.clone())),
            "stage.parked" => Some((Effect::Park, event.message.clone())),
            "run.ended" => Some((Effect::Fail, event.message.clone())),
            _ => None,
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_does_the_same_to_a_build_on_every_wire_and_says_what_it_is() {
    for wire in Wire::ALL {
        let server = ModelServer::start(|question| {
            let said = said(question);
            let (_, number) = said.split_once("wish number ").unwrap();
            let number: usize = number.split('\n').next().unwrap().parse().unwrap();
            Step::fault(table()[number].0.clone())
        })
        .await;
        let mut settings = settings(&server, wire);
        let once = RoleConfig {
            max_attempts: Some(1),
            ..RoleConfig::new("test", "some-model")
        };
        settings.models.roles.insert(Role::Spec, once);
        let world = World::modelled(settings).await;
        for (number, (fault, expected, part)) in table().into_iter().enumerate() {
            // What is another kind of answer elsewhere is an answer of Ollama's chat, in one piece.
            if wire == Wire::OllamaChat && matches!(fault, Fault::WrongKind) {
                continue;
            }
            let sentence = format!("paint the fence of wish number {number}");
            let id = world.submit(world.request(&sentence), auto()).await;
            let (effect, message) = effect(&world, &id).await;
            assert_eq!(effect, expected, "{wire:?} {fault:?}: {message}");
            assert!(message.contains(part), "{wire:?} {fault:?}: {message}");
            assert!(!message.contains(KEY) && !message.contains("paint the fence"));
        }
        world.end().await;
    }
}
