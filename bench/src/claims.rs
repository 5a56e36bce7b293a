//! Claims per second: starts of the queue in our own store, and rows of a person's own table, each beside what the same
//! database commits with nothing else going on.

use crate::{Engine, Load, limit};
use agentwright_backlog::BuilderStatus::{NotStarted, Queued};
use agentwright_backlog::{Address, Backlog, Change, Tables, Writing};
use agentwright_domain::ids::Slug;
use agentwright_store::{Idea, Location, Options, OrgScope, Store};
use agentwright_testkit::Cluster;
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use std::path::Path;
use std::time::Instant;

/// Builders that claim rows of one table at a time.
const BUILDERS: u32 = 8;

/// Each of `--n` items is claimed once.
pub(crate) async fn run(load: &Load) -> Result<Value> {
    let dir = match &load.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    match load.store {
        Engine::Sqlite => {
            let place = Location::Sqlite(dir.path().join("agentwright.db"));
            let starts = starts(place, dir.path(), load.n).await?;
            let commits = limit::commits_per_s(Engine::Sqlite, dir.path(), "", 1).await?;
            Ok(json!({
                "bench": "claims", "store": "sqlite", "n": load.n,
                "starts": rate(starts, commits),
            }))
        }
        Engine::Postgres => {
            let cluster = Cluster::start().await;
            let cluster = cluster.context("PostgreSQL is not installed")?;
            let starts = starts(cluster.location().await, dir.path(), load.n).await?;
            let url = cluster.database().await;
            let admin = cluster.superuser(&url);
            let one = rows(&admin, load.n, 1).await?;
            let many = rows(&admin, load.n, BUILDERS).await?;
            let alone = limit::commits_per_s(Engine::Postgres, dir.path(), &admin, 1).await?;
            let together =
                limit::commits_per_s(Engine::Postgres, dir.path(), &admin, BUILDERS).await?;
            Ok(json!({
                "bench": "claims", "store": "postgres", "n": load.n,
                "starts": rate(starts, alone),
                "rows_of_one_builder": rate(one, alone),
                "builders": BUILDERS,
                "rows_of_all_builders": rate(many, together),
            }))
        }
    }
}

fn rate(claims: f64, commits: f64) -> Value {
    json!({
        "claims_per_s": claims.round(),
        "commits_per_s": commits.round(),
        "ratio": (claims / commits * 100.0).round() / 100.0,
    })
}

/// Starts of the queue: each is a compare-and-set of the backlog that names the revision it was decided on.
async fn starts(place: Location, dir: &Path, n: usize) -> Result<f64> {
    let store = Store::open(place, Options::new(dir)).await?;
    let scope = OrgScope::local();
    let ideas: Result<Vec<Idea>> = (1..=n).map(idea).collect();
    let mut ideas = ideas?;
    let mut revision = store.backlog_revision(&scope).await?;
    ensure!(store.write_backlog(&scope, revision, &ideas, &[]).await?);
    revision += 1;
    let since = Instant::now();
    for idea in &mut ideas {
        idea.builder_status = "building".to_owned();
        let one = std::slice::from_ref(idea);
        ensure!(store.write_backlog(&scope, revision, one, &[]).await?);
        revision += 1;
    }
    let took = since.elapsed();
    let late = store.write_backlog(&scope, revision - 1, &ideas[..1], &[]);
    ensure!(!late.await?, "one that was decided on what is old is kept");
    store.close().await;
    Ok(per_s(n, took))
}

fn idea(n: usize) -> Result<Idea> {
    let label = Slug::from_words(&format!("item {n}")).context("a label")?;
    let n = i64::try_from(n)?;
    Ok(Idea {
        name: label.to_string(),
        task_description: "count the words of each note and append them to a table".to_owned(),
        kind: "script".to_owned(),
        infrastructure_requirement: None,
        status: "ready_to_build".to_owned(),
        builder_status: "not_started".to_owned(),
        priority: Some(1),
        position: n,
        item: json!({ "label": label, "name": label, "done": false, "priority": "high" }),
        agreed: None,
        base_dir: "/".to_owned(),
        zone: "UTC".to_owned(),
        approved_by: None,
        run: None,
        failures: 0,
        failed_at_ms: None,
        created_at_ms: n,
        id: n,
        label,
    })
}

/// Rows of a table, each claimed once, by so many builders at a time.
async fn rows(admin: &str, n: usize, builders: u32) -> Result<f64> {
    let schema = format!("of_{builders}");
    let mut conn = PgConnection::connect(admin).await?;
    let sql = format!(
        "CREATE SCHEMA {schema};
         CREATE TABLE {schema}.automation_ideas (id BIGINT PRIMARY KEY, name TEXT NOT NULL, task_description TEXT,
           type TEXT NOT NULL, infrastructure_requirement TEXT, status TEXT NOT NULL, builder_status TEXT NOT NULL,
           priority INTEGER);
         CREATE TABLE {schema}.agent_test_results (id BIGSERIAL PRIMARY KEY, automation_id BIGINT, test_level SMALLINT,
           status TEXT, execution_log TEXT);
         INSERT INTO {schema}.automation_ideas
           SELECT n, 'item ' || n, 'count the words of each note', 'script', NULL, 'ready_to_build', 'not_started', 1
           FROM generate_series(1, {n}) AS n"
    );
    conn.execute(AssertSqlSafe(sql)).await?;
    let name = |table: &str| format!("{schema}.{table}").parse();
    let tables = Tables {
        ideas: name("automation_ideas")?,
        results: name("agent_test_results")?,
    };
    let address = Address::parse(admin).map_err(|why| anyhow!("{why}"))?;
    let mut opened = Vec::new();
    for _ in 0..builders {
        opened.push(Backlog::open(&address, tables.clone()).await?);
    }
    let since = Instant::now();
    let builders = opened.into_iter().enumerate().map(|(at, backlog)| {
        let mine = (at + 1..=n).step_by(builders as usize);
        claim(backlog, mine.collect())
    });
    futures::future::try_join_all(builders).await?;
    let took = since.elapsed();
    let left =
        format!("SELECT count(*) FROM {schema}.automation_ideas WHERE builder_status <> 'queued'");
    let left: i64 = sqlx::query_scalar(AssertSqlSafe(left))
        .fetch_one(&mut conn)
        .await?;
    ensure!(left == 0, "{left} rows were not claimed");
    Ok(per_s(n, took))
}

async fn claim(mut backlog: Backlog, ids: Vec<usize>) -> Result<()> {
    for id in ids {
        let change = Change {
            id: i64::try_from(id)?,
            from: NotStarted,
            to: vec![Queued],
            lines: Vec::new(),
        };
        match backlog.write(&change).await? {
            Writing::Ready(write) => write.commit().await?,
            Writing::Locked | Writing::Other(_) | Writing::Gone => {
                anyhow::bail!("row {id} cannot be claimed")
            }
        }
    }
    backlog.close().await;
    Ok(())
}

fn per_s(n: usize, took: std::time::Duration) -> f64 {
    let n = u32::try_from(n).map_or(f64::MAX, f64::from);
    n / took.as_secs_f64()
}
