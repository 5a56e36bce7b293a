//! What the disk allows: rows per second of durable commits of ten rows each, and one commit alone.

use crate::Engine;
use anyhow::Result;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Executor};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long it measures.
const MEASURED: Duration = Duration::from_secs(1);
/// Rows of one commit.
const ROWS: u32 = 10;
/// Connections that commit at a time on PostgreSQL.
const CONNECTIONS: u32 = 8;

pub(crate) struct Disk {
    pub(crate) rows_per_s: f64,
    /// One commit of one row, nothing else going on.
    pub(crate) commit_ms: f64,
}

fn insert(rows: u32) -> String {
    let values: Vec<_> = (0..rows)
        .map(|row| format!("({row}, 'a row of about the size of an event, with some words in it')"))
        .collect();
    format!(
        "INSERT INTO commit_limit (n, line) VALUES {}",
        values.join(", ")
    )
}

pub(crate) async fn rows_per_s(engine: Engine, dir: &Path, url: &str) -> Result<Disk> {
    match engine {
        Engine::Sqlite => sqlite(dir).await,
        Engine::Postgres => postgres(url).await,
    }
}

/// Durable commits of one row each, so many at a time; on SQLite one at a time.
pub(crate) async fn commits_per_s(
    engine: Engine,
    dir: &Path,
    url: &str,
    at_a_time: u32,
) -> Result<f64> {
    match engine {
        Engine::Sqlite => Ok(1_000.0 / sqlite(dir).await?.commit_ms),
        Engine::Postgres => commits(&pool(url).await?, 1, at_a_time).await,
    }
}

async fn sqlite(dir: &Path) -> Result<Disk> {
    let mut conn = SqliteConnectOptions::new()
        .filename(dir.join("limit.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging()
        .connect()
        .await?;
    conn.execute("CREATE TABLE commit_limit (n BIGINT, line TEXT)")
        .await?;
    let mut measure = async |rows| {
        let sql = insert(rows);
        let (since, mut commits) = (Instant::now(), 0_u32);
        while since.elapsed() < MEASURED {
            sqlx::query(sqlx::AssertSqlSafe(sql.as_str()))
                .execute(&mut conn)
                .await?;
            commits += 1;
        }
        anyhow::Ok(f64::from(commits) / since.elapsed().as_secs_f64())
    };
    Ok(Disk {
        commit_ms: 1_000.0 / measure(1).await?,
        rows_per_s: measure(ROWS).await? * f64::from(ROWS),
    })
}

async fn pool(url: &str) -> Result<PgPool> {
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .connect(url)
        .await?;
    pool.execute("CREATE TABLE IF NOT EXISTS public.commit_limit (n BIGINT, line TEXT)")
        .await?;
    Ok(pool)
}

async fn postgres(url: &str) -> Result<Disk> {
    let pool = pool(url).await?;
    Ok(Disk {
        commit_ms: 1_000.0 / commits(&pool, 1, 1).await?,
        rows_per_s: commits(&pool, ROWS, CONNECTIONS).await? * f64::from(ROWS),
    })
}

/// Commits per second of so many rows each, so many at a time.
async fn commits(pool: &PgPool, rows: u32, connections: u32) -> Result<f64> {
    let sql = insert(rows).replace("commit_limit", "public.commit_limit");
    let since = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let (pool, sql) = (pool.clone(), sql.clone());
            tokio::spawn(async move {
                let mut commits = 0_u32;
                while since.elapsed() < MEASURED {
                    sqlx::query(sqlx::AssertSqlSafe(sql.as_str()))
                        .execute(&pool)
                        .await?;
                    commits += 1;
                }
                Ok::<_, sqlx::Error>(commits)
            })
        })
        .collect();
    let mut commits = 0;
    for task in tasks {
        commits += task.await??;
    }
    Ok(f64::from(commits) / since.elapsed().as_secs_f64())
}
