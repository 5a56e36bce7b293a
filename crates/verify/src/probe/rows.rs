//! Rows of databases as JSON: SQLite from a private copy of the file, PostgreSQL by our own connection.
//!
//! The SQLite file comes from untrusted code: it is copied first, opened with `trusted_schema=OFF`, and
//! every query has a deadline that also ends a view without end.

use super::matcher::{cut, same};
use crate::beneath::Root;
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgRow, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Connection, Row, TypeInfo, ValueRef};
use std::path::Path;
use std::time::{Duration, Instant};

/// The largest database file that is copied.
pub(crate) const DATABASE_MAX: u64 = 256 << 20;
/// The most rows of an answer.
pub(crate) const ROWS_MAX: usize = 10_000;
/// How long a query may take.
pub(crate) const QUERY_LIMIT: Duration = Duration::from_secs(10);

/// Copies an SQLite file and what its write-ahead log still holds, for reading.
pub(crate) fn copy_sqlite(root: &Root, path: &str, to: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot copy the database: {error}");
    let bytes = root.read(path, DATABASE_MAX)?;
    if !bytes.starts_with(b"SQLite format 3\0") {
        return Err(format!("{} is no SQLite database", root.shown(path)));
    }
    std::fs::write(to, bytes).map_err(failed)?;
    let log = format!("{path}-wal");
    let copy = to.with_file_name(format!(
        "{}-wal",
        to.file_name().unwrap_or_default().to_string_lossy()
    ));
    if root.look(&log)?.is_some() {
        std::fs::write(copy, root.read(&log, DATABASE_MAX)?).map_err(failed)?;
    }
    Ok(())
}

/// Asks a private copy.
pub(crate) async fn query_sqlite(copy: &Path, query: &str) -> Result<Vec<Value>, String> {
    let failed = |error: sqlx::Error| format!("query {:?}: {error}", cut(query));
    let mut connection = SqliteConnectOptions::new()
        .filename(copy)
        .create_if_missing(false)
        .pragma("trusted_schema", "OFF")
        .pragma("query_only", "ON")
        .connect()
        .await
        .map_err(failed)?;
    let deadline = Instant::now() + QUERY_LIMIT;
    connection
        .lock_handle()
        .await
        .map_err(failed)?
        .set_progress_handler(10_000, move || Instant::now() < deadline);
    let rows = sqlx::query(AssertSqlSafe(query.to_owned()))
        .fetch(&mut connection)
        .take(ROWS_MAX + 1)
        .try_collect::<Vec<SqliteRow>>()
        .await;
    let rows = match rows {
        Err(_) if Instant::now() >= deadline => {
            return Err(format!(
                "query {:?} took longer than {QUERY_LIMIT:?}",
                cut(query)
            ));
        }
        rows => rows.map_err(failed)?,
    };
    connection.close().await.map_err(failed)?;
    collect(&rows, sqlite_value)
}

/// Asks a fixture's database.
pub(crate) async fn query_postgres(
    options: PgConnectOptions,
    query: &str,
) -> Result<Vec<Value>, String> {
    let failed = |error: sqlx::Error| format!("query {:?}: {error}", cut(query));
    let ask = async {
        let mut connection = options.ssl_mode(PgSslMode::Disable).connect().await?;
        // Without parameters the simple protocol answers every type as text.
        let rows = sqlx::raw_sql(AssertSqlSafe(query.to_owned()))
            .fetch(&mut connection)
            .take(ROWS_MAX + 1)
            .try_collect::<Vec<PgRow>>()
            .await?;
        connection.close().await?;
        Ok(rows)
    };
    let rows = tokio::time::timeout(QUERY_LIMIT, ask)
        .await
        .map_err(|_| format!("query {:?} took longer than {QUERY_LIMIT:?}", cut(query)))?
        .map_err(failed)?;
    collect(&rows, postgres_value)
}

fn collect<R: Row>(
    rows: &[R],
    value: impl Fn(&R, usize) -> Result<Value, sqlx::Error>,
) -> Result<Vec<Value>, String> {
    if rows.len() > ROWS_MAX {
        return Err(format!("more than {ROWS_MAX} rows"));
    }
    rows.iter()
        .map(|row| {
            (0..row.len())
                .map(|i| {
                    value(row, i)
                        .map_err(|error| format!("column {:?}: {error}", row.columns()[i].name()))
                })
                .collect::<Result<Vec<Value>, String>>()
                .map(Value::Array)
        })
        .collect()
}

fn sqlite_value(row: &SqliteRow, i: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(i)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().name().to_owned();
    Ok(match kind.as_str() {
        "INTEGER" | "BOOLEAN" => Value::from(row.try_get_unchecked::<i64, _>(i)?),
        "REAL" => Value::from(row.try_get_unchecked::<f64, _>(i)?),
        "BLOB" => Value::String(format!(
            "{} bytes",
            row.try_get_unchecked::<Vec<u8>, _>(i)?.len()
        )),
        _ => Value::String(row.try_get_unchecked::<String, _>(i)?),
    })
}

