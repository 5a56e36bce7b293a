//! A private PostgreSQL for tests: its own directory, its own socket, gone with the value.
//!
//! Durable as in production (fsync on). Where PostgreSQL is not installed, tests of that family
//! say so loudly and pass, except under CI.

use agentwright_store::Location;
use sqlx::{Connection, Executor, PgConnection};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// PostgreSQL refuses to run as root; this is Debian's `nobody`.
const UNPRIVILEGED: u32 = 65_534;

/// Owns the databases.
const USER: &str = "agentwright";

/// A running PostgreSQL.
pub struct Cluster {
    dir: tempfile::TempDir,
    server: Child,
    databases: AtomicU32,
}

impl Cluster {
    /// Starts one; `None` where PostgreSQL is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start, or under CI when it is not installed.
    pub async fn start() -> Option<Self> {
        let Some(bin) = binaries() else {
            #[expect(clippy::disallowed_methods, reason = "whether this is CI")]
            let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!ci, "CI needs PostgreSQL: apt-get install postgresql");
            #[expect(clippy::print_stderr, reason = "said to whoever runs the tests")]
            {
                eprintln!(
                    "NOT RUN on PostgreSQL: it is not installed (apt-get install postgresql)"
                );
            }
            return None;
        };
        let dir = tempfile::Builder::new()
            .prefix("agentwright-pg-")
            .tempdir()
            .expect("a directory");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED))
                .expect("the directory given away");
        }
        let data = dir.path().join("data");
        let made = command(&bin.join("initdb"), dir.path())
            .arg("-D")
            .arg(&data)
            .args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .output()
            .expect("initdb starts");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let server = command(&bin.join("postgres"), dir.path())
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(dir.path())
            .args(["-c", "listen_addresses=", "-c", "max_connections=60"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres starts");
        let cluster = Self {
            dir,
            server,
            databases: AtomicU32::new(0),
        };
        crate::eventually("PostgreSQL answers", async || {
            PgConnection::connect(&cluster.url("postgres", "postgres"))
                .await
                .ok()
        })
        .await;
        // As in production: row level security does not hold a superuser.
        cluster
            .execute(&format!("CREATE ROLE {USER} LOGIN NOSUPERUSER NOBYPASSRLS"))
            .await;
        Some(cluster)
    }

    /// An empty database of its own.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute(&format!("CREATE DATABASE {name} OWNER {USER}"))
            .await;
        self.url(USER, &name)
    }

    /// The address of one of its databases for the superuser, whom row level security does not hold.
    pub fn superuser(&self, database: &str) -> String {
        self.url("postgres", database_of(database))
    }

    async fn execute(&self, sql: &str) {
        let mut conn = PgConnection::connect(&self.url("postgres", "postgres"))
            .await
            .expect("a connection");
        conn.execute(sqlx::AssertSqlSafe(sql))
            .await
            .expect("the statement");
    }

    /// A database of its own that begins as a copy of another, to which nobody is connected.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn copy(&self, of: &str) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let of = database_of(of);
        self.execute(&format!(
            "CREATE DATABASE {name} OWNER {USER} TEMPLATE {of}"
        ))
        .await;
        self.url(USER, &name)
    }

    /// The same as a location.
    pub async fn location(&self) -> Location {
        Location::Postgres(self.database().await)
    }

    fn url(&self, user: &str, database: &str) -> String {
        let host = self.dir.path().display();
        format!("postgres://{user}@localhost/{database}?host={host}")
    }
}

/// The name in one of our addresses.
fn database_of(url: &str) -> &str {
    let address = url.split_once('?').map_or(url, |(address, _)| address);
    address.rsplit('/').next().unwrap_or_default()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.server);
        // Immediate shutdown: the directory goes anyway.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        let _ = self.server.wait();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that starts PostgreSQL"
)]
fn command(program: &Path, dir: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    command
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .env("LC_ALL", "C");
    if rustix::process::geteuid().is_root() {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command
}

/// Where the server's programs are: Debian keeps them off the path, newest version first.
fn binaries() -> Option<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    found.sort();
    found.push(PathBuf::from("/usr/local/bin"));
    found.push(PathBuf::from("/usr/bin"));
    found.reverse();
    found
        .into_iter()
        .find(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
}
