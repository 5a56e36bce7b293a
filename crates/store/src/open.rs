//! Opening: the lock, the refusals, the migrations, the connections.

use crate::Store;
use crate::artifacts::{ARTIFACTS_QUOTA_BYTES, Artifacts};
use crate::connections::{Db, Writing};
use crate::db::{Conn, Statement};
use crate::error::{Class, Error, OpenError, class};
use crate::group::Committers;
use crate::migrate::{Dialect, NEWEST};
use crate::secret::Secret;
use crate::tenancy;
use crate::watch::Watches;
use sqlx::migrate::Migrate;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// Read-only connections to SQLite.
const READERS: u32 = 4;
/// Connections of one process to PostgreSQL, beside those of the committers.
const POOL: u32 = 8;
/// Committers of one process on PostgreSQL, over disjoint runs.
const POSTGRES_COMMITTERS: usize = 2;
/// Every statement finds its rows by a key and is prepared once, often while the tables are still empty. A plan
/// made then would read whole tables for good: the planner is told to use the keys.
const PLANNER: [(&str, &str); 5] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
];
/// How long a connection may take to be made.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long SQLite waits for a lock that no other process should hold.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The mark of our databases in SQLite's header: "AgWr".
const APPLICATION_ID: i64 = 0x4167_5772;
/// Our schema on PostgreSQL.
const SCHEMA: &str = "agentwright";

/// Where the tables are.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file; one process at a time.
    Sqlite(PathBuf),
    /// `postgres://…`; any number of processes.
    Postgres(String),
}

/// Which clock leases and timers go by.
#[derive(Clone, Debug, Default)]
pub enum Time {
    /// The database's own. SQLite has none but the machine's.
    #[default]
    Database,
    /// A clock that somebody else moves, ms.
    Given(Arc<AtomicI64>),
}

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where artifacts are kept.
    pub artifacts: PathBuf,
    /// How many bytes of them.
    pub artifacts_quota_bytes: u64,
    /// The file with the key that lies outside the database; made where there is none.
    pub secret: PathBuf,
    /// Which clock.
    pub time: Time,
}

impl Options {
    /// The usual ones for a data directory.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            artifacts: data_dir.join("artifacts"),
            artifacts_quota_bytes: ARTIFACTS_QUOTA_BYTES,
            secret: data_dir.join("auth.key"),
            time: Time::Database,
        }
    }
}

pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) committers: Committers,
    pub(crate) watches: Arc<Watches>,
    pub(crate) artifacts: Artifacts,
    pub(crate) secret: Arc<Secret>,
    pub(crate) time: Time,
}

impl Store {
    /// Opens the store, brings its tables up to date and starts its committer.
    ///
    /// Refuses, without changing it, a database that is newer, damaged or in use. On SQLite the
    /// lock proves that no other process works on its runs, so leases left behind are void.
    pub async fn open(location: Location, options: Options) -> Result<Self, OpenError> {
        let artifacts = Artifacts::open(options.artifacts, options.artifacts_quota_bytes)?;
        let db = match location {
            Location::Sqlite(path) => open_sqlite(&path).await?,
            Location::Postgres(url) => open_postgres(&url).await?,
        };
        let secret = match Secret::of(&db, &options.secret).await {
            Ok(secret) => Arc::new(secret),
            Err(error) => {
                db.close().await;
                return Err(error);
            }
        };
        let watches = Arc::new(Watches::default());
        let count = match &db {
            Db::Sqlite { .. } => 1,
            Db::Postgres { .. } => POSTGRES_COMMITTERS,
        };
        let committers = Committers::start(&db, &secret, &options.time, &watches, count);
        Ok(Self {
            inner: Arc::new(Inner {
                db,
                committers,
                watches,
                artifacts,
                secret,
                time: options.time,
            }),
        })
    }

    /// Writes what is waiting, closes the connections and lets go of the lock. Calls after it answer
    /// an error.
    pub async fn close(&self) {
        self.inner.committers.close().await;
        self.inner.db.close().await;
    }

