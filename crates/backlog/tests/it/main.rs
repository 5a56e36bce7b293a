//! A person's own tables, on a real PostgreSQL. The user of the address has exactly the rights that are asked for.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails by panicking")]

mod table;

use agentwright_backlog::{Address, Backlog, Fault, Tables};
use agentwright_testkit::Cluster;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// A database with the two tables, and a user who may do what must be done and nothing else.
pub(crate) struct Bed {
    pub(crate) cluster: Cluster,
    admin: String,
    pub(crate) address: Address,
}

impl Bed {
    /// `None` where PostgreSQL is not installed.
    pub(crate) async fn new() -> Option<Self> {
        let cluster = Cluster::start().await?;
        let url = cluster.database().await;
        let admin = cluster.superuser(&url);
        let mut conn = PgConnection::connect(&admin).await.unwrap();
        conn.execute(
            "CREATE TYPE builder AS ENUM ('not_started', 'queued', 'building', 'failed', 'awaiting_approval', 'approved', 'deployed');
             CREATE TABLE automation_ideas (id SERIAL PRIMARY KEY, name VARCHAR(200) NOT NULL, task_description TEXT,
               type TEXT NOT NULL, infrastructure_requirement TEXT, status TEXT NOT NULL DEFAULT 'ready_to_build',
               builder_status builder NOT NULL DEFAULT 'not_started', priority INTEGER, owner TEXT DEFAULT 'ann',
               updated_by TEXT);
             CREATE TABLE agent_test_results (id SERIAL PRIMARY KEY, automation_id INTEGER REFERENCES automation_ideas (id),
               test_level SMALLINT NOT NULL, status TEXT NOT NULL CHECK (status IN ('pass', 'fail')), execution_log TEXT,
               created_at TIMESTAMPTZ DEFAULT now());
             CREATE ROLE builder_user LOGIN;
             GRANT SELECT (id, name, task_description, type, infrastructure_requirement, status, builder_status, priority)
               ON automation_ideas TO builder_user;
             GRANT UPDATE (status, builder_status) ON automation_ideas TO builder_user;
             GRANT INSERT (automation_id, test_level, status, execution_log) ON agent_test_results TO builder_user;
             GRANT USAGE ON SEQUENCE agent_test_results_id_seq TO builder_user",
        )
        .await
        .unwrap();
        let address = url.replace("postgres://agentwright@", "postgres://builder_user@");
        Some(Self {
            cluster,
            admin,
            address: Address::parse(&address).unwrap(),
        })
    }

    /// As the owner of the database.
    pub(crate) async fn admin(&self) -> PgConnection {
        PgConnection::connect(&self.admin).await.unwrap()
    }

    pub(crate) async fn sql(&self, sql: &str) {
        let mut conn = self.admin().await;
        conn.execute(AssertSqlSafe(sql)).await.unwrap();
    }

    /// The first column of every row, as text.
    pub(crate) async fn read(&self, sql: &str) -> Vec<String> {
        let mut conn = self.admin().await;
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut conn)
            .await
            .unwrap()
    }

    pub(crate) fn tables(&self) -> Tables {
        Tables {
            ideas: "automation_ideas".parse().unwrap(),
            results: "public.agent_test_results".parse().unwrap(),
        }
    }

    pub(crate) async fn open(&self) -> Backlog {
        Backlog::open(&self.address, self.tables()).await.unwrap()
    }

    /// What a check finds missing.
    pub(crate) async fn lacks(&self) -> Vec<String> {
        match self.open().await.check().await {
            Ok(_) => Vec::new(),
            Err(Fault::Unfit(lacks)) => lacks,
            Err(other) => panic!("{other}"),
        }
    }
}
