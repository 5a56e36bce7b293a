//! A connection whose other side must take what it is sent: else it is cut, and costs nothing any more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long the other side may take nothing while there is something to take.
pub(super) const TAKES_MAX: Duration = Duration::from_secs(30);

/// A connection.
pub(super) struct Patient<S> {
    inner: S,
    /// Runs while the other side takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            stalled: None,
        }
    }

    /// What came of an attempt to write: when it waits, it waits no longer than [`TAKES_MAX`] in all.
    fn waited<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(TAKES_MAX)));
        ready!(stalled.as_mut().poll(context));
        let slow = io::Error::new(io::ErrorKind::TimedOut, "the other side takes nothing");
        Poll::Ready(Err(slow))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let it = self.get_mut();
        let written = Pin::new(&mut it.inner).poll_write(context, bytes);
        it.waited(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let it = self.get_mut();
        let written = Pin::new(&mut it.inner).poll_write_vectored(context, slices);
        it.waited(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        let flushed = Pin::new(&mut it.inner).poll_flush(context);
        it.waited(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_cut_and_who_takes_a_little_is_not() {
        let (one, mut other) = tokio::io::duplex(8);
        let mut patient = Patient::new(one);
        let slow = async {
            for _ in 0..4 {
                sleep(TAKES_MAX / 2).await;
                let mut taken = [0; 8];
                tokio::io::AsyncReadExt::read_exact(&mut other, &mut taken)
                    .await
                    .unwrap();
            }
            other
        };
        let (written, other) = tokio::join!(patient.write_all(&[7; 40]), slow);
        written.unwrap();
        let cut = patient.write_all(&[7; 16]).await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
        drop(other);
    }
}
