//! Who looks at what models made: static checks, the overseer, a person; and that no key is seen by any of them.

use crate::author::{Asked, KEY, asked, base, faultless, proposal, wish_of, writes};
use crate::model_faults::{WISH, built, but, fails, holds, hurried, world};
use crate::support::{auto, facts, failure, phase, scope};
use crate::wishes::wish;
use agentwright_domain::approval::{AdvanceApproval, GateReason};
use agentwright_domain::build::{ApprovalMode, BuildPolicy, FailureClass, Phase};
use agentwright_domain::ids::ApprovalId;
use agentwright_domain::run::{Decision, Run, Signal};
use agentwright_testkit::model_server::{Fault, Question, Step};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_code_goes_back_as_a_repair() {
    let leak = format!("password = '{}'\n", "q7Zt1mVx93LpWk20");
    let (server, world) = world(
        but(Asked::Code, move |question| writes(question, &leak)),
        |_| (),
    )
    .await;
    let run = built(&world, auto()).await;
    assert_eq!(
        phase(&run),
        &Phase::Completed { deployed: true },
        "{}",
        world.story(&run.id).await
    );
    let repair = server
        .requests()
        .into_iter()
        .find(|question| asked(question) == Asked::Repair);
    holds(
        &crate::author::said(&repair.unwrap()),
        &["The review found", "hard-coded secret"],
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_the_overseer_rejects_goes_no_further() {
    let (class, reason, _) = fails(
        but(Asked::Review, |_| Step::text("FAIL: it reads the clock")),
        |_| (),
    )
    .await;
    assert_eq!(class, FailureClass::Review);
    holds(&reason, &["the overseer rejected it: it reads the clock"]);
    let (class, reason, _) = fails(
        but(Asked::Review, |_| Step::text("Looks fine to me!")),
        |_| (),
    )
    .await;
    assert_eq!(class, FailureClass::Review);
    holds(&reason, &["unparsable"]);
}

fn yes() -> Signal {
    Signal::Decided(Decision {
        id: ApprovalId::new("approval-1"),
        approved: true,
        by: "ann".into(),
        notes: None,
        subject: None,
    })
}

/// What the gate asks for.
fn reasons(run: &Run) -> String {
    match phase(run) {
        Phase::Gate { reasons, .. } => format!("{reasons:?}"),
        other => panic!("it does not wait: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_overseer_a_person_decides_even_in_auto_and_after_a_yes_in_advance() {
    let (server, world) = world(but(Asked::Review, |_| Step::fault(Fault::Server)), |_| ()).await;
    let run = built(&world, auto()).await;
    holds(
        &reasons(&run),
        &["Unreviewed", "the overseer is unavailable"],
    );
    let reviews = server
        .requests()
        .iter()
        .filter(|q| asked(q) == Asked::Review)
        .count();
    assert_eq!(reviews, 1, "exactly one call");
    let policy = BuildPolicy {
        advance: Some(AdvanceApproval {
            by: "ann".to_owned(),
            permissions: facts(&run).permissions.clone().unwrap(),
        }),
        mode: ApprovalMode::Final,
        ..auto()
    };
    let other = built(&world, policy).await;
    holds(&reasons(&other), &["Unreviewed", "Mode"]);
    world
        .engine
        .signal(&scope(), &run.id, yes(), None)
        .await
        .unwrap();
    let run = hurried(&world, &run.id).await;
    assert_eq!(phase(&run), &Phase::Completed { deployed: true });
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_is_too_large_for_the_overseer_waits_for_a_person() {
    let (server, world) = world(faultless, |settings| settings.overseer.code_max_bytes = 50).await;
    let run = built(&world, auto()).await;
    holds(&reasons(&run), &["Unreviewed", "too large to review"]);
    assert!(
        server
            .requests()
            .iter()
            .all(|question| asked(question) != Asked::Review)
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sentence_does_not_name_asks_a_person_even_in_auto() {
    let script = but(Asked::Spec, |question| {
        let base = base(question);
        let mut spec = (wish(WISH).spec)(&base);
        let more =
            json!({ "name": "letters", "path": format!("{base}/letters"), "access": "read" });
        spec["permissions"]["folders"]
            .as_array_mut()
            .unwrap()
            .push(more);
        spec["permissions"]["network"] = json!(["example.org:443"]);
        proposal(&spec)
    });
    let (_server, world) = world(script, |_| ()).await;
    world.write("letters/a.txt", "x");
    let run = built(&world, auto()).await;
    let asks = reasons(&run);
    holds(
        &asks,
        &[
            "letters, which the sentence does not name",
            "it connects to example.org:443",
        ],
    );
    assert!(!asks.contains("/texts"), "{asks}");
    assert!(
        matches!(phase(&run), Phase::Gate { reasons, .. } if reasons.iter().all(|r| matches!(r, GateReason::Risk(_))))
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_in_anything_that_is_kept_or_told_even_when_the_model_repeats_it() {
    let leak = format!("# the key is {KEY}\n");
    let in_code = leak.clone();
    let scripts: [Script; 3] = [
        Box::new(but(Asked::Code, move |question| {
            writes(question, &format!("{in_code}{}", wish_of(question).good))
        })),
        Box::new(but(Asked::Spec, move |question| {
            let mut spec = (wish(WISH).spec)(&base(question));
            spec["purpose"] = json!(leak);
            proposal(&spec)
        })),
        Box::new(|_: &Question| {
            let body =
                format!("{{\"error\":{{\"message\":\"the key {KEY} is wrong\"}}}}").into_bytes();
            let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
            Step::fault(Fault::Raw {
                status: 401,
                headers,
                body,
            })
        }),
    ];
    for script in scripts {
        let (_server, world) = world(script, |_| ()).await;
        let run = built(&world, auto()).await;
        let (_, reason) = failure(&run);
        assert!(!reason.contains(KEY) && !world.story(&run.id).await.contains(KEY));
        let dir = world.end().await;
        assert_eq!(holding(dir.path(), KEY), [""; 0], "{reason}");
    }
}

/// An author of its own.
type Script = Box<dyn FnMut(&Question) -> Step + Send>;

/// The files below a directory that hold a text.
pub(crate) fn holding(directory: &std::path::Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(holding(&path, text));
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}
