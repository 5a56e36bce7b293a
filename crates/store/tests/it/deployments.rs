//! Deployments.

use crate::bed::{Bed, cancel, digest, done_with, transition};
use agentwright_domain::approval::Grant;
use agentwright_domain::build::MadeFrom;
use agentwright_domain::deployment::{Activity, DeployedVersion, ServiceEntry};
use agentwright_domain::execution::ExecutionOutcome;
use agentwright_domain::ids::{GrantId, RunId};
use agentwright_domain::run::{Expected, Record, Replaced, Run, RunStatus, Signal, Usage};
use agentwright_domain::spec::{AutomationKind, Trigger};
use agentwright_store::{CommitError, DeploymentRow, Found, OrgScope, Writer};
use agentwright_testkit::{execution_run, slug, spec};

pub(crate) fn version(build: &RunId, name: &str, number: u32) -> Vec<Record> {
    let grant = Grant {
        id: GrantId::new(format!("{name}-grant-{number}")),
        approval: None,
        deployment: slug(name),
        code: digest(1),
        spec: digest(2),
        permissions: spec(name).permissions,
        trigger: Trigger::Once,
        target: "local".to_owned(),
        granted_at_ms: i64::from(number),
        revoked_at_ms: None,
    };
    let version = DeployedVersion {
        name: slug(name),
        version: number,
        build: build.clone(),
        grant: grant.id.clone(),
        code: digest(1),
        spec: spec(name),
        environment: digest(3),
        deployed_at_ms: 1,
    };
    let entry = ServiceEntry {
        name: slug(name),
        kind: AutomationKind::Script,
        purpose: "does nothing".to_owned(),
        version: number,
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        registered_at_ms: 2,
    };
    vec![
        Record::Grant(Box::new(grant)),
        Record::Version(Box::new(version)),
        Record::Service(entry),
    ]
}

/// Deploys versions of `backup`.
pub(crate) async fn deployed(bed: &Bed, numbers: std::ops::RangeInclusive<u32>) -> DeploymentRow {
    for number in numbers {
        let run = bed.held(&format!("build{number}")).await;
        let signal = done_with(&run, version(&run.id, "backup", number));
        bed.commit(&run, &signal, Writer::Holder).await.unwrap();
    }
    row(bed).await
}

async fn row(bed: &Bed) -> DeploymentRow {
    let row = bed.store.deployment(&bed.scope, &slug("backup")).await;
    row.unwrap().unwrap()
}

async fn fire(bed: &Bed, revision: i64) -> Option<Run> {
    let new = execution_run(&bed.store.new_id(), "backup");
    let id = new.id.clone();
    let fired = bed
        .store
        .fire(&bed.scope, &slug("backup"), revision, new, Some(77))
        .await;
    if !fired.unwrap() {
        assert_eq!(bed.store.run(&bed.scope, &id).await.unwrap(), None);
        return None;
    }
    let mut claimed = bed.claim("worker").await;
    claimed.retain(|run| run.id == id);
    Some(claimed.remove(0))
}

fn failed(reason: &str) -> Signal {
    Signal::Executed {
        outcome: Box::new(ExecutionOutcome::Failed {
            reason: reason.to_owned(),
            retryable: false,
            usage: Usage::default(),
            log: None,
            notices: Vec::new(),
        }),
    }
}

pub(crate) async fn a_version_makes_a_deployment_and_the_next_one_switches_it(bed: Bed) {
    let one = deployed(&bed, 1..=1).await;
    assert_eq!((one.active_version, one.failures_in_a_row), (1, 0));
    assert_eq!(
        (one.activity.clone(), one.next_due_at_ms),
        (Activity::Active, None)
    );
    let name = slug("backup");
    assert!(
        bed.store
            .set_activity(
                &bed.scope,
                &name,
                one.revision,
                &Activity::Active,
                None,
                Some(9)
            )
            .await
            .unwrap()
    );
    let two = deployed(&bed, 2..=2).await;
    // The next time is worked out anew for the new version.
    assert_eq!((two.active_version, two.next_due_at_ms), (2, None));
    let versions = bed.store.versions(&bed.scope, &name).await.unwrap();
    assert_eq!(
        versions.iter().map(|v| v.version).collect::<Vec<_>>(),
        [1, 2]
    );
    let first = bed
        .store
        .version(&bed.scope, &name, 1)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first, versions[0]);
    assert_eq!(bed.store.version(&bed.scope, &name, 3).await.unwrap(), None);
    assert_eq!(bed.store.services(&bed.scope).await.unwrap()[0].version, 2);
    assert_eq!(
        bed.store.deployments(&bed.scope).await.unwrap(),
        std::slice::from_ref(&two)
    );
    let all = bed.store.all_deployments().await.unwrap();
    assert_eq!(all, [(OrgScope::local(), two)]);
}