    /// The clock that leases and timers go by, ms.
    pub async fn now_ms(&self) -> Result<i64, Error> {
        if let (Db::Sqlite { readers, .. }, Time::Database) = (&self.inner.db, &self.inner.time) {
            return if readers.is_closed() {
                Err(Error::Closed)
            } else {
                Ok(machine_ms())
            };
        }
        let mut held = self.inner.db.reader().await?;
        now_ms(&mut held.conn(), &self.inner.time).await
    }

    /// Whether other processes may work on the same runs.
    pub fn shared(&self) -> bool {
        matches!(self.inner.db, Db::Postgres { .. })
    }
}

crate::db::statements! {
    VOID_RUNS = "giving back runs of a dead process":
        "UPDATE runs SET status = 'ready' WHERE status = 'leased' AND id IN (SELECT run_id FROM dispatch WHERE owner IS NOT NULL)";
    VOID_LEASES = "voiding leases of a dead process":
        "UPDATE dispatch SET owner = NULL, lease_until_ms = NULL WHERE owner IS NOT NULL";
    VOID_NOTICES = "making notices of a dead process due":
        "UPDATE outbox SET not_before_ms = created_at_ms
         WHERE status = 'waiting' AND not_before_ms > created_at_ms";
}

/// The one statement that only PostgreSQL runs: SQLite has no clock but the machine's.
static NOW: Statement = Statement::new(
    "asking the time",
    "SELECT 0 AS now_ms",
    "SELECT now_ms() AS now_ms",
);

/// The clock that leases and timers go by.
pub(crate) async fn now_ms(conn: &mut Conn<'_>, time: &Time) -> Result<i64, Error> {
    match (time, &conn) {
        (Time::Given(now), _) => Ok(now.load(Ordering::SeqCst)),
        (Time::Database, Conn::Sqlite(_)) => Ok(machine_ms()),
        (Time::Database, Conn::Postgres(_)) => conn.fetch(&NOW, &[]).await?.first().map_or_else(
            || Err(Error::corrupt("now_ms", &"no row")),
            |row| row.int("now_ms"),
        ),
    }
}

#[expect(clippy::disallowed_methods, reason = "SQLite's clock is the machine's")]
fn machine_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}

async fn open_sqlite(path: &Path) -> Result<Db, OpenError> {
    let place = path.display().to_string();
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|error| of_io(&place, &error))?;
    }
    let lock = lock(path)?;
    let base = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .serialized(false)
        .disable_statement_logging();
    let applied = inspect(path, &place, &base).await?;
    let writing = base
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", "-16000")
        .pragma("wal_autocheckpoint", "4000")
        .pragma("temp_store", "memory")
        .row_buffer_size(512);
    let of = |error: sqlx::Error| of_sqlx(&place, &error);
    let mut conn = writing.connect().await.map_err(of)?;
    if applied < NEWEST {
        // All of them or none, and one sync of the disk instead of two for each.
        let mut all = conn.begin().await.map_err(of)?;
        migrate(&mut *all, Dialect::Sqlite, &place).await?;
        let mark = format!("PRAGMA application_id = {APPLICATION_ID}");
        all.execute(sqlx::AssertSqlSafe(mark)).await.map_err(of)?;
        all.commit().await.map_err(of)?;
    }
    // Invariant: the lock file is held, so whoever held a lease is dead.
    void_leases(&mut Conn::Sqlite(&mut conn))
        .await
        .map_err(|error| of_store(&place, error))?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .test_before_acquire(false)
        .acquire_timeout(CONNECT_TIMEOUT)
        .connect_lazy_with(base.read_only(true).pragma("cache_size", "-2000"));
    let writer = Arc::new(Mutex::new(Some(Writing {
        conn,
        open: false,
        _lock: lock,
    })));
    Ok(Db::Sqlite { writer, readers })
}

/// Whoever held a lease is dead.
pub(crate) async fn void_leases(conn: &mut Conn<'_>) -> Result<(), Error> {
    conn.execute(&VOID_RUNS, &[]).await?;
    conn.execute(&VOID_LEASES, &[]).await?;
    // A notice that the dead process was about to tell must not wait for its long lease.
    conn.execute(&VOID_NOTICES, &[]).await?;
    Ok(())
}

/// Takes the lock beside the database; it is let go when the file is closed, also by a death.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let place = path.display().to_string();
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|error| of_io(&place, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Locked { place }),
        Err(std::fs::TryLockError::Error(error)) => Err(of_io(&place, &error)),
    }
}

