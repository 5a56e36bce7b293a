//! Connections: SQLite's one writer and its readers, PostgreSQL's pool, and what is taken from them.
//!
//! Not here: how they are opened (`open`), what is said over them.

use crate::db::Conn;
use crate::error::Error;
use crate::scope::OrgScope;
use crate::tenancy::TELL;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Postgres, Sqlite, SqliteConnection};
use std::fs::File;
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};

/// The connections.
#[derive(Clone)]
pub(crate) enum Db {
    /// One writer, whose owner holds the lock file; several readers.
    Sqlite {
        writer: Arc<Mutex<Option<Writing>>>,
        readers: sqlx::SqlitePool,
    },
    /// Pools: for the engine and what concerns all organizations, and for one organization at a time.
    Postgres {
        pool: sqlx::PgPool,
        tenants: sqlx::PgPool,
        options: Box<PgConnectOptions>,
    },
}

/// SQLite's writing connection, and the proof that nobody else has one.
pub(crate) struct Writing {
    pub(crate) conn: SqliteConnection,
    /// Whoever had it has begun and was given up before the end.
    pub(crate) open: bool,
    pub(crate) _lock: File,
}

/// A connection taken for a while.
pub(crate) enum Held {
    Reader(PoolConnection<Sqlite>),
    Writer(OwnedMappedMutexGuard<Option<Writing>, Writing>),
    Postgres(Pooled),
}

/// A connection of the pool; one with an open transaction never goes back to it.
pub(crate) struct Pooled {
    pub(crate) conn: PoolConnection<Postgres>,
    open: bool,
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if self.open {
            self.conn.close_on_drop();
        }
    }
}

fn pooled(conn: PoolConnection<Postgres>) -> Held {
    Held::Postgres(Pooled { conn, open: false })
}

impl Held {
    pub(crate) fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Reader(conn) => Conn::Sqlite(conn),
            Self::Writer(writing) => Conn::Sqlite(&mut writing.conn),
            Self::Postgres(pooled) => Conn::Postgres(&mut pooled.conn),
        }
    }

    /// Begins a transaction, to be ended by [`Self::end`]. When the caller is given up in between (a
    /// client that hangs up drops its call wherever it waits), the next one finds nothing of it.
    pub(crate) async fn begin(&mut self) -> Result<(), Error> {
        match self {
            Self::Writer(writing) => writing.open = true,
            Self::Postgres(pooled) => pooled.open = true,
            Self::Reader(_) => {}
        }
        self.conn().begin().await
    }

    /// Ends the transaction: what was done is committed, an error is rolled back.
    pub(crate) async fn end<T>(&mut self, done: Result<T, Error>) -> Result<T, Error> {
        let done = match done {
            Ok(done) => self.conn().commit().await.map(|()| done),
            Err(error) => Err(error),
        };
        match &done {
            Ok(_) => self.settled(),
            Err(_) => self.undo().await,
        }
        done
    }

    /// Ends the transaction without a trace.
    pub(crate) async fn undo(&mut self) {
        self.conn().rollback().await;
        self.settled();
    }

    /// No transaction is open any more.
    fn settled(&mut self) {
        match self {
            Self::Writer(writing) => writing.open = false,
            Self::Postgres(pooled) => pooled.open = false,
            Self::Reader(_) => {}
        }
    }
}

/// Told before anything else is said over it, whoever had it before.
async fn told(tenants: &sqlx::PgPool, scope: &OrgScope) -> Result<Held, Error> {
    let conn = tenants.acquire().await;
    let mut held = conn
        .map(pooled)
        .map_err(|error| Error::of("taking a connection", &error))?;
    held.conn().fetch(&TELL, &[scope.arg()]).await?;
    Ok(held)
}

impl Db {
    /// A connection for reading.
    pub(crate) async fn reader(&self) -> Result<Held, Error> {
        match self {
            Self::Sqlite { readers, .. } => readers.acquire().await.map(Held::Reader),
            Self::Postgres { pool, .. } => pool.acquire().await.map(pooled),
        }
        .map_err(|error| Error::of("taking a connection", &error))
    }

    /// A connection that sees one organization only (see `tenancy`); on SQLite any reader.
    pub(crate) async fn reader_of(&self, scope: &OrgScope) -> Result<Held, Error> {
        match self {
            Self::Sqlite { .. } => self.reader().await,
            Self::Postgres { tenants, .. } => told(tenants, scope).await,
        }
    }

    /// A connection for writing that sees one organization only; on SQLite the only one.
    pub(crate) async fn writer_of(&self, scope: &OrgScope) -> Result<Held, Error> {
        match self {
            Self::Sqlite { .. } => self.writer().await,
            Self::Postgres { tenants, .. } => told(tenants, scope).await,
        }
    }

    /// A connection for writing: on SQLite the only one.
    pub(crate) async fn writer(&self) -> Result<Held, Error> {
        match self {
            Self::Sqlite { writer, .. } => {
                let writing = Arc::clone(writer).lock_owned().await;
                let mut held = OwnedMutexGuard::try_map(writing, Option::as_mut)
                    .map(Held::Writer)
                    .map_err(|_| Error::Closed)?;
                if matches!(&held, Held::Writer(writing) if writing.open) {
                    held.undo().await;
                }
                Ok(held)
            }
            Self::Postgres { pool, .. } => pool
                .acquire()
                .await
                .map(pooled)
                .map_err(|error| Error::of("taking a connection", &error)),
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { readers, writer } => {
                readers.close().await;
                if let Some(writing) = writer.lock().await.take() {
                    // The last connection: the log is folded into the database. What cannot be
                    // folded now is at the next start.
                    let _ = writing.conn.close().await;
                }
            }
            Self::Postgres { pool, tenants, .. } => {
                pool.close().await;
                tenants.close().await;
            }
        }
    }
}
