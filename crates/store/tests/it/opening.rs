//! Opening and its refusals; every statement prepared.

use crate::bed::{Bed, START_MS};
use agentwright_domain::build::BuildRequest;
use agentwright_domain::ids::RunId;
use agentwright_domain::run::{RunInput, RunStatus};
use agentwright_store::{Location, OpenError, Options, OrgScope, Store, load_postgres};
use agentwright_testkit::{Cluster, build_run, temp_dir};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, SqlSafeStr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

async fn open(dir: &Path) -> Result<Store, OpenError> {
    Store::open(Location::Sqlite(dir.join("a.db")), Options::new(dir)).await
}

async fn refused(dir: &Path) -> OpenError {
    let path = dir.join("a.db");
    let before = std::fs::read(&path).unwrap();
    let Err(error) = open(dir).await else {
        panic!("it opened")
    };
    assert_eq!(std::fs::read(&path).unwrap(), before, "it was touched");
    error
}

async fn sqlite(dir: &Path) -> sqlx::SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new()
        .filename(dir.join("a.db"))
        .create_if_missing(true)
        .connect()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_second_process_is_refused_and_the_next_one_is_not() {
    let dir = temp_dir();
    let first = open(dir.path()).await.unwrap();
    assert!(matches!(
        open(dir.path()).await,
        Err(OpenError::Locked { .. })
    ));
    first.close().await;
    drop(first);
    open(dir.path()).await.unwrap();
}

#[tokio::test]
async fn a_database_of_the_first_version_is_brought_up_to_date_with_its_data() {
    let dir = temp_dir();
    let store = open(dir.path()).await.unwrap();
    let id = store
        .submit(agentwright_testkit::build_run(&store.new_id(), "old"), None)
        .await
        .unwrap()
        .id;
    store.close().await;
    drop(store);
    // What later migrations made is taken away: this is how the first version left it.
    let mut conn = sqlite(dir.path()).await;
    conn.execute(
        "DROP TABLE llm_calls; DROP TABLE budgets; DROP TABLE api_keys; DROP TABLE key_organizations;
         DROP TABLE login_codes; DROP TABLE sessions; DROP TABLE audit; DROP TABLE audit_heads;
         ALTER TABLE organizations DROP COLUMN deleted_at_ms; DROP TABLE decision_tokens;
         DROP TABLE automation_ideas; DROP TABLE queue_state; DROP TABLE queue_receipts; DROP TABLE heartbeats;
         DROP TABLE backlog_rows; DROP TABLE backlog_sources;
         DROP TABLE reports; DROP TABLE hook_messages;
         DELETE FROM _sqlx_migrations WHERE version > 1",
    )
    .await
    .unwrap();
    conn.close().await.unwrap();
    let store = open(dir.path()).await.unwrap();
    let scope = agentwright_store::OrgScope::local();
    assert_eq!(
        store
            .run(&scope, &id)
            .await
            .unwrap()
            .unwrap()
            .label
            .as_str(),
        "old"
    );
    assert_eq!(
        store
            .costs(&scope, agentwright_store::CostsBy::Day, 0, None)
            .await
            .unwrap(),
        []
    );
}

