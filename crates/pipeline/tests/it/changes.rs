//! `change NAME "also …"` of what a model wrote: the spec and the code that are there are what it begins with.

use crate::author::{
    Asked, asked, base, coder, faultless, lay_out, proposal, said, settings, writes,
};
use crate::models::replayed_the_same;
use crate::support::{World, auto, facts, phase, scope};
use crate::wishes::wish;
use agentwright_domain::build::{BuildRequest, BuildState, Phase};
use agentwright_domain::ids::{OrganizationId, RunId, Slug};
use agentwright_domain::run::{NewRun, Run, RunInput, RunState};
use agentwright_llm::Wire;
use agentwright_pipeline::{CoderKind, Verdict};
use agentwright_runtime::OrgScope;
use agentwright_store::Actor;
use agentwright_testkit::eventually;
use agentwright_testkit::model_server::{ModelServer, Question, Step};
use serde_json::{Value, json};

const WISH: &str = "unique-lines";
const ALSO: &str = "also write how many lines are left into ./lists/count.txt";

/// The deployed spec with one more effect.
fn grown(base: &str, name: &str) -> Value {
    let mut spec = (wish(WISH).spec)(base);
    spec["name"] = json!(name);
    let probes = &mut spec["acceptance"]["cases"][0]["probes"];
    probes[1]["check"]["except"] = json!(["names.txt", "count.txt"]);
    let check = json!({
        "type": "file_content", "folder": "lists", "path": "count.txt", "content": { "equals": "2\n" }
    });
    let more = json!({ "name": "effect 2", "holds": "effect", "check": check });
    probes.as_array_mut().unwrap().push(more);
    spec
}

/// Gives the changed automation another name at first.
fn changing(question: &Question) -> Step {
    let told = said(question);
    match asked(question) {
        Asked::Spec if told.contains("It changes an automation that is deployed") => {
            let corrected = told.contains("the name must stay unique-lines");
            let name = if corrected { WISH } else { "other-name" };
            proposal(&grown(&base(question), name))
        }
        Asked::Code if told.contains("count.txt") => {
            // Built on what is there.
            let (_, code) = told.split_once("text main.py\n").unwrap();
            let code = code.split("\n```").next().unwrap();
            let more =
                "open('/data/lists/count.txt', 'w').write(f'{len(dict.fromkeys(lines))}\\n')\n";
            let code = code.split_once("made for'))\n").unwrap().1;
            writes(question, &format!("{code}\n{more}"))
        }
        _ => faultless(question),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_a_model_begins_with_what_is_deployed_and_becomes_the_next_version() {
    let server = ModelServer::start(changing).await;
    let mut settings = settings(&server, Wire::Anthropic);
    settings.coder = coder(CoderKind::OneShot, None);
    let world = World::modelled(settings).await;
    lay_out(&world, wish(WISH));
    let first = world.build(wish(WISH).sentence, auto()).await;
    assert_eq!(phase(&first), &Phase::Completed { deployed: true });
    let name = Slug::parse(WISH).unwrap();
    let request = BuildRequest {
        changes: Some(name.clone()),
        ..world.request(ALSO)
    };
    let plan = world.builds.plan(&scope(), &request).await.unwrap();
    assert_eq!(plan.verdict, Verdict::Model);
    let id = world.submit(request, auto()).await;
    let run = world.settled(&id).await;
    let story = world.story(&id).await;
    assert_eq!(phase(&run), &Phase::Completed { deployed: true }, "{story}");
    assert_eq!(facts(&run).version, Some(2), "{story}");
    let questions = server.requests();
    let told: Vec<String> = questions.iter().map(said).collect();
    let of_code = told
        .iter()
        .find(|told| told.contains("The code of the version that is deployed is there"));
    assert!(of_code.unwrap().contains("dict.fromkeys(lines)"));
    let of_spec = told
        .iter()
        .find(|told| told.contains("It changes an automation"));
    assert!(of_spec.unwrap().contains("keeps the first of each"));
    let ran = world.runtime.run_now(&scope(), &name, "ann").await.unwrap();
    assert_eq!(world.settled(&ran).await.status.word(), "completed");
    let count = std::fs::read_to_string(world.home().join("lists/count.txt")).unwrap();
    assert_eq!(count, "2\n");
    // What was active then is what a replay begins with, whatever is active now.
    world.runtime.rollback(&scope(), &name, None).await.unwrap();
    replayed_the_same(&world, &run).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_wrote_is_verified_again_as_it_is_with_a_model_and_without() {
    let server = ModelServer::start(faultless).await;
    let world = World::modelled(settings(&server, Wire::Anthropic)).await;
    lay_out(&world, wish(WISH));
    let first = world.build(wish(WISH).sentence, auto()).await;
    let again = async |world: &World| {
        let request = BuildRequest {
            changes: Some(Slug::parse(WISH).unwrap()),
            ..world.request("verify again")
        };
        let id = world.submit(request, auto()).await;
        let run = world.settled(&id).await;
        let story = world.story(&id).await;
        assert_eq!(phase(&run), &Phase::Completed { deployed: true }, "{story}");
        assert_eq!(facts(&run).code, facts(&first).code);
        run
    };
    let asked_before = server.requests().len();
    let run = again(&world).await;
    assert_eq!(facts(&run).version, Some(2));
    let more = server.requests().split_off(asked_before);
    assert!(more.iter().all(|question| asked(question) == Asked::Review));
    replayed_the_same(&world, &run).await;
    let world = world.restarted().await;
    assert_eq!(facts(&again(&world).await).version, Some(3));
    world.end().await;
}

/// Builds for an organization, to the end.
async fn built(world: &World, of: &OrgScope, request: BuildRequest) -> Run {
    let id = RunId::new(world.store.new_id());
    let new = NewRun {
        organization: of.organization().clone(),
        id: id.clone(),
        label: Slug::parse(WISH).unwrap(),
        priority: 0,
        state: RunState::Build(Box::new(BuildState::new(auto()))),
        input: RunInput::Build(request),
        not_before_ms: None,
        repeats: None,
    };
    world.engine.submit(new, None).await.unwrap();
    eventually("the build has ended", async || {
        world.clock.advance(10);
        let run = world.store.run(of, &id).await.unwrap()?;
        run.status.ended().then_some(run)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_a_model_begins_with_the_code_of_its_own_organization() {
    let server = ModelServer::start(changing).await;
    let mut settings = settings(&server, Wire::Anthropic);
    settings.coder = coder(CoderKind::OneShot, None);
    let world = World::modelled(settings).await;
    lay_out(&world, wish(WISH));
    let other = OrganizationId::new("other");
    let ann = Actor {
        name: "ann".into(),
        principal: "owner".into(),
    };
    let made = world.store.add_organization(&other, "Other", &ann).await;
    made.unwrap().unwrap();
    let other = OrgScope::authenticated(other);
    let first = built(&world, &other, world.request(wish(WISH).sentence)).await;
    assert_eq!(phase(&first), &Phase::Completed { deployed: true });
    let request = BuildRequest {
        changes: Some(Slug::parse(WISH).unwrap()),
        ..world.request(ALSO)
    };
    let second = built(&world, &other, request).await;
    assert_eq!(phase(&second), &Phase::Completed { deployed: true });
    assert_eq!(facts(&second).version, Some(2));
    world.end().await;
}
