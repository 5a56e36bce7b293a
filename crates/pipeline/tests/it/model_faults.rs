//! What goes wrong with models and with what they say: each with its effect on the build and a message that says what
//! to do.

use crate::author::{
    Asked, asked, author, base, coder, faultless, lay_out, proposal, settings, wish_of, writes,
};
use crate::support::{World, auto, facts, failure, phase, scope};
use crate::wishes::wish;
use agentwright_domain::build::{BuildPolicy, FailureClass, Phase};
use agentwright_domain::ids::RunId;
use agentwright_domain::run::{Run, RunStatus, Signal};
use agentwright_domain::spend::{Budget, BudgetScope};
use agentwright_llm::config::Fallback;
use agentwright_llm::{ProviderConfig, Role, RoleConfig, Wire};
use agentwright_pipeline::{CoderKind, ModelSettings};
use agentwright_testkit::eventually;
use agentwright_testkit::model_server::{Fault, ModelServer, Question, Step};
use serde_json::json;

pub(crate) const WISH: &str = "count-words";

/// A world over a server that answers by script, with the wish's files.
pub(crate) async fn world(
    script: impl FnMut(&Question) -> Step + Send + 'static,
    change: impl FnOnce(&mut ModelSettings),
) -> (ModelServer, World) {
    let server = ModelServer::start(script).await;
    let mut settings = settings(&server, Wire::Anthropic);
    change(&mut settings);
    let world = World::modelled(settings).await;
    lay_out(&world, wish(WISH));
    (server, world)
}

/// Builds the wish to a wait or an end; what is to be tried again later is tried at once.
pub(crate) async fn built(world: &World, policy: BuildPolicy) -> Run {
    let id = world
        .submit(world.request(wish(WISH).sentence), policy)
        .await;
    hurried(world, &id).await
}

pub(crate) async fn hurried(world: &World, id: &RunId) -> Run {
    eventually("the run waits or has ended", async || {
        let run = world.store.run(&scope(), id).await.unwrap()?;
        if let (RunStatus::Ready, Some(at)) = (run.status, again_at(world, id).await) {
            world.clock.set(at.max(world.runtime.now_ms()));
        }
        (run.status.ended() || run.status == RunStatus::Waiting).then_some(run)
    })
    .await
}

/// When the last event says that it goes on.
async fn again_at(world: &World, id: &RunId) -> Option<i64> {
    let events = world.store.events(&scope(), id, 0, 1_000).await.unwrap();
    events.last()?.data["not_before_ms"].as_i64()
}

/// Class and reason of the failure of a build whose models answer by this script.
pub(crate) async fn fails(
    script: impl FnMut(&Question) -> Step + Send + 'static,
    change: impl FnOnce(&mut ModelSettings),
) -> (FailureClass, String, usize) {
    let (server, world) = world(script, change).await;
    let run = built(&world, auto()).await;
    let (class, reason) = failure(&run);
    world.end().await;
    (class, reason, server.requests().len())
}

pub(crate) fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// The answers of the faultless author, but these for one kind of question.
pub(crate) fn but(
    kind: Asked,
    step: impl Fn(&Question) -> Step + Send + 'static,
) -> impl Fn(&Question) -> Step + Send {
    move |question| {
        if asked(question) == kind {
            step(question)
        } else {
            faultless(question)
        }
    }
}