fn postgres_value(row: &PgRow, i: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(i)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let text = raw.as_str().map_err(sqlx::Error::Decode)?.to_owned();
    let kind = raw.type_info().name().to_owned();
    Ok(match kind.as_str() {
        "BOOL" => Value::Bool(text == "t"),
        "INT2" | "INT4" | "INT8" | "FLOAT4" | "FLOAT8" | "NUMERIC" | "OID" => {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        }
        "JSON" | "JSONB" => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        _ => Value::String(text),
    })
}

/// Compares rows; the error says what was found.
pub(crate) fn check(found: &[Value], wanted: &Value) -> Result<(), String> {
    let found = Value::Array(found.to_vec());
    if same(&found, wanted) {
        Ok(())
    } else {
        Err(format!("the rows {}", cut(&found.to_string())))
    }
}

/// Rows as they must be written: an array of arrays.
pub(crate) fn check_shape(rows: &Value) -> Result<(), String> {
    let shaped = rows
        .as_array()
        .is_some_and(|rows| rows.iter().all(Value::is_array));
    if shaped {
        Ok(())
    } else {
        Err("rows must be a JSON array of arrays, such as [[\"a\", 1]]".into())
    }
}

/// Runs statements on a new SQLite file.
pub(crate) async fn make_sqlite(file: &Path, statements: &[String]) -> Result<(), String> {
    let failed = |error: sqlx::Error| error.to_string();
    for statement in statements {
        super::sql::check(statement)?;
    }
    let mut connection = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .connect()
        .await
        .map_err(failed)?;
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .execute(&mut connection)
            .await
            .map_err(|error| format!("statement {:?}: {error}", cut(statement)))?;
    }
    connection.close().await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    async fn database(statements: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let statements: Vec<String> = statements.iter().map(|s| (*s).to_owned()).collect();
        make_sqlite(&dir.path().join("a.db"), &statements)
            .await
            .unwrap();
        dir
    }

    async fn ask(dir: &tempfile::TempDir, query: &str) -> Result<Vec<Value>, String> {
        let root = Root::open(dir.path(), "/data/x").unwrap();
        let out = tempfile::tempdir().unwrap();
        let copy = out.path().join("copy.db");
        copy_sqlite(&root, "a.db", &copy)?;
        query_sqlite(&copy, query).await
    }

    #[tokio::test]
    async fn sqlite_values_come_as_their_own_types() {
        let dir = database(&[
            "CREATE TABLE t (a INTEGER, b REAL, c TEXT, d, e BLOB, f BOOLEAN)",
            "INSERT INTO t VALUES (1, 2.5, 'x', NULL, x'00ff', 1)",
        ])
        .await;
        let rows = ask(&dir, "SELECT a, b, c, d, e, f, count(*), sum(b) FROM t;")
            .await
            .unwrap();
        assert_eq!(rows, [json!([1, 2.5, "x", null, "2 bytes", 1, 1, 2.5])]);
        assert_eq!(
            check(&rows, &json!([[1.0, 2.5, "x", null, "2 bytes", 1, 1, 2.5]])),
            Ok(())
        );
        assert!(
            check(&rows, &json!([]))
                .unwrap_err()
                .contains("the rows [[1,2.5")
        );
    }

    #[tokio::test]
    async fn too_many_rows_and_writes_are_stopped() {
        let dir = database(&["CREATE TABLE t (a)", "INSERT INTO t VALUES (1)"]).await;
        let error = ask(&dir, "DELETE FROM t RETURNING a").await.unwrap_err();
        assert!(error.contains("readonly"), "{error}");
        let many = format!(
            "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i <= {}) SELECT i FROM c",
            ROWS_MAX + 5
        );
        assert!(ask(&dir, &many).await.unwrap_err().contains("more than"));
    }

    #[tokio::test]
    async fn what_is_no_database_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.db"), "hello").unwrap();
        assert!(
            ask(&dir, "SELECT 1")
                .await
                .unwrap_err()
                .contains("is no SQLite database")
        );
    }

    #[tokio::test]
    async fn rows_still_in_the_write_ahead_log_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = SqliteConnectOptions::new()
            .filename(dir.path().join("a.db"))
            .create_if_missing(true)
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
            .connect()
            .await
            .unwrap();
        sqlx::raw_sql("CREATE TABLE t (a); INSERT INTO t VALUES (5)")
            .execute(&mut writer)
            .await
            .unwrap();
        assert!(dir.path().join("a.db-wal").exists());
        assert_eq!(ask(&dir, "SELECT a FROM t").await.unwrap(), [json!([5])]);
    }

    #[test]
    fn rows_must_be_arrays() {
        assert!(check_shape(&json!([[1], []])).is_ok());
        assert!(check_shape(&json!([1])).is_err());
        assert!(check_shape(&json!({})).is_err());
    }
}
