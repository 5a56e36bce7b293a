//! Notices, repeated requests, artifacts.

use crate::bed::{Bed, START_MS, digest, done};
use crate::deployments::version;
use agentwright_domain::approval::Gate;
use agentwright_domain::build::{FailureClass, StageOutcome};
use agentwright_domain::evidence::EvidenceRef;
use agentwright_domain::ids::RunId;
use agentwright_domain::run::{Record, Signal};
use agentwright_store::{DecisionToken, Delivery, Error, Remembered, Report, Writer};

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
        ("build.failed", run.id.clone())
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
