//! The wire as others see it: shapes, refusals and bounds.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod jobs;

use agentwright_api::{
    Build, BuildState, BuildStatus, CreateBuild, DecisionRequest, ExportRequest, PlanRequest,
    ReachableSocket, Time,
};
use agentwright_domain::approval::{Gate, GateReason};
use agentwright_domain::build::ApprovalMode;
use agentwright_domain::ids::{RunId, Slug};
use garde::Validate;
use serde_json::{Value, json};
use std::path::Path;

fn build(state: BuildState) -> Build {
    Build {
        id: RunId::new("r1"),
        label: Slug::parse("zip-notes").unwrap(),
        state,
        stage: "deploy gate".into(),
        attempt: 1,
        intent: "zip my notes".into(),
        name: None,
        mode: ApprovalMode::Final,
        auto_deploy: true,
        priority: 0,
        created_at: Time::from_ms(0),
        started_at: None,
        progress_at: Time::from_ms(5),
        ended_at: None,
        worked_ms: 3,
        repeats: None,
        changes: None,
        from_version: None,
        deploys: None,
        mends: None,
        deployed: None,
    }
}

fn wish(intent: &str) -> Value {
    json!({ "intent": intent, "base_dir": "/home/ann", "zone": "Europe/Berlin" })
}

fn checked(request: Value) -> Result<CreateBuild, String> {
    let request: CreateBuild = serde_json::from_value(request).map_err(|e| e.to_string())?;
    request.validate().map_err(|e| e.to_string())?;
    Ok(request)
}

#[test]
fn the_status_and_what_belongs_to_it_stand_beside_the_builds_own_fields() {
    let waiting = build(BuildState::Waiting {
        gate: Gate::Deploy,
        reasons: vec![GateReason::Mode, GateReason::Risk("deletes files".into())],
        subject: None,
        since: Time::from_ms(1_000),
    });
    let json = serde_json::to_value(&waiting).unwrap();
    assert_eq!(json["status"], "waiting");
    assert_eq!(json["gate"], "deploy");
    assert_eq!(json["since"], "1970-01-01T00:00:01.000Z");
    assert_eq!(json["reasons"][1]["detail"], "deletes files");
    assert_eq!(serde_json::from_value::<Build>(json).unwrap(), waiting);
}

#[test]
fn every_status_has_the_same_word_in_both_forms() {
    for status in ["queued", "running", "resuming", "completed"] {
        let state: BuildState = serde_json::from_value(json!({ "status": status })).unwrap();
        assert_eq!(state.status().word(), status);
        assert_eq!(serde_json::to_value(state.status()).unwrap(), status);
        assert_eq!(state.status().ended(), status == "completed");
    }
    assert!(BuildStatus::Rejected.ended() && !BuildStatus::Waiting.ended());
}

#[test]
fn a_wish_in_a_sentence_is_enough_for_a_build() {
    let request = checked(wish("zip my notes every night")).unwrap();
    assert!(request.auto_deploy);
    assert_eq!(request.mode, ApprovalMode::Final);
    let plan: PlanRequest = serde_json::from_value(wish("zip my notes every night")).unwrap();
    assert_eq!(CreateBuild::of(plan), request);
}

#[test]
fn unknown_fields_are_refused_by_name() {
    let mut request = wish("zip");
    request["colour"] = json!("red");
    assert!(checked(request).unwrap_err().contains("colour"));
    let decision = json!({ "decision": "approve", "by": "somebody else" });
    assert!(serde_json::from_value::<DecisionRequest>(decision).is_err());
}

#[test]
fn a_build_that_names_nothing_or_too_much_is_refused_with_the_field() {
    for (field, value, says) in [
        ("intent", json!("  "), "say in a sentence"),
        ("intent", json!("x".repeat(20_001)), "intent"),
        ("base_dir", json!("notes"), "absolute path"),
        (
            "base_dir",
            json!(format!("/{}", "x".repeat(5_000))),
            "longer than",
        ),
        ("zone", json!("Middle/Earth"), "time zone"),
        ("priority", json!(i64::MAX), "priority"),
        ("foundations", json!(vec!["/f"; 17]), "at most 16"),
        ("foundations", json!(["f"]), "absolute"),
        ("label", json!("../etc"), "not a name"),
        ("mode", json!("never"), "unknown variant"),
    ] {
        let mut request = wish("zip");
        request[field] = value;
        let error = checked(request).unwrap_err();
        assert!(error.contains(says), "{field}: {error}");
    }
    let inputs: serde_json::Map<_, _> = (0..65).map(|i| (i.to_string(), json!(i))).collect();
    let mut request = wish("zip");
    request["inputs"] = Value::Object(inputs);
    assert!(checked(request).unwrap_err().contains("at most 64"));
}

#[test]
fn an_export_goes_to_an_absolute_directory() {
    assert!(ExportRequest { to: "out".into() }.validate().is_err());
    assert!(ExportRequest { to: "/out".into() }.validate().is_ok());
}

#[test]
fn a_socket_path_of_any_length_is_reachable() {
    let short = ReachableSocket::of(Path::new("/tmp/a.sock")).unwrap();
    assert_eq!(short.path(), Path::new("/tmp/a.sock"));
    let missing = Path::new("/nowhere").join("x".repeat(120)).join("a.sock");
    assert!(ReachableSocket::of(&missing).is_err());
}

#[test]
fn a_yes_names_what_it_is_said_to() {
    let bare: DecisionRequest = serde_json::from_value(json!({ "decision": "approve" })).unwrap();
    assert!(bare.validate().unwrap_err().to_string().contains("subject"));
    let no: DecisionRequest = serde_json::from_value(json!({ "decision": "reject" })).unwrap();
    assert!(no.validate().is_ok());
}