/// The rows of a version that is written only where a deployment is there, or is not.
fn expecting(build: &RunId, number: u32, deployed: bool) -> Vec<Record> {
    let name = slug("backup");
    let expected = Record::Expects(Expected { name, deployed });
    let mut records = version(build, "backup", number);
    records.push(expected);
    records
}

pub(crate) async fn of_two_versions_for_one_new_name_one_is_written(bed: Bed) {
    let (one, two) = (bed.held("one").await, bed.held("two").await);
    let commit = |run: &Run, number: u32| {
        let signal = done_with(run, expecting(&run.id, number, false));
        transition(run, &signal, Writer::Holder)
    };
    // Two processes on PostgreSQL; in one group on SQLite.
    let (first, second) = tokio::join!(
        bed.store.commit(commit(&one, 1)),
        bed.other.commit(commit(&two, 2))
    );
    let (lost, lost_run, won) = match (first, second) {
        (Ok(_), Err(error)) => (error, &two, 1),
        (Err(error), Ok(_)) => (error, &one, 2),
        both => panic!("{both:?}"),
    };
    assert!(
        matches!(
            lost,
            CommitError::Unexpected {
                found: Found::Deployed,
                ..
            }
        ),
        "{lost}"
    );
    assert_eq!(row(&bed).await.active_version, won);
    let versions = bed.store.versions(&bed.scope, &slug("backup")).await;
    assert_eq!(versions.unwrap().len(), 1);
    // Nothing of the other one was written: it can still end, and one that is late is stale before anything else.
    let same = bed.run(&lost_run.id).await;
    assert_eq!(
        (same.epoch, same.status),
        (lost_run.epoch, RunStatus::Leased)
    );
    let signal = done_with(lost_run, Vec::new());
    bed.commit(lost_run, &signal, Writer::Holder).await.unwrap();
    let late = bed.store.commit(commit(lost_run, 3)).await;
    assert!(matches!(late, Err(CommitError::Stale { .. })), "{late:?}");
}

/// The rows of a version that is written only where version 1, by that build, is the active one.
fn replacing(build: &RunId, number: u32, first: &RunId) -> Vec<Record> {
    let mut records = version(build, "backup", number);
    records.push(Record::Replaces(Replaced {
        name: slug("backup"),
        version: MadeFrom {
            version: 1,
            build: first.clone(),
        },
    }));
    records
}

pub(crate) async fn of_two_versions_that_replace_the_same_one_one_is_written(bed: Bed) {
    deployed(&bed, 1..=1).await;
    let first = bed.store.version(&bed.scope, &slug("backup"), 1).await;
    let first = first.unwrap().unwrap().build;
    let (one, two) = (bed.held("one").await, bed.held("two").await);
    let commit = |run: &Run, number: u32| {
        let signal = done_with(run, replacing(&run.id, number, &first));
        transition(run, &signal, Writer::Holder)
    };
    // Two processes on PostgreSQL; in one group on SQLite.
    let (a, b) = tokio::join!(
        bed.store.commit(commit(&one, 2)),
        bed.other.commit(commit(&two, 3))
    );
    let (lost, won) = match (a, b) {
        (Ok(_), Err(error)) => (error, 2),
        (Err(error), Ok(_)) => (error, 3),
        both => panic!("{both:?}"),
    };
    let found = Found::Replaced;
    assert!(
        matches!(&lost, CommitError::Unexpected { found: how, .. } if *how == found),
        "{lost}"
    );
    assert_eq!(
        lost.to_string(),
        "backup has another active version meanwhile"
    );
    assert_eq!(row(&bed).await.active_version, won);
    let versions = bed.store.versions(&bed.scope, &slug("backup")).await;
    assert_eq!(versions.unwrap().len(), 2);
}

