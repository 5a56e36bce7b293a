//! A store to test, and short words for what is done to it.

use agentwright_domain::build::{ApprovalMode, Facts, StageOutcome};
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::{OrganizationId, RunId};
use agentwright_domain::run::{NewRun, Record, Run, RunKind, RunState, Signal, decide};
use agentwright_store::{
    Claim, Commit, CommitError, Committed, KindLimit, Location, Options, OrgScope, Store, Writer,
};
use agentwright_testkit::{Cluster, TestClock, build_run, temp_dir};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use std::sync::Arc;

/// Where every test's clock begins.
pub(crate) const START_MS: i64 = 1_000_000;
/// How long a lease lasts here.
pub(crate) const LEASE_MS: i64 = 15_000;

/// A PostgreSQL database with our tables and nothing in them: copying it is faster than making it.
pub(crate) struct Template {
    url: String,
    dir: tempfile::TempDir,
}

impl Template {
    pub(crate) async fn of(cluster: &Cluster) -> Self {
        let (url, dir) = (cluster.database().await, temp_dir());
        let location = Location::Postgres(url.clone());
        let store = Store::open(location, Options::new(dir.path()))
            .await
            .unwrap();
        store.close().await;
        Self { url, dir }
    }
}

#[derive(Clone)]
pub(crate) struct Bed {
    pub(crate) store: Store,
    /// Another process on the same tables; on SQLite the same one.
    pub(crate) other: Store,
    pub(crate) clock: TestClock,
    pub(crate) scope: OrgScope,
    dir: Arc<tempfile::TempDir>,
    location: Location,
}

impl Bed {
    pub(crate) async fn sqlite() -> Self {
        let dir = temp_dir();
        let location = Location::Sqlite(dir.path().join("a.db"));
        Self::open(location, dir).await
    }

    pub(crate) async fn postgres(cluster: &Cluster, template: &Template) -> Self {
        let dir = temp_dir();
        // A database goes with its key.
        let key = template.dir.path().join("auth.key");
        std::fs::copy(key, dir.path().join("auth.key")).unwrap();
        let url = cluster.copy(&template.url).await;
        Self::open(Location::Postgres(url), dir).await
    }

    async fn open(location: Location, dir: tempfile::TempDir) -> Self {
        let clock = TestClock::at(START_MS);
        let options = Options {
            time: clock.for_store(),
            artifacts_quota_bytes: 1_000,
            ..Options::new(dir.path())
        };
        let store = Store::open(location.clone(), options.clone())
            .await
            .unwrap();
        let other = match &location {
            Location::Sqlite(_) => store.clone(),
            Location::Postgres(_) => Store::open(location.clone(), options).await.unwrap(),
        };
        Self {
            store,
            other,
            clock,
            scope: OrgScope::local(),
            dir: Arc::new(dir),
            location,
        }
    }

    /// Runs SQL behind the store's back.
    pub(crate) async fn sql(&self, sql: &str) {
        match &self.location {
            Location::Sqlite(_) => {
                let mut conn = self.sqlite_conn().await;
                conn.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
                conn.close().await.unwrap();
            }
            Location::Postgres(url) => {
                let mut conn = postgres_conn(url).await;
                conn.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
            }
        }
    }

