//! The declared port of a service, offered on the host: connections are carried to the port inside.
//!
//! Not here: what the service may reach itself, which is [`crate::net`]. Start at [`Published::bind`].

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::Error;
use crate::net::{ACCEPT_AGAIN, MAX_CONNECTIONS};
use crate::policy::Publish;
use crate::running::{Wish, connect_inside};

/// A bound address that waits for its service.
pub(crate) struct Published {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
    inside_port: u16,
}

impl Published {
    /// Takes the address before anything is started.
    ///
    /// # Errors
    /// [`Error::AddressInUse`], or [`Error::Io`].
    pub(crate) async fn bind(publish: &Publish) -> Result<Self, Error> {
        let listener =
            TcpListener::bind(publish.host)
                .await
                .map_err(|error| match error.kind() {
                    std::io::ErrorKind::AddrInUse => Error::AddressInUse(publish.host),
                    _ => Error::io(format!("publish on {}", publish.host), error),
                })?;
        let address = listener.local_addr().map_err(|e| Error::io("publish", e))?;
        Ok(Self {
            listener,
            address,
            inside_port: publish.inside_port,
        })
    }

    /// Serves until cancelled or until the sandbox has ended.
    pub(crate) async fn serve(self, wishes: mpsc::WeakSender<Wish>, until: CancellationToken) {
        let tasks = TaskTracker::new();
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let accepting = async {
            while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
                let Ok((outside, _)) = self.listener.accept().await else {
                    // Out of descriptors: others must close theirs first.
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                };
                let Some(wishes) = wishes.upgrade() else {
                    return;
                };
                let (port, until) = (self.inside_port, until.clone());
                tasks.spawn(async move {
                    let _ = until
                        .run_until_cancelled(carry(outside, &wishes, port))
                        .await;
                    drop(permit);
                });
            }
        };
        let _ = until.run_until_cancelled(accepting).await;
        tasks.close();
        tasks.wait().await;
    }
}

async fn carry(mut outside: TcpStream, wishes: &mpsc::Sender<Wish>, port: u16) {
    if let Ok(mut inside) = connect_inside(wishes, port).await {
        let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
    }
}