/// Looks at what is there without writing; answers its newest migration, 0 for a new database.
async fn inspect(path: &Path, place: &str, base: &SqliteConnectOptions) -> Result<i64, OpenError> {
    let corrupt = |detail: &str| OpenError::Corrupt {
        place: place.to_owned(),
        detail: detail.to_owned(),
    };
    let mut header = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(of_io(place, &error)),
        Ok(file) => file
            .take(16)
            .read_to_end(&mut header)
            .map_err(|error| of_io(place, &error))?,
    };
    if header.is_empty() {
        return Ok(0);
    }
    if header != b"SQLite format 3\0" {
        return Err(corrupt("its header is not SQLite's"));
    }
    File::options()
        .write(true)
        .open(path)
        .map_err(|error| of_io(place, &error))?;
    let of = |error: sqlx::Error| of_sqlx(place, &error);
    let mut conn = base.clone().read_only(true).connect().await.map_err(of)?;
    let (tables,): (i64,) = sqlx::query_as("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut conn)
        .await
        .map_err(of)?;
    let (id,): (i64,) = sqlx::query_as("PRAGMA application_id")
        .fetch_one(&mut conn)
        .await
        .map_err(of)?;
    let (ours,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
            .fetch_one(&mut conn)
            .await
            .map_err(of)?;
    let applied = match (tables, ours, id) {
        (0, ..) => 0,
        // A first start that died between its migration and the mark has no mark yet.
        (_, 1, APPLICATION_ID | 0) => newest(&mut conn, Dialect::Sqlite, place).await?,
        _ => return Err(corrupt("it belongs to another program")),
    };
    conn.close().await.map_err(of)?;
    Ok(if id == APPLICATION_ID { applied } else { 0 })
}

/// The newest applied migration, after checking each against ours.
async fn newest<C: Migrate>(conn: &mut C, dialect: Dialect, place: &str) -> Result<i64, OpenError> {
    let migrator = dialect.migrator();
    let corrupt = |detail: String| OpenError::Corrupt {
        place: place.to_owned(),
        detail,
    };
    if let Some(version) = conn
        .dirty_version("_sqlx_migrations")
        .await
        .map_err(|error| corrupt(error.to_string()))?
    {
        return Err(corrupt(format!("migration {version} is half done")));
    }
    let applied = conn
        .list_applied_migrations("_sqlx_migrations")
        .await
        .map_err(|error| corrupt(error.to_string()))?;
    let mut newest = 0;
    for migration in applied {
        newest = newest.max(migration.version);
        if migration.version > NEWEST {
            return Err(OpenError::Newer {
                place: place.to_owned(),
                found: migration.version,
                known: NEWEST,
            });
        }
        let same = migrator
            .iter()
            .any(|ours| ours.version == migration.version && ours.checksum == migration.checksum);
        if !same {
            let version = migration.version;
            return Err(corrupt(format!(
                "migration {version} is not this program's"
            )));
        }
    }
    Ok(newest)
}

async fn migrate<C>(conn: &mut C, dialect: Dialect, place: &str) -> Result<(), OpenError>
where
    C: Migrate,
{
    dialect
        .migrator()
        .run_direct(None, conn, false)
        .await
        .map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error)
            | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => of_sqlx(place, &error),
            error => OpenError::Corrupt {
                place: place.to_owned(),
                detail: error.to_string(),
            },
        })
}

/// How a PostgreSQL database is reached, and what it is called without its password.
pub(crate) struct Postgres {
    pub(crate) options: PgConnectOptions,
    pub(crate) place: String,
}

/// What a database is called in errors: without user and password.
pub(crate) fn place_of(options: &PgConnectOptions) -> String {
    format!(
        "postgres://{}/{}",
        options.get_host(),
        options.get_database().unwrap_or_default()
    )
}

pub(crate) fn postgres(url: &str) -> Result<Postgres, OpenError> {
    let options = PgConnectOptions::from_str(url).map_err(|error| OpenError::Unreachable {
        place: "the PostgreSQL address of the configuration".to_owned(),
        detail: error.to_string(),
    })?;
    let place = place_of(&options);
    let options = options
        .options([("search_path", SCHEMA)])
        .options(PLANNER)
        .disable_statement_logging();
    Ok(Postgres { options, place })
}

