//! Builds by models whose stages are done twice, or killed before their commit.

use crate::author::{Asked, asked, author, coder, lay_out, settings};
use crate::models::replayed_the_same;
use crate::repeated::{Twice, killed};
use crate::support::{World, auto, facts, names, phase};
use crate::wishes::wish;
use agentwright_domain::build::{Oversight, Phase};
use agentwright_domain::run::Run;
use agentwright_engine::Executor;
use agentwright_llm::Wire;
use agentwright_pipeline::{Builds, CoderKind};
use agentwright_testkit::model_server::ModelServer;
use std::sync::Arc;

const WISH: &str = "months";

async fn built(
    kind: CoderKind,
    wrap: impl FnOnce(Builds) -> Arc<dyn Executor>,
) -> (ModelServer, World, Run) {
    let server = ModelServer::start(author).await;
    let mut settings = settings(&server, Wire::Anthropic);
    settings.coder = coder(kind, None);
    let world = World::modelled_with(settings, wrap).await;
    lay_out(&world, wish(WISH));
    let run = world.build(wish(WISH).sentence, auto()).await;
    let story = world.story(&run.id).await;
    assert_eq!(phase(&run), &Phase::Completed { deployed: true }, "{story}");
    let facts = facts(&run);
    let code = facts.code.clone().unwrap();
    assert_eq!(
        (facts.tried.len(), &facts.oversight),
        (1, &Oversight::Passed { code })
    );
    let scratch = world.runtime.layout().build(&run.id).join("scratch");
    assert!(names(&scratch).is_empty(), "scratch is left");
    (server, world, run)
}

/// How often something was asked.
fn count(server: &ModelServer, kind: Asked) -> usize {
    let questions = server.requests();
    questions
        .iter()
        .filter(|question| asked(question) == kind)
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_made_is_not_asked_for_again_when_its_stage_is_done_twice() {
    let (server, world, run) = built(CoderKind::OneShot, |builds| Arc::new(Twice(builds))).await;
    assert_eq!(
        (count(&server, Asked::Code), count(&server, Asked::Repair)),
        (1, 1)
    );
    // One spec; the first code is looked at, and the repaired one when its tests hold.
    assert_eq!(
        (count(&server, Asked::Spec), count(&server, Asked::Review)),
        (1, 2)
    );
    assert_eq!(
        facts(&run).coder.as_deref(),
        Some("one shot, test claude-sonnet-4-5-20250929")
    );
    replayed_the_same(&world, &run).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_by_a_model_that_is_killed_in_every_stage_goes_on_to_the_same_end() {
    for (kind, step_ms) in [(CoderKind::OneShot, 7), (CoderKind::ToolLoop, 60)] {
        let (_server, world, run) = built(kind, |builds| killed(builds, step_ms)).await;
        replayed_the_same(&world, &run).await;
        world.end().await;
    }
}
