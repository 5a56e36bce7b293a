//! Notices, repeated requests, artifacts.

use crate::bed::{Bed, START_MS, digest, done};
use crate::deployments::version;
use agentwright_domain::approval::Gate;
use agentwright_domain::build::{FailureClass, StageOutcome};
use agentwright_domain::evidence::EvidenceRef;
use agentwright_domain::ids::RunId;
use agentwright_domain::run::{Notice, Record, Signal};
use agentwright_store::{DecisionToken, Delivery, Error, Remembered, Report, Told, Writer};

pub(crate) async fn notices_are_due_once_and_parked_when_settled_so(bed: Bed) {
    let run = bed.held("run").await;
    let failed = Signal::Stage {
        outcome: Box::new(StageOutcome::Failed {
            class: FailureClass::Tests,
            reason: "the archive is empty".to_owned(),
            records: Vec::new(),
        }),
    };
    bed.commit(&run, &failed, Writer::Holder).await.unwrap();
    let due = async || bed.other.due_notices(9, 60_000).await.unwrap();
    let mut row = due().await.remove(0);
    assert_eq!(
        (row.notice.topic.as_str(), row.run.clone()),
        ("build.failed", Some(run.id.clone()))
    );
    assert_eq!(row.notice.body, "the archive is empty");
    // Somebody has it.
    assert_eq!(due().await, []);
    bed.clock.advance(60_000);
    assert_eq!(due().await, std::slice::from_ref(&row));
    row.tries = 1;
    row.delivered_to = vec!["hook".to_owned()];
    row.last_error = Some("mail: refused".to_owned());
    let now_ms = bed.store.now_ms().await.unwrap();
    bed.store.settle_notice(&row, now_ms + 10).await.unwrap();
    assert_eq!(due().await, []);
    bed.clock.advance(10);
    assert_eq!(due().await, std::slice::from_ref(&row));
    row.delivery = Delivery::Parked;
    bed.store.settle_notice(&row, 0).await.unwrap();
    bed.clock.advance(1_000_000);
    assert_eq!(due().await, []);
    assert_eq!(bed.store.notices(&bed.scope, 9).await.unwrap(), [row]);
}

pub(crate) async fn what_no_run_tells_is_told_once(bed: Bed) {
    let told = |id: &str| Told {
        id: id.to_owned(),
        run: None,
        notice: Notice {
            topic: "queue.vague".to_owned(),
            title: "says too little".to_owned(),
            body: String::new(),
        },
    };
    assert!(bed.store.tell(&bed.scope, &told("a")).await.unwrap());
    assert!(!bed.other.tell(&bed.scope, &told("a")).await.unwrap());
    assert!(bed.other.tell(&bed.scope, &told("b")).await.unwrap());
    let due = bed.store.due_notices(9, 60_000).await.unwrap();
    let ids: Vec<&str> = due.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(due[0].run, None);
}

