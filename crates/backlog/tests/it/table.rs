//! Reading, claiming and writing rows, and what is missing when a table does not fit.

use crate::Bed;
use agentwright_backlog::BuilderStatus::{Building, Deployed, Failed, NotStarted, Queued};
use agentwright_backlog::{
    Address, Backlog, BuilderStatus, Change, Fault, Level, Line, Settled, Writing,
};
use sqlx::{Connection as _, Executor as _};

fn change(id: i64, from: BuilderStatus, to: &[BuilderStatus]) -> Change {
    Change {
        id,
        from,
        to: to.to_vec(),
        lines: Vec::new(),
    }
}

/// Writes it to the end; whether it was written.
async fn done(backlog: &mut Backlog, change: &Change) -> bool {
    match backlog.write(change).await.unwrap() {
        Writing::Ready(write) => {
            write.commit().await.unwrap();
            true
        }
        Writing::Locked | Writing::Other(_) | Writing::Gone => false,
    }
}

#[tokio::test]
async fn rows_come_by_priority_with_nulls_last_then_by_id_and_others_are_never_touched() {
    let Some(bed) = Bed::new().await else { return };
    bed.sql(
        "INSERT INTO automation_ideas (name, type, priority, status, builder_status) VALUES
         ('no priority', 'script', NULL, 'ready_to_build', 'not_started'),
         ('second', 'claude_agent', 5, 'ready_to_build', 'not_started'),
         ('first', 'script', -1, 'ready_to_build', 'not_started'),
         ('third', 'script', 5, 'ready_to_build', 'not_started'),
         ('a workflow', 'n8n_workflow', 0, 'ready_to_build', 'not_started'),
         ('an idea', 'script', 0, 'idea', 'not_started'),
         ('taken', 'script', 0, 'ready_to_build', 'queued'),
         ('no priority either', 'script', NULL, 'ready_to_build', 'not_started')",
    )
    .await;
    let mut backlog = bed.open().await;
    assert_eq!(backlog.check().await.unwrap().ready, 5);
    let ready = backlog.ready().await.unwrap();
    let names: Vec<&str> = ready.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "first",
            "second",
            "third",
            "no priority",
            "no priority either"
        ]
    );
    for other in [5, 6] {
        assert!(!done(&mut backlog, &change(other, NotStarted, &[Queued])).await);
    }
    backlog.close().await;
}

#[tokio::test]
async fn of_many_that_claim_one_row_at_once_one_gets_it() {
    let Some(bed) = Bed::new().await else { return };
    bed.sql("INSERT INTO automation_ideas (name, type) VALUES ('one', 'script')")
        .await;
    let claim = change(1, NotStarted, &[Queued]);
    let mut all = Vec::new();
    for _ in 0..8 {
        all.push(bed.open().await);
    }
    let claims = all.iter_mut().map(|backlog| done(backlog, &claim));
    let mut won = 0;
    for claimed in futures_of(claims).await {
        won += u32::from(claimed);
    }
    assert_eq!(won, 1);
}

/// Runs all at once.
async fn futures_of<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pinned: Vec<_> = all.map(Box::pin).collect();
    let mut answers: Vec<Option<T>> = pinned.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        let mut open = false;
        for (one, answer) in pinned.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match one.as_mut().poll(cx) {
                    std::task::Poll::Ready(is) => *answer = Some(is),
                    std::task::Poll::Pending => open = true,
                }
            }
        }
        if open {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
    answers.into_iter().map(Option::unwrap).collect()
}

