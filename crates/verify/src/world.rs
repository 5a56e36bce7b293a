//! The world of one case: its folders, hosts, databases, variables and programs.
//!
//! A world is either real, with servers that answer, or a trial without any, in which a spec is checked
//! before it is sealed and nothing is ever run.

use crate::beneath::Root;
use crate::fixture::http::{HttpFixture, Route};
use crate::fixture::postgres::Cluster;
use crate::fixture::tls::Authority;
use crate::outcome::Stop;
use crate::snapshot::Snapshot;
use agentwright_domain::spec::{HostPort, Spec};
use agentwright_sandbox::Sandbox;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

/// The name of the private directory.
pub(crate) const STATE: &str = "state";
/// The most notes about what was laid out.
const NOTES_MAX: usize = 500;

/// What the cases of one verify share.
pub(crate) struct Shared {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) authority: Authority,
    pub(crate) directory: PathBuf,
    pub(crate) password: String,
    pub(crate) cancel: CancellationToken,
    clusters: BTreeMap<HostPort, Arc<Cluster>>,
}

impl Shared {
    pub(crate) fn new(
        sandbox: Arc<Sandbox>,
        directory: PathBuf,
        password: String,
        cancel: CancellationToken,
    ) -> Result<Self, Stop> {
        Ok(Self {
            sandbox,
            authority: Authority::new().map_err(Stop::Fault)?,
            directory,
            password,
            cancel,
            clusters: BTreeMap::new(),
        })
    }

    /// The server for a host; started once, its databases are made anew by each case.
    async fn cluster(&mut self, host: &HostPort) -> Result<Arc<Cluster>, Stop> {
        if let Some(cluster) = self.clusters.get(host) {
            return Ok(Arc::clone(cluster));
        }
        let directory = self
            .directory
            .join(format!("cluster-{}", self.clusters.len()));
        let cluster = Cluster::start(
            &self.sandbox,
            &directory,
            self.password.clone(),
            &self.cancel,
        )
        .await?;
        let cluster = Arc::new(cluster);
        self.clusters.insert(host.clone(), Arc::clone(&cluster));
        Ok(cluster)
    }
}

/// The world of one case.
pub(crate) struct World<'a> {
    shared: Option<&'a mut Shared>,
    directory: PathBuf,
    folders: BTreeMap<String, PathBuf>,
    baselines: BTreeMap<String, Snapshot>,
    http: BTreeMap<HostPort, HttpFixture>,
    postgres: BTreeMap<HostPort, Arc<Cluster>>,
    variables: BTreeMap<String, String>,
    programs: BTreeMap<String, String>,
    notes: Vec<String>,
    private: AtomicU64,
}

impl<'a> World<'a> {
    /// Makes the folders of a spec below a new directory of ours. Without `shared` it is a trial.
    pub(crate) fn new(
        spec: &Spec,
        directory: &Path,
        shared: Option<&'a mut Shared>,
    ) -> Result<Self, Stop> {
        let make = |path: PathBuf| match std::fs::create_dir_all(&path) {
            Ok(()) => Ok(path),
            Err(error) => Err(Stop::Fault(format!(
                "cannot make {}: {error}",
                path.display()
            ))),
        };
        make(directory.join("private"))?;
        let mut folders = BTreeMap::new();
        for folder in &spec.permissions.folders {
            let name = folder.name.as_str();
            folders.insert(name.to_owned(), make(directory.join("data").join(name))?);
        }
        folders.insert(STATE.to_owned(), make(directory.join(STATE))?);
        Ok(Self {
            shared,
            directory: directory.to_owned(),
            folders,
            baselines: BTreeMap::new(),
            http: BTreeMap::new(),
            postgres: BTreeMap::new(),
            variables: BTreeMap::new(),
            programs: BTreeMap::new(),
            notes: Vec::new(),
            private: AtomicU64::new(0),
        })
    }

    /// Folder name → directory, `state` included.
    pub(crate) fn folders(&self) -> &BTreeMap<String, PathBuf> {
        &self.folders
    }

    /// A folder, opened anew.
    pub(crate) fn root(&self, folder: &str) -> Result<Root, String> {
        let path = self
            .folders
            .get(folder)
            .ok_or_else(|| format!("folder {folder:?} is not declared"))?;
        let shown = match folder {
            STATE => "/state".to_owned(),
            name => format!("/data/{name}"),
        };
        Root::open(path, &shown)
    }

