//! Builds that start by themselves, as a client sees them.

use crate::support::{World, wish};
use agentwright_api::{
    BeatMode, BeatRequest, ClientError, QueueAdd, QueueAdds, QueueChange, QueueImport, QueueItem,
    QueuePriority,
};
use agentwright_domain::build::ApprovalMode;
use agentwright_domain::ids::Slug;
use agentwright_server::Config;
use agentwright_testkit::eventually;
use std::path::Path;
use tempfile::TempDir;

fn item(name: &str) -> QueueAdd {
    QueueAdd {
        name: name.into(),
        description: Some("Count the words of each note and append them to a table".into()),
        criteria: vec!["the table has one row for each note".into()],
        ..QueueAdd::default()
    }
}

fn adds(items: Vec<QueueAdd>) -> QueueAdds {
    QueueAdds {
        items,
        base_dir: "/home/ann".into(),
        zone: "UTC".into(),
    }
}

/// Builds ask nobody, and what is medium never starts while the test runs.
fn by_itself(config: &mut Config) {
    config.settings.queue.mode = ApprovalMode::Auto;
    let now = jiff::Timestamp::from_second(
        i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap(),
    );
    let far = now.unwrap().to_zoned(jiff::tz::TimeZone::UTC) + jiff::Span::new().hours(12);
    config.settings.queue.off_hours_from = far.strftime("%H:00").to_string();
    config.settings.queue.off_hours_to = far.strftime("%H:01").to_string();
    config.settings.queue.zone = Some("UTC".into());
}

