//! Keys, login codes, sessions, organizations and the audit trail.

use crate::bed::{Bed, START_MS, actor, asking, cancel, of_organization, transition};
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::{OrganizationId, RunId};
use agentwright_domain::principal::{KeyKind, Role};
use agentwright_domain::run::Run;
use agentwright_store::{
    ApiKey, Audit, Change, Commit, KeyCheck, LOGIN_CODE_MS, NewKey, NewKeyError, OrgScope,
    Retention, SESSION_MS, SESSIONS_MAX, SubmitError, Writer,
};
use agentwright_testkit::build_run;

async fn organization(bed: &Bed, id: &str) -> OrgScope {
    let id = OrganizationId::new(id);
    let added = bed.store.add_organization(&id, "Them", &actor()).await;
    assert!(added.unwrap().is_some());
    OrgScope::authenticated(id)
}

fn person(role: Role) -> NewKey {
    NewKey {
        name: "ann".to_owned(),
        kind: KeyKind::Person,
        role,
        organizations: Vec::new(),
        expires_at_ms: None,
    }
}

fn service(organizations: &[&str]) -> NewKey {
    NewKey {
        kind: KeyKind::Service,
        organizations: organizations
            .iter()
            .copied()
            .map(OrganizationId::new)
            .collect(),
        ..person(Role::Operator)
    }
}