#[tokio::test]
async fn a_build_is_written_back_in_two_columns_and_its_results_in_their_table() {
    let Some(bed) = Bed::new().await else { return };
    bed.sql("INSERT INTO automation_ideas (name, type) VALUES ('one', 'script')")
        .await;
    bed.sql("CREATE TABLE seen (id SERIAL, was TEXT);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
           $$BEGIN INSERT INTO seen (was) VALUES (NEW.builder_status::text || ' ' || NEW.status); RETURN NEW; END$$;
         CREATE TRIGGER noting BEFORE UPDATE ON automation_ideas FOR EACH ROW EXECUTE FUNCTION note()")
        .await;
    let mut backlog = bed.open().await;
    assert!(done(&mut backlog, &change(1, NotStarted, &[Queued])).await);
    assert!(done(&mut backlog, &change(1, Queued, &[Building])).await);
    let ended = Change {
        lines: vec![
            Line {
                level: 1,
                status: Level::Pass,
                log: "main.py: parsed\n".into(),
            },
            Line {
                level: 0,
                status: Level::Fail,
                log: "a \0 and '); DROP TABLE automation_ideas; --".into(),
            },
        ],
        ..change(
            1,
            Building,
            &[
                BuilderStatus::AwaitingApproval,
                BuilderStatus::Approved,
                Deployed,
            ],
        )
    };
    assert!(done(&mut backlog, &ended).await);
    assert_eq!(
        bed.read("SELECT was FROM seen ORDER BY id").await,
        [
            "queued ready_to_build",
            "building ready_to_build",
            "awaiting_approval ready_to_build",
            "approved ready_to_build",
            "deployed deployed"
        ]
    );
    assert_eq!(
        bed.read("SELECT automation_id || ' ' || test_level || ' ' || status || ' ' || execution_log FROM agent_test_results ORDER BY id").await,
        ["1 1 pass main.py: parsed\n", "1 0 fail a \u{fffd} and '); DROP TABLE automation_ideas; --"]
    );
    // Everything else is as the person left it.
    assert_eq!(
        bed.read("SELECT name || ' ' || type || ' ' || owner || ' ' || (updated_by IS NULL)::text FROM automation_ideas").await,
        ["one script ann true"]
    );
}

#[tokio::test]
async fn a_write_that_is_not_committed_never_happened_and_its_ticket_says_so() {
    let Some(bed) = Bed::new().await else { return };
    bed.sql("INSERT INTO automation_ideas (name, type) VALUES ('one', 'script')")
        .await;
    let claim = change(1, NotStarted, &[Queued]);
    let (mut backlog, mut other) = (bed.open().await, bed.open().await);
    let Writing::Ready(write) = backlog.write(&claim).await.unwrap() else {
        panic!("not ready");
    };
    let lost = write.ticket();
    assert_eq!(write.row().builder_status, "not_started");
    assert_eq!(other.settled(lost).await.unwrap(), Settled::Open);
    // The process dies here: its connection goes with it.
    drop(write);
    drop(backlog);
    agentwright_testkit::eventually("the database notices", async || {
        (other.settled(lost).await.unwrap() == Settled::Undone).then_some(())
    })
    .await;
    assert_eq!(other.settled(lost).await.unwrap(), Settled::Undone);
    let Writing::Ready(write) = other.write(&claim).await.unwrap() else {
        panic!("not ready");
    };
    let done = write.ticket();
    write.commit().await.unwrap();
    assert_eq!(other.settled(done).await.unwrap(), Settled::Done);
    // Of another history of that database.
    assert_eq!(
        other.settled(done + 1_000_000).await.unwrap(),
        Settled::Undone
    );
}

#[tokio::test]
async fn a_row_that_is_locked_changed_or_gone_is_told_apart_and_nothing_is_written() {
    let Some(bed) = Bed::new().await else { return };
    bed.sql(
        "INSERT INTO automation_ideas (name, type) VALUES ('one', 'script'), ('two', 'script')",
    )
    .await;
    let mut backlog = bed.open().await;
    let mut holder = bed.admin().await;
    let mut held = holder.begin().await.unwrap();
    held.execute("SELECT 1 FROM automation_ideas WHERE id = 1 FOR UPDATE")
        .await
        .unwrap();
    let claim = change(1, NotStarted, &[Queued]);
    assert!(matches!(
        backlog.write(&claim).await.unwrap(),
        Writing::Locked
    ));
    // The other rows are not held up by it.
    assert!(done(&mut backlog, &change(2, NotStarted, &[Queued])).await);
    held.rollback().await.unwrap();
    let mut held = holder.begin().await.unwrap();
    held.execute("LOCK TABLE automation_ideas IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    assert_eq!(backlog.ready().await.unwrap_err(), Fault::Locked);
    held.rollback().await.unwrap();

    bed.sql("UPDATE automation_ideas SET builder_status = 'failed' WHERE id = 1")
        .await;
    match backlog.write(&claim).await.unwrap() {
        Writing::Other(row) => assert_eq!(row.builder_status, Failed.word()),
        Writing::Ready(_) | Writing::Locked | Writing::Gone => panic!("not seen"),
    }
    bed.sql("DELETE FROM automation_ideas WHERE id = 1").await;
    assert!(matches!(
        backlog.write(&claim).await.unwrap(),
        Writing::Gone
    ));
    assert!(backlog.row(1).await.unwrap().is_none());
    assert_eq!(backlog.row(2).await.unwrap().unwrap().name, "two");
}

#[tokio::test]
async fn what_a_constraint_refuses_undoes_the_whole_change() {
    let Some(bed) = Bed::new().await else { return };
    bed.sql(
        "INSERT INTO automation_ideas (name, type) VALUES ('one', 'script');
         ALTER TABLE agent_test_results ADD CONSTRAINT short CHECK (length(execution_log) < 10)",
    )
    .await;
    let mut backlog = bed.open().await;
    let claim = Change {
        lines: vec![Line {
            level: 1,
            status: Level::Pass,
            log: "secret-of-the-log".into(),
        }],
        ..change(1, NotStarted, &[Queued])
    };
    let fault = backlog.write(&claim).await.err().unwrap();
    let said = fault.to_string();
    assert!(matches!(fault, Fault::Refused(_)), "{said}");
    assert!(
        said.contains("short") && !said.contains("secret-of"),
        "{said}"
    );
    assert_eq!(
        backlog.row(1).await.unwrap().unwrap().builder_status,
        "not_started"
    );
}

#[tokio::test]
async fn every_missing_column_and_right_is_named_and_only_those() {
    let Some(bed) = Bed::new().await else { return };
    assert_eq!(bed.lacks().await, [""; 0]);
    for (sql, undo, names) in [
        (
            "ALTER TABLE automation_ideas RENAME COLUMN priority TO prio",
            "ALTER TABLE automation_ideas RENAME COLUMN prio TO priority",
            "automation_ideas lacks the column priority",
        ),
        (
            "REVOKE UPDATE (builder_status) ON automation_ideas FROM builder_user",
            "GRANT UPDATE (builder_status) ON automation_ideas TO builder_user",
            "the right to UPDATE builder_status of automation_ideas",
        ),
        (
            "REVOKE SELECT (name) ON automation_ideas FROM builder_user",
            "GRANT SELECT (name) ON automation_ideas TO builder_user",
            "the right to SELECT name of automation_ideas",
        ),
        (
            "REVOKE INSERT (execution_log) ON agent_test_results FROM builder_user",
            "GRANT INSERT (execution_log) ON agent_test_results TO builder_user",
            "the right to INSERT execution_log of public.agent_test_results",
        ),
        (
            "REVOKE USAGE ON SEQUENCE agent_test_results_id_seq FROM builder_user",
            "GRANT USAGE ON SEQUENCE agent_test_results_id_seq TO builder_user",
            "GRANT USAGE ON SEQUENCE agent_test_results_id_seq",
        ),
        (
            "ALTER TABLE agent_test_results ADD COLUMN who TEXT NOT NULL",
            "ALTER TABLE agent_test_results DROP COLUMN who",
            "the column who of public.agent_test_results is NOT NULL",
        ),
        (
            "ALTER TABLE agent_test_results ALTER COLUMN execution_log TYPE VARCHAR(255)",
            "ALTER TABLE agent_test_results ALTER COLUMN execution_log TYPE TEXT",
            "execution_log of public.agent_test_results is character varying(255)",
        ),
        (
            "ALTER TABLE agent_test_results RENAME TO results",
            "ALTER TABLE results RENAME TO agent_test_results",
            "there is no table public.agent_test_results",
        ),
        (
            "ALTER TYPE builder RENAME VALUE 'approved' TO 'ok'",
            "ALTER TYPE builder RENAME VALUE 'ok' TO 'approved'",
            "builder, which lacks approved",
        ),
    ] {
        bed.sql(sql).await;
        let lacks = bed.lacks().await;
        assert!(
            lacks.len() == 1 && lacks[0].contains(names),
            "{sql}: {lacks:?}"
        );
        bed.sql(undo).await;
    }
    bed.sql("ALTER ROLE builder_user SET default_transaction_read_only = on")
        .await;
    let lacks = bed.lacks().await;
    assert!(
        lacks.len() == 1 && lacks[0].contains("read-only"),
        "{lacks:?}"
    );
}

#[tokio::test]
async fn a_database_that_is_not_there_or_does_not_let_us_in_is_told_apart() {
    let Some(bed) = Bed::new().await else { return };
    let open = async |address: &str| {
        let address = Address::parse(address).unwrap();
        Backlog::open(&address, bed.tables()).await.err().unwrap()
    };
    let nobody = open("postgres://ann:s3cret@127.0.0.1:9/db").await;
    assert!(matches!(nobody, Fault::Away(_)), "{nobody}");
    assert!(!nobody.to_string().contains("s3cret"));
    let url = bed.cluster.database().await;
    let stranger = url.replace("postgres://agentwright@", "postgres://stranger:s3cret@");
    let stranger = open(&stranger).await;
    assert!(matches!(stranger, Fault::Denied(_)), "{stranger}");
    bed.sql("ALTER ROLE builder_user CONNECTION LIMIT 1").await;
    let _first = bed.open().await;
    let full = Backlog::open(&bed.address, bed.tables())
        .await
        .err()
        .unwrap();
    assert!(
        full.passes() && full.to_string().contains("too many"),
        "{full}"
    );
}