fn with_files(dir: &Path) -> impl FnOnce(&mut Config) {
    let dir = dir.to_owned();
    move |config| {
        by_itself(config);
        config.settings.queue.dir = Some(dir);
    }
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

/// Waits until the item's last answer is that.
async fn answered(world: &World, label: &str, word: &str) -> QueueItem {
    eventually(&format!("{label} is answered {word}"), async || {
        let item = world.client.queue_why(label).await.ok()?.item;
        item.why
            .as_ref()
            .is_some_and(|why| why.decision == word)
            .then_some(item)
    })
    .await
}

#[tokio::test]
async fn what_is_added_starts_by_itself_and_the_next_one_after_it() {
    let world = World::with(by_itself).await;
    let mut first = item("hold the first");
    first.description = Some("hold it, and count the words of each note".into());
    let added = world
        .client
        .queue_add(&adds(vec![first, item("Second")]))
        .await
        .unwrap();
    let labels: Vec<_> = added.items.iter().map(|item| item.label.as_str()).collect();
    assert_eq!(labels, ["hold-the-first", "second"]);
    world.script.holding().await;
    let waiting = answered(&world, "second", "limit").await;
    let why = waiting.why.unwrap();
    assert!(why.words.contains("hold-the-first"), "{}", why.words);
    assert_eq!(waiting.position, Some(2));
    let first = of(&world, "hold-the-first").await;
    let build = world
        .client
        .build(first.build.unwrap().as_str())
        .await
        .unwrap();
    assert_eq!(build.build.label.as_str(), "hold-the-first");
    assert!(
        build
            .build
            .intent
            .contains("It is done when:\n- the table has one row"),
        "{}",
        build.build.intent
    );
    world.script.release();
    until(&world, "hold-the-first", "done").await;
    until(&world, "second", "done").await;
    let receipts = world.client.queue_why("second").await.unwrap().receipts;
    assert!(receipts.iter().any(|one| one.decision == "start"));
    let looks = world.client.heartbeat().await.unwrap().looks;
    assert!(looks.iter().map(|look| look.started).sum::<u32>() >= 2);
    world.end().await;
}

#[tokio::test]
async fn what_may_not_start_says_why_and_starts_when_that_is_out_of_the_way() {
    let world = World::with(by_itself).await;
    let mut medium = item("medium");
    medium.priority = QueuePriority::Medium;
    let mut low = item("low");
    low.priority = QueuePriority::Low;
    let mut blocked = item("blocked");
    blocked.blockers = vec!["the key of Ann".into(), "Low".into()];
    let mut vague = item("vague");
    vague.description = Some("make it better".into());
    let mut risky = item("risky");
    risky.description = Some("Delete all old records of the notes from the database".into());
    world
        .client
        .queue_add(&adds(vec![medium, low, blocked, vague, risky]))
        .await
        .unwrap();
    for (label, word) in [
        ("medium", "window"),
        ("low", "unapproved"),
        ("blocked", "blocked"),
        ("vague", "vague"),
        ("risky", "risk"),
    ] {
        answered(&world, label, word).await;
    }
    let check = world
        .client
        .beat(&BeatRequest {
            mode: BeatMode::Check,
        })
        .await
        .unwrap();
    assert_eq!((check.started.len(), check.items.len()), (0, 5));

    let change = async |label: &str, change: QueueChange| {
        world.client.queue_change(label, &change).await.unwrap()
    };
    change("low", QueueChange::Approve {}).await;
    until(&world, "low", "done").await;
    change(
        "blocked",
        QueueChange::Unblock {
            by: Some("the KEY of Ann".into()),
        },
    )
    .await;
    until(&world, "blocked", "done").await;
    change("risky", QueueChange::Approve {}).await;
    assert!(until(&world, "risky", "done").await.approved_by.is_some());
    change(
        "medium",
        QueueChange::Priority {
            to: QueuePriority::High,
        },
    )
    .await;
    until(&world, "medium", "done").await;
    let removed = world.client.queue_remove("vague").await.unwrap();
    assert_eq!(removed.name, "vague");
    assert_eq!(world.client.queue().await.unwrap().items.len(), 4);
    world.end().await;
}

#[tokio::test]
async fn a_build_that_fails_is_tried_again_in_five_minutes_and_one_that_a_person_ends_is_not() {
    let world = World::with(by_itself).await;
    let mut failing = item("failing");
    failing.description = Some("fail to count the words of each note in a table".into());
    world.client.queue_add(&adds(vec![failing])).await.unwrap();
    let failed = answered(&world, "failing", "retry").await;
    assert_eq!((failed.failures, failed.status.as_str()), (1, "failed"));
    let again = world
        .client
        .queue_change("failing", &QueueChange::Retry {})
        .await
        .unwrap();
    assert_eq!(again.failures, 0);
    let second = eventually("it is built anew", async || {
        let item = of(&world, "failing").await;
        (item.build != failed.build && item.status == "failed").then_some(item)
    })
    .await;
    let build = world
        .client
        .build(second.build.unwrap().as_str())
        .await
        .unwrap()
        .build;
    assert_eq!(build.repeats, failed.build);

    let mut held = item("held");
    held.description = Some("hold it, and count the words of each note".into());
    world.client.queue_add(&adds(vec![held])).await.unwrap();
    world.script.holding().await;
    let held = of(&world, "held").await.build.unwrap();
    world
        .client
        .cancel(held.as_str(), &Default::default())
        .await
        .unwrap();
    let ended = answered(&world, "held", "escalated").await;
    assert!(ended.why.unwrap().words.contains("retry"));
    world.end().await;
}

#[tokio::test]
async fn a_build_that_waits_for_a_person_holds_nobody_up_and_is_done_by_their_yes() {
    let world = World::with(|config| {
        by_itself(config);
        config.settings.queue.mode = ApprovalMode::Final;
    })
    .await;
    world
        .client
        .queue_add(&adds(vec![item("one"), item("two")]))
        .await
        .unwrap();
    let one = until(&world, "one", "awaiting_approval").await;
    until(&world, "two", "awaiting_approval").await;
    let detail = world
        .client
        .build(one.build.unwrap().as_str())
        .await
        .unwrap();
    world.approve(&detail).await;
    until(&world, "one", "done").await;
    world.end().await;
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> (u16, String) {
    let error = answer.unwrap_err();
    let problem = error.problem().unwrap_or_else(|| panic!("{error}"));
    (problem.status, problem.code.clone())
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_and_nothing_of_it_is_kept() {
    let world = World::with(by_itself).await;
    let mut late = item("late");
    late.start = Some("soon".into());
    let answer = world
        .client
        .queue_add(&adds(vec![item("fine"), late]))
        .await;
    assert_eq!(refusal(answer), (422, "request.invalid".into()));
    let mut labelled = item("labelled");
    labelled.priority = QueuePriority::Low;
    labelled.label = Some(Slug::parse("mine").unwrap());
    world
        .client
        .queue_add(&adds(vec![labelled.clone()]))
        .await
        .unwrap();
    let answer = world
        .client
        .queue_add(&adds(vec![item("fine"), labelled]))
        .await;
    assert_eq!(refusal(answer), (409, "build.label_taken".into()));
    assert_eq!(
        refusal(world.client.queue_why("nobody").await),
        (404, "not_found".into())
    );
    let unblock = QueueChange::Unblock {
        by: Some("nothing".into()),
    };
    assert_eq!(
        refusal(world.client.queue_change("mine", &unblock).await).0,
        409
    );
    assert_eq!(
        refusal(
            world
                .client
                .queue_change("mine", &QueueChange::Retry {})
                .await
        )
        .0,
        409
    );
    assert_eq!(world.client.queue().await.unwrap().items.len(), 1);

    let text =
        "## Active Queue\n- [ ] One - Priority: low\n- [ ] Two - Priority: whenever\n- [x] Done\n";
    let import = QueueImport {
        text: text.into(),
        base_dir: "/home/ann".into(),
        zone: "UTC".into(),
    };
    let made = world.client.queue_import(&import).await.unwrap();
    assert_eq!((made.items.len(), made.problems.len()), (2, 1));
    assert!(made.problems[0].starts_with("3:"), "{:?}", made.problems);
    // Again: they are there.
    assert_eq!(
        world
            .client
            .queue_import(&import)
            .await
            .unwrap()
            .items
            .len(),
        0
    );
    let change = QueueChange::Move {
        before: Some(Slug::parse("mine").unwrap()),
    };
    assert_eq!(
        world
            .client
            .queue_change("two", &change)
            .await
            .unwrap()
            .position,
        Some(1)
    );
    world.end().await;
}

#[tokio::test]
async fn the_queue_file_and_the_queue_are_one_and_what_is_done_is_ticked_in_it() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("BUILD_QUEUE.md");
    std::fs::write(&path, "# Mine\n\n## Active Queue\n\n- [ ] From file - Priority: low\n\n## Task Details\n\n### From file\n- **Description:** Count the words of each note and append them to a table\n- **Completion Criteria:** the table has one row for each note\n").unwrap();
    let world = World::with(with_files(dir.path())).await;
    answered(&world, "from-file", "unapproved").await;
    // The API adds, the file has it; a person edits, the queue has it.
    let mut added = item("From API");
    added.priority = QueuePriority::Low;
    world.client.queue_add(&adds(vec![added])).await.unwrap();
    let text = eventually("the file has it", async || {
        let text = std::fs::read_to_string(&path).unwrap();
        text.contains("- [ ] From API - Added: ").then_some(text)
    })
    .await;
    std::fs::write(
        &path,
        text.replace("From file - Priority: low", "From file - Priority: high"),
    )
    .unwrap();
    until(&world, "from-file", "done").await;
    let text = eventually("it is ticked", async || {
        let text = std::fs::read_to_string(&path).unwrap();
        text.contains("- [x] From file - Priority: high")
            .then_some(text)
    })
    .await;
    let done = text.find("## Completed").unwrap();
    assert!(text.find("- [x] From file").unwrap() > done, "{text}");
    assert!(text.starts_with("# Mine\n\n## Active Queue\n\n"), "{text}");
    // Deleted by a person; removed over the API.
    let without: String = text
        .lines()
        .filter(|line| !line.contains("From file"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&path, without).unwrap();
    eventually("it is gone", async || {
        world.client.queue_why("from-file").await.err().map(|_| ())
    })
    .await;
    world.client.queue_remove("from-api").await.unwrap();
    eventually("the file has it no more", async || {
        let text = std::fs::read_to_string(&path).unwrap();
        (!text.contains("From API")).then_some(())
    })
    .await;
    let status = std::fs::read_to_string(dir.path().join("BUILD_STATUS.md")).unwrap();
    assert!(status.contains("## Currently building"), "{status}");
    let active = std::fs::read_to_string(dir.path().join("subagents/active.json")).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&active).unwrap()["active"].is_array());
    assert!(
        std::fs::read_to_string(dir.path().join("HEARTBEAT.md"))
            .unwrap()
            .contains("off-hours")
    );
    world.end().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_left_alone_and_the_queue_goes_on() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("BUILD_QUEUE.md");
    std::fs::write(&path, b"## Active Queue\n- [ ] \xff\n").unwrap();
    let world = World::with(with_files(dir.path())).await;
    world
        .client
        .queue_add(&adds(vec![item("goes on")]))
        .await
        .unwrap();
    until(&world, "goes-on", "done").await;
    assert_eq!(
        std::fs::read(&path).unwrap(),
        b"## Active Queue\n- [ ] \xff\n"
    );
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    world
        .client
        .queue_add(&adds(vec![item("goes on too")]))
        .await
        .unwrap();
    until(&world, "goes-on-too", "done").await;
    assert!(path.symlink_metadata().unwrap().is_symlink());
    // Somebody takes it away: it is written anew, with everything.
    std::fs::remove_file(&path).unwrap();
    eventually("it is written anew", async || {
        let text = std::fs::read_to_string(&path).ok()?;
        text.contains("- [x] goes on too").then_some(())
    })
    .await;
    world.end().await;
}

#[tokio::test]
async fn what_is_written_about_builds_is_written_again_only_when_it_changed() {
    let dir = TempDir::new().unwrap();
    let world = World::with(with_files(dir.path())).await;
    let mut low = item("waits");
    low.priority = QueuePriority::Low;
    world.client.queue_add(&adds(vec![low])).await.unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    let names = [
        "BUILD_STATUS.md",
        "HEARTBEAT.md",
        "subagents/active.json",
        "progress.html",
    ];
    eventually("all of them tell of it", async || {
        names
            .iter()
            .all(|name| read(name).contains("waits"))
            .then_some(())
    })
    .await;
    let inode = |name: &str| {
        use std::os::unix::fs::MetadataExt as _;
        dir.path().join(name).metadata().map(|it| it.ino()).ok()
    };
    // What the first looks say of it is still on its way.
    let mut before = names.map(inode);
    let written = eventually("they come to rest", async || {
        world.settled(&wish("rest")).await;
        let now = names.map(inode);
        (std::mem::replace(&mut before, now) == now).then_some(now)
    })
    .await;
    // Builds that are none of the queue's say nothing there, however much they commit. That it was looked at shows a
    // file that somebody deleted: it alone comes back.
    std::fs::remove_file(dir.path().join("progress.html")).unwrap();
    let mut round = 0;
    eventually("it is there again", async || {
        round += 1;
        world.settled(&wish(&format!("other {round}"))).await;
        inode("progress.html")
    })
    .await;
    assert_eq!(names.map(inode)[..3], written[..3]);
    // And what the queue does is there at once.
    world
        .client
        .queue_change("waits", &QueueChange::Approve {})
        .await
        .unwrap();
    eventually("it is done everywhere", async || {
        let done = read("subagents/active.json");
        let done: serde_json::Value = serde_json::from_str(&done).ok()?;
        (done["completed"][0]["label"] == "waits" && read("BUILD_STATUS.md").contains("- waits"))
            .then_some(())
    })
    .await;
    world.end().await;
}

#[tokio::test]
async fn an_item_that_a_foundation_covers_has_its_turn_behind_many_that_say_too_little() {
    let world = World::with(by_itself).await;
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("notes")).unwrap();
    let said = |name: String, said: &str| QueueAdd {
        name,
        description: Some(said.into()),
        ..QueueAdd::default()
    };
    // More than are planned at one look.
    let mut items: Vec<QueueAdd> = (0..60)
        .map(|n| said(format!("vague {n}"), "make it better"))
        .collect();
    let zip = "every night, keep a zip of the folder ./notes in ./backups and keep the last 7";
    items.push(said("keep".into(), zip));
    let mut adds = adds(items);
    adds.base_dir = folder.path().display().to_string();
    world.client.queue_add(&adds).await.unwrap();
    let mode = BeatMode::Start;
    for _ in 0..2 {
        world.client.beat(&BeatRequest { mode }).await.unwrap();
    }
    let keep = until(&world, "keep", "done").await;
    let build = world.client.build(keep.build.unwrap().as_str()).await;
    assert_eq!(build.unwrap().build.intent, zip, "in its own words");
    assert_eq!(of(&world, "vague-59").await.status, "queued");
    world.end().await;
}