    /// The one number that SQL answers.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let query = sqlx::AssertSqlSafe(sql.to_owned());
        match &self.location {
            Location::Sqlite(_) => {
                let mut conn = self.sqlite_conn().await;
                sqlx::query_scalar(query)
                    .fetch_one(&mut conn)
                    .await
                    .unwrap()
            }
            Location::Postgres(url) => {
                let mut conn = postgres_conn(url).await;
                sqlx::query_scalar(query)
                    .fetch_one(&mut conn)
                    .await
                    .unwrap()
            }
        }
    }

    /// Every table whose rows belong to an organization.
    pub(crate) async fn tables_of_tenants(&self) -> Vec<String> {
        match &self.location {
            Location::Sqlite(_) => {
                let sql =
                    "SELECT m.name FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c
                           ON c.name = 'organization_id' WHERE m.type = 'table'";
                let mut conn = self.sqlite_conn().await;
                sqlx::query_scalar(sql).fetch_all(&mut conn).await.unwrap()
            }
            Location::Postgres(url) => {
                let sql = "SELECT table_name::text FROM information_schema.columns
                           WHERE table_schema = 'agentwright' AND column_name = 'organization_id'";
                let mut conn = postgres_conn(url).await;
                sqlx::query_scalar(sql).fetch_all(&mut conn).await.unwrap()
            }
        }
    }

    async fn sqlite_conn(&self) -> sqlx::SqliteConnection {
        let options = sqlx::sqlite::SqliteConnectOptions::new();
        let options = options.filename(self.dir.path().join("a.db"));
        options.connect().await.unwrap()
    }

    /// Changes the audit tables, looks, and puts them back.
    pub(crate) async fn tampered<T>(&self, sql: &str, look: impl AsyncFnOnce() -> T) -> T {
        self.sql(
            "CREATE TABLE rows_copy AS SELECT * FROM audit;
             CREATE TABLE heads_copy AS SELECT * FROM audit_heads",
        )
        .await;
        self.sql(sql).await;
        let seen = look().await;
        self.sql(
            "DELETE FROM audit; INSERT INTO audit SELECT * FROM rows_copy; DROP TABLE rows_copy;
             DELETE FROM audit_heads; INSERT INTO audit_heads SELECT * FROM heads_copy; DROP TABLE heads_copy",
        )
        .await;
        seen
    }

    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub(crate) async fn submit(&self, label: &str) -> RunId {
        let new = build_run(&self.store.new_id(), label);
        self.store.submit(new, None).await.unwrap().id
    }

    pub(crate) async fn claim(&self, owner: &str) -> Vec<Run> {
        self.store.claim(request(owner, 100)).await.unwrap()
    }

    /// Submits and claims one run.
    pub(crate) async fn held(&self, label: &str) -> Run {
        let id = self.submit(label).await;
        let mut runs = self.claim("worker").await;
        let at = runs.iter().position(|run| run.id == id).unwrap();
        runs.swap_remove(at)
    }

    pub(crate) async fn run(&self, id: &RunId) -> Run {
        self.store.run(&self.scope, id).await.unwrap().unwrap()
    }

    /// Commits what a signal makes of a run.
    pub(crate) async fn commit(
        &self,
        run: &Run,
        signal: &Signal,
        writer: Writer,
    ) -> Result<Committed, CommitError> {
        self.store.commit(transition(run, signal, writer)).await
    }

    /// Works stages until the run no longer continues.
    pub(crate) async fn work(&self, mut run: Run) -> Run {
        while run.status == agentwright_domain::run::RunStatus::Leased {
            let done = self.commit(&run, &done(&run), Writer::Holder).await;
            run = done.unwrap().run;
        }
        run
    }
}

pub(crate) fn transition(run: &Run, signal: &Signal, writer: Writer) -> Commit {
    Commit {
        run: run.clone(),
        to: decide(run, signal, START_MS).unwrap(),
        writer,
        audit: None,
    }
}

/// A request for builds and executions.
pub(crate) fn request(owner: &str, limit: u32) -> Claim {
    let kinds = [RunKind::Build, RunKind::Execution];
    Claim {
        owner: owner.to_owned(),
        lease_ms: LEASE_MS,
        kinds: kinds
            .map(|kind| KindLimit {
                kind,
                free: limit,
                global: limit,
                per_organization: limit,
            })
            .to_vec(),
        active: Vec::new(),
    }
}

/// The stage was done, with these rows.
pub(crate) fn done_with(run: &Run, records: Vec<Record>) -> Signal {
    let RunState::Build(state) = &run.state else {
        panic!("not a build")
    };
    let subject = serde_json::from_value(serde_json::json!({
        "spec": digest(1), "target": digest(2), "policy": digest(3), "digest": digest(4),
    }));
    let facts = Facts {
        subject: Some(subject.unwrap()),
        ..state.facts.clone()
    };
    Signal::Stage {
        outcome: Box::new(StageOutcome::Done {
            summary: "done".to_owned(),
            facts: Box::new(facts),
            records,
        }),
    }
}

pub(crate) fn done(run: &Run) -> Signal {
    done_with(run, Vec::new())
}

pub(crate) fn cancel() -> Signal {
    Signal::Cancel {
        by: "anna".to_owned(),
        reason: "no longer needed".to_owned(),
    }
}

/// A build that asks before it writes and before it deploys.
pub(crate) fn asking(id: &str, label: &str) -> NewRun {
    let mut new = build_run(id, label);
    if let RunState::Build(state) = &mut new.state {
        state.policy.mode = ApprovalMode::Checkpoints;
    }
    new
}

pub(crate) fn of_organization(organization: &str, mut new: NewRun) -> NewRun {
    new.organization = OrganizationId::new(organization);
    new
}

pub(crate) fn digest(n: u8) -> Digest {
    Digest::from_sha256([n; 32])
}

async fn postgres_conn(url: &str) -> sqlx::PgConnection {
    let mut conn = sqlx::PgConnection::connect(url).await.unwrap();
    conn.execute("SET search_path TO agentwright; SET agentwright.organization TO '*'")
        .await
        .unwrap();
    conn
}

/// Who changes things here.
pub(crate) fn actor() -> agentwright_store::Actor {
    agentwright_store::Actor {
        name: "anna".to_owned(),
        principal: "owner".to_owned(),
    }
}
