//! Events as they happen: none lost, none twice, whenever a reader joins or comes back.

use crate::support::{World, raw, text, wish};
use agentwright_api::EventQuery;

#[tokio::test]
async fn a_stream_has_every_event_once_and_ends_with_the_build() {
    let world = World::new().await;
    let build = world.create("hold it").await;
    let mut stream = world.client.events(build.id.as_str(), 0);
    let mut seen = vec![stream.next().await.unwrap().unwrap()];
    world.script.holding().await;
    world.script.release();
    let waiting = world.until_settled(build.id.as_str()).await;
    let done = world.approve(&waiting).await;
    while let Some(event) = stream.next().await {
        seen.push(event.unwrap());
    }
    let seqs: Vec<i64> = seen.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=done.seq).collect::<Vec<_>>());
    assert_eq!(seen.last().unwrap().event, "run.ended");
    let progress = seen.iter().find(|event| event.event == "progress").unwrap();
    assert_eq!(progress.data["percent"], 50);
    world.end().await;
}

#[tokio::test]
async fn a_stream_resumes_after_the_event_that_was_seen_last() {
    let world = World::new().await;
    let failed = world.settled(&wish("fail")).await;
    let id = failed.build.id.as_str();
    let mut stream = world.client.events(id, 3);
    let mut seqs = Vec::new();
    while let Some(event) = stream.next().await {
        seqs.push(event.unwrap().seq);
    }
    assert_eq!(seqs, (4..=failed.seq).collect::<Vec<_>>());

    let request = format!(
        "GET /api/v1/builds/{id}/events?after=0 HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\nlast-event-id: {}\r\nconnection: close\r\n\r\n",
        failed.seq - 1
    );
    let answer = raw(&world.data().join("daemon.sock"), &request).await;
    assert_eq!(answer.matches("\nid:").count(), 1, "{answer}");
    assert!(answer.contains("event: end"), "{answer}");
    world.end().await;
}

#[tokio::test]
async fn a_stream_survives_a_restart_of_the_daemon() {
    let world = World::new().await;
    let build = world.create("hold it").await;
    world.script.holding().await;
    let mut stream = world.client.events(build.id.as_str(), 0);
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(first.seq, 1);
    let world = world.restarted().await;
    world.script.holding().await;
    world.script.release();
    let waiting = world.until_settled(build.id.as_str()).await;
    let mut last = first.seq;
    while last < waiting.seq {
        let event = stream.next().await.unwrap().unwrap();
        assert_eq!(event.seq, last + 1);
        last = event.seq;
    }
    world.end().await;
}

#[tokio::test]
async fn a_page_of_events_is_a_list_with_a_cursor() {
    let world = World::new().await;
    let failed = world.settled(&wish("fail")).await;
    let id = failed.build.id.as_str();
    let query = EventQuery {
        after: Some(1),
        limit: Some(2),
    };
    let page = world.client.events_page(id, &query).await.unwrap();
    assert_eq!(page.items.iter().map(|e| e.seq).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(page.next.as_deref(), Some("3"));
    let bad = text(
        "GET",
        &format!("/api/v1/builds/{id}/events?after=-1"),
        "",
        "",
    );
    let answer = raw(&world.data().join("daemon.sock"), &bad).await;
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    world.end().await;
}

#[tokio::test]
async fn a_stream_of_an_unknown_build_is_refused_once() {
    let world = World::new().await;
    let mut stream = world.client.events("nobody", 0);
    let refused = stream.next().await.unwrap().unwrap_err();
    assert_eq!(refused.problem().unwrap().status, 404);
    assert!(stream.next().await.is_none());
    world.end().await;
}
