//! Bytes between a command and an allowed host, and the one look into them: a TLS client must name that host.
//!
//! Nothing is decrypted. Without the look, a declared host behind a shared front would open all its neighbours.
//! Start at [`run`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Admitted, Net};

/// Bytes one connection may carry in one direction.
pub(super) const MAX_CONNECTION_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// A connection on which nothing moves for this long is closed.
const IDLE: Duration = Duration::from_secs(600);
/// Longest first message of a TLS client.
const MAX_HELLO_BYTES: usize = 64 * 1024;
/// How long a client that began to speak TLS may take to name its host.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
const CHUNK_BYTES: usize = 32 * 1024;
/// First byte of a TLS handshake record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// Where plain text is never expected.
const HTTPS: u16 = 443;

/// Carries one connection to its end and settles its line in the log.
pub(super) async fn run(
    net: &Net,
    client: impl AsyncRead + AsyncWrite,
    admitted: Admitted,
    host: &str,
    port: u16,
) {
    let Admitted { stream, entry } = admitted;
    let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_host, mut to_host) = stream.into_split();
    let up = async {
        let first = first_bytes(&mut from_client, host, port).await?;
        write(&mut to_host, &first, &sent).await?;
        copy(&mut from_client, &mut to_host, &sent).await
    };
    let down = copy(&mut from_host, &mut to_client, &received);
    let settled = Settled {
        net,
        entry,
        sent: &sent,
        received: &received,
    };
    if let Err(Stop::Refused(why)) = tokio::try_join!(up, down) {
        net.amend(entry, |decision| {
            decision.allowed = false;
            decision.reason = why;
        });
    }
    drop(settled);
}

/// Writes the byte counts into the log, also when the connection is cut by the sandbox's end.
struct Settled<'a> {
    net: &'a Net,
    entry: super::Entry,
    sent: &'a AtomicU64,
    received: &'a AtomicU64,
}

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        self.net.amend(self.entry, |decision| {
            decision.sent_bytes = self.sent.load(Ordering::Relaxed);
            decision.received_bytes = self.received.load(Ordering::Relaxed);
        });
    }
}

enum Stop {
    Ended,
    Refused(String),
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Self {
        Self::Ended
    }
}

/// What the client says first, checked when it is TLS. A client that waits for the host to speak waits here.
async fn first_bytes(
    client: &mut (impl AsyncRead + Unpin),
    host: &str,
    port: u16,
) -> Result<Vec<u8>, Stop> {
    let mut first = Vec::with_capacity(CHUNK_BYTES);
    if client.read_buf(&mut first).await? == 0 {
        return Ok(first);
    }
    if first[0] != TLS_HANDSHAKE {
        if port == HTTPS {
            return Err(Stop::Refused(format!(
                "{host}:{port} was not spoken to in TLS"
            )));
        }
        return Ok(first);
    }
    let named = tokio::time::timeout(HELLO_TIMEOUT, server_name(client, &mut first)).await;
    let named = named
        .map_err(|_| Stop::Refused("the TLS client did not name its host in time".into()))??;
    match named {
        Some(name) if name.eq_ignore_ascii_case(host) => Ok(first),
        None if host.parse::<std::net::IpAddr>().is_ok() => Ok(first),
        Some(name) => Err(Stop::Refused(format!(
            "the TLS client asks for {name} on a connection to {host}"
        ))),
        None => Err(Stop::Refused(format!(
            "the TLS client does not name its host on a connection to {host}"
        ))),
    }
}

/// Reads on until the client's hello is whole; the bytes stay in `first`.
async fn server_name(
    client: &mut (impl AsyncRead + Unpin),
    first: &mut Vec<u8>,
) -> Result<Option<String>, Stop> {
    let mut acceptor = Acceptor::default();
    let mut seen = 0;
    loop {
        while seen < first.len() {
            let mut rest = &first[seen..];
            seen += acceptor.read_tls(&mut rest)?;
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    return Ok(accepted.client_hello().server_name().map(str::to_owned));
                }
                Ok(None) => {}
                Err(_) => return Err(Stop::Refused("the first message is not a TLS hello".into())),
            }
        }
        if first.len() > MAX_HELLO_BYTES || client.read_buf(first).await? == 0 {
            return Err(Stop::Refused(
                "the TLS hello is cut short or too long".into(),
            ));
        }
    }
}

async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    count: &AtomicU64,
) -> Result<(), Stop> {
    to.write_all(bytes).await?;
    count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    Ok(())
}

/// Copies to the end of one direction, then closes it for writing.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    count: &AtomicU64,
) -> Result<(), Stop> {
    let mut chunk = vec![0_u8; CHUNK_BYTES];
    while count.load(Ordering::Relaxed) < MAX_CONNECTION_BYTES {
        let read = tokio::time::timeout(IDLE, from.read(&mut chunk))
            .await
            .map_err(|_| Stop::Ended)??;
        if read == 0 {
            let _ = to.shutdown().await;
            return Ok(());
        }
        write(to, &chunk[..read], count).await?;
    }
    Err(Stop::Ended)
}