#[tokio::test]
async fn a_priority_that_like_items_had_is_suggested_and_set_by_a_person_only() {
    let world = World::with(by_itself).await;
    for n in 1..=3 {
        let name = format!("Spotify playlist {n}");
        world
            .client
            .queue_add(&adds(vec![item(&name)]))
            .await
            .unwrap();
        until(&world, &format!("spotify-playlist-{n}"), "done").await;
    }
    let mut low = item("Spotify playlist of June");
    low.priority = QueuePriority::Low;
    world.client.queue_add(&adds(vec![low])).await.unwrap();
    let waits = answered(&world, "spotify-playlist-of-june", "unapproved").await;
    let suggestion = waits.suggestion.unwrap();
    assert_eq!(suggestion.priority, QueuePriority::High);
    assert!(
        suggestion
            .words
            .starts_with("3 of 3 done items like it were high: spotify-playlist-3"),
        "{}",
        suggestion.words
    );
    world
        .client
        .beat(&BeatRequest {
            mode: BeatMode::Start,
        })
        .await
        .unwrap();
    let still = of(&world, "spotify-playlist-of-june").await;
    assert_eq!((still.priority, still.build), (QueuePriority::Low, None));
    let to = suggestion.priority;
    let changed = world
        .client
        .queue_change("spotify-playlist-of-june", &QueueChange::Priority { to })
        .await
        .unwrap();
    assert_eq!(changed.suggestion, None);
    until(&world, "spotify-playlist-of-june", "done").await;
    world.end().await;
}