async fn open_postgres(url: &str) -> Result<Db, OpenError> {
    let Postgres { options, place } = postgres(url)?;
    let of = |error: sqlx::Error| of_sqlx(&place, &error);
    let mut conn = tokio::time::timeout(CONNECT_TIMEOUT, options.connect())
        .await
        .map_err(|_| OpenError::Unreachable {
            place: place.clone(),
            detail: "no answer in time".to_owned(),
        })?
        .map_err(of)?;
    bring_up(&mut conn, &place).await?;
    conn.close().await.map_err(of)?;
    let pool = |told: &str| {
        PgPoolOptions::new()
            .max_connections(POOL)
            .test_before_acquire(false)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_lazy_with(options.clone().options([(tenancy::SETTING, told)]))
    };
    let (pool, tenants) = (pool(tenancy::WORKER), pool(tenancy::NOBODY));
    let options = options.options([(tenancy::SETTING, tenancy::WORKER)]);
    Ok(Db::Postgres {
        pool,
        tenants,
        options: Box::new(options),
    })
}

async fn bring_up(conn: &mut PgConnection, place: &str) -> Result<(), OpenError> {
    let of = |error: sqlx::Error| of_sqlx(place, &error);
    tenancy::below(conn, place).await?;
    let (ours,): (bool,) =
        sqlx::query_as("SELECT to_regclass('agentwright._sqlx_migrations') IS NOT NULL")
            .fetch_one(&mut *conn)
            .await
            .map_err(of)?;
    let applied = if ours {
        newest(conn, Dialect::Postgres, place).await?
    } else {
        0
    };
    if applied == NEWEST && tenancy::stands(conn).await.map_err(of)? {
        return Ok(());
    }
    // Two processes that start at once: the second waits, then finds the schema.
    conn.execute("SELECT pg_advisory_lock(7020677842031)")
        .await
        .map_err(of)?;
    let done = async {
        let mut all = conn.begin().await.map_err(of)?;
        all.execute("CREATE SCHEMA IF NOT EXISTS agentwright")
            .await
            .map_err(of)?;
        migrate(&mut *all, Dialect::Postgres, place).await?;
        tenancy::raise(&mut all, place).await?;
        all.commit().await.map_err(of)
    }
    .await;
    conn.execute("SELECT pg_advisory_unlock(7020677842031)")
        .await
        .map_err(of)?;
    done
}

/// A failure of our first writes, for whoever starts the program: a full disk is no damage.
pub(crate) fn of_store(place: &str, error: Error) -> OpenError {
    let place = place.to_owned();
    match error {
        Error::Full { .. } => OpenError::Full { place },
        Error::Unavailable { detail, .. } => OpenError::Unreachable { place, detail },
        error @ (Error::Corrupt { .. } | Error::Refused { .. } | Error::Closed) => {
            let detail = error.to_string();
            OpenError::Corrupt { place, detail }
        }
    }
}

pub(crate) fn of_sqlx(place: &str, error: &sqlx::Error) -> OpenError {
    let (place, detail) = (place.to_owned(), error.to_string());
    let sqlx::Error::Database(database) = error else {
        return OpenError::Unreachable { place, detail };
    };
    let code = database.code().unwrap_or_default().into_owned();
    match (code.as_str(), class(&code)) {
        // 8: SQLITE_READONLY; 14: SQLITE_CANTOPEN.
        ("8" | "14" | "776" | "1032" | "1544", _) => OpenError::ReadOnly { place, detail },
        (_, Class::Full) => OpenError::Full { place },
        (_, Class::Busy) => OpenError::Unreachable { place, detail },
        (_, Class::Corrupt) => OpenError::Corrupt { place, detail },
        (_, Class::Refused) if code.len() == 5 => OpenError::Unreachable { place, detail },
        (_, Class::Refused) => OpenError::Corrupt { place, detail },
    }
}

pub(crate) fn of_io(place: &str, error: &std::io::Error) -> OpenError {
    let (place, detail) = (place.to_owned(), error.to_string());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => OpenError::Full { place },
        _ => OpenError::ReadOnly { place, detail },
    }
}
