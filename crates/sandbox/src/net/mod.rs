//! The network of a sandbox: its own, empty one, with listeners where declared hosts are expected.
//!
//! The init listens inside and hands the listeners out; everything after `accept` happens here, in the
//! supervisor, where the workload cannot reach. [`Plan`] is what the inside is told, [`Net`] decides and logs.
//! Not here: HTTP ([`proxy`]), bytes and TLS names ([`tunnel`]), which addresses are public ([`address`]).

mod address;
mod proxy;
mod tunnel;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::policy::{HostRule, Network, Route};
use crate::report::NetworkDecision;
use crate::sandbox::Lookup;

/// Where the proxy listens inside.
const PROXY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 3128);
/// Connections of one sandbox at the same time, in each direction.
pub(crate) const MAX_CONNECTIONS: usize = 64;
/// Decisions kept of one sandbox; later ones are made all the same.
const MAX_DECISIONS: usize = 1000;
/// Longest time to resolve a name, and to connect to one of its addresses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept.
pub(crate) const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;

/// What the inside of a sandbox is told about the network.
pub(crate) struct Plan {
    /// The proxy first, then one per rule, in the order of the rules.
    pub(crate) listeners: Vec<(Ipv4Addr, u16)>,
    pub(crate) hosts_file: String,
    pub(crate) env: Vec<(String, String)>,
}

impl Plan {
    /// Gives each declared host a loopback address of its own.
    pub(crate) fn new(network: &Network) -> Self {
        let mut plan = Self {
            listeners: Vec::new(),
            hosts_file: "127.0.0.1 localhost sandbox\n::1 localhost\n".into(),
            env: Vec::new(),
        };
        let Network::Allow(rules) = network else {
            return plan;
        };
        plan.listeners.push(PROXY);
        let mut hosts: Vec<String> = Vec::new();
        for rule in rules {
            let host = rule.host.to_ascii_lowercase();
            let known = hosts.iter().position(|h| *h == host);
            let number = known.unwrap_or_else(|| {
                hosts.push(host.clone());
                hosts.len() - 1
            });
            let ip = inner_address(&host, number);
            if known.is_none() && host.parse::<IpAddr>().is_err() && !ip.eq(&Ipv4Addr::LOCALHOST) {
                plan.hosts_file.push_str(&format!("{ip} {host}\n"));
            }
            let port = inner_port(rule.port);
            plan.listeners.push((ip, port));
            plan.env
                .push((route_variable(&host, rule.port), format!("{ip}:{port}")));
        }
        let proxy = format!("http://{}:{}", PROXY.0, PROXY.1);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            plan.env.push((name.into(), proxy.clone()));
        }
        // Node leaves the proxy alone unless it is told.
        plan.env.push(("NODE_USE_ENV_PROXY".into(), "1".into()));
        for name in ["NO_PROXY", "no_proxy"] {
            plan.env
                .push((name.into(), "localhost,127.0.0.1,::1".into()));
        }
        plan
    }
}

/// The host's own loopback keeps its address, so that `localhost:5432` stays what a program calls it.
fn inner_address(host: &str, number: usize) -> Ipv4Addr {
    if host == "localhost" || host == "127.0.0.1" {
        return Ipv4Addr::LOCALHOST;
    }
    // Invariant: a policy has at most 64 rules, so the number fits.
    Ipv4Addr::new(127, 0, 1, u8::try_from(number + 1).unwrap_or(u8::MAX))
}

/// Ports below 1024 cannot be listened on inside (the command's user namespace does not own the network
/// namespace): they are found 10,000 higher. HTTP and HTTPS go through the proxy and need neither.
fn inner_port(port: u16) -> u16 {
    const LOW_PORTS: u16 = 1024;
    const LOW_PORTS_MOVED: u16 = 10_000;
    if port < LOW_PORTS {
        port + LOW_PORTS_MOVED
    } else {
        port
    }
}

/// `AGENTWRIGHT_ROUTE_DB_EXAMPLE_ORG_5432`.
fn route_variable(host: &str, port: u16) -> String {
    let host: String = host
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    format!("AGENTWRIGHT_ROUTE_{host}_{port}")
}

/// The network of one sandbox: its rules and what was asked of it.
pub(crate) struct Net {
    rules: Vec<HostRule>,
    lookup: Option<Lookup>,
    begun: Instant,
    log: Mutex<Vec<NetworkDecision>>,
    tasks: TaskTracker,
    until: CancellationToken,
}

/// A connection that was allowed, and its line in the log.
struct Admitted {
    stream: TcpStream,
    entry: Entry,
}

/// A line of the log; `None` when the log was full.
#[derive(Clone, Copy)]
struct Entry(Option<usize>);

impl Net {
    pub(crate) fn new(network: &Network, lookup: Option<Lookup>) -> Option<Arc<Self>> {
        let Network::Allow(rules) = network else {
            return None;
        };
        Some(Arc::new(Self {
            rules: rules.clone(),
            lookup,
            begun: Instant::now(),
            log: Mutex::default(),
            tasks: TaskTracker::new(),
            until: CancellationToken::new(),
        }))
    }

