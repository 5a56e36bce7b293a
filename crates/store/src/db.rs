//! One SQL text on two engines: statements, arguments, rows, connections.
//!
//! Not an abstraction over SQL: a statement is written once, in SQL that both engines read, beside
//! the function that runs it. Only a `FOR UPDATE` may differ. Sets of rows travel as one JSON
//! argument: `WITH j AS MATERIALIZED (SELECT value FROM json_each(CAST($1 AS TEXT)))` with `j.value ->> 'name'`
//! on both. Materialized: else SQLite makes the text of a row anew for every column. What rows are found by is a
//! column of `j`: behind row level security PostgreSQL looks nothing up in an index by an expression of `->>`, which
//! it does not hold for leakproof, and reads the whole table for each row instead. `j` comes first, with a
//! `CROSS JOIN`, whose order SQLite keeps.

use crate::error::Error;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Executor, PgConnection, Row as _, SqliteConnection};
use std::sync::atomic::{AtomicU64, Ordering};

/// One SQL statement.
#[derive(Debug)]
pub struct Statement {
    /// What it does, in words: errors and logs name it.
    pub name: &'static str,
    /// The text.
    pub sqlite: &'static str,
    /// The text, with its locking clause.
    pub postgres: &'static str,
    executed: AtomicU64,
}

impl Statement {
    pub(crate) const fn new(
        name: &'static str,
        sqlite: &'static str,
        postgres: &'static str,
    ) -> Self {
        Self {
            name,
            sqlite,
            postgres,
            executed: AtomicU64::new(0),
        }
    }

    /// How often it was executed by this process.
    pub fn executed(&self) -> u64 {
        self.executed.load(Ordering::Relaxed)
    }
}

