//! Builds that start by themselves over a day and a night, watched and reported, by a clock that the test moves.

use crate::support::{World, raw};
use agentwright_api::{QueueAdd, QueueAdds, QueueChange, QueueItem, QueuePriority, ReportQuery};
use agentwright_domain::build::ApprovalMode;
use agentwright_domain::spend::{Budget, BudgetScope};
use agentwright_server::{Config, HookSettings, PushSettings};
use agentwright_store::{OrgScope, OutboxRow};
use agentwright_testkit::{TestClock, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::path::Path;
use tempfile::TempDir;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn ms(text: &str) -> i64 {
    let zoned: jiff::Zoned = format!("{text}[America/Chicago]").parse().unwrap();
    zoned.timestamp().as_millisecond()
}

fn clock(text: &str) -> TestClock {
    TestClock::at(ms(text))
}

/// Builds ask nobody; builds under way are looked at every second.
fn watched(config: &mut Config) {
    // The clock jumps by hours, and nobody takes over by that.
    config.settings.lease_s = 100 * 3_600;
    let queue = &mut config.settings.queue;
    queue.mode = ApprovalMode::Auto;
    queue.zone = Some("America/Chicago".into());
    queue.watch.every_s = 1;
    queue.room.memory_mb = 1;
    queue.room.cores = 0;
}

fn filed(dir: &Path) -> impl Fn(&mut Config) + use<> {
    let dir = dir.to_owned();
    move |config| {
        watched(config);
        config.settings.queue.dir = Some(dir.clone());
    }
}

fn item(name: &str, description: &str, priority: QueuePriority) -> QueueAdd {
    QueueAdd {
        name: name.into(),
        description: Some(description.into()),
        criteria: vec!["a playlist of this week is there".into()],
        estimate: Some("4 hours".into()),
        priority,
        ..QueueAdd::default()
    }
}

async fn add(world: &World, item: QueueAdd) {
    let adds = QueueAdds {
        items: vec![item],
        base_dir: "/home/ann".into(),
        zone: "America/Chicago".into(),
    };
    world.client.queue_add(&adds).await.unwrap();
}

async fn of(world: &World, label: &str) -> QueueItem {
    world.client.queue_why(label).await.unwrap().item
}

async fn until(world: &World, label: &str, status: &str) -> QueueItem {
    eventually(&format!("{label} is {status}"), async || {
        let item = of(world, label).await;
        (item.status == status).then_some(item)
    })
    .await
}

async fn answered(world: &World, label: &str, word: &str) -> String {
    eventually(&format!("{label} is answered {word}"), async || {
        let why = of(world, label).await.why?;
        (why.decision == word).then_some(why.words)
    })
    .await
}

async fn notices(world: &World, topic: &str) -> Vec<OutboxRow> {
    let all = world
        .store()
        .notices(&OrgScope::local(), 1_000)
        .await
        .unwrap();
    all.into_iter()
        .filter(|row| row.notice.topic == topic)
        .collect()
}

/// Waits until so many of a topic were told.
async fn told(world: &World, topic: &str, count: usize) -> Vec<OutboxRow> {
    eventually(&format!("{count} of {topic}"), async || {
        let told = notices(world, topic).await;
        (told.len() == count).then_some(told)
    })
    .await
}

async fn text(path: &Path) -> String {
    eventually(&format!("{} is there", path.display()), async || {
        std::fs::read_to_string(path).ok()
    })
    .await
}

#[tokio::test]
async fn a_day_and_a_night_of_builds_that_start_by_themselves() {
    let dir = TempDir::new().unwrap();
    let clock = clock("2026-02-06T09:00");
    let world = World::by(&clock, filed(dir.path())).await;

    // 9:00: what is high starts by itself.
    let wish = "hold it: build a playlist from the liked songs every week";
    add(
        &world,
        item("Spotify Integration", wish, QueuePriority::High),
    )
    .await;
    world.script.holding().await;

    // 11:30: it reports.
    clock.advance(2 * HOUR + 30 * MINUTE);
    let progress = told(&world, "build.progress", 1).await;
    assert!(
        progress[0]
            .notice
            .title
            .starts_with("spotify-integration: "),
        "{progress:?}"
    );
    assert!(
        progress[0].notice.body.contains("done: SPEC Generation"),
        "{progress:?}"
    );
    // Noon: "how is it going?"
    let going = of(&world, "spotify-integration").await.progress.unwrap();
    assert_eq!(going.phase, "Build");
    let file = dir.path().join("subagents/spotify-integration-progress.md");
    eventually("its progress is written", async || {
        let written = std::fs::read_to_string(&file).ok()?;
        let parts = [
            "## Task breakdown",
            "- done: SPEC Generation",
            "- at work: Build",
            "- [ ] a playlist of this week",
            "## Deliverables",
        ];
        parts
            .iter()
            .all(|part| written.contains(part))
            .then_some(())
    })
    .await;
    assert!(
        text(&dir.path().join("progress.html"))
            .await
            .contains("Spotify Integration")
    );

    // 14:15: it is done, and says what it made.
    clock.set(ms("2026-02-06T14:15"));
    world.script.release();
    until(&world, "spotify-integration", "done").await;
    let completed = told(&world, "build.completed", 1).await;
    assert!(
        completed[0].notice.body.contains("http://127.0.0.1:9000"),
        "{completed:?}"
    );
    assert!(
        completed[0]
            .notice
            .body
            .contains("next: agentwright run-now"),
        "{completed:?}"
    );
    eventually("it is ticked", async || {
        let queue = std::fs::read_to_string(dir.path().join("BUILD_QUEUE.md")).ok()?;
        queue.contains("- [x] Spotify Integration").then_some(())
    })
    .await;

    // What is risky waits, and says so once.
    let risky = "Delete all old records of the songs from the database";
    add(&world, item("Clean up", risky, QueuePriority::High)).await;
    answered(&world, "clean-up", "risk").await;
    let asked = told(&world, "queue.risk", 1).await;
    assert!(
        asked[0]
            .notice
            .body
            .contains("agentwright queue approve clean-up"),
        "{asked:?}"
    );

    // 21:00: what is medium waits for the night. 22:00: it starts; it fails twice and is built again each time.
    clock.set(ms("2026-02-06T21:00"));
    let wish = "stumble and hold: add a playlist for workouts to the songs";
    add(
        &world,
        item("Workout Playlist", wish, QueuePriority::Medium),
    )
    .await;
    answered(&world, "workout-playlist", "window").await;
    clock.set(ms("2026-02-06T22:00"));
    for failures in [1, 2] {
        world.script.holding().await;
        world.script.release();
        let failed = until(&world, "workout-playlist", "failed").await;
        assert_eq!(failed.failures, failures);
        answered(&world, "workout-playlist", "retry").await;
        clock.advance(5 * MINUTE);
    }
    world.script.holding().await;

    // 23:00: the report of the night.
    clock.set(ms("2026-02-06T23:00"));
    let path = world.data().join("build-reports/2026-02-06.md");
    let report = text(&path).await;
    for part in [
        "# Build report - Feb 6, 2026",
        "2026-02-05 23:00 to 2026-02-06 23:00, America/Chicago",
        "spotify-integration at 2026-02-06 14:15: deployed as notes-zip, version 1",
        "took 5 h 15 min, estimated 4 h",
        "- Workout Playlist: ",
        "- Clean up: it needs a person's yes",
        "- verify: tests: 2",
        "- success rate: 33 %",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let nightly = told(&world, "report.nightly", 1).await;
    assert_eq!(nightly[0].notice.title, "Build report - Feb 6, 2026");

    // 00:45: done, long before the morning.
    clock.set(ms("2026-02-07T00:45"));
    world.script.release();
    until(&world, "workout-playlist", "done").await;
    clock.set(ms("2026-02-07T07:00"));
    assert_eq!(of(&world, "clean-up").await.status, "queued");
    assert_eq!(notices(&world, "queue.risk").await.len(), 1);
    assert_eq!(notices(&world, "report.nightly").await.len(), 1);

    // The next evening, over a restart: the rest of the night is in it, and nothing twice.
    let world = world.again_by(&clock, filed(dir.path())).await;
    clock.set(ms("2026-02-07T23:00"));
    let report = text(&world.data().join("build-reports/2026-02-07.md")).await;
    assert!(
        report.contains("workout-playlist at 2026-02-07 00:45"),
        "{report}"
    );
    assert!(!report.contains("spotify-integration"), "{report}");
    told(&world, "report.nightly", 2).await;
    let by_hand = ReportQuery {
        from: Some("2026-02-06".into()),
        to: Some("2026-02-07".into()),
        ..ReportQuery::default()
    };
    let by_hand = world.client.report(&by_hand).await.unwrap();
    assert_eq!((by_hand.totals.completed, by_hand.totals.failed), (2, 2));
    let days: Vec<(&str, u32)> = by_hand
        .days
        .iter()
        .map(|day| (day.date.as_str(), day.completed))
        .collect();
    assert_eq!(days, [("2026-02-06", 1), ("2026-02-07", 1)]);
    world.end().await;
}

#[tokio::test]
async fn nights_that_the_machine_slept_through_are_made_up_for_once() {
    let clock = clock("2026-03-06T12:00");
    let world = World::by(&clock, watched).await;
    let wish = "Count the words of each note and append them to a table";
    add(&world, item("First", wish, QueuePriority::High)).await;
    until(&world, "first", "done").await;
    let night = async |world: &World, date: &str| {
        let path = world.data().join(format!("build-reports/{date}.md"));
        text(&path).await
    };
    clock.set(ms("2026-03-06T23:00"));
    assert!(
        night(&world, "2026-03-06")
            .await
            .contains("first at 2026-03-06 12:00")
    );
    // Built in the morning; then it sleeps over two evenings, and over the night in which clocks go forward.
    clock.set(ms("2026-03-07T08:00"));
    add(&world, item("Second", wish, QueuePriority::High)).await;
    until(&world, "second", "done").await;
    clock.set(ms("2026-03-09T07:00"));
    assert!(
        night(&world, "2026-03-07")
            .await
            .contains("second at 2026-03-07 08:00")
    );
    let slept = night(&world, "2026-03-08").await;
    assert!(
        slept.contains("2026-03-07 23:00 to 2026-03-08 23:00"),
        "{slept}"
    );
    told(&world, "report.nightly", 3).await;
    // What a person made of a report stays, also when the daemon starts anew.
    let path = world.data().join("build-reports/2026-03-08.md");
    std::fs::write(&path, "mine").unwrap();
    let world = world.again_by(&clock, watched).await;
    world.client.beat(&Default::default()).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    assert_eq!(notices(&world, "report.nightly").await.len(), 3);
    let kept = ReportQuery {
        night: Some("2026-03-07".into()),
        ..ReportQuery::default()
    };
    assert_eq!(world.client.report(&kept).await.unwrap().ended.len(), 1);
    for (query, status) in [
        (
            ReportQuery {
                night: Some("2026-03-01".into()),
                ..ReportQuery::default()
            },
            404,
        ),
        (
            ReportQuery {
                from: Some("soon".into()),
                ..ReportQuery::default()
            },
            422,
        ),
        (
            ReportQuery {
                from: Some("2026-03-09".into()),
                to: Some("2026-03-01".into()),
                ..ReportQuery::default()
            },
            422,
        ),
    ] {
        let error = world.client.report(&query).await.unwrap_err();
        assert_eq!(error.problem().unwrap().status, status, "{query:?}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_calendar_keeps_medium_items_back_while_it_is_busy_and_while_it_cannot_be_read() {
    let dir = TempDir::new().unwrap();
    let (path, home) = (dir.path().join("work.ics"), dir.path().join("home.ics"));
    std::fs::write(&home, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n").unwrap();
    let clock = clock("2026-02-06T23:30");
    let places = [&home, &path].map(|path| path.display().to_string());
    let world = World::by(&clock, |config| {
        watched(config);
        config.settings.queue.calendar = places.to_vec();
    })
    .await;
    let wish = "Count the words of each note and append them to a table";
    add(&world, item("Medium", wish, QueuePriority::Medium)).await;
    let words = answered(&world, "medium", "calendar_unread").await;
    assert!(words.contains("calendar 2 of 2"), "{words}");
    assert!(words.contains("work.ics"), "{words}");
    let asked = told(&world, "queue.calendar", 1).await;
    assert!(asked[0].notice.body.contains("work.ics"), "{asked:?}");
    // What is high does not care.
    add(&world, item("High", wish, QueuePriority::High)).await;
    until(&world, "high", "done").await;

    let meeting = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:a\r\nSUMMARY:Call\r\n\
        DTSTART;TZID=America/Chicago:20260206T230000\r\nDTEND;TZID=America/Chicago:20260207T003000\r\n\
        END:VEVENT\r\nEND:VCALENDAR\r\n";
    std::fs::write(&path, meeting).unwrap();
    clock.advance(6 * MINUTE);
    world.client.beat(&Default::default()).await.unwrap();
    let words = answered(&world, "medium", "calendar").await;
    assert!(words.contains("2026-02-07 00:30"), "{words}");
    // It is over: the heartbeat knew when.
    clock.set(ms("2026-02-07T00:30"));
    until(&world, "medium", "done").await;
    assert_eq!(notices(&world, "queue.calendar").await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn a_machine_without_room_and_a_budget_that_is_spent_start_nothing_and_say_so() {
    let clock = clock("2026-02-06T09:00");
    let world = World::by(&clock, |config| {
        watched(config);
        config.settings.queue.room.disk_mb = u64::MAX / 2_000_000;
    })
    .await;
    let wish = "Count the words of each note and append them to a table";
    add(&world, item("One", wish, QueuePriority::High)).await;
    let words = answered(&world, "one", "room").await;
    assert!(words.contains("of disk are free"), "{words}");
    let world = world.again_by(&clock, watched).await;
    until(&world, "one", "done").await;
    let nothing = Budget {
        calls: Some(0),
        ..Budget::default()
    };
    world
        .store()
        .set_budget(&OrgScope::local(), BudgetScope::Day, None, &nothing, "ann")
        .await
        .unwrap();
    add(&world, item("Two", wish, QueuePriority::High)).await;
    let words = answered(&world, "two", "budget").await;
    assert!(words.contains("day budget of 0 calls"), "{words}");
    world.end().await;
}

#[tokio::test]
async fn a_build_that_hangs_is_told_then_escalated_and_by_hand_it_fails_and_is_built_again() {
    let clock = clock("2026-02-06T09:00");
    let world = World::by(&clock, watched).await;
    let wish = "hold it, and count the words of each note in a table";
    add(&world, item("Hangs", wish, QueuePriority::High)).await;
    world.script.holding().await;
    let verdict = async || Some(of(&world, "hangs").await.progress?.verdict);
    eventually("it is seen to work", async || {
        (verdict().await? == "working").then_some(())
    })
    .await;
    clock.advance(25 * MINUTE);
    let stalled = told(&world, "build.stalled", 1).await;
    assert!(
        stalled[0]
            .notice
            .title
            .starts_with("hangs hangs: nothing of it has moved"),
        "{stalled:?}"
    );
    assert!(
        stalled[0]
            .notice
            .body
            .contains("agentwright queue fail hangs"),
        "{stalled:?}"
    );
    let progress = of(&world, "hangs").await.progress.unwrap();
    assert_eq!(progress.verdict, "hung");
    assert!(progress.because.unwrap().contains("moved"));
    clock.advance(35 * MINUTE);
    told(&world, "build.escalated", 1).await;
    assert_eq!(notices(&world, "build.stalled").await.len(), 1);

    let first = of(&world, "hangs").await.build;
    let failed = world
        .client
        .queue_change("hangs", &QueueChange::Fail {})
        .await
        .unwrap();
    assert_eq!((failed.status.as_str(), failed.failures), ("failed", 1));
    let again = world
        .client
        .queue_change("hangs", &QueueChange::Fail {})
        .await;
    assert_eq!(again.unwrap_err().problem().unwrap().status, 409);
    let build = world
        .client
        .build(first.clone().unwrap().as_str())
        .await
        .unwrap();
    assert_eq!(build.build.status().word(), "cancelled");
    answered(&world, "hangs", "retry").await;
    clock.advance(5 * MINUTE);
    world.script.holding().await;
    assert_ne!(of(&world, "hangs").await.build, first);
    world.script.release();
    until(&world, "hangs", "done").await;
    world.end().await;
}

#[tokio::test]
async fn a_heartbeat_that_was_missed_is_told_and_nothing_is_started_twice() {
    let clock = clock("2026-02-06T09:00");
    let world = World::by(&clock, watched).await;
    let wish = "Count the words of each note and append them to a table";
    add(&world, item("Low", wish, QueuePriority::Low)).await;
    answered(&world, "low", "unapproved").await;
    let world = world.again_by(&clock, watched).await;
    clock.advance(3 * HOUR);
    let missed = told(&world, "queue.missed", 1).await;
    assert!(missed[0].notice.title.contains("180 minutes"), "{missed:?}");
    clock.advance(20 * MINUTE);
    world.client.beat(&Default::default()).await.unwrap();
    assert_eq!(notices(&world, "queue.missed").await.len(), 1);
    assert_eq!(of(&world, "low").await.build, None);
    world.end().await;
}

/// `whsec_` and Base64 of "secret".
const SECRET: &str = "whsec_c2VjcmV0";

/// A request as a sender of Standard Webhooks makes it.
fn signed(id: &str, at_s: i64, body: &str, key: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{id}.{at_s}.{body}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    format!(
        "POST /api/v1/hooks/crm HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         webhook-id: {id}\r\nwebhook-timestamp: {at_s}\r\nwebhook-signature: v1,{signature}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_signed_webhook_adds_an_item_once_and_nothing_else_does() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, SECRET).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let clock = clock("2026-02-06T09:00");
    let world = World::by(&clock, |config| {
        watched(config);
        config.settings.queue.hooks = vec![HookSettings {
            id: "crm".into(),
            secret: format!("file:{}", path.display()),
            organization: None,
        }];
    })
    .await;
    let socket = world.data().join("daemon.sock");
    let send = async |request: String| {
        let answer = raw(&socket, &request).await;
        let status: u16 = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    };
    let now_s = ms("2026-02-06T09:00") / 1_000;
    let body = r#"{"type": "lead.won", "data": {"name": "Welcome page", "description": "Count the words of each note and append them to a table", "criteria": ["it is there"], "priority": "low"}}"#;
    for (request, refused) in [
        (signed("m1", now_s, body, b"other"), 401),
        (signed("m1", now_s - 301, body, b"secret"), 401),
        (
            signed("m1", now_s, body, b"secret").replace("low", "high"),
            401,
        ),
        (
            signed("m1", now_s, body, b"secret").replace("webhook-id: m1", "webhook-id: m2"),
            401,
        ),
        (
            signed("m1", now_s, body, b"secret").replace("webhook-id", "x-id"),
            401,
        ),
        (
            signed("m1", now_s, body, b"secret").replace("hooks/crm", "hooks/erp"),
            404,
        ),
        (signed("m1", now_s, "nonsense", b"secret"), 400),
        (signed("m1", now_s, r#"{"name": ""}"#, b"secret"), 422),
    ] {
        let (status, answer) = send(request).await;
        assert_eq!(status, refused, "{answer}");
    }
    assert_eq!(world.client.queue().await.unwrap().items, []);
    assert_eq!(send(signed("m1", now_s, body, b"secret")).await.0, 201);
    let (status, again) = send(signed("m1", now_s + 60, body, b"secret")).await;
    assert_eq!(
        (status, again.contains("\"repeated\":true")),
        (200, true),
        "{again}"
    );
    let items = world.client.queue().await.unwrap().items;
    assert_eq!(items.len(), 1);
    assert_eq!(
        (items[0].name.as_str(), items[0].priority),
        ("Welcome page", QueuePriority::Low)
    );
    // Removed by a person: the same message does not bring it back.
    world
        .client
        .queue_remove(items[0].label.as_str())
        .await
        .unwrap();
    assert_eq!(send(signed("m1", now_s, body, b"secret")).await.0, 200);
    assert_eq!(world.client.queue().await.unwrap().items, []);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(send(signed("m3", now_s, body, b"secret")).await.0, 503);
    world.end().await;
}

#[expect(clippy::disallowed_methods, reason = "the test makes a repository")]
fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
        .args(arguments)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn a_repository_is_pushed_as_it_grows_and_a_remote_that_is_away_holds_nothing_up() {
    let dir = TempDir::new().unwrap();
    let remote = dir.path().join("all.git");
    let clock = clock("2026-02-06T09:00");
    let place = remote.display().to_string();
    let world = World::by(&clock, |config| {
        watched(config);
        config.settings.queue.push = Some(PushSettings::new(place));
    })
    .await;
    let held = world.create("hold the notes").await;
    world.script.holding().await;
    let repository = world.data().join(format!("builds/{}/repo", held.id));
    std::fs::create_dir_all(&repository).unwrap();
    git(&repository, &["init", "--quiet", "--initial-branch=main"]);
    std::fs::write(repository.join("main.py"), "print()").unwrap();
    git(&repository, &["add", "."]);
    git(&repository, &["commit", "--quiet", "-m", "one"]);
    // The remote is not there: the build goes on all the same, and it is told once.
    world.script.release();
    world.until_settled(held.id.as_str()).await;
    let failed = told(&world, "build.push_failed", 1).await;
    assert!(failed[0].notice.body.contains("all.git"), "{failed:?}");
    std::fs::create_dir(&remote).unwrap();
    git(&remote, &["init", "--quiet", "--bare"]);
    clock.advance(2 * MINUTE);
    let branch = format!("refs/heads/builds/{}/{}", held.label, held.id);
    let there = async || {
        let head = git(&repository, &["rev-parse", "HEAD"]);
        eventually("it is pushed", async || {
            (git(&remote, &["rev-parse", &branch]) == head).then_some(())
        })
        .await;
    };
    there().await;
    // Another commit, pushed with the next step of the build: a yes.
    git(
        &repository,
        &["commit", "--quiet", "--allow-empty", "-m", "two"],
    );
    let detail = world.client.build(held.id.as_str()).await.unwrap();
    world.approve(&detail).await;
    there().await;
    assert_eq!(notices(&world, "build.push_failed").await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn what_fails_three_times_more_is_handed_to_a_person_with_what_was_tried() {
    let clock = clock("2026-02-06T09:00");
    let world = World::by(&clock, watched).await;
    let wish = "fail to count the words of each note in a table";
    add(&world, item("Fails", wish, QueuePriority::High)).await;
    for failures in 1..=4 {
        eventually(&format!("it failed {failures} times"), async || {
            (of(&world, "fails").await.failures == failures).then_some(())
        })
        .await;
        if failures < 4 {
            answered(&world, "fails", "retry").await;
        }
        clock.advance(5 * MINUTE);
    }
    answered(&world, "fails", "escalated").await;
    let told = told(&world, "queue.escalated", 1).await;
    let body = &told[0].notice.body;
    let tried = body.matches("- failed at verify: level 4: the zip is empty");
    assert_eq!(tried.count(), 4, "{body}");
    assert!(body.contains("agentwright queue retry fails"), "{body}");
    assert_eq!(told[0].run, of(&world, "fails").await.build);
    // Nobody tries again by themselves.
    clock.advance(24 * HOUR);
    world.client.beat(&Default::default()).await.unwrap();
    assert_eq!(of(&world, "fails").await.failures, 4);
    world.end().await;
}
