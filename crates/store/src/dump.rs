//! All tables of a PostgreSQL database as one file, and back into an empty one: what `VACUUM INTO` is on SQLite.
//!
//! The file is lines of text: [`HEAD`] with the newest migration, `T name` for each table in an order in which what
//! is referred to comes first, `R {…}` for each of its rows as PostgreSQL's `row_to_json` writes it, and `E rows` at the
//! end, so that half a file is known for one. PostgreSQL's own `pg_dump` would need its program, in the server's
//! version, on every machine.

use crate::db::Conn;
use crate::error::OpenError;
use crate::migrate::{Dialect, NEWEST};
use crate::open::{CONNECT_TIMEOUT, Postgres, of_io, of_sqlx, place_of, postgres};
use crate::tenancy;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};

/// How the file begins; the number of the newest migration follows.
const HEAD: &str = "agentwright tables 1, migration ";
/// Rows go back in batches of about this size, bytes.
const BATCH_BYTES: usize = 1 << 20;

const TABLES: &str = "SELECT c.relname::text FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'agentwright'
    WHERE c.relkind IN ('r', 'p') AND c.relname <> '_sqlx_migrations' ORDER BY 1";
/// Which table refers to which.
const REFERENCES: &str = "SELECT DISTINCT a.relname::text, b.relname::text FROM pg_constraint AS k
    JOIN pg_class AS a ON a.oid = k.conrelid
    JOIN pg_class AS b ON b.oid = k.confrelid
    JOIN pg_namespace AS n ON n.oid = a.relnamespace AND n.nspname = 'agentwright'
    WHERE k.contype = 'f' AND k.conrelid <> k.confrelid";

/// Writes every row of every organization, as they are at one moment, durably.
pub(crate) async fn write(options: &PgConnectOptions, to: &Path) -> Result<(), OpenError> {
    let place = place_of(options);
    let of = |error: sqlx::Error| of_sqlx(&place, &error);
    let mut conn = options.connect().await.map_err(of)?;
    conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .map_err(of)?;
    let written = rows(&mut conn, &place, to).await;
    // Nothing was changed: there is nothing to keep.
    let _ = conn.close().await;
    written
}

async fn rows(conn: &mut PgConnection, place: &str, to: &Path) -> Result<(), OpenError> {
    use futures::TryStreamExt as _;
    let of = |error: sqlx::Error| of_sqlx(place, &error);
    let full = |error: std::io::Error| of_io(&to.display().to_string(), &error);
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .await
        .map_err(full)?;
    let mut file = BufWriter::new(file);
    // Another process may have brought the tables up to a newer version under us.
    let found: i64 = sqlx::query_scalar("SELECT max(version) FROM agentwright._sqlx_migrations")
        .fetch_one(&mut *conn)
        .await
        .map_err(of)?;
    if found != NEWEST {
        return Err(OpenError::Newer {
            place: place.to_owned(),
            found,
            known: NEWEST,
        });
    }
    let mut line = format!("{HEAD}{NEWEST}\n");
    let mut count = 0_u64;
    for table in ordered(conn).await.map_err(of)? {
        line.push_str(&format!("T {table}\n"));
        let all = format!("SELECT row_to_json(t)::text FROM {} AS t", quoted(&table));
        let mut rows = sqlx::query_scalar::<_, String>(AssertSqlSafe(all)).fetch(&mut *conn);
        while let Some(row) = rows.try_next().await.map_err(of)? {
            line.push_str(&format!("R {row}\n"));
            file.write_all(line.as_bytes()).await.map_err(full)?;
            line.clear();
            count += 1;
        }
    }
    line.push_str(&format!("E {count}\n"));
    file.write_all(line.as_bytes()).await.map_err(full)?;
    file.flush().await.map_err(full)?;
    file.into_inner().sync_all().await.map_err(full)
}

/// Every table of ours, behind those that it refers to.
async fn ordered(conn: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let mut left: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut *conn).await?;
    let edges: Vec<(String, String)> = sqlx::query_as(REFERENCES).fetch_all(&mut *conn).await?;
    let mut order: Vec<String> = Vec::new();
    while !left.is_empty() {
        let free = |table: &String| {
            let mut needs = edges.iter().filter(|(from, _)| from == table);
            needs.all(|(_, to)| order.contains(to))
        };
        // Invariant: our tables refer to each other without a circle; one would come last, in any order.
        let at = left.iter().position(free).unwrap_or(0);
        order.push(left.remove(at));
    }
    Ok(order)
}

/// A name of PostgreSQL's catalogue as an identifier.
fn quoted(table: &str) -> String {
    format!("agentwright.\"{}\"", table.replace('"', "\"\""))
}

/// What tells one PostgreSQL database from another, without user and password: host or socket, port and name.
///
/// # Errors
/// [`OpenError::Unreachable`] for what is no address.
pub fn postgres_place(url: &str) -> Result<String, OpenError> {
    let Postgres { options, .. } = postgres(url)?;
    let socket = options.get_socket().map(|path| path.display().to_string());
    let host = socket.unwrap_or_else(|| options.get_host().to_owned());
    let (port, name) = (options.get_port(), options.get_database());
    Ok(format!(
        "postgres://{host}:{port}/{}",
        name.unwrap_or_default()
    ))
}

