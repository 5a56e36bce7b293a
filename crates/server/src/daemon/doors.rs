//! Where requests come in: the unix socket, and TCP on loopback when asked for.
//!
//! Who may is not decided here: each request is marked with its [`Door`], and `auth` sees to the rest.

use super::DaemonError;
use super::patient::Patient;
use super::place::user_name;
use crate::StartError;
use crate::app::App;
use crate::auth::Door;
use agentwright_api::ReachableSocket;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 16_384;
/// How long the head of a request may take to arrive.
const HEAD_MAX: Duration = Duration::from_secs(15);
/// The largest head of a request, in bytes.
const HEAD_MAX_BYTES: usize = 64 * 1024;
/// The most header lines.
const HEADERS_MAX: usize = 100;
/// How long connections have to end when the daemon stops.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// The pause after the kernel refused a connection (no descriptors left).
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// The open doors.
pub(crate) struct Doors {
    socket: PathBuf,
    hall: Hall,
    bound: Mutex<Option<FileId>>,
}

/// Device and inode.
type FileId = (u64, u64);

#[derive(Clone)]
struct Hall {
    router: Router,
    tasks: TaskTracker,
    closing: CancellationToken,
    room: Arc<Semaphore>,
}

impl Doors {
    /// Binds and serves. The lock is held, so a socket that is there is a dead daemon's.
    pub(crate) async fn open(app: &App) -> Result<Self, DaemonError> {
        more_descriptors();
        let socket = app.config().socket();
        let attempted = format!("listen on {}", socket.display());
        let listener = bind(&socket).map_err(DaemonError::io(attempted))?;
        let bound = Mutex::new(file_id(&socket));
        let hall = Hall {
            router: app.router(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        };
        if let Some(address) = app.config().settings.listen {
            let listener = listen(app, address).await?;
            hall.tasks.spawn(hall.clone().serve_tcp(listener));
        }
        hall.tasks.spawn(hall.clone().serve_unix(listener));
        Ok(Self {
            socket,
            hall,
            bound,
        })
    }

    /// Makes the socket again where somebody took it away. The data directory must be ours.
    pub(crate) fn mend(&self) {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if bound.is_some() && *bound == file_id(&self.socket) {
            return;
        }
        match bind(&self.socket) {
            Ok(listener) => {
                tracing::warn!("the socket was gone and is made again");
                *bound = file_id(&self.socket);
                let hall = self.hall.clone();
                hall.tasks.clone().spawn(hall.serve_unix(listener));
            }
            Err(error) => tracing::error!(%error, "the socket is gone and cannot be made again"),
        }
    }

    /// Takes no more connections, lets what is being answered finish, and ends the rest. A socket that
    /// another daemon has made meanwhile stays.
    pub(crate) async fn close(self) {
        self.hall.closing.cancel();
        let bound = *self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if bound.is_some() && bound == file_id(&self.socket) {
            let _ = std::fs::remove_file(&self.socket);
        }
        self.hall.tasks.close();
        if tokio::time::timeout(CLOSE_MAX, self.hall.tasks.wait())
            .await
            .is_err()
        {
            tracing::info!(left = self.hall.tasks.len(), "connections were cut");
        }
    }
}

/// Each connection is a descriptor, and shells give far fewer than the system allows.
fn more_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = Some(2 * CONNECTIONS_MAX as u64);
    let most = match maximum {
        Some(maximum) => Some(maximum).min(wanted),
        None => wanted,
    };
    if current.is_some_and(|current| Some(current) < most) {
        let raised = Rlimit {
            current: most,
            maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
}

/// Listens on TCP; beyond loopback only where somebody could show a key.
async fn listen(app: &App, address: SocketAddr) -> Result<TcpListener, DaemonError> {
    if !address.ip().is_loopback() {
        let (_, live) = app.store().count_keys().await.map_err(StartError::Keys)?;
        if live == 0 {
            return Err(DaemonError::Open(address));
        }
    }
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => DaemonError::PortTaken(address),
            _ => DaemonError::io(format!("listen on {address}"))(error),
        })?;
    let bound = listener.local_addr().unwrap_or(address);
    app.listens(bound);
    tracing::info!(address = %bound, "listening");
    Ok(listener)
}

fn file_id(path: &Path) -> Option<FileId> {
    let metadata = path.symlink_metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn bind(socket: &Path) -> std::io::Result<UnixListener> {
    let reachable = ReachableSocket::of(socket)?;
    match std::fs::remove_file(reachable.path()) {
        Ok(()) => tracing::info!("a dead daemon's socket was removed"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(reachable.path())?;
    std::fs::set_permissions(reachable.path(), std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Hall {
    async fn serve_unix(self, listener: UnixListener) {
        // The socket is for one user (mode 0600), and root: their names are looked up once.
        let mut names: HashMap<u32, Arc<str>> = HashMap::new();
        loop {
            let Some(room) = self.next_room().await else {
                return;
            };
            let accepted = tokio::select! {
                () = self.closing.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let Ok(peer) = stream.peer_cred() else {
                        continue;
                    };
                    let name = names.entry(peer.uid());
                    let name = name.or_insert_with_key(|uid| user_name(*uid).into());
                    self.admit(stream, Door::Socket(Arc::clone(name)), room);
                }
                Err(error) => refused(&error).await,
            }
        }
    }

    async fn serve_tcp(self, listener: TcpListener) {
        loop {
            let Some(room) = self.next_room().await else {
                return;
            };
            let accepted = tokio::select! {
                () = self.closing.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let _: std::io::Result<()> = stream.set_nodelay(true);
                    self.admit(stream, Door::Tcp, room);
                }
                Err(error) => refused(&error).await,
            }
        }
    }

    /// A place for one more connection; `None` when the doors close.
    async fn next_room(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        tokio::select! {
            () = self.closing.cancelled() => None,
            room = self.room.clone().acquire_owned() => room.ok(),
        }
    }

    fn admit<S>(&self, stream: S, door: Door, room: tokio::sync::OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (router, closing) = (self.router.clone(), self.closing.clone());
        let service = service_fn(move |request| answer(router.clone(), door.clone(), request));
        self.tasks.spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_MAX)
                .max_buf_size(HEAD_MAX_BYTES)
                .max_headers(HEADERS_MAX)
                .serve_connection(TokioIo::new(Patient::new(stream)), service)
                .with_upgrades();
            let mut connection = std::pin::pin!(connection);
            // A broken connection is the client's business.
            tokio::select! {
                _ = connection.as_mut() => {}
                () = closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(CLOSE_MAX, connection).await;
                }
            }
            drop(room);
        });
    }
}

async fn refused(error: &std::io::Error) {
    tracing::warn!(%error, "a connection could not be taken");
    tokio::time::sleep(REFUSED_PAUSE).await;
}

async fn answer(
    router: Router,
    door: Door,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(door);
    router.oneshot(request).await
}