pub(crate) async fn a_version_that_another_build_made_is_not_the_one_to_replace(bed: Bed) {
    deployed(&bed, 1..=1).await;
    let run = bed.held("change").await;
    let signal = done_with(&run, replacing(&run.id, 2, &RunId::new("of before")));
    let lost = bed.commit(&run, &signal, Writer::Holder).await.unwrap_err();
    assert!(matches!(lost, CommitError::Unexpected { .. }), "{lost}");
    assert_eq!(row(&bed).await.active_version, 1);
    assert_eq!(bed.run(&run.id).await.epoch, run.epoch);
}

pub(crate) async fn a_version_for_what_was_removed_writes_nothing(bed: Bed) {
    deployed(&bed, 1..=1).await;
    let run = bed.held("change").await;
    let name = slug("backup");
    let removed = bed.store.remove_deployment(&bed.scope, &name).await;
    assert!(removed.unwrap());
    let signal = done_with(&run, expecting(&run.id, 2, true));
    let lost = bed.commit(&run, &signal, Writer::Holder).await.unwrap_err();
    assert!(
        matches!(
            lost,
            CommitError::Unexpected {
                found: Found::Removed,
                ..
            }
        ),
        "{lost}"
    );
    assert_eq!(lost.to_string(), "backup was removed meanwhile");
    assert_eq!(bed.store.deployment(&bed.scope, &name).await.unwrap(), None);
    assert_eq!(bed.run(&run.id).await.epoch, run.epoch);
}

pub(crate) async fn a_write_on_an_old_revision_changes_nothing(bed: Bed) {
    let seen = deployed(&bed, 1..=2).await;
    let stopped = Activity::Stopped { since_ms: 5 };
    let name = slug("backup");
    let set = |revision| {
        bed.store
            .set_activity(&bed.scope, &name, revision, &stopped, Some(1), None)
    };
    assert!(!set(seen.revision - 1).await.unwrap());
    assert_eq!(row(&bed).await, seen);
    assert!(set(seen.revision).await.unwrap());
    let now = row(&bed).await;
    assert_eq!(
        (now.activity, now.active_version, now.revision),
        (stopped.clone(), 1, seen.revision + 1)
    );
    assert!(!set(seen.revision).await.unwrap());
    assert!(
        bed.store
            .set_endpoint(&bed.scope, &name, None)
            .await
            .unwrap()
    );
    assert_eq!(row(&bed).await.endpoint, None);
    assert_eq!(
        bed.store.services(&bed.scope).await.unwrap()[0].endpoint,
        None
    );
    assert!(
        !bed.store
            .set_endpoint(&bed.scope, &slug("other"), None)
            .await
            .unwrap()
    );
}

pub(crate) async fn of_two_that_fire_at_once_one_fires(bed: Bed) {
    let seen = deployed(&bed, 1..=1).await;
    let name = slug("backup");
    let new = || execution_run(&bed.store.new_id(), "backup");
    let (a, b) = tokio::join!(
        bed.store
            .fire(&bed.scope, &name, seen.revision, new(), Some(77)),
        bed.other
            .fire(&bed.scope, &name, seen.revision, new(), Some(77)),
    );
    assert!(a.unwrap() != b.unwrap());
    let claimed = bed.claim("worker").await;
    assert_eq!(claimed.len(), 1);
    let now = row(&bed).await;
    assert_eq!(now.current_run.as_ref(), Some(&claimed[0].id));
    assert_eq!(now.next_due_at_ms, Some(77));
}

pub(crate) async fn nothing_is_fired_while_an_execution_goes_on(bed: Bed) {
    let seen = deployed(&bed, 1..=1).await;
    let first = fire(&bed, seen.revision).await.unwrap();
    let fired = row(&bed).await;
    assert!(fire(&bed, fired.revision).await.is_none());
    // Nothing was written, not even the next time.
    assert_eq!(row(&bed).await, fired);
    bed.commit(&first, &cancel(), Writer::Outsider)
        .await
        .unwrap();
    assert!(fire(&bed, row(&bed).await.revision).await.is_some());
}

pub(crate) async fn the_end_of_an_execution_frees_its_deployment(bed: Bed) {
    let seen = deployed(&bed, 1..=1).await;
    let run = fire(&bed, seen.revision).await.unwrap();
    let outcome = ExecutionOutcome::Succeeded {
        summary: "made an archive".to_owned(),
        usage: Usage {
            wall_ms: 3,
            cpu_ms: 2,
            max_rss_bytes: 1,
        },
        log: None,
        notices: Vec::new(),
    };
    let signal = Signal::Executed {
        outcome: Box::new(outcome),
    };
    let ended = bed.commit(&run, &signal, Writer::Holder).await.unwrap().run;
    assert_eq!(ended.status, RunStatus::Completed);
    assert_eq!(row(&bed).await.current_run, None);
    let totals = bed
        .store
        .usage_totals(&bed.scope, &slug("backup"))
        .await
        .unwrap();
    assert_eq!((totals.runs, totals.wall_ms), (1, 3));
}

