//! The handle of a living sandbox. It only sends wishes; the task that attends to them is [`crate::attend`].
//!
//! Start at [`Running`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::policy::Tier;
use crate::report::{OutputLine, Process, Report};
use crate::wire::StopReason;

/// A started sandbox. Clones share it; dropping the last one kills it.
#[derive(Clone)]
pub struct Running {
    handle: Arc<Handle>,
}

/// What the handle shares with the attending task.
pub(crate) struct Handle {
    pub(crate) wishes: mpsc::Sender<Wish>,
    pub(crate) lines: broadcast::Sender<OutputLine>,
    /// Has listened since the start, for the first who asks.
    pub(crate) first_listener: Mutex<Option<broadcast::Receiver<OutputLine>>>,
    pub(crate) outcome: watch::Receiver<Option<Result<Arc<Report>, String>>>,
    pub(crate) cancel: CancellationToken,
    pub(crate) published: Option<SocketAddr>,
    pub(crate) tier: Tier,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// What a handle asks of the attending task.
pub(crate) enum Wish {
    Stop(StopReason, Duration),
    Socket(oneshot::Sender<io::Result<OwnedFd>>),
    Processes(oneshot::Sender<io::Result<OwnedFd>>),
}

impl Running {
    pub(crate) fn new(handle: Handle) -> Self {
        Self {
            handle: Arc::new(handle),
        }
    }

    /// Lines of output: since the start for the first who asks, from now on for later ones. A reader that falls
    /// behind loses the oldest lines, never the newest.
    #[must_use]
    pub fn subscribe_output(&self) -> broadcast::Receiver<OutputLine> {
        self.take_first_listener()
            .unwrap_or_else(|| self.handle.lines.subscribe())
    }

    /// Nobody will listen, so no lines need to be kept.
    pub(crate) fn without_listener(self) -> Self {
        drop(self.take_first_listener());
        self
    }

    fn take_first_listener(&self) -> Option<broadcast::Receiver<OutputLine>> {
        self.handle
            .first_listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Where the published port listens on the host.
    #[must_use]
    pub fn published(&self) -> Option<SocketAddr> {
        self.handle.published
    }

    /// The tier it runs in.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.handle.tier
    }

    /// Connects to a port inside (on its 127.0.0.1).
    ///
    /// # Errors
    /// [`Error::Ended`], or [`Error::Io`] when nothing listens.
    pub async fn connect(&self, port: u16) -> Result<TcpStream, Error> {
        connect_inside(&self.handle.wishes, port).await
    }

    /// The processes inside, without the init.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn processes(&self) -> Result<Vec<Process>, Error> {
        let file = ask(&self.handle.wishes, Wish::Processes).await?;
        let mut file = std::fs::File::from(file);
        io::Seek::rewind(&mut file).map_err(|e| Error::io("read the process table", e))?;
        serde_json::from_reader(io::BufReader::new(file))
            .map_err(|e| Error::io("read the process table", e))
    }

    /// Asks all processes to end (SIGTERM), kills what is left after `grace`, and waits. The ending is what
    /// the command did with the signal.
    pub async fn stop(&self, grace: Duration) {
        // A grace of zero would mean "kill": one millisecond still lets the signal be seen.
        let grace = grace.max(Duration::from_millis(1));
        let _ = self
            .handle
            .wishes
            .send(Wish::Stop(StopReason::Asked, grace))
            .await;
        let _ = self.wait().await;
    }

    /// Kills at once; the ending is `Cancelled`.
    pub fn cancel(&self) {
        self.handle.cancel.cancel();
    }

    /// Waits for the end. May be called by several holders.
    ///
    /// # Errors
    /// [`Error::Setup`] when the walls broke before the command ended.
    pub async fn wait(&self) -> Result<Arc<Report>, Error> {
        let mut outcome = self.handle.outcome.clone();
        let ended = outcome
            .wait_for(Option::is_some)
            .await
            .map_err(|_| Error::Ended)?;
        match &*ended {
            Some(Ok(report)) => Ok(Arc::clone(report)),
            Some(Err(what)) => Err(Error::Setup(what.clone())),
            None => Err(Error::Ended),
        }
    }

    pub(crate) async fn wait_or_cancel(
        &self,
        cancel: &CancellationToken,
    ) -> Result<Arc<Report>, Error> {
        tokio::select! {
            ended = self.wait() => return ended,
            () = cancel.cancelled() => self.cancel(),
        }
        self.wait().await
    }
}

async fn ask(
    wishes: &mpsc::Sender<Wish>,
    wish: fn(oneshot::Sender<io::Result<OwnedFd>>) -> Wish,
) -> Result<OwnedFd, Error> {
    let (reply, answer) = oneshot::channel();
    wishes.send(wish(reply)).await.map_err(|_| Error::Ended)?;
    answer
        .await
        .map_err(|_| Error::Ended)?
        .map_err(|e| Error::io("ask the sandbox's init", e))
}

/// Connects to a port of the inner network through a socket that its init made.
pub(crate) async fn connect_inside(
    wishes: &mpsc::Sender<Wish>,
    port: u16,
) -> Result<TcpStream, Error> {
    let socket = ask(wishes, Wish::Socket).await?;
    let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    socket
        .connect(address)
        .await
        .map_err(|e| Error::io(format!("connect to port {port} inside the sandbox"), e))
}
