//! Changing what exists.

use super::{ALL, context};
use agentwright_domain::spec::{Spec, Trigger};
use agentwright_intent::{Foundation, Plan, Refusal, amend, spec, understand};
use serde_json::json;

const BACKUP: &str =
    "every night, keep a zip of ./notes in ./backups and keep the last 7, except *.tmp";

fn existing(sentence: &str) -> (Spec, Foundation) {
    let plan = understand(sentence, &context(), &ALL).unwrap();
    let foundation = ALL
        .iter()
        .cloned()
        .find(|f| f.name() == plan.foundation)
        .unwrap();
    (spec(&plan, &foundation).unwrap(), foundation)
}

fn changed(sentence: &str) -> Result<Plan, Refusal> {
    let (spec, foundation) = existing(BACKUP);
    amend(&spec, &foundation, sentence, &context())
}

#[test]
fn only_what_is_said_changes() {
    let (old, foundation) = existing(BACKUP);
    let plan = amend(&old, &foundation, "keep 14 instead", &context()).unwrap();
    let new = spec(&plan, &foundation).unwrap();
    assert_eq!(plan.said, ["keep"]);
    assert_eq!(new.inputs["keep"], json!(14));
    assert_eq!(
        (new.name, new.trigger, new.permissions),
        (old.name, old.trigger, old.permissions)
    );
}

#[test]
fn the_time_changes() {
    let plan = changed("every hour").unwrap();
    assert!(matches!(plan.trigger, Trigger::Schedule { ref cron, .. } if cron == "0 * * * *"));
    assert_eq!(plan.inputs["keep"], json!(7));
    assert!(!changed("every 45 minutes").unwrap().missing.is_empty());
}

#[test]
fn also_adds_to_a_list_and_without_it_the_list_is_replaced() {
    assert_eq!(
        changed("also exclude *.log").unwrap().inputs["exclude"],
        json!(["*.tmp", "*.log"])
    );
    assert_eq!(
        changed("exclude *.log").unwrap().inputs["exclude"],
        json!(["*.log"])
    );
}

#[test]
fn a_place_is_swapped_by_naming_the_old_one() {
    let plan = changed("use ./other instead of ./backups").unwrap();
    assert_eq!(plan.inputs["target"], json!("/home/ada/work/other"));
    assert_eq!(plan.inputs["source"], json!("/home/ada/work/notes"));
}

#[test]
fn what_cannot_be_added_is_refused() {
    for sentence in [
        "also back up the folder ./pics",
        "also upload it to S3",
        "also email me",
        "and then dance the tango",
    ] {
        let refusal = changed(sentence).expect_err(sentence);
        assert!(
            matches!(refusal, Refusal::TooMuch { .. }),
            "{sentence}: {refusal:?}"
        );
    }
    for sentence in ["make it better", "please improve it"] {
        let refusal = changed(sentence).expect_err(sentence);
        assert!(
            matches!(refusal, Refusal::TooVague { .. }),
            "{sentence}: {refusal:?}"
        );
    }
    assert!(matches!(changed(""), Err(Refusal::Empty { .. })));
}

#[test]
fn a_service_keeps_its_record_and_changes_its_port() {
    let (old, foundation) = existing("a JSON service for books with title and author on port 8100");
    let plan = amend(&old, &foundation, "use port 8200", &context()).unwrap();
    assert!(matches!(
        plan.trigger,
        Trigger::Service { publish: 8200, .. }
    ));
    assert_eq!(plan.inputs["entity"], old.inputs["entity"]);
}