/// One attempt on the wire for everything.
fn once(settings: &mut ModelSettings) {
    for role in Role::ALL {
        let config = RoleConfig {
            max_attempts: Some(1),
            ..RoleConfig::new("test", "claude-sonnet-4-5-20250929")
        };
        settings.models.roles.insert(role, config);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_an_unknown_model_and_no_credit_end_the_build_and_say_what_to_do() {
    for (fault, parts) in [
        (Fault::Unauthorized, ["key", "MODEL_KEY"]),
        (Fault::UnknownModel, ["claude-sonnet-4-5-20250929", "model"]),
        (Fault::PaymentRequired, ["credit", "test"]),
        (Fault::ContextOverflow, ["context", "longer"]),
    ] {
        let (class, reason, asked) = fails(move |_| Step::fault(fault.clone()), |_| ()).await;
        assert_eq!((class, asked), (FailureClass::Fault, 1), "{reason}");
        holds(&reason, &parts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_the_connection_is_tried_again_and_then_named() {
    let (_server, world) = world(author, |settings| {
        once(settings);
        settings.models.providers[0].base_url = Some("http://127.0.0.1:9".to_owned());
    })
    .await;
    let run = built(&world, auto()).await;
    let (class, reason) = failure(&run);
    assert_eq!(class, FailureClass::Fault);
    holds(&reason, &["gave up after 10 tries", "127.0.0.1:9"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_comes_back_in_an_hour_parks_all_builds_without_a_slot_or_a_call() {
    let quota = Fault::RateLimited {
        retry_after: Some(3_600),
    };
    let (server, world) = world(
        move |question| match question.number {
            1 => Step::fault(quota.clone()),
            _ => faultless(question),
        },
        |_| (),
    )
    .await;
    let began = world.runtime.now_ms();
    lay_out(&world, wish("unique-lines"));
    let mut ids = Vec::new();
    for name in [WISH, "unique-lines"] {
        let id = world
            .submit(world.request(wish(name).sentence), auto())
            .await;
        let at = eventually("it is parked", async || again_at(&world, &id).await).await;
        let hour = began + 3_600_000;
        assert!(
            (hour - 1_000..hour + 60_000).contains(&at),
            "{}",
            at - began
        );
        holds(&world.story(&id).await, &["stage.parked spec: waits: "]);
        eventually("nobody holds it", async || {
            world.engine.active().is_empty().then_some(())
        })
        .await;
        ids.push(id);
    }
    assert_eq!(
        server.requests().len(),
        1,
        "the second build called into the dead window"
    );
    let told_not_to = BuildPolicy {
        may_park: false,
        ..auto()
    };
    let id = world
        .submit(world.request(wish(WISH).sentence), told_not_to)
        .await;
    let (class, reason) = failure(&world.settled(&id).await);
    assert_eq!(class, FailureClass::Limit);
    holds(&reason, &["told not to wait"]);
    let run = hurried(&world, &ids[0]).await;
    assert_eq!(phase(&run), &Phase::Completed { deployed: true });
    assert_eq!(facts(&run).parks, 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_another_provider_answers_the_one_in_its_dead_window_is_asked_once() {
    let quota = Fault::RateLimited {
        retry_after: Some(3_600),
    };
    let dead = ModelServer::start(move |_| Step::fault(quota.clone())).await;
    let (server, world) = world(author, |settings| {
        let first = ProviderConfig {
            base_url: Some(dead.url()),
            ..ProviderConfig::new("dead", Wire::Anthropic)
        };
        settings.models.providers.push(first);
        for role in Role::ALL {
            let config = RoleConfig {
                fallbacks: vec![Fallback {
                    provider: "test".to_owned(),
                    model: None,
                }],
                ..RoleConfig::new("dead", "claude-sonnet-4-5-20250929")
            };
            settings.models.roles.insert(role, config);
        }
    })
    .await;
    let run = built(&world, auto()).await;
    assert_eq!(
        phase(&run),
        &Phase::Completed { deployed: true },
        "{}",
        world.story(&run.id).await
    );
    assert_eq!(dead.requests().len(), 1);
    assert!(server.requests().len() > 6);
    crate::models::replayed_the_same(&world, &run).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_on_the_way_is_asked_again_and_the_build_goes_on() {
    let faults = [Fault::Overloaded, Fault::Cut, Fault::Server];
    let (server, world) = world(
        move |question| match faults.get(question.number - 1) {
            Some(fault) => Step::fault(fault.clone()),
            None => author(question),
        },
        once,
    )
    .await;
    let run = built(&world, auto()).await;
    let story = world.story(&run.id).await;
    assert_eq!(phase(&run), &Phase::Completed { deployed: true }, "{story}");
    assert_eq!(
        story.matches("stage.retry spec: tries again: ").count(),
        3,
        "{story}"
    );
    holds(&story, &["ended before"]);
    let asked = server.requests().len();
    let replay = crate::models::replay_of(&world, &run).await;
    let replay = hurried(&world, &replay).await;
    assert_eq!(phase(&replay), &Phase::Completed { deployed: false });
    assert_eq!(server.requests().len(), asked);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_never_makes_a_spec_is_told_four_times_why_and_then_the_build_ends() {
    type Script = fn(&Question) -> Step;
    let empty_acceptance: Script = |question| {
        let mut spec = (wish(WISH).spec)(&base(question));
        spec["acceptance"]["cases"] = json!([]);
        Step::json(json!({ "effects": [{ "effect": "e", "probes": ["effect 1"] }], "spec": spec }))
    };
    let unshown: Script = |question| {
        let spec = (wish(WISH).spec)(&base(question));
        Step::json(
            json!({ "effects": [{ "effect": "counts them", "probes": ["nothing"] }], "spec": spec }),
        )
    };
    let vacuous: Script = |question| {
        let mut spec = (wish(WISH).spec)(&base(question));
        let there = json!({ "type": "file_exists", "folder": "texts", "path": "a.txt" });
        spec["acceptance"]["cases"][0]["probes"][0]["check"] = there;
        proposal(&spec)
    };
    let cases: [(Script, &str); 6] = [
        (|_| Step::text("I would love to help you."), "no JSON"),
        (
            |_| Step::json(json!({ "spec": { "name": 1 } })),
            "cannot be read",
        ),
        (
            |_| Step::json(json!({ "spec": null })),
            "all three are empty",
        ),
        (empty_acceptance, "at least one case"),
        (unshown, "\"counts them\" is shown by no effect probe"),
        (vacuous, "effect 1"),
    ];
    for (script, why) in cases {
        let (class, reason, asked) = fails(script, |_| ()).await;
        assert_eq!((class, asked), (FailureClass::Refused, 4), "{reason}");
        holds(&reason, &["no spec that holds in 4 turns", why]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_mends_its_spec_when_it_is_told_what_is_wrong() {
    let (server, world) = world(
        |question| match (asked(question), question.number) {
            (Asked::Spec, 1) => Step::json(json!({ "spec": { "name": 1 } })),
            _ => faultless(question),
        },
        |_| (),
    )
    .await;
    let run = built(&world, auto()).await;
    assert_eq!(phase(&run), &Phase::Completed { deployed: true });
    holds(
        server.requests()[1].last_user_text(),
        &["does not hold", "cannot be read"],
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_and_a_refusal_of_the_model_are_told_to_the_person() {
    let questions = json!({ "questions": ["Which folder?", " "], "effects": [], "spec": null });
    let (class, reason, asked) = fails(move |_| Step::json(questions.clone()), |_| ()).await;
    assert_eq!((class, asked), (FailureClass::Refused, 1));
    holds(
        &reason,
        &[
            "something is missing: Which folder?;",
            "say it in the sentence",
        ],
    );
    let refusal = json!({ "refusal": "no program can know what is nice", "spec": null });
    let (class, reason, _) = fails(move |_| Step::json(refusal.clone()), |_| ()).await;
    assert_eq!(class, FailureClass::Refused);
    holds(&reason, &["no program can know what is nice"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_no_code_change_nothing_and_the_coder_gives_up() {
    let cases = [
        ("```python ../evil.py\nprint(1)\n```\n", "../evil.py"),
        ("```python main.py\nprint('\0')\n```\n", "U+0000"),
        ("```json spec.json\n{}\n```\n", "spec.json"),
        ("I cannot do that.", "no file"),
    ];
    for (answer, why) in cases {
        let script = but(Asked::Code, move |_| Step::text(answer));
        let one_shot =
            |settings: &mut ModelSettings| settings.coder = coder(CoderKind::OneShot, None);
        let (class, reason, asked) = fails(script, one_shot).await;
        assert_eq!((class, asked), (FailureClass::Tests, 1 + 3 * 3), "{reason}");
        holds(&reason, &[why, "gave up after 3 tries"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_waits_and_goes_on_when_it_is_raised() {
    let (server, world) = world(author, |_| ()).await;
    let few = Budget {
        calls: Some(4),
        ..Budget::default()
    };
    let set = async |budget: &Budget| {
        let store = &world.store;
        store
            .set_budget(&scope(), BudgetScope::Build, None, budget, "ann")
            .await
            .unwrap();
    };
    set(&few).await;
    let run = built(&world, auto()).await;
    let Phase::Spent { limit, .. } = phase(&run) else {
        panic!("{}", world.story(&run.id).await)
    };
    holds(limit, &["the build budget of 4 calls is spent"]);
    assert_eq!(server.requests().len(), 4);
    set(&Budget::default()).await;
    let resume = Signal::Resume {
        by: "ann".to_owned(),
    };
    world
        .engine
        .signal(&scope(), &run.id, resume, None)
        .await
        .unwrap();
    let run = hurried(&world, &run.id).await;
    assert_eq!(
        phase(&run),
        &Phase::Completed { deployed: true },
        "{}",
        world.story(&run.id).await
    );
    crate::models::replayed_the_same(&world, &run).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repair_stops_without_progress_at_the_same_failure_and_at_its_limit() {
    let same = |question: &Question| match asked(question) {
        Asked::Repair => writes(question, wish_of(question).bad),
        _ => author(question),
    };
    let (class, reason, _) = fails(same, |_| ()).await;
    assert_eq!(class, FailureClass::Tests);
    holds(&reason, &["assertion", "the repair changed nothing"]);
    let other = |question: &Question| match asked(question) {
        Asked::Repair => writes(
            question,
            &format!("{}# {}\n", wish_of(question).bad, question.number),
        ),
        _ => author(question),
    };
    let (class, reason, _) = fails(other, |_| ()).await;
    assert_eq!(class, FailureClass::Tests);
    holds(&reason, &["the same failure 3 times in a row"]);
    let (_server, world) = world(other, |_| ()).await;
    let policy = BuildPolicy {
        repairs: 1,
        ..auto()
    };
    let (class, reason) = failure(&built(&world, policy).await);
    assert_eq!(class, FailureClass::Tests);
    holds(&reason, &["gave up after 1 repairs"]);
    world.end().await;
}