async fn valid(bed: &Bed, text: &str) -> ApiKey {
    match bed.store.check_key(text).await.unwrap() {
        KeyCheck::Valid(key) => *key,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_key_holds_until_it_expires_or_is_revoked(bed: Bed) {
    assert_eq!(bed.store.count_keys().await.unwrap(), (0, 0));
    let new = NewKey {
        expires_at_ms: Some(START_MS + 1_000),
        ..person(Role::Approver)
    };
    let (made, text) = bed.store.add_key(&bed.scope, &new, &actor()).await.unwrap();
    assert_eq!(valid(&bed, &text).await, made);
    assert_eq!(
        bed.other.keys(&bed.scope).await.unwrap(),
        std::slice::from_ref(&made)
    );
    assert_eq!(bed.store.count_keys().await.unwrap(), (1, 1));
    assert!(bed.store.key_stands(&made.id, &bed.scope).await.unwrap());

    // The same id with another secret, and somebody else's key.
    let forged = other_secret(&text);
    assert_eq!(
        bed.store.check_key(&forged).await.unwrap(),
        KeyCheck::Malformed
    );
    assert_eq!(
        bed.store.check_key("aw_").await.unwrap(),
        KeyCheck::Malformed
    );
    let elsewhere = Bed::sqlite().await;
    let (_, foreign) = elsewhere
        .store
        .add_key(&elsewhere.scope, &person(Role::Admin), &actor())
        .await
        .unwrap();
    assert_eq!(
        bed.store.check_key(&foreign).await.unwrap(),
        KeyCheck::Unknown
    );

    bed.clock.advance(1_000);
    assert_eq!(bed.store.check_key(&text).await.unwrap(), KeyCheck::Expired);
    assert!(!bed.store.key_stands(&made.id, &bed.scope).await.unwrap());
    assert_eq!(bed.store.count_keys().await.unwrap(), (1, 0));

    let (made, text) = bed
        .store
        .add_key(&bed.scope, &person(Role::Viewer), &actor())
        .await
        .unwrap();
    let others = organization(&bed, "others").await;
    assert_eq!(
        bed.store
            .revoke_key(&others, &made.id, &actor())
            .await
            .unwrap(),
        None
    );
    valid(&bed, &text).await;
    let revoked = bed
        .other
        .revoke_key(&bed.scope, &made.id, &actor())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(revoked.revoked_at_ms, Some(START_MS + 1_000));
    bed.clock.advance(5);
    let again = bed
        .store
        .revoke_key(&bed.scope, &made.id, &actor())
        .await
        .unwrap();
    assert_eq!(again, Some(revoked));
    assert_eq!(bed.store.check_key(&text).await.unwrap(), KeyCheck::Revoked);
    assert!(!bed.store.key_stands("unknown", &bed.scope).await.unwrap());
    assert_eq!(bed.store.keys(&others).await.unwrap(), []);
}

fn other_secret(text: &str) -> String {
    let (head, tail) = text.split_at(40);
    let flipped = if tail.starts_with('0') { '1' } else { '0' };
    format!("{head}{flipped}{}", &tail[1..])
}

pub(crate) async fn a_service_key_acts_for_its_list_only(bed: Bed) {
    let (a, b) = (organization(&bed, "a").await, organization(&bed, "b").await);
    let by = actor();
    let missing = bed
        .store
        .add_key(&bed.scope, &service(&["a", "c"]), &by)
        .await;
    assert!(matches!(missing, Err(NewKeyError::NoOrganization(id)) if id == "c"));
    assert_eq!(
        bed.store.keys(&bed.scope).await.unwrap(),
        [],
        "all or nothing"
    );
    let too_high = NewKey {
        role: Role::Approver,
        ..service(&["a"])
    };
    let refused = bed.store.add_key(&bed.scope, &too_high, &by).await;
    assert!(matches!(refused, Err(NewKeyError::Role(KeyKind::Service))));

    let (made, text) = bed
        .store
        .add_key(&bed.scope, &service(&["a"]), &by)
        .await
        .unwrap();
    assert_eq!(
        valid(&bed, &text).await.organizations,
        [OrganizationId::new("a")]
    );
    assert_eq!(
        bed.store.keys(&bed.scope).await.unwrap()[0]
            .organizations
            .len(),
        1
    );
    assert!(bed.store.key_stands(&made.id, &a).await.unwrap());
    for not in [&b, &bed.scope] {
        assert!(!bed.store.key_stands(&made.id, not).await.unwrap());
    }
}

pub(crate) async fn a_login_code_is_used_once_and_in_time(bed: Bed) {
    let code = async || {
        let by = actor();
        let made = bed
            .store
            .add_login_code(&bed.scope, "Ann", Role::Approver, &by);
        made.await.unwrap()
    };
    let first = code().await;
    let (session, token) = bed.other.redeem_login_code(&first).await.unwrap().unwrap();
    assert_eq!(
        (session.name.as_str(), session.role),
        ("Ann", Role::Approver)
    );
    assert_eq!(bed.store.redeem_login_code(&first).await.unwrap(), None);
    assert_eq!(bed.store.redeem_login_code("").await.unwrap(), None);
    assert_eq!(
        bed.store.session(&token).await.unwrap(),
        Some(session.clone())
    );
    assert_eq!(
        bed.store.session(&session.id).await.unwrap(),
        None,
        "an id is no token"
    );

    let late = code().await;
    bed.clock.advance(LOGIN_CODE_MS);
    assert_eq!(bed.store.redeem_login_code(&late).await.unwrap(), None);

    // Two browsers at once.
    let raced = code().await;
    let (one, two) = tokio::join!(
        bed.store.redeem_login_code(&raced),
        bed.other.redeem_login_code(&raced)
    );
    assert_eq!(
        usize::from(one.unwrap().is_some()) + usize::from(two.unwrap().is_some()),
        1
    );

    assert_eq!(
        bed.store.csrf_token(&session),
        bed.other.csrf_token(&session)
    );
    bed.clock.advance(SESSION_MS - LOGIN_CODE_MS);
    assert_eq!(bed.store.session(&token).await.unwrap(), None);
}

pub(crate) async fn a_session_ends_with_its_key_or_when_it_is_ended(bed: Bed) {
    let by = actor();
    let new = NewKey {
        expires_at_ms: Some(START_MS + 100),
        ..person(Role::Viewer)
    };
    let (key, _) = bed.store.add_key(&bed.scope, &new, &by).await.unwrap();
    let (session, token) = bed.store.add_session(&key).await.unwrap();
    assert_eq!(session.expires_at_ms, START_MS + 100);
    assert_eq!(
        bed.store.sessions(&bed.scope).await.unwrap(),
        std::slice::from_ref(&session)
    );
    let others = organization(&bed, "others").await;
    assert!(
        !bed.store
            .end_session(&others, &session.id, &by)
            .await
            .unwrap()
    );
    assert!(
        bed.store
            .end_session(&bed.scope, &session.id, &by)
            .await
            .unwrap()
    );
    assert!(
        !bed.store
            .end_session(&bed.scope, &session.id, &by)
            .await
            .unwrap()
    );
    assert_eq!(bed.store.session(&token).await.unwrap(), None);

    let (other, kept) = bed.store.add_session(&key).await.unwrap();
    bed.store
        .revoke_key(&bed.scope, &key.id, &by)
        .await
        .unwrap();
    assert_eq!(bed.store.session(&kept).await.unwrap(), None);
    assert_eq!(bed.store.session_by_id(&other.id).await.unwrap(), None);

    // The oldest go when there are too many.
    let (key, _) = bed
        .store
        .add_key(&bed.scope, &person(Role::Viewer), &by)
        .await
        .unwrap();
    let (_, oldest) = bed.store.add_session(&key).await.unwrap();
    let rows: Vec<_> = (1..SESSIONS_MAX)
        .map(|n| {
            format!(
                "('local', 's{n}', 'x', 'viewer', NULL, {}, {})",
                START_MS + n,
                START_MS * 9
            )
        })
        .collect();
    bed.sql(&format!("INSERT INTO sessions VALUES {}", rows.join(", ")))
        .await;
    bed.clock.advance(SESSIONS_MAX);
    assert!(bed.store.session(&oldest).await.unwrap().is_some());
    bed.store.add_session(&key).await.unwrap();
    assert_eq!(bed.store.session(&oldest).await.unwrap(), None);
    let all = bed.store.sessions(&bed.scope).await.unwrap().len();
    assert_eq!(i64::try_from(all), Ok(SESSIONS_MAX));
}

fn change(target: &str) -> Change {
    Change {
        action: "test".to_owned(),
        target: target.to_owned(),
        before: None,
        after: Some("sha256:00".to_owned()),
    }
}

pub(crate) async fn the_row_about_a_run_is_in_the_commit_of_its_change(bed: Bed) {
    let by = |action: &str| {
        Some(Audit {
            actor: actor(),
            action: action.to_owned(),
        })
    };
    let id = bed.store.new_id();
    let new = build_run(&id, "run");
    for _ in 0..2 {
        bed.store.submit(new.clone(), by("submit")).await.unwrap();
    }
    let taken = build_run(&bed.store.new_id(), "run");
    let taken = bed.store.submit(taken, by("submit")).await;
    assert!(matches!(taken, Err(SubmitError::LabelTaken { .. })));
    let run = bed.run(&new.id).await;
    let cancelling = || Commit {
        audit: by("cancel"),
        ..transition(&run, &cancel(), Writer::Outsider)
    };
    let (one, other) = tokio::join!(
        bed.store.commit(cancelling()),
        bed.store.commit(cancelling())
    );
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    let of_state = |run: &Run| agentwright_proof::of_json(&run.state).unwrap().to_string();
    let submitted = Some(of_state(&run));
    let cancelled = Some(of_state(&bed.run(&new.id).await));
    assert_ne!(submitted, cancelled);
    let page = bed.store.audit_page(&bed.scope, None, 9).await.unwrap();
    let told: Vec<_> = page.into_iter().map(|row| row.change).collect();
    let row = |action: &str, before: &Option<String>, after: &Option<String>| Change {
        action: action.to_owned(),
        target: id.clone(),
        before: before.clone(),
        after: after.clone(),
    };
    assert_eq!(
        told,
        [
            row("cancel", &submitted, &cancelled),
            row("submit", &None, &submitted)
        ]
    );
    let verdict = bed.store.verify_audit(&bed.scope).await.unwrap();
    assert_eq!((verdict.intact, verdict.broken), (2, None));
}

pub(crate) async fn an_audit_trail_is_one_chain_for_each_organization(bed: Bed) {
    let others = organization(&bed, "others").await;
    let mine = bed.scope.clone();
    let writes = (0..20).map(|n| {
        let (store, scope) = if n % 2 == 0 {
            (&bed.store, &mine)
        } else {
            (&bed.other, &others)
        };
        store.audit(scope, actor(), change(&format!("t{n}\0")))
    });
    for written in futures::future::join_all(writes).await {
        written.unwrap();
    }
    // The organization itself was one row of the first trail.
    for (scope, rows) in [(&mine, 11), (&others, 10)] {
        let page = bed.store.audit_page(scope, None, 500).await.unwrap();
        let seqs: Vec<i64> = page.iter().map(|row| row.seq).collect();
        assert_eq!(seqs, (1..=rows).rev().collect::<Vec<_>>());
        let verdict = bed.store.verify_audit(scope).await.unwrap();
        assert_eq!((verdict.intact, verdict.broken), (rows, None));
        let older = bed.store.audit_page(scope, Some(3), 500).await.unwrap();
        assert_eq!(older.len(), 2);
        let one = bed.store.audit_page(scope, None, 1).await.unwrap();
        assert_eq!(one[0].seq, rows);
    }
    let nobody = OrgScope::authenticated(OrganizationId::new("nobody"));
    let verdict = bed.store.verify_audit(&nobody).await.unwrap();
    assert_eq!((verdict.intact, verdict.broken), (0, None));
}

pub(crate) async fn what_was_tampered_with_is_named(bed: Bed) {
    let others = organization(&bed, "others").await;
    for n in 0..4 {
        let target = format!("t{n}");
        bed.store
            .audit(&others, actor(), change(&target))
            .await
            .unwrap();
    }
    let tampering = [
        ("UPDATE audit SET target = 'x' WHERE organization_id = 'others' AND seq = 2", 2),
        ("UPDATE audit SET after_digest = NULL WHERE organization_id = 'others' AND seq = 2", 2),
        ("UPDATE audit SET at_ms = 1 WHERE organization_id = 'others' AND seq = 3", 3),
        ("DELETE FROM audit WHERE organization_id = 'others' AND seq = 3", 3),
        ("DELETE FROM audit WHERE organization_id = 'others' AND seq = 1", 1),
        ("DELETE FROM audit WHERE organization_id = 'others' AND seq = 4", 4),
        ("DELETE FROM audit WHERE organization_id = 'others'", 1),
        // The end and the head together: the head's own proof does not fit.
        (
            "DELETE FROM audit WHERE organization_id = 'others' AND seq = 4;
             UPDATE audit_heads SET seq = 3, last_mac = (SELECT mac FROM audit WHERE organization_id = 'others' AND seq = 3)
             WHERE organization_id = 'others'",
            4,
        ),
        ("DELETE FROM audit_heads WHERE organization_id = 'others'", 1),
        // A row of another organization, moved here.
        (
            "UPDATE audit SET mac = (SELECT mac FROM audit WHERE organization_id = 'local' AND seq = 1)
             WHERE organization_id = 'others' AND seq = 1",
            1,
        ),
    ];
    for (sql, seq) in tampering {
        let verdict = bed
            .tampered(sql, async || bed.store.verify_audit(&others).await)
            .await;
        let broken = verdict
            .unwrap()
            .broken
            .unwrap_or_else(|| panic!("{sql} was not found"));
        assert_eq!(broken.seq, seq, "{sql}: {}", broken.why);
    }
    let verdict = bed.store.verify_audit(&others).await.unwrap();
    assert_eq!((verdict.intact, verdict.broken), (4, None));
}

pub(crate) async fn a_deleted_organization_leaves_nothing_and_takes_nothing_along(bed: Bed) {
    let a = organization(&bed, "a").await;
    let by = actor();
    let mine = bed.submit("mine").await;
    let theirs = of_organization("a", asking(&bed.store.new_id(), "theirs"));
    let theirs = bed.store.submit(theirs, None).await.unwrap().id;
    let (_, text) = bed
        .store
        .add_key(&a, &person(Role::Admin), &by)
        .await
        .unwrap();
    let (connected, _) = bed
        .store
        .add_key(&bed.scope, &service(&["a"]), &by)
        .await
        .unwrap();
    bed.store
        .add_login_code(&a, "Ann", Role::Admin, &by)
        .await
        .unwrap();
    let shared = b"both have this".to_vec();
    let (kept, _) = bed.store.put_artifact(shared).await.unwrap();
    let (only, _) = bed
        .store
        .put_artifact(b"theirs alone".to_vec())
        .await
        .unwrap();
    named(&bed, &bed.scope, &mine, ("log", &kept)).await;
    named(&bed, &a, &theirs, ("log", &kept)).await;
    named(&bed, &a, &theirs, ("transcript-1.jsonl", &only)).await;

    let local = bed
        .store
        .delete_organization(&OrganizationId::new("local"), &by)
        .await;
    assert_eq!(local.unwrap(), None);
    let gone = bed
        .store
        .delete_organization(&OrganizationId::new("a"), &by)
        .await;
    let gone = gone.unwrap().unwrap();
    assert!(gone.rows >= 6, "{gone:?}");
    assert_eq!(gone.runs, std::slice::from_ref(&theirs));
    assert_eq!(bed.store.run(&a, &theirs).await.unwrap(), None);
    assert_eq!(bed.store.check_key(&text).await.unwrap(), KeyCheck::Unknown);
    assert!(!bed.store.key_stands(&connected.id, &a).await.unwrap());
    assert!(bed.store.artifact(&only).await.unwrap().is_none());
    assert!(bed.store.artifact(&kept).await.unwrap().is_some());
    assert!(bed.store.run(&bed.scope, &mine).await.unwrap().is_some());
    assert_eq!(bed.store.audit_page(&a, None, 10).await.unwrap(), []);
    let mut rest = bed.store.organizations().await.unwrap();
    assert_eq!(rest.pop().unwrap().id.as_str(), "local");
    assert_eq!(rest, []);
    let again = bed
        .store
        .add_organization(&OrganizationId::new("a"), "A", &by)
        .await;
    assert_eq!(again.unwrap(), None, "an id is never given twice");
    let twice = bed
        .store
        .delete_organization(&OrganizationId::new("a"), &by)
        .await;
    assert_eq!(twice.unwrap(), None);
    assert_eq!(
        bed.store
            .organization(&OrganizationId::new("a"))
            .await
            .unwrap(),
        None
    );
    let verdict = bed.store.verify_audit(&bed.scope).await.unwrap();
    assert_eq!(verdict.broken, None);
    for table in bed.tables_of_tenants().await {
        let left = format!("SELECT COUNT(*) FROM {table} WHERE organization_id = 'a'");
        assert_eq!(bed.count(&left).await, 0, "{table} is not emptied");
    }
}

async fn named(bed: &Bed, scope: &OrgScope, run: &RunId, (name, digest): (&str, &Digest)) {
    bed.sql(&format!(
        "INSERT INTO artifacts VALUES ('{}', '{run}', '{name}', '{digest}', 1, {START_MS})",
        scope.organization()
    ))
    .await;
}

pub(crate) async fn what_is_older_than_it_is_kept_goes_and_the_rest_stays(bed: Bed) {
    let ended = async |label: &str| {
        let run = bed.held(label).await;
        bed.work(run).await.id
    };
    let deployed = bed.held("deployed").await;
    let signal = crate::bed::done_with(
        &deployed,
        crate::deployments::version(&deployed.id, "backup", 1),
    );
    let next = bed
        .commit(&deployed, &signal, Writer::Holder)
        .await
        .unwrap()
        .run;
    let deployed = bed.work(next).await.id;
    let old = ended("old").await;
    let open = bed.submit("open").await;
    let (transcript, _) = bed.store.put_artifact(b"said".to_vec()).await.unwrap();
    let (log, _) = bed.store.put_artifact(b"printed".to_vec()).await.unwrap();
    for run in [&old, &deployed, &open] {
        named(&bed, &bed.scope, run, ("log", &log)).await;
        named(&bed, &bed.scope, run, ("transcript-1.jsonl", &transcript)).await;
    }
    let there = async |digest| bed.store.artifact(digest).await.unwrap().is_some();
    let texts = |run: &RunId| {
        let sql = format!("SELECT COUNT(*) FROM artifacts WHERE run_id = '{run}'");
        let bed = bed.clone();
        async move { bed.count(&sql).await }
    };
    // Nothing is old, or nothing is to go.
    bed.clock.advance(10_000);
    let nothing = Retention::default();
    let early = Retention {
        runs_before_ms: Some(START_MS),
        transcripts_before_ms: Some(START_MS),
        logs_before_ms: Some(START_MS),
    };
    for kept_for in [nothing, early] {
        assert_eq!(bed.store.sweep(kept_for).await.unwrap(), []);
    }
    assert_eq!(texts(&old).await, 2);

    let all = Some(START_MS + 5_000);
    let transcripts = Retention {
        transcripts_before_ms: all,
        ..nothing
    };
    assert_eq!(bed.store.sweep(transcripts).await.unwrap(), []);
    assert_eq!(
        (
            texts(&old).await,
            texts(&deployed).await,
            texts(&open).await
        ),
        (1, 1, 2)
    );
    assert!(there(&transcript).await, "an open run still names it");

    let runs = Retention {
        runs_before_ms: all,
        logs_before_ms: all,
        ..nothing
    };
    // Nobody was told yet that it is completed: until then it stays.
    assert_eq!(bed.store.sweep(runs).await.unwrap(), []);
    for mut row in bed.store.due_notices(9, 60_000).await.unwrap() {
        row.delivery = agentwright_store::Delivery::Nobody;
        bed.store.settle_notice(&row, 0).await.unwrap();
    }
    assert_eq!(
        bed.store.sweep(runs).await.unwrap(),
        std::slice::from_ref(&old)
    );
    assert_eq!(bed.store.run(&bed.scope, &old).await.unwrap(), None);
    for stays in [&deployed, &open] {
        assert!(bed.store.run(&bed.scope, stays).await.unwrap().is_some());
    }
    assert_eq!(texts(&deployed).await, 0);
    bed.sql(&format!(
        "DELETE FROM artifacts WHERE run_id = '{open}' AND name = 'log'"
    ))
    .await;
    assert!(
        there(&log).await,
        "a sweep looks at what it takes away only"
    );
}