pub(crate) async fn failures_pause_what_is_active_only(bed: Bed) {
    let mut seen = deployed(&bed, 1..=1).await;
    let name = slug("backup");
    for failures in 1..=2 {
        let mut new = execution_run(&bed.store.new_id(), "backup");
        if let agentwright_domain::run::RunState::Execution(state) = &mut new.state {
            state.failures_before = failures - 1;
            state.policy.pause_after = 2;
        }
        bed.store
            .fire(&bed.scope, &name, seen.revision, new, None)
            .await
            .unwrap();
        let run = bed.claim("worker").await.remove(0);
        bed.commit(&run, &failed("no space"), Writer::Holder)
            .await
            .unwrap();
        seen = row(&bed).await;
        assert_eq!(seen.failures_in_a_row, failures);
    }
    assert!(
        matches!(&seen.activity, Activity::Paused { reason, .. } if reason.contains("no space"))
    );
    let set = |revision, activity| {
        bed.store
            .set_activity(&bed.scope, &name, revision, activity, None, None)
    };
    assert!(set(seen.revision, &Activity::Active).await.unwrap());
    seen = row(&bed).await;
    assert_eq!(seen.failures_in_a_row, 0);

    // A person stops it while it runs: the failure that follows does not make that a pause.
    let mut new = execution_run(&bed.store.new_id(), "backup");
    if let agentwright_domain::run::RunState::Execution(state) = &mut new.state {
        state.failures_before = 9;
    }
    bed.store
        .fire(&bed.scope, &name, seen.revision, new, None)
        .await
        .unwrap();
    let run = bed.claim("worker").await.remove(0);
    let stopped = Activity::Stopped { since_ms: 1 };
    assert!(set(row(&bed).await.revision, &stopped).await.unwrap());
    bed.commit(&run, &failed("stopped"), Writer::Holder)
        .await
        .unwrap();
    assert_eq!(row(&bed).await.activity, stopped);
}

pub(crate) async fn a_revoked_grant_says_when(bed: Bed) {
    deployed(&bed, 1..=1).await;
    let id = GrantId::new("backup-grant-1");
    let live = bed.store.grant(&bed.scope, &id).await.unwrap().unwrap();
    assert_eq!(live.revoked_at_ms, None);
    bed.clock.advance(5);
    assert!(bed.store.revoke_grant(&bed.scope, &id).await.unwrap());
    assert!(!bed.store.revoke_grant(&bed.scope, &id).await.unwrap());
    let grants = bed.store.grants(&bed.scope, &slug("backup")).await.unwrap();
    assert_eq!(grants[0].revoked_at_ms, Some(crate::bed::START_MS + 5));
    assert_eq!(
        bed.store
            .grant(&bed.scope, &GrantId::new("none"))
            .await
            .unwrap(),
        None
    );
}

pub(crate) async fn a_removed_deployment_leaves_its_history_only(bed: Bed) {
    let seen = deployed(&bed, 1..=2).await;
    let run = fire(&bed, seen.revision).await.unwrap();
    let name = slug("backup");
    assert!(
        bed.store
            .remove_deployment(&bed.scope, &name)
            .await
            .unwrap()
    );
    assert!(
        !bed.store
            .remove_deployment(&bed.scope, &name)
            .await
            .unwrap()
    );
    assert_eq!(bed.store.deployment(&bed.scope, &name).await.unwrap(), None);
    assert_eq!(bed.store.versions(&bed.scope, &name).await.unwrap(), []);
    assert_eq!(bed.store.services(&bed.scope).await.unwrap(), []);
    let grants = bed.store.grants(&bed.scope, &name).await.unwrap();
    assert!(grants.iter().all(|grant| grant.revoked_at_ms.is_some()));
    // The execution that still went on ends as usual.
    bed.commit(&run, &failed("gone"), Writer::Holder)
        .await
        .unwrap();
    assert_eq!(bed.run(&run.id).await.status, RunStatus::Failed);
}