pub(crate) async fn a_night_has_one_report_and_a_message_one_item(bed: Bed) {
    let (one, two) = (serde_json::json!({"n": 1}), serde_json::json!({"n": 2}));
    let keep = async |night: &str, report| bed.store.keep_report(&bed.scope, night, report).await;
    assert!(keep("2026-02-06", &one).await.unwrap());
    assert!(!keep("2026-02-06", &two).await.unwrap());
    assert!(keep("2026-02-05", &two).await.unwrap());
    let kept = bed
        .other
        .kept_report(&bed.scope, None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((kept.night.as_str(), &kept.report), ("2026-02-06", &one));
    let kept = bed.other.kept_report(&bed.scope, Some("2026-02-05")).await;
    assert_eq!(kept.unwrap().unwrap().report, two);
    assert_eq!(
        bed.store.kept_report(&bed.scope, Some("x")).await.unwrap(),
        None
    );

    let label = agentwright_domain::ids::Slug::parse("spotify").unwrap();
    let known = async || {
        bed.other
            .hook_message(&bed.scope, "crm", "m1")
            .await
            .unwrap()
    };
    assert_eq!(known().await, None);
    for _ in 0..2 {
        bed.store
            .keep_hook_message(&bed.scope, "crm", "m1", &label)
            .await
            .unwrap();
    }
    assert_eq!(known().await, Some(label.clone()));
    // After a month nobody repeats it any more.
    bed.clock.advance(31 * 24 * 3_600_000);
    bed.store
        .keep_hook_message(&bed.scope, "crm", "m2", &label)
        .await
        .unwrap();
    assert_eq!(known().await, None);
}

pub(crate) async fn what_ended_in_a_time_is_read_with_what_it_took(bed: Bed) {
    let run = bed.held("run").await;
    let failed = Signal::Stage {
        outcome: Box::new(StageOutcome::Failed {
            class: FailureClass::Tests,
            reason: "the archive is empty".to_owned(),
            records: Vec::new(),
        }),
    };
    bed.commit(&run, &failed, Writer::Holder).await.unwrap();
    let now_ms = bed.store.now_ms().await.unwrap();
    let between = async |from, to| bed.store.ended_between(&bed.scope, from, to).await.unwrap();
    let ended = between(now_ms - 1_000, now_ms + 1).await;
    assert_eq!(ended.len(), 1);
    assert_eq!((&ended[0].id, ended[0].status.word()), (&run.id, "failed"));
    assert_eq!(ended[0].micro_usd, 0);
    assert_eq!(between(now_ms + 1, now_ms + 9).await, []);
    assert_eq!(between(now_ms - 9, ended[0].ended_at_ms).await, []);
    assert_eq!(
        bed.store
            .spent_between(&bed.scope, 0, now_ms)
            .await
            .unwrap(),
        (0, 0)
    );
}

pub(crate) async fn a_parked_build_says_until_when_there_is_no_quota(bed: Bed) {
    assert_eq!(bed.store.quota_until(&bed.scope).await.unwrap(), None);
    let run = bed.held("run").await;
    let until_ms = bed.store.now_ms().await.unwrap() + 90_000;
    let parked = Signal::Stage {
        outcome: Box::new(StageOutcome::Park {
            reason: "the quota is used up".to_owned(),
            until_ms,
        }),
    };
    bed.commit(&run, &parked, Writer::Holder).await.unwrap();
    assert_eq!(
        bed.other.quota_until(&bed.scope).await.unwrap(),
        Some(until_ms)
    );
    bed.clock.advance(90_001);
    assert_eq!(bed.other.quota_until(&bed.scope).await.unwrap(), None);
}

pub(crate) async fn a_link_that_decides_is_kept_by_its_digest_and_used_up_with_its_gate(bed: Bed) {
    let run = bed.submit("run").await;
    let other = bed.submit("other").await;
    let token = |run: &RunId, approves| DecisionToken {
        scope: bed.scope.clone(),
        run: run.clone(),
        gate: Gate::Deploy,
        subject: digest(6),
        approves,
        sent_to: "phone".to_owned(),
        expires_at_ms: START_MS + 1_000,
        used_at_ms: None,
    };
    let keep = async |text: &str, of: &DecisionToken| {
        bed.store.keep_decision_token(text, of).await.unwrap();
    };
    let found = async |text: &str| bed.other.decision_token(text).await.unwrap();
    let (yes, no) = (token(&run, true), token(&run, false));
    keep("yes", &yes).await;
    keep("no", &no).await;
    keep("elsewhere", &token(&other, true)).await;
    assert_eq!(found("yes").await, Some(yes.clone()));
    assert_eq!(found("no").await, Some(no.clone()));
    assert_eq!(found("YES").await, None);

    bed.clock.advance(7);
    bed.store.use_decision_tokens(&no).await.unwrap();
    for text in ["yes", "no"] {
        assert_eq!(found(text).await.unwrap().used_at_ms, Some(START_MS + 7));
    }
    assert_eq!(found("elsewhere").await.unwrap().used_at_ms, None);

    // Expired ones are remembered for a week, then nobody knows them.
    bed.clock.advance(7 * 24 * 3_600_000);
    keep("new", &token(&other, true)).await;
    assert!(found("yes").await.is_some());
    bed.clock.advance(1_000);
    keep("newer", &token(&other, true)).await;
    assert_eq!(found("yes").await, None);
}

pub(crate) async fn a_repeated_key_answers_the_first_id(bed: Bed) {
    let remember = async |request: &str, id: &str| {
        bed.store
            .remember(&bed.scope, "key", request, id)
            .await
            .unwrap()
    };
    assert_eq!(remember("a", "1").await, Remembered::New);
    assert_eq!(remember("a", "2").await, Remembered::Same("1".to_owned()));
    assert_eq!(remember("b", "3").await, Remembered::Different);
    bed.clock.advance(24 * 3_600_000 + 1);
    assert_eq!(remember("b", "4").await, Remembered::New);
}

/// A client that hangs up drops the call wherever it waits: also between begin and commit.
pub(crate) async fn a_call_given_up_half_way_leaves_nothing_open_behind(bed: Bed) {
    for polls in 1..60_u32 {
        {
            let key = format!("key-{polls}");
            let call = bed.store.remember(&bed.scope, &key, "a", "1");
            let mut call = std::pin::pin!(call);
            let mut left = polls;
            std::future::poll_fn(|cx| {
                left -= 1;
                if left == 0 || call.as_mut().poll(cx).is_ready() {
                    return std::task::Poll::Ready(());
                }
                std::task::Poll::Pending
            })
            .await;
        }
        let label = format!("after-{polls}");
        let new = agentwright_testkit::build_run(&bed.store.new_id(), &label);
        let id = bed.store.submit(new, None).await.unwrap().id;
        assert_eq!(bed.run(&id).await.id, id, "given up after {polls} polls");
        let kept = bed.store.remember(&bed.scope, &label, "a", "1").await;
        assert_eq!(kept.unwrap(), Remembered::New);
        let kept = bed.store.remember(&bed.scope, &label, "a", "2").await;
        assert_eq!(kept.unwrap(), Remembered::Same("1".to_owned()));
    }
}

/// The bed's quota is 1,000 bytes.
pub(crate) async fn artifacts_of_live_things_survive_the_quota(bed: Bed) {
    let keep = async |run: &_, name: &str, byte: u8| {
        let (digest, bytes) = bed.store.put_artifact(vec![byte; 300]).await.unwrap();
        let kept = EvidenceRef {
            name: name.to_owned(),
            digest,
            bytes,
        };
        let report = Report {
            records: vec![Record::Artifact(kept.clone())],
            events: Vec::new(),
        };
        bed.store.report(run, report).await.unwrap();
        kept
    };
    let deployed = bed.held("deployed").await;
    let of_deployed = keep(&deployed, "log", 1).await;
    let signal = crate::bed::done_with(&deployed, version(&deployed.id, "backup", 1));
    let next = bed
        .commit(&deployed, &signal, Writer::Holder)
        .await
        .unwrap()
        .run;
    bed.work(next).await;
    let ended = bed.held("ended").await;
    let of_ended = keep(&ended, "log", 2).await;
    bed.work(ended).await;
    let open = bed.held("open").await;
    let of_open = keep(&open, "log", 3).await;
    // Kept twice is kept once.
    assert_eq!(keep(&open, "same", 3).await.digest, of_open.digest);

    let (fourth, _) = bed.store.put_artifact(vec![4; 300]).await.unwrap();
    let there = async |digest| bed.store.artifact(digest).await.unwrap().is_some();
    assert!(there(&of_deployed.digest).await, "of a live deployment");
    assert!(there(&of_open.digest).await, "of an open run");
    assert!(there(&fourth).await, "the one that was just kept");
    assert!(
        !there(&of_ended.digest).await,
        "the oldest that nobody needs"
    );
    assert_eq!(bed.store.artifact(&digest(200)).await.unwrap(), None);

    // Bytes that are kept again are the newest: their row may be written only after the next eviction.
    bed.store.put_artifact(vec![5; 100]).await.unwrap();
    bed.store.put_artifact(vec![4; 300]).await.unwrap();
    bed.store.put_artifact(vec![6; 100]).await.unwrap();
    assert!(there(&fourth).await, "kept again just now");

    let path = bed.store.artifact_path(&of_open.digest);
    assert!(path.starts_with(bed.dir()));
    std::fs::write(&path, vec![9; 300]).unwrap();
    let damaged = bed.store.artifact(&of_open.digest).await;
    assert!(matches!(damaged, Err(Error::Corrupt { .. })));
    let run = bed.work(open).await;
    assert!(run.status.ended());
    let _ = done;
}
