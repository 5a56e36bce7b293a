//! The whole database at once: a copy of it, and whether it is intact.

use crate::Store;
use crate::connections::Db;
use crate::db::Conn;
use crate::error::{Error, OpenError};
use std::path::Path;

impl Store {
    /// Copies the whole database, as it is at one moment, into a file that is not there yet; durable when it
    /// returns. Writers wait meanwhile for no longer than a checkpoint on SQLite, not at all on PostgreSQL, whose copy
    /// is [`crate::load_postgres`]'s to read. An error may leave a part of the file.
    pub async fn snapshot(&self, to: &Path) -> Result<(), Error> {
        let doing = "copying the database";
        let unavailable = |detail: String| Error::Unavailable { doing, detail };
        if let Db::Postgres { options, .. } = &self.inner.db {
            let written = crate::dump::write(options, to).await;
            return written.map_err(|error| match error {
                OpenError::Full { .. } => Error::Full { doing },
                error => unavailable(error.to_string()),
            });
        }
        let mut held = self.inner.db.reader().await?;
        let Conn::Sqlite(conn) = held.conn() else {
            return Err(unavailable("it is no file".to_owned()));
        };
        sqlx::query("VACUUM INTO $1")
            .bind(to.display().to_string())
            .execute(conn)
            .await
            .map_err(|error| Error::of(doing, &error))?;
        drop(held);
        let synced = match tokio::fs::File::open(to).await {
            Ok(file) => file.sync_all().await,
            Err(error) => Err(error),
        };
        synced.map_err(|error| unavailable(error.to_string()))
    }

    /// Reads the whole database and says what is wrong with it; empty when nothing is. PostgreSQL
    /// has checksums of its own for this.
    pub async fn check(&self) -> Result<Vec<String>, Error> {
        let mut held = self.inner.db.reader().await?;
        let Conn::Sqlite(conn) = held.conn() else {
            return Ok(Vec::new());
        };
        let lines: Vec<(String,)> = sqlx::query_as("PRAGMA integrity_check")
            .fetch_all(conn)
            .await
            .map_err(|error| Error::of("checking the database", &error))?;
        Ok(lines
            .into_iter()
            .map(|(line,)| line)
            .filter(|line| line != "ok")
            .collect())
    }
}