/// Fills an empty database with what [`write`] wrote, whole or not at all. Leases of the processes that worked there
/// are void: nobody works on what was copied.
///
/// # Errors
/// [`OpenError`]: among others a database that has tables of ours, and a file that is none of ours or not whole.
pub async fn load_postgres(url: &str, from: &Path) -> Result<(), OpenError> {
    let Postgres { options, place } = postgres(url)?;
    let options = options.options([(tenancy::SETTING, tenancy::WORKER)]);
    let of = |error: sqlx::Error| of_sqlx(&place, &error);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
    let mut conn = connected
        .map_err(|_| OpenError::Unreachable {
            place: place.clone(),
            detail: "no answer in time".to_owned(),
        })?
        .map_err(of)?;
    tenancy::below(&mut conn, &place).await?;
    let mut all = conn.begin().await.map_err(of)?;
    // An error drops the transaction: nothing of it stays.
    fill(&mut all, &place, from).await?;
    all.commit().await.map_err(of)?;
    let _ = conn.close().await;
    Ok(())
}

async fn fill(conn: &mut PgConnection, place: &str, from: &Path) -> Result<(), OpenError> {
    let of = |error: sqlx::Error| of_sqlx(place, &error);
    let mut lines = Lines::open(from).await?;
    let migration = lines.head().await?;
    let there: bool = sqlx::query_scalar("SELECT to_regnamespace('agentwright') IS NOT NULL")
        .fetch_one(&mut *conn)
        .await
        .map_err(of)?;
    if there {
        return Err(OpenError::NotEmpty {
            place: place.to_owned(),
        });
    }
    conn.execute("CREATE SCHEMA agentwright")
        .await
        .map_err(of)?;
    let migrator = Dialect::Postgres.migrator_to(migration);
    migrator
        .run_direct(None, &mut *conn, false)
        .await
        .map_err(|error| lines.broken(&format!("its tables cannot be made ({error})")))?;
    let tables = ordered(conn).await.map_err(of)?;
    // The migrations put rows of their own; those of the file take their place.
    for table in tables.iter().rev() {
        let empty = format!("DELETE FROM {}", quoted(table));
        conn.execute(AssertSqlSafe(empty)).await.map_err(of)?;
    }
    put(conn, &mut lines, tables.into_iter().collect()).await?;
    tenancy::raise(conn, place).await?;
    let mut conn = Conn::Postgres(conn);
    crate::open::void_leases(&mut conn)
        .await
        .map_err(|error| crate::open::of_store(place, error))
}

/// Puts the rows back, in batches.
async fn put(
    conn: &mut PgConnection,
    lines: &mut Lines,
    mut tables: BTreeSet<String>,
) -> Result<(), OpenError> {
    let (mut table, mut batch, mut count) = (None, String::new(), 0_u64);
    loop {
        let line = lines.next().await?;
        let (mark, text) = line.split_at_checked(2).unwrap_or((&*line, ""));
        let row = mark == "R ";
        if !batch.is_empty() && (!row || batch.len() >= BATCH_BYTES) {
            batch.push(']');
            insert(conn, lines, table.as_deref(), &batch).await?;
            batch.clear();
        }
        match mark {
            "R " => {
                batch.push(if batch.is_empty() { '[' } else { ',' });
                batch.push_str(text);
                count += 1;
            }
            // Each of ours once: a name that is not in the catalogue is never part of a statement.
            "T " if tables.remove(text) => table = Some(text.to_owned()),
            "T " => return Err(lines.broken(&format!("it has no place for a table {text:?}"))),
            "E " if text.parse() == Ok(count) && tables.is_empty() => return lines.end().await,
            "E " => return Err(lines.broken("rows or tables are missing")),
            _ => return Err(lines.broken("it is not a row")),
        }
    }
}

async fn insert(
    conn: &mut PgConnection,
    lines: &Lines,
    table: Option<&str>,
    batch: &str,
) -> Result<(), OpenError> {
    let Some(table) = table else {
        return Err(lines.broken("a row comes before its table"));
    };
    let table = quoted(table);
    let all = format!(
        "INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, $1::text::json)"
    );
    let done = sqlx::query(AssertSqlSafe(all)).bind(batch).execute(conn);
    done.await
        .map(drop)
        .map_err(|error| lines.broken(&format!("{table} does not take its rows ({error})")))
}

/// The file, line by line.
struct Lines {
    file: BufReader<File>,
    place: String,
    number: u64,
}

impl Lines {
    async fn open(from: &Path) -> Result<Self, OpenError> {
        let place = from.display().to_string();
        let file = File::open(from)
            .await
            .map_err(|error| of_io(&place, &error))?;
        Ok(Self {
            file: BufReader::new(file),
            place,
            number: 0,
        })
    }

    fn broken(&self, what: &str) -> OpenError {
        OpenError::Corrupt {
            place: self.place.clone(),
            detail: format!("line {}: {what}", self.number),
        }
    }

    /// The next line; that there is none is an error.
    async fn next(&mut self) -> Result<String, OpenError> {
        self.number += 1;
        let mut line = String::new();
        match self.file.read_line(&mut line).await {
            Ok(_) if line.ends_with('\n') => line.pop(),
            Ok(_) => return Err(self.broken("the file ends too early")),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Err(self.broken("it is not text"));
            }
            Err(error) => return Err(of_io(&self.place, &error)),
        };
        Ok(line)
    }

    /// The newest migration of the database that was written.
    async fn head(&mut self) -> Result<i64, OpenError> {
        let line = self.next().await?;
        let number = line.strip_prefix(HEAD).and_then(|text| text.parse().ok());
        match number {
            Some(found) if found > NEWEST => Err(OpenError::Newer {
                place: self.place.clone(),
                found,
                known: NEWEST,
            }),
            Some(number) if number > 0 => Ok(number),
            Some(_) | None => Err(self.broken("it is no copy of our tables")),
        }
    }

    async fn end(&mut self) -> Result<(), OpenError> {
        let mut more = String::new();
        match self.file.read_line(&mut more).await {
            Ok(0) => Ok(()),
            Ok(_) | Err(_) => Err(self.broken("something follows its end")),
        }
    }
}
