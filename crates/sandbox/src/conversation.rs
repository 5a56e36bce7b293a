//! Speaking with a command while it runs: a standard input that stays open, a standard output without gaps.
//!
//! Not here: the limits. They are the policy's, and the output that is read here counts against them as any
//! other. Start at [`Conversation`].

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::net::unix::pipe::Sender;
use tokio::sync::mpsc;

/// Chunks of output that may wait for their reader; then the command waits, too.
const CHUNKS: usize = 16;

/// Where the supervisor puts what the command says.
pub(crate) type Spoken = mpsc::Sender<Vec<u8>>;

/// What a command gets as its standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The bytes of the command, then end of file.
    Given,
    /// A pipe that the caller holds.
    Live,
}

/// Both directions of a conversation with a running command.
pub struct Conversation {
    /// To the command.
    pub stdin: Stdin,
    /// From the command.
    pub stdout: Stdout,
}

impl Conversation {
    pub(crate) fn over(stdin: OwnedFd) -> io::Result<(Self, Spoken)> {
        let (spoken, chunks) = mpsc::channel(CHUNKS);
        let stdin = Stdin(Sender::from_owned_fd(stdin)?);
        let stdout = Stdout(chunks);
        Ok((Self { stdin, stdout }, spoken))
    }
}

/// The command's standard input; dropping it is the end of file. A command that does not read makes the writer
/// wait, and one that has ended makes it fail with `BrokenPipe`.
pub struct Stdin(Sender);

impl AsyncWrite for Stdin {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The command's standard output, in the chunks in which it came. A reader that is slow makes the command wait;
/// one that is dropped does not.
pub struct Stdout(mpsc::Receiver<Vec<u8>>);

impl Stdout {
    /// The next bytes, never empty; `None` when every process that could write has closed it.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        self.0.recv().await
    }
}
