//! Live streams beyond a run's own: the seed's WebSocket, ours, and the stream of an organization.

use crate::support::{World, wish};
use crate::wire::Lines;
use agentwright_api::EventQuery;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn submitted(world: &World, intent: &str, mode: &str) -> String {
    let body = json!({ "architect_intent": intent, "approval_mode": mode });
    let accepted = world
        .ask("POST", "/executor/build-droplet", body)
        .await
        .json();
    accepted["build_id"].as_str().unwrap().to_owned()
}

fn told(events: &[Value]) -> Vec<String> {
    let line = |event: &Value| {
        let kind = event["event_type"].as_str().unwrap();
        let phase = event["phase_name"].as_str().unwrap();
        format!("{kind} {phase} {}", event["progress_percent"])
    };
    events.iter().map(line).collect()
}

#[tokio::test]
async fn a_build_is_told_in_the_seeds_shape_live_and_again() {
    let world = World::new().await;
    let id = submitted(&world, "hold the notes", "final").await;
    let path = format!("/executor/builds/{id}/stream");
    let live = world.websocket(&path, &[]).await.unwrap();
    world.script.holding().await;
    world.script.release();
    world.until_settled(&id).await;
    let yes = format!("/executor/builds/{id}/approve");
    let yes = world.ask("POST", &yes, json!({ "approved": true })).await;
    assert_eq!(yes.status, 200, "{}", yes.text());
    let (events, end) = live.all().await;
    assert_eq!(end.unwrap().0, 1000);
    insta::assert_snapshot!(told(&events).join("\n"), @r"
    phase_progress SPEC Generation 0
    phase_start SPEC Generation 0
    phase_complete SPEC Generation 10
    phase_start Package 10
    phase_complete Package 15
    phase_start Build 15
    phase_progress Build 30
    phase_progress Build 45
    phase_complete Build 55
    phase_start Verify 55
    phase_progress Verify 75
    phase_complete Verify 80
    phase_progress Deploy 80
    phase_progress Deploy 80
    phase_start Deploy 80
    phase_complete Deploy 95
    phase_start Register 95
    phase_complete Register 100
    ");
    let seqs: Vec<_> = events
        .iter()
        .map(|event| event["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>());
    let gate = &events[12]["data"];
    assert_eq!(
        (&gate["gate"], gate["subject_digest"].is_string()),
        (&json!("deploy"), true)
    );
    let last = events.last().unwrap();
    assert_eq!(
        (&last["data"]["final"], &last["build_id"]),
        (&json!(true), &json!(id))
    );
    assert_eq!(
        events
            .iter()
            .filter(|event| event["data"]["final"] == true)
            .count(),
        1
    );

    for after in [0, 7, events.len()] {
        let path = format!("{path}?after={after}");
        let (again, end) = world.websocket(&path, &[]).await.unwrap().all().await;
        assert_eq!(again, events[after..], "after {after}");
        assert_eq!(end.unwrap().0, 1000);
    }
    world.end().await;
}

#[tokio::test]
async fn a_failure_a_repair_and_a_cancel_end_with_one_final_event() {
    let world = World::new().await;
    let failed = submitted(&world, "fail the notes", "auto").await;
    let mended = submitted(&world, "mend the notes", "auto").await;
    let held = submitted(&world, "hold the notes", "auto").await;
    world.script.holding().await;
    let cancel = format!("/executor/builds/{held}/cancel");
    assert_eq!(world.ask("POST", &cancel, Value::Null).await.status, 200);
    for id in [&failed, &mended] {
        world.until_settled(id).await;
    }
    let read = async |id: &str| {
        let path = format!("/executor/builds/{id}/stream");
        world.websocket(&path, &[]).await.unwrap().all().await.0
    };
    let events = read(&failed).await;
    let last = events.last().unwrap();
    assert_eq!(
        (&last["event_type"], &last["phase_name"]),
        (&json!("error"), &json!("Verify"))
    );
    assert_eq!(
        (&last["data"]["status"], &last["message"]),
        (&json!("failed"), &json!("level 4: the zip is empty"))
    );
    let events = read(&mended).await;
    let starts = events
        .iter()
        .filter(|event| event["event_type"] == "phase_start" && event["phase_name"] == "Build");
    assert_eq!(starts.count(), 2, "{:?}", told(&events));
    assert_eq!(events.last().unwrap()["data"]["status"], "completed");
    let events = read(&held).await;
    let last = events.last().unwrap();
    assert_eq!(
        (&last["event_type"], &last["data"]["status"]),
        (&json!("error"), &json!("cancelled"))
    );
    world.end().await;
}

#[tokio::test]
async fn what_is_no_build_no_websocket_or_of_another_origin_is_refused_before_the_upgrade() {
    let world = World::new().await;
    let build = world.settled(&wish("zip the notes")).await.build.id;
    let path = format!("/executor/builds/{build}/stream");
    let unknown = "/executor/builds/00000000-0000-7000-8000-000000000000/stream";
    let refused = world.websocket(unknown, &[]).await.err().unwrap();
    assert_eq!(refused.refusal(), (404, "not_found".into()));
    for path in [path.clone(), format!("/api/v1/builds/{build}/events")] {
        for origin in [
            "http://evil.test",
            "null",
            "http://example.test",
            "https://example.test:8400.evil",
        ] {
            let refused = world.websocket(&path, &[("origin", origin)]).await.err();
            let refused = refused.unwrap_or_else(|| panic!("{origin} was let in"));
            assert_eq!(
                refused.refusal(),
                (403, "request.origin".into()),
                "{origin}"
            );
        }
        let ours = [("origin", "http://example.test:8400")];
        assert!(world.websocket(&path, &ours).await.is_ok());
    }
    let plain = world.get(&path).await;
    assert_eq!(plain.refusal(), (400, "request.upgrade".into()));
    let bad = world
        .websocket(&format!("{path}?after=-1"), &[])
        .await
        .err()
        .unwrap();
    assert_eq!(bad.refusal(), (400, "request.invalid".into()));
    world.end().await;
}

#[tokio::test]
async fn our_own_events_are_cloud_events_in_pages_streams_and_sockets() {
    let world = World::new().await;
    let build = world.settled(&wish("fail")).await.build.id;
    let path = format!("/api/v1/builds/{build}/events");
    let page = world.get(&path).await.json();
    let first = &page["items"][0];
    assert_eq!(
        (&first["specversion"], &first["type"]),
        (&json!("1.0"), &json!("agentwright.run.submitted"))
    );
    assert_eq!(
        (&first["id"], &first["source"]),
        (
            &json!(format!("{build}:1")),
            &json!(format!("/api/v1/builds/{build}"))
        )
    );
    assert_eq!(first["time"], first["data"]["at"]);
    let (messages, end) = world.websocket(&path, &[]).await.unwrap().all().await;
    assert_eq!(json!(messages), page["items"]);
    assert_eq!(end.unwrap().0, 1000);
    let mut lines = world.lines(&format!("{path}?after=1"), "").await;
    let second = lines.next().await.unwrap();
    assert_eq!((second.id.as_str(), &second.data), ("2", &page["items"][1]));
    world.end().await;
}

#[tokio::test]
async fn readers_who_take_nothing_hold_nobody_up() {
    let world = World::new().await;
    let id = submitted(&world, "hold the notes", "auto").await;
    world.script.holding().await;
    let path = format!("/executor/builds/{id}/stream");
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(world.websocket(&path, &[]).await.unwrap());
    }
    let (mut reader, mut lines) = (
        world.websocket(&path, &[]).await.unwrap(),
        world
            .lines(&format!("/api/v1/builds/{id}/events"), "")
            .await,
    );
    let metrics = world.get("/metrics").await.text();
    assert!(
        metrics.contains("agentwright_live_streams 202"),
        "{metrics}"
    );
    world.script.release();
    while reader.next().await.is_ok() {}
    while lines.next().await.unwrap().event != "end" {}
    drop((idle, reader, lines));
    world.end().await;
}

#[tokio::test]
async fn a_restart_in_the_middle_asks_the_reader_to_come_back_and_nothing_is_lost() {
    let world = World::new().await;
    let id = submitted(&world, "hold the notes", "auto").await;
    world.script.holding().await;
    let path = format!("/executor/builds/{id}/stream");
    let mut live = world.websocket(&path, &[]).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 6 {
        seen.push(live.next().await.unwrap());
    }
    let mut everything = world.lines("/api/v1/events", "").await;
    let ready = everything.next().await.unwrap();
    assert_eq!(ready.event, "ready");
    let world = world.restarted().await;
    let (rest, end) = live.all().await;
    seen.extend(rest);
    assert_eq!(end.unwrap().0, 1012, "come back");
    let last = seen.last().unwrap()["seq"].as_i64().unwrap();
    let live = world
        .websocket(&format!("{path}?after={last}"), &[])
        .await
        .unwrap();
    world.script.holding().await;
    world.script.release();
    seen.extend(live.all().await.0);
    let all = world.websocket(&path, &[]).await.unwrap().all().await.0;
    assert_eq!(seen, all);
    // The order of an organization's events is one daemon's: another one says so.
    let back = format!("last-event-id: {}\r\n", ready.id);
    let mut everything = world.lines("/api/v1/events", &back).await;
    assert_eq!(everything.next().await.unwrap().event, "reset");
    world.end().await;
}

/// Follows an organization, leaving and coming back after each of `visits` events.
async fn followed(world: &World, mut lines: Lines, visits: &[usize], ends: usize) -> Vec<String> {
    let (mut seen, mut ended, mut last) = (Vec::new(), 0, String::new());
    let mut visits = visits.iter().cycle();
    while ended < ends {
        let mut left = *visits.next().unwrap();
        while left > 0 && ended < ends {
            let said = lines.next().await.unwrap();
            last = said.id;
            left -= 1;
            match said.event.as_str() {
                "ready" => {}
                "reset" => panic!("nothing was lost"),
                event => {
                    ended += usize::from(event == "run.ended");
                    seen.push(said.data["id"].as_str().unwrap().to_owned());
                }
            }
        }
        drop(lines);
        lines = world
            .lines("/api/v1/events", &format!("last-event-id: {last}\r\n"))
            .await;
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, ..ProptestConfig::default() })]
    #[test]
    fn of_an_organizations_events_none_is_lost_or_doubled_over_reconnects(
        visits in prop::collection::vec(1_usize..9, 1..6),
        builds in 1_usize..5,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let old = world.settled(&wish("fail")).await;
            let lines = world.lines("/api/v1/events", "").await;
            let building = async {
                let mut ids = Vec::new();
                for n in 0..builds {
                    let intent = if n % 2 == 0 { "fail" } else { "mend" };
                    ids.push(submitted(&world, intent, "auto").await);
                }
                ids
            };
            let (seen, ids) = tokio::join!(followed(&world, lines, &visits, builds), building);
            let mut stored = BTreeSet::new();
            for id in &ids {
                let all = EventQuery { after: None, limit: Some(500) };
                let page = world.client.events_page(id, &all).await.unwrap();
                stored.extend(page.items.iter().map(|event| format!("{id}:{}", event.seq)));
            }
            let once: BTreeSet<String> = seen.iter().cloned().collect();
            assert_eq!(once.len(), seen.len(), "an event came twice");
            assert_eq!(once, stored);
            assert!(!seen.iter().any(|id| id.starts_with(old.build.id.as_str())));
            world.end().await;
        });
    }
}