#[tokio::test]
async fn a_newer_database_is_refused_untouched() {
    let dir = temp_dir();
    open(dir.path()).await.unwrap().close().await;
    let mut conn = sqlite(dir.path()).await;
    conn.execute("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9, 'later', true, x'00', 1)").await.unwrap();
    conn.close().await.unwrap();
    let error = refused(dir.path()).await;
    assert!(
        matches!(error, OpenError::Newer { found: 9, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("newer agentwright"));
}

#[tokio::test]
async fn a_changed_migration_is_refused_untouched() {
    let dir = temp_dir();
    open(dir.path()).await.unwrap().close().await;
    let mut conn = sqlite(dir.path()).await;
    conn.execute("UPDATE _sqlx_migrations SET checksum = x'00'")
        .await
        .unwrap();
    conn.close().await.unwrap();
    assert!(matches!(
        refused(dir.path()).await,
        OpenError::Corrupt { .. }
    ));
    let mut conn = sqlite(dir.path()).await;
    conn.execute("UPDATE _sqlx_migrations SET success = false")
        .await
        .unwrap();
    conn.close().await.unwrap();
    assert!(matches!(
        refused(dir.path()).await,
        OpenError::Corrupt { .. }
    ));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_untouched() {
    let dir = temp_dir();
    std::fs::write(dir.path().join("a.db"), "hello, I am a text of some length").unwrap();
    assert!(matches!(
        refused(dir.path()).await,
        OpenError::Corrupt { .. }
    ));
    let mut torn = b"SQLite format 3\0".to_vec();
    torn.extend([7; 4_000]);
    std::fs::write(dir.path().join("a.db"), torn).unwrap();
    assert!(matches!(
        refused(dir.path()).await,
        OpenError::Corrupt { .. }
    ));
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_untouched() {
    let dir = temp_dir();
    let mut conn = sqlite(dir.path()).await;
    conn.execute("CREATE TABLE theirs (id TEXT)").await.unwrap();
    conn.close().await.unwrap();
    assert!(matches!(
        refused(dir.path()).await,
        OpenError::Corrupt { .. }
    ));
}

#[tokio::test]
async fn an_empty_file_is_a_new_database() {
    let dir = temp_dir();
    std::fs::write(dir.path().join("a.db"), "").unwrap();
    let store = open(dir.path()).await.unwrap();
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let dir = temp_dir();
    // A directory where a file must be, so that it holds for root too.
    std::fs::create_dir(dir.path().join("a.db.lock")).unwrap();
    let error = open(dir.path()).await.err().unwrap();
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error}");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let nowhere = Location::Sqlite("/proc/nowhere/a.db".into());
    let error = Store::open(nowhere, Options::new(dir.path()))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error}");
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_named_without_its_password() {
    let dir = temp_dir();
    for url in ["postgres://me:secret@127.0.0.1:1/db", "nonsense"] {
        let location = Location::Postgres(url.to_owned());
        let error = Store::open(location, Options::new(dir.path()))
            .await
            .err()
            .unwrap();
        assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
        assert!(!error.to_string().contains("secret"));
    }
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let dir = temp_dir();
    let store = open(dir.path()).await.unwrap();
    store.close().await;
    assert!(
        store
            .submit(build_run(&store.new_id(), "late"), None)
            .await
            .is_err()
    );
    assert!(store.now_ms().await.is_err());
}

#[tokio::test]
async fn what_is_acknowledged_is_there_after_a_restart_and_old_leases_are_void() {
    let dir = temp_dir();
    let store = open(dir.path()).await.unwrap();
    let id = store
        .submit(build_run(&store.new_id(), "run"), None)
        .await
        .unwrap()
        .id;
    let held = store.claim(crate::bed::request("dead", 9)).await.unwrap();
    assert_eq!(held.len(), 1);
    drop(store);
    // The committer ends when the last clone is gone; then the lock is free.
    let store =
        agentwright_testkit::eventually("the lock is free", async || open(dir.path()).await.ok())
            .await;
    let run = store
        .run(&agentwright_store::OrgScope::local(), &id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(run.status, RunStatus::Ready);
    let again = store.claim(crate::bed::request("next", 9)).await.unwrap();
    assert_eq!((again.len(), again[0].claims), (1, 2));
}

#[tokio::test]
async fn a_notice_that_a_dead_process_had_taken_is_due_at_once() {
    let dir = temp_dir();
    let store = open(dir.path()).await.unwrap();
    let new = build_run(&store.new_id(), "run");
    store.submit(new, None).await.unwrap();
    let held = store.claim(crate::bed::request("dead", 9)).await.unwrap();
    let fault = agentwright_domain::run::Signal::Fault {
        message: "lost".to_owned(),
        retryable: false,
    };
    let commit = crate::bed::transition(&held[0], &fault, agentwright_store::Writer::Holder);
    store.commit(commit).await.unwrap();
    assert_eq!(store.due_notices(9, 900_000).await.unwrap().len(), 1);
    assert_eq!(store.due_notices(9, 900_000).await.unwrap(), []);
    store.close().await;
    let store = open(dir.path()).await.unwrap();
    assert_eq!(store.due_notices(9, 900_000).await.unwrap().len(), 1);
}

#[tokio::test]
async fn every_statement_is_prepared_on_sqlite() {
    let dir = temp_dir();
    open(dir.path()).await.unwrap().close().await;
    let mut conn = sqlite(dir.path()).await;
    for statement in agentwright_store::statements() {
        let prepared = conn.prepare(statement.sqlite.into_sql_str()).await;
        prepared.unwrap_or_else(|error| panic!("{}: {error}", statement.name));
    }
}

#[tokio::test]
async fn every_statement_is_prepared_on_postgres() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let url = cluster.database().await;
    let dir = temp_dir();
    let store = Store::open(Location::Postgres(url.clone()), Options::new(dir.path()))
        .await
        .unwrap();
    // Leases go by the database's clock.
    assert!(store.now_ms().await.unwrap() > START_MS);
    let mut conn = PgConnection::connect(&url).await.unwrap();
    conn.execute("SET search_path = agentwright").await.unwrap();
    for statement in agentwright_store::statements() {
        let prepared = conn.prepare(statement.postgres.into_sql_str()).await;
        prepared.unwrap_or_else(|error| panic!("{}: {error}", statement.name));
    }
    store.close().await;

    conn.execute("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9, 'later', true, '', 1)").await.unwrap();
    let again = Store::open(Location::Postgres(url), Options::new(dir.path())).await;
    assert!(matches!(again, Err(OpenError::Newer { found: 9, .. })));
}

/// Plans are made once, mostly while there is nothing yet, and behind row level security: one that takes the tables for
/// empty reads all runs for each that it wants, for as long as the process lives.
#[tokio::test]
async fn runs_are_found_by_their_key_as_soon_as_there_are_some() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let url = cluster.database().await;
    let dir = temp_dir();
    let location = Location::Postgres(url.clone());
    let store = Store::open(location, Options::new(dir.path())).await;
    let store = store.unwrap();
    // Two committers share them.
    for at in 0..300 {
        let new = build_run(&store.new_id(), &format!("run{at}"));
        store.submit(new, None).await.unwrap();
    }
    store.close().await;
    let mut conn = PgConnection::connect(&url).await.unwrap();
    conn.execute(
        "SET search_path = agentwright; SET enable_seqscan = off; SET enable_hashjoin = off;
         SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan",
    )
    .await
    .unwrap();
    for (at, name) in ["locking runs", "writing runs", "writing progress"]
        .iter()
        .enumerate()
    {
        let all = agentwright_store::statements();
        let statement = all.into_iter().find(|it| it.name == *name).unwrap();
        let timed = statement.postgres.contains("$2");
        let (kinds, values) = match timed {
            true => ("text, bigint", "'[]', 0"),
            false => ("text", "'[]'"),
        };
        let sql = format!("PREPARE it{at} ({kinds}) AS {}", statement.postgres);
        conn.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
        let sql = format!("EXPLAIN EXECUTE it{at} ({values})");
        let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_all(&mut conn)
            .await
            .unwrap();
        let plan = plan.join("\n");
        let key = "Index Cond: ((organization_id = j.o) AND (id = j.r))";
        assert!(plan.contains(key), "{name}:\n{plan}");
    }
}

#[test]
fn only_a_locking_clause_differs_between_the_engines() {
    for statement in agentwright_store::statements() {
        let mut text = statement.postgres.to_owned();
        for clause in [
            " FOR UPDATE OF r SKIP LOCKED",
            " FOR UPDATE OF d SKIP LOCKED",
            " FOR UPDATE SKIP LOCKED",
            " FOR UPDATE OF r",
            " FOR UPDATE",
        ] {
            text = text.replace(clause, "");
        }
        assert_eq!(text, statement.sqlite, "{}", statement.name);
    }
}

#[tokio::test]
async fn two_processes_that_start_at_once_on_an_empty_database_both_open_it() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let location = cluster.location().await;
    let dir = temp_dir();
    let start = || Store::open(location.clone(), Options::new(dir.path()));
    let (a, b) = tokio::join!(start(), start());
    a.unwrap();
    b.unwrap();
}

#[tokio::test]
async fn what_a_crash_left_half_written_among_artifacts_is_cleared() {
    let dir = temp_dir();
    let torn = dir.path().join("artifacts/tmp/1-1");
    std::fs::create_dir_all(torn.parent().unwrap()).unwrap();
    std::fs::write(&torn, "half").unwrap();
    let store = open(dir.path()).await.unwrap();
    assert!(!torn.exists());
    let large = vec![0; agentwright_store::ARTIFACT_MAX_BYTES + 1];
    assert!(store.put_artifact(large).await.is_err());
    let bed = Bed::sqlite().await;
    assert!(!bed.store.shared());
}

#[tokio::test]
async fn a_copy_of_postgres_goes_back_whole_into_an_empty_database_or_not_at_all() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let dir = temp_dir();
    let (options, scope) = (|| Options::new(dir.path()), OrgScope::local());
    let store = Store::open(cluster.location().await, options()).await;
    let store = store.unwrap();
    // Quotes, line ends and what looks like our own marks are text like any other.
    let mut ids = Vec::new();
    for at in 0..700 {
        let id = store.new_id();
        let mut new = build_run(&id, &format!("run{at}"));
        new.input = RunInput::Build(BuildRequest {
            intent: format!(
                "zip \"it\"\nR {{}}\nE 0\n\\n \u{1F4E6} {}",
                "x".repeat(3_000)
            ),
            ..BuildRequest::default()
        });
        store.submit(new, None).await.unwrap();
        ids.push(RunId::new(id));
    }
    let copy = dir.path().join("copy");
    store.snapshot(&copy).await.unwrap();
    let again = store.snapshot(&copy).await;
    assert!(again.is_err(), "a copy wrote over another one");
    let first = store.run(&scope, &ids[3]).await.unwrap();
    store.close().await;

    let text = std::fs::read_to_string(&copy).unwrap();
    assert!(text.contains("\nT runs\nR {"), "{}", &text[..200]);
    let ended = text.rfind("\nE ").unwrap() + 1;
    let row = text.find("\nR ").unwrap() + 1;
    let after = row + text[row..].find('\n').unwrap() + 1;
    let url = cluster.database().await;
    let wrong = dir.path().join("wrong");
    for (what, broken) in [
        ("", String::new()),
        ("not ours", "hello\n".to_owned()),
        ("newer", text.replacen("migration 8", "migration 99", 1)),
        ("half", text[..text.len() / 2].to_owned()),
        ("without its end", text[..ended].to_owned()),
        ("a row less", format!("{}{}", &text[..row], &text[after..])),
        ("more", format!("{text}R {{}}\n")),
        (
            "another table",
            text.replacen("\nT runs\n", "\nT pg_authid\n", 1),
        ),
        (
            "no row",
            format!("{}R null\n{}", &text[..row], &text[row..]),
        ),
        ("no JSON", format!("{}R {{\n{}", &text[..row], &text[row..])),
    ] {
        std::fs::write(&wrong, broken).unwrap();
        let refused = load_postgres(&url, &wrong).await;
        assert!(
            matches!(
                refused,
                Err(OpenError::Corrupt { .. } | OpenError::Newer { .. })
            ),
            "{what}: {refused:?}"
        );
    }
    load_postgres(&url, &copy).await.unwrap();
    let there = load_postgres(&url, &copy).await;
    assert!(
        matches!(there, Err(OpenError::NotEmpty { .. })),
        "{there:?}"
    );
    let store = Store::open(Location::Postgres(url), options()).await;
    let store = store.unwrap();
    assert_eq!(store.run(&scope, &ids[3]).await.unwrap(), first);
    assert!(first.is_some());
    let new = store.submit(build_run(&store.new_id(), "new"), None).await;
    assert!(new.is_ok(), "it goes on");
    store.close().await;
}

#[test]
fn databases_of_one_name_on_two_servers_are_told_apart_and_no_password_is_said() {
    let place = |url: &str| agentwright_store::postgres_place(url).unwrap();
    let one = place("postgres://aw:pw-of-test@db/agentwright");
    assert_eq!(one, "postgres://db:5432/agentwright");
    assert_ne!(one, place("postgres://aw:pw-of-test@db:5433/agentwright"));
    let socket = |dir: &str| place(&format!("postgres://aw@localhost/agentwright?host={dir}"));
    assert_ne!(socket("/tmp/one"), socket("/tmp/two"));
}