/// Declares the statements of a module, and the list of them.
macro_rules! statements {
    ($($(#[$meta:meta])* $name:ident = $words:literal: $sql:literal $(lock $lock:literal $($rest:literal)?)?;)+) => {
        $($(#[$meta])* static $name: crate::db::Statement = crate::db::Statement::new(
            $words,
            concat!($sql $(, $($rest)?)?),
            concat!($sql $(, $lock $(, $rest)?)?),
        );)+
        /// Every statement of this module.
        pub(crate) static STATEMENTS: &[&crate::db::Statement] = &[$(&$name),+];
    };
}
pub(crate) use statements;

/// One argument.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arg<'a> {
    /// Text.
    Text(&'a str),
    /// Text or NULL.
    OptText(Option<&'a str>),
    /// A number.
    Int(i64),
    /// A number or NULL.
    OptInt(Option<i64>),
}

/// A connection, inside or outside a transaction.
pub(crate) enum Conn<'c> {
    /// SQLite.
    Sqlite(&'c mut SqliteConnection),
    /// PostgreSQL.
    Postgres(&'c mut PgConnection),
}

impl Conn<'_> {
    /// Runs a statement that answers no rows; answers how many it changed.
    pub(crate) async fn execute(
        &mut self,
        statement: &'static Statement,
        args: &[Arg<'_>],
    ) -> Result<u64, Error> {
        statement.executed.fetch_add(1, Ordering::Relaxed);
        let done = match self {
            Self::Sqlite(conn) => sqlx::query_with(statement.sqlite, sqlite_args(args)?)
                .execute(&mut **conn)
                .await
                .map(|done| done.rows_affected()),
            Self::Postgres(conn) => sqlx::query_with(statement.postgres, postgres_args(args)?)
                .execute(&mut **conn)
                .await
                .map(|done| done.rows_affected()),
        };
        done.map_err(|error| Error::of(statement.name, &error))
    }

    /// Runs a statement and answers its rows.
    pub(crate) async fn fetch(
        &mut self,
        statement: &'static Statement,
        args: &[Arg<'_>],
    ) -> Result<Vec<Row>, Error> {
        statement.executed.fetch_add(1, Ordering::Relaxed);
        let rows = match self {
            Self::Sqlite(conn) => sqlx::query_with(statement.sqlite, sqlite_args(args)?)
                .fetch_all(&mut **conn)
                .await
                .map(|rows| rows.into_iter().map(Row::Sqlite).collect()),
            Self::Postgres(conn) => sqlx::query_with(statement.postgres, postgres_args(args)?)
                .fetch_all(&mut **conn)
                .await
                .map(|rows| rows.into_iter().map(Row::Postgres).collect()),
        };
        rows.map_err(|error| Error::of(statement.name, &error))
    }

    /// Opens a transaction: one that may write from its first statement on.
    pub(crate) async fn begin(&mut self) -> Result<(), Error> {
        match self {
            Self::Sqlite(conn) => conn.execute("BEGIN IMMEDIATE").await.map(|_| ()),
            Self::Postgres(conn) => conn.execute("BEGIN").await.map(|_| ()),
        }
        .map_err(|error| Error::of("begin", &error))
    }

    /// Commits; durable when it returns.
    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        self.bare("COMMIT")
            .await
            .map_err(|error| Error::of("commit", &error))
    }

    /// Rolls back; an error only means that there was nothing left to roll back.
    pub(crate) async fn rollback(&mut self) {
        if let Err(error) = self.bare("ROLLBACK").await {
            tracing::debug!(%error, "rollback");
        }
    }

    async fn bare(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(conn) => conn.execute(sql).await.map(|_| ()),
            Self::Postgres(conn) => conn.execute(sql).await.map(|_| ()),
        }
    }
}

fn sqlite_args(args: &[Arg<'_>]) -> Result<SqliteArguments, Error> {
    let mut to = SqliteArguments::default();
    for arg in args {
        match arg {
            Arg::Text(text) => to.add(whole(text).into_owned()),
            Arg::OptText(text) => to.add(text.map(|text| whole(text).into_owned())),
            Arg::Int(int) => to.add(*int),
            Arg::OptInt(int) => to.add(*int),
        }
        .map_err(|error| Error::argument(&*error))?;
    }
    Ok(to)
}

fn postgres_args(args: &[Arg<'_>]) -> Result<PgArguments, Error> {
    let mut to = PgArguments::default();
    for arg in args {
        match arg {
            Arg::Text(text) => to.add(whole(text).as_ref()),
            Arg::OptText(text) => to.add(text.map(whole).as_deref()),
            Arg::Int(int) => to.add(*int),
            Arg::OptInt(int) => to.add(*int),
        }
        .map_err(|error| Error::argument(&*error))?;
    }
    Ok(to)
}

/// Neither engine keeps U+0000 in a text (PostgreSQL refuses it): it becomes U+FFFD.
fn whole(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}").into()
    } else {
        text.into()
    }
}

/// A row of an answer.
pub(crate) enum Row {
    /// SQLite's.
    Sqlite(SqliteRow),
    /// PostgreSQL's.
    Postgres(PgRow),
}

macro_rules! column {
    ($($(#[$doc:meta])* $name:ident -> $type:ty;)+) => {
        $($(#[$doc])*
        pub(crate) fn $name(&self, column: &str) -> Result<$type, Error> {
            match self {
                Self::Sqlite(row) => row.try_get(column),
                Self::Postgres(row) => row.try_get(column),
            }
            .map_err(|error| Error::Corrupt { doing: "reading a row", detail: error.to_string() })
        })+
    };
}

impl Row {
    column! {
        /// A text.
        text -> String;
        /// A text or NULL.
        opt_text -> Option<String>;
        /// A number.
        int -> i64;
        /// A number or NULL.
        opt_int -> Option<i64>;
    }

    /// A number that fits, never negative.
    pub(crate) fn count(&self, column: &str) -> Result<u32, Error> {
        let int = self.int(column)?;
        u32::try_from(int).map_err(|_| Error::corrupt(column, &int))
    }

    /// A JSON text, read into its type.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T, Error> {
        serde_json::from_str(&self.text(column)?).map_err(|error| Error::corrupt(column, &error))
    }

    /// A text, read into its type.
    pub(crate) fn parse<T>(
        &self,
        column: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Error> {
        let text = self.text(column)?;
        read(&text).ok_or_else(|| Error::corrupt(column, &text))
    }
}

/// A set of rows as one JSON argument.
pub(crate) fn json_rows<T: serde::Serialize>(rows: &[T]) -> Result<String, Error> {
    json_text(&rows)
}

/// One value as JSON text, without U+0000 (see [`whole`]).
pub(crate) fn json_text<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    let json = serde_json::to_string(value).map_err(|error| Error::argument(&error))?;
    Ok(if json.contains("\\u0000") {
        without_nul(&json)
    } else {
        json
    })
}

/// Replaces the escape `\u0000` by `\ufffd`, but not after an escaped backslash.
fn without_nul(json: &str) -> String {
    let mut to = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        to.push_str(before);
        if let Some(after) = escape.strip_prefix("\\u0000") {
            to.push_str("\\ufffd");
            rest = after;
        } else {
            // Every escape is a backslash and at least one ASCII character.
            let (escape, after) = escape.split_at(2);
            to.push_str(escape);
            rest = after;
        }
    }
    to.push_str(rest);
    to
}

#[cfg(test)]
mod tests {
    use super::json_rows;

    #[test]
    fn a_nul_is_replaced_and_a_text_that_looks_like_one_is_kept() {
        let rows = json_rows(&["a\u{0}b", r"\u0000", "\\\u{0}"]).unwrap();
        let back: Vec<String> = serde_json::from_str(&rows).unwrap();
        assert_eq!(back, ["a\u{fffd}b", r"\u0000", "\\\u{fffd}"]);
    }
}
