//! A person's own table of automations in their own PostgreSQL database: all SQL that is said to it.
//!
//! Not here: what is built of a row and when (`server`), and our own tables (`store`). A row is changed in two
//! columns only, `builder_status` and `status`, always from a value that was seen; results are added to the table
//! of results. Every write has a ticket, the number of its transaction, which is known before it is committed: whoever
//! keeps it first can ask afterwards whether the write was done ([`Backlog::settled`]), so that nothing is written
//! twice and nothing is lost when the database goes away in the middle. Start with [`Backlog::open`].

mod address;
mod check;
mod fault;
mod names;
mod rows;

pub use address::Address;
pub use check::{Checked, TEXT_MAX};
pub use fault::Fault;
pub use names::{NotAName, TableName, Tables};
pub use rows::{BuilderStatus, Change, Level, Line, READY_MAX, Row, Settled, Write, Writing};

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use std::time::Duration;

/// How long a connection may take to stand.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long one statement may take there, ms.
const STATEMENT_MAX_MS: u32 = 10_000;
/// How long one statement may wait for a lock, ms. Rows are never waited for.
const LOCK_MAX_MS: u32 = 2_000;
/// How long a transaction of ours may do nothing, ms: then the database ends it.
const IDLE_MAX_MS: u32 = 15_000;

/// One connection to the database of a table. There is never more than one at a time for each table and look: it is
/// opened, used and closed.
pub struct Backlog {
    conn: PgConnection,
    tables: Tables,
}

impl Backlog {
    /// Connects.
    ///
    /// # Errors
    /// [`Fault::Away`] when nobody answers within [`CONNECT_MAX`], [`Fault::Denied`] when we are not let in.
    pub async fn open(address: &Address, tables: Tables) -> Result<Self, Fault> {
        let connecting = address.options().connect();
        let conn = tokio::time::timeout(CONNECT_MAX, connecting)
            .await
            .map_err(|_| Fault::Away("it does not answer".to_owned()))?
            .map_err(|error| Fault::of(&error))?;
        Ok(Self { conn, tables })
    }

    /// Says goodbye. A connection that is merely dropped ends as well, and with it what was not committed.
    pub async fn close(self) {
        let _ = tokio::time::timeout(CONNECT_MAX, self.conn.close()).await;
    }

    /// The tables that it is about.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }
}

/// What every transaction begins with. For the transaction only, so that a pooler between us and the database keeps
/// nothing of it.
fn limits() -> String {
    format!(
        "SET LOCAL statement_timeout = {STATEMENT_MAX_MS};
         SET LOCAL lock_timeout = {LOCK_MAX_MS};
         SET LOCAL idle_in_transaction_session_timeout = {IDLE_MAX_MS}"
    )
}
