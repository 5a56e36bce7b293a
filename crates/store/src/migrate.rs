//! The migrations: one folder for both engines.
//!
//! A line that begins with `--sqlite ` or `--postgres ` is SQL for that engine and a comment for
//! the other. A migration that has been released is never edited: its checksum is stored.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

const ALL: &[(i64, &str, &str)] = &[
    (
        1,
        "runs and deployments",
        include_str!("../migrations/0001_runs_and_deployments.sql"),
    ),
    (
        2,
        "model calls and budgets",
        include_str!("../migrations/0002_model_calls.sql"),
    ),
    (
        3,
        "keys, sessions and the audit trail",
        include_str!("../migrations/0003_keys_sessions_audit.sql"),
    ),
    (
        4,
        "links that decide",
        include_str!("../migrations/0004_decision_tokens.sql"),
    ),
    (
        5,
        "backlog and its receipts",
        include_str!("../migrations/0005_queue.sql"),
    ),
    (
        6,
        "connected tables and their rows",
        include_str!("../migrations/0006_backlogs.sql"),
    ),
    (
        7,
        "notices of no run, reports and inbound webhooks",
        include_str!("../migrations/0007_watching.sql"),
    ),
    (
        8,
        "indexes that lead to one run",
        include_str!("../migrations/0008_indexes_of_runs.sql"),
    ),
];

/// The newest migration that this program knows.
pub(crate) const NEWEST: i64 = ALL[ALL.len() - 1].0;

/// Which engine's lines are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `--sqlite `
    Sqlite,
    /// `--postgres `
    Postgres,
}

impl Dialect {
    fn mark(self) -> &'static str {
        match self {
            Self::Sqlite => "--sqlite ",
            Self::Postgres => "--postgres ",
        }
    }

    /// The text with this engine's lines opened.
    fn text(self, sql: &str) -> String {
        sql.lines()
            .map(|line| line.strip_prefix(self.mark()).unwrap_or(line))
            .fold(String::with_capacity(sql.len()), |mut text, line| {
                text.push_str(line);
                text.push('\n');
                text
            })
    }

    /// The migrations as sqlx runs them.
    pub(crate) fn migrator(self) -> Migrator {
        self.migrator_to(NEWEST)
    }

    /// Only those up to one of them.
    pub(crate) fn migrator_to(self, last: i64) -> Migrator {
        let migrations = ALL
            .iter()
            .filter(|(version, ..)| *version <= last)
            .map(|(version, name, sql)| {
                let sql = sqlx::AssertSqlSafe(self.text(sql)).into_sql_str();
                Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
            })
            .collect();
        Migrator::with_migrations(migrations)
    }
}
