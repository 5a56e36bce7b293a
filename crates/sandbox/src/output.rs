//! Reading what a command writes: head and tail kept, the middle dropped, live lines for whoever listens.
//!
//! Memory is bounded by the policy's output limit whatever the command does. Start at [`Pump`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::broadcast;

use crate::conversation::Spoken;
use crate::report::{Captured, OutputLine, Stream};
use crate::{MAX_LINE_BYTES, OUTPUT_DRAIN_FACTOR};

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Lines a slow listener may fall behind before it loses the oldest.
pub(crate) const LIVE_LINES: usize = 1024;

/// What is kept of one stream.
#[derive(Default)]
pub(crate) struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
    cap: usize,
}

impl Kept {
    pub(crate) fn new(cap: u64) -> Self {
        Self {
            cap: usize::try_from(cap).unwrap_or(usize::MAX),
            ..Self::default()
        }
    }

    fn push(&mut self, mut bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = (self.cap - self.cap / 2)
            .saturating_sub(self.head.len())
            .min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        bytes = &bytes[room..];
        let tail_cap = self.cap / 2;
        bytes = &bytes[bytes.len().saturating_sub(tail_cap)..];
        let surplus = (self.tail.len() + bytes.len()).saturating_sub(tail_cap);
        self.tail.drain(..surplus);
        self.tail.extend(bytes);
    }

    pub(crate) fn captured(&self) -> Captured {
        let mut bytes = self.head.clone();
        bytes.extend(&self.tail);
        let truncated_bytes = self.total - bytes.len() as u64;
        Captured {
            bytes,
            truncated_bytes,
        }
    }
}

/// Reads one stream to its end.
pub(crate) struct Pump {
    pub(crate) stream: Stream,
    pub(crate) kept: Arc<Mutex<Kept>>,
    pub(crate) lines: broadcast::Sender<OutputLine>,
    pub(crate) spoken: Option<Spoken>,
}

impl Pump {
    /// Calls `flooded` once when the stream passes the drain factor, and goes on draining.
    pub(crate) async fn run(mut self, mut pipe: Receiver, flooded: impl FnOnce()) {
        let mut flooded = Some(flooded);
        let mut chunk = vec![0_u8; CHUNK_BYTES];
        let mut line = Vec::new();
        while let Ok(count) = pipe.read(&mut chunk).await {
            if count == 0 {
                break;
            }
            let bytes = &chunk[..count];
            let over = {
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push(bytes);
                kept.total > (kept.cap as u64).saturating_mul(OUTPUT_DRAIN_FACTOR)
            };
            if over && let Some(flooded) = flooded.take() {
                flooded();
            }
            self.split(&mut line, bytes);
            if let Some(spoken) = &self.spoken
                && spoken.send(bytes.to_vec()).await.is_err()
            {
                // Nobody listens any more.
                self.spoken = None;
            }
        }
        if !line.is_empty() {
            self.emit(&line);
        }
    }

    fn split(&self, line: &mut Vec<u8>, bytes: &[u8]) {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            for piece in part.chunks(MAX_LINE_BYTES) {
                line.extend_from_slice(piece);
                if line.last() == Some(&b'\n') {
                    line.pop();
                    self.emit(line);
                    line.clear();
                } else if line.len() >= MAX_LINE_BYTES {
                    self.emit(line);
                    line.clear();
                }
            }
        }
    }

    fn emit(&self, line: &[u8]) {
        if self.lines.receiver_count() > 0 {
            let text = String::from_utf8_lossy(line).into_owned();
            let _ = self.lines.send(OutputLine {
                stream: self.stream,
                text,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_and_the_tail_stay_and_the_middle_is_counted() {
        let mut kept = Kept::new(10);
        for chunk in [&b"abc"[..], b"defgh", b"ijklmnop", b"qrstuvwxyz"] {
            kept.push(chunk);
        }
        assert_eq!(
            kept.captured(),
            Captured {
                bytes: b"abcdevwxyz".to_vec(),
                truncated_bytes: 16
            }
        );
    }

    #[test]
    fn short_output_stays_whole_and_a_zero_cap_keeps_nothing() {
        let mut kept = Kept::new(10);
        kept.push(b"0123456789");
        assert_eq!(
            kept.captured(),
            Captured {
                bytes: b"0123456789".to_vec(),
                truncated_bytes: 0
            }
        );
        let mut none = Kept::new(0);
        none.push(b"0123");
        assert_eq!(
            none.captured(),
            Captured {
                bytes: Vec::new(),
                truncated_bytes: 4
            }
        );
    }
}