    /// A path of ours that no sandbox ever sees.
    pub(crate) fn private_file(&self, name: &str) -> Result<PathBuf, String> {
        let number = self.private.fetch_add(1, Ordering::Relaxed);
        let directory = self.directory.join("private").join(number.to_string());
        std::fs::create_dir_all(&directory)
            .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
        Ok(directory.join(name))
    }

    /// Remembers a line about what was laid out.
    pub(crate) fn note(&mut self, note: String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }

    /// What was laid out.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Starts or changes a fixture host.
    pub(crate) async fn put_http(
        &mut self,
        host: &HostPort,
        routes: Vec<Route>,
    ) -> Result<(), Stop> {
        if !self.http.contains_key(host) {
            let fixture = match &self.shared {
                Some(shared) => HttpFixture::start(host, &shared.authority)
                    .await
                    .map_err(Stop::Fault)?,
                None => HttpFixture::offline(),
            };
            self.http.insert(host.clone(), fixture);
        }
        if let Some(fixture) = self.http.get(host) {
            fixture.put(routes);
        }
        Ok(())
    }

    /// Makes a database at a fixture host. A trial leaves it out.
    pub(crate) async fn put_postgres(
        &mut self,
        host: &HostPort,
        database: &str,
        user: &str,
        sql: &[String],
    ) -> Result<(), Stop> {
        let Some(shared) = &mut self.shared else {
            return Ok(());
        };
        let cluster = shared.cluster(host).await?;
        cluster.make(database, user, sql).await?;
        self.postgres.insert(host.clone(), cluster);
        Ok(())
    }

    pub(crate) fn put_variable(&mut self, name: &str, value: String) {
        self.variables.insert(name.to_owned(), value);
    }

    pub(crate) fn put_program(&mut self, name: &str, script: String) {
        self.programs.insert(name.to_owned(), script);
    }

    pub(crate) fn http(&self, host: &HostPort) -> Option<&HttpFixture> {
        self.http.get(host)
    }

    pub(crate) fn https(&self) -> &BTreeMap<HostPort, HttpFixture> {
        &self.http
    }

    pub(crate) fn postgres(&self, host: &HostPort) -> Option<&Cluster> {
        self.postgres.get(host).map(Arc::as_ref)
    }

    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    pub(crate) fn programs(&self) -> &BTreeMap<String, String> {
        &self.programs
    }

    /// Where each fixture host really listens.
    pub(crate) fn addresses(&self) -> BTreeMap<HostPort, SocketAddr> {
        let http = self
            .http
            .iter()
            .filter_map(|(host, fixture)| Some((host.clone(), fixture.address()?)));
        let postgres = self
            .postgres
            .iter()
            .map(|(host, cluster)| (host.clone(), cluster.address()));
        http.chain(postgres).collect()
    }

    /// What the folder held before.
    pub(crate) fn baseline(&self, folder: &str) -> Option<&Snapshot> {
        self.baselines.get(folder)
    }

    pub(crate) fn baselines(&self) -> &BTreeMap<String, Snapshot> {
        &self.baselines
    }

    /// Takes a snapshot of one folder.
    pub(crate) fn snapshot(&self, folder: &str) -> Result<Snapshot, String> {
        Snapshot::take(&self.root(folder)?)
    }

    /// Takes a snapshot of every folder.
    pub(crate) fn snapshots(&self) -> Result<BTreeMap<String, Snapshot>, String> {
        self.folders
            .keys()
            .map(|folder| Ok((folder.clone(), self.snapshot(folder)?)))
            .collect()
    }

    /// From now on "before" is how it is now.
    pub(crate) fn set_baselines(&mut self) -> Result<(), Stop> {
        self.baselines = self.snapshots().map_err(Stop::Fault)?;
        Ok(())
    }

    /// Takes over into a folder's baseline what we ourselves changed.
    pub(crate) fn adopt(&mut self, folder: &str, before: &Snapshot, after: &Snapshot) {
        if let Some(baseline) = self.baselines.get_mut(folder) {
            baseline.adopt(before, after);
        }
    }
}
