//! Connections to the daemon: made when needed, kept idle, reused.

use super::{ClientError, REPLY_MAX_BYTES};
use crate::access::ORGANIZATION_HEADER;
use crate::socket::ReachableSocket;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The most idle connections kept.
const IDLE_MAX: usize = 128;

type Sender = SendRequest<Full<Bytes>>;

/// One request to make; it can be made again on another connection.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Ask {
    pub(super) fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Asks for a live stream.
    pub(super) fn live(path: String) -> Self {
        let mut ask = Self::new(Method::GET, path);
        ask.headers
            .push((ACCEPT.as_str(), "text/event-stream".to_owned()));
        ask
    }
}

/// A whole answer.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

#[derive(Clone)]
enum Place {
    Unix(PathBuf),
    Tcp { address: SocketAddr, key: String },
}

/// Without the key.
impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "Unix({})", path.display()),
            Self::Tcp { address, .. } => write!(f, "Tcp({address})"),
        }
    }
}

/// The pool.
#[derive(Debug)]
pub(super) struct Connections {
    place: Place,
    organization: Option<String>,
    idle: Mutex<Vec<Sender>>,
}

impl Connections {
    pub(super) fn unix(socket: PathBuf) -> Self {
        Self {
            place: Place::Unix(socket),
            organization: None,
            idle: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn tcp(address: SocketAddr, key: String) -> Self {
        Self {
            place: Place::Tcp { address, key },
            organization: None,
            idle: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn for_organization(&self, organization: &str) -> Self {
        Self {
            place: self.place.clone(),
            organization: Some(organization.to_owned()),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Where the daemon is, for people.
    pub(super) fn place(&self) -> String {
        match &self.place {
            Place::Unix(path) => path.display().to_string(),
            Place::Tcp { address, .. } => address.to_string(),
        }
    }

    /// Asks and reads the whole answer within `limit`. What only reads is asked once more where the
    /// connection broke: the daemon may have been replaced by another one.
    pub(super) async fn ask(&self, ask: Ask, limit: Duration) -> Result<Reply, ClientError> {
        let whole = async {
            match self.ask_once(&ask).await {
                Err(ClientError::Broken { .. }) if ask.method == Method::GET => {
                    self.ask_once(&ask).await
                }
                answered => answered,
            }
        };
        tokio::time::timeout(limit, whole)
            .await
            .unwrap_or_else(|_| Err(self.timed_out(limit)))
    }

    async fn ask_once(&self, ask: &Ask) -> Result<Reply, ClientError> {
        let (response, sender) = self.send(ask).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), REPLY_MAX_BYTES)
            .collect()
            .await
            .map_err(|source| self.broken(source))?
            .to_bytes();
        self.keep(sender);
        Ok(Reply { status, body })
    }

    /// Asks and hands over the answer's body as it comes; the connection ends with it.
    pub(super) async fn open(
        &self,
        ask: &Ask,
        limit: Duration,
    ) -> Result<Response<Incoming>, ClientError> {
        let answer = tokio::time::timeout(limit, self.send(ask)).await;
        match answer {
            Ok(answered) => answered.map(|(response, _)| response),
            Err(_) => Err(self.timed_out(limit)),
        }
    }

    /// Sends on an idle connection, or on a new one when those have been closed meanwhile.
    async fn send(&self, ask: &Ask) -> Result<(Response<Incoming>, Sender), ClientError> {
        let mut request = self.request(ask)?;
        while let Some(mut sender) = self.take() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, sender)),
                // It was not sent: another connection may take it.
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(self.broken(refused.into_error())),
                },
            }
        }
        let mut sender = self.connect().await?;
        match sender.send_request(request).await {
            Ok(response) => Ok((response, sender)),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn request(&self, ask: &Ask) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(&ask.path)
            .header(HOST, "localhost");
        if let Place::Tcp { key, .. } = &self.place {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        if let Some(organization) = &self.organization {
            request = request.header(ORGANIZATION_HEADER, organization);
        }
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        request
            .body(Full::new(ask.body.clone()))
            .map_err(|error| ClientError::Strange {
                at: self.place(),
                what: format!("the request cannot be written: {error}"),
            })
    }

    async fn connect(&self) -> Result<Sender, ClientError> {
        let made = async {
            match &self.place {
                Place::Unix(path) => {
                    let reachable = ReachableSocket::of(path)?;
                    shake_hands(UnixStream::connect(reachable.path()).await?).await
                }
                Place::Tcp { address, .. } => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    shake_hands(stream).await
                }
            }
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, made).await {
            Ok(sender) => sender.map_err(|source| ClientError::Unreachable {
                at: self.place(),
                source,
            }),
            Err(_) => Err(self.timed_out(CONNECT_TIMEOUT)),
        }
    }

    fn take(&self) -> Option<Sender> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push(sender);
        }
    }

    pub(super) fn broken(
        &self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> ClientError {
        ClientError::Broken {
            at: self.place(),
            source: source.into(),
        }
    }

    fn timed_out(&self, after: Duration) -> ClientError {
        ClientError::TimedOut {
            at: self.place(),
            after,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the connection's driver ends with the connection, which its sender owns"
)]
async fn shake_hands<S>(stream: S) -> io::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, driver) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        // A broken connection is seen by the request that is on it.
        let _ = driver.await;
    });
    Ok(sender)
}