    /// Serves the listeners that the init made, in the order of the plan.
    ///
    /// # Errors
    /// When a descriptor is not a listener.
    pub(crate) fn serve(self: &Arc<Self>, listeners: Vec<OwnedFd>) -> io::Result<()> {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        for (number, fd) in listeners.into_iter().enumerate() {
            let listener = TcpListener::from_std(std::net::TcpListener::from(fd))?;
            let rule = number
                .checked_sub(1)
                .and_then(|n| self.rules.get(n))
                .cloned();
            let (net, room) = (Arc::clone(self), Arc::clone(&room));
            self.spawn(async move { net.accept(&listener, rule.as_ref(), &room).await });
        }
        Ok(())
    }

    /// Ends all connections and returns the log.
    pub(crate) async fn finish(&self) -> Vec<NetworkDecision> {
        self.until.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        std::mem::take(&mut *self.log())
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let until = self.until.clone();
        self.tasks
            .spawn(async move { until.run_until_cancelled(work).await.unwrap_or(()) });
    }

    async fn accept(
        self: &Arc<Self>,
        listener: &TcpListener,
        rule: Option<&HostRule>,
        room: &Arc<Semaphore>,
    ) {
        while let Ok(permit) = Arc::clone(room).acquire_owned().await {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors: others must close theirs first.
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            };
            let (net, rule) = (Arc::clone(self), rule.cloned());
            self.spawn(async move {
                match rule {
                    Some(rule) => net.carry(stream, &rule).await,
                    None => proxy::serve(&net, stream).await,
                }
                drop(permit);
            });
        }
    }

    /// A connection to a listener that stands for one declared host.
    async fn carry(&self, stream: TcpStream, rule: &HostRule) {
        if let Ok(admitted) = self.admit(&rule.host, rule.port, None).await {
            tunnel::run(self, stream, admitted, &rule.host, rule.port).await;
        }
    }

    /// Decides about one connection and makes it. The refusal is already in the log.
    async fn admit(
        &self,
        host: &str,
        port: u16,
        http: Option<(String, String)>,
    ) -> Result<Admitted, String> {
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase();
        let decided = self.connect(&host, port).await;
        let (allowed, reason) = match &decided {
            Ok((_, reason)) => (true, reason.clone()),
            Err(reason) => (false, reason.clone()),
        };
        let (method, path) = http.unzip();
        let entry = self.note(NetworkDecision {
            at_ms: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            host,
            port,
            allowed,
            reason,
            method,
            path,
            status: None,
            sent_bytes: 0,
            received_bytes: 0,
        });
        decided.map(|(stream, _)| Admitted { stream, entry })
    }

    async fn connect(&self, host: &str, port: u16) -> Result<(TcpStream, String), String> {
        let rule = self
            .rules
            .iter()
            .find(|r| r.port == port && r.host.eq_ignore_ascii_case(host));
        let rule = rule.ok_or_else(|| format!("{host}:{port} is not declared"))?;
        let (addresses, reason) = match rule.route {
            Route::Fixture(address) => {
                (vec![address], "declared, answered by a fixture".to_owned())
            }
            Route::Public => (
                self.resolve(host, port, address::refuse_unless_public)
                    .await?,
                "declared".to_owned(),
            ),
            Route::Private => (
                self.resolve(host, port, address::refuse_metadata).await?,
                "declared as private".to_owned(),
            ),
        };
        let mut last = String::from("no address");
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok((stream, reason)),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = "timed out".into(),
            }
        }
        Err(format!(
            "{host}:{port} is declared but does not answer: {last}"
        ))
    }

    /// Resolves once; the connection goes to an address of this very answer, so that a second answer with
    /// another address changes nothing. One refused address refuses the name.
    async fn resolve(
        &self,
        host: &str,
        port: u16,
        refuse: fn(IpAddr) -> Option<&'static str>,
    ) -> Result<Vec<SocketAddr>, String> {
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.look_up(host.to_owned(), port).await?,
        };
        for address in &addresses {
            if let Some(what) = refuse(*address) {
                return Err(format!("{host} leads to {address}, which is {what}"));
            }
        }
        Ok(addresses
            .into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect())
    }

    async fn look_up(&self, host: String, port: u16) -> Result<Vec<IpAddr>, String> {
        let lookup = self.lookup.clone();
        let name = host.clone();
        let asked = tokio::task::spawn_blocking(move || match lookup {
            Some(lookup) => lookup(&name, port),
            None => std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), port))
                .map(|all| all.map(|a| a.ip()).collect()),
        });
        match tokio::time::timeout(CONNECT_TIMEOUT, asked).await {
            Ok(Ok(Ok(found))) if !found.is_empty() => Ok(found),
            Ok(Ok(Err(error))) => Err(format!("{host} cannot be resolved: {error}")),
            Ok(_) => Err(format!("{host} cannot be resolved")),
            Err(_) => Err(format!("{host} cannot be resolved in time")),
        }
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Vec<NetworkDecision>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, decision: NetworkDecision) -> Entry {
        let mut log = self.log();
        if log.len() >= MAX_DECISIONS {
            return Entry(None);
        }
        log.push(decision);
        Entry(Some(log.len() - 1))
    }

    fn amend(&self, entry: Entry, change: impl FnOnce(&mut NetworkDecision)) {
        let mut log = self.log();
        if let Some(decision) = entry.0.and_then(|number| log.get_mut(number)) {
            change(decision);
        }
    }
}
