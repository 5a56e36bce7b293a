//! Bytes into frames: server-sent events, lines, or one whole. Pure, and indifferent to where the
//! network cuts: a letter that is split over two pieces is put together before it is read.

use crate::Kind;
use crate::wire::WireFault;
use std::collections::VecDeque;

/// The largest frame, in bytes.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The largest answer as it comes over the wire, in bytes.
pub const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How an answer is cut into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events; a frame is the data of one.
    Sse,
    /// A JSON value on each line.
    Lines,
    /// One value.
    Whole,
}

/// Takes bytes, gives frames.
#[derive(Debug)]
pub struct Framer {
    framing: Framing,
    /// The line that is not at its end yet; the body so far where it is one whole.
    line: Vec<u8>,
    /// The data lines of the event that is not at its end yet.
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
    begun: bool,
    bytes: u64,
    ready: VecDeque<String>,
}

impl Framer {
    /// Nothing yet.
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            after_cr: false,
            begun: false,
            bytes: 0,
            ready: VecDeque::new(),
        }
    }

    /// Bytes that came so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a piece.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), WireFault> {
        self.bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if self.bytes > BODY_BYTES_MAX {
            return Err(WireFault::new(
                Kind::BadBody,
                format!("it is longer than {BODY_BYTES_MAX} bytes"),
            ));
        }
        if self.framing == Framing::Whole {
            return self.extend(piece);
        }
        let mut rest = piece;
        while let Some(first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let sse = self.framing == Framing::Sse;
            let end = rest
                .iter()
                .position(|b| *b == b'\n' || (sse && *b == b'\r'));
            let Some(end) = end else {
                return self.extend(rest);
            };
            self.extend(&rest[..end])?;
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            self.line_ends()?;
        }
        Ok(())
    }

    /// The next whole frame.
    pub fn next_frame(&mut self) -> Option<String> {
        self.ready.pop_front()
    }

    /// The bytes have ended: what is left, if it is a frame. The data of an event without its blank
    /// line is none.
    pub fn finish(&mut self) -> Result<Option<String>, WireFault> {
        let rest = std::mem::take(&mut self.line);
        if self.framing == Framing::Sse || rest.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        text(rest).map(Some)
    }

    fn extend(&mut self, piece: &[u8]) -> Result<(), WireFault> {
        if self.line.len() + self.data.len() + piece.len() > FRAME_BYTES_MAX {
            return Err(WireFault::new(
                Kind::BadBody,
                format!("one frame is longer than {FRAME_BYTES_MAX} bytes"),
            ));
        }
        self.line.extend_from_slice(piece);
        Ok(())
    }

    fn line_ends(&mut self) -> Result<(), WireFault> {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if self.framing == Framing::Lines {
            if !line.iter().all(u8::is_ascii_whitespace) {
                self.ready.push_back(text(line)?);
            }
            return Ok(());
        }
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                self.ready.push_back(text(std::mem::take(&mut self.data))?);
            }
        } else if let Some(value) = line.strip_prefix(b"data") {
            // `data`, `data:x` and `data: x` are data; `database` is another field.
            let value = match value {
                [] => value,
                [b':', b' ', value @ ..] | [b':', value @ ..] => value,
                _ => return Ok(()),
            };
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
        }
        Ok(())
    }
}

fn text(bytes: Vec<u8>) -> Result<String, WireFault> {
    String::from_utf8(bytes).map_err(|_| WireFault::new(Kind::BadBody, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(framing: Framing, pieces: &[&[u8]]) -> Vec<String> {
        let mut framer = Framer::new(framing);
        for piece in pieces {
            framer.push(piece).unwrap();
        }
        let mut all: Vec<String> = std::iter::from_fn(|| framer.next_frame()).collect();
        all.extend(framer.finish().unwrap());
        all
    }

    #[test]
    fn events_are_read_with_every_kind_of_line_end() {
        let expected = ["a\nb", "c", ""];
        for end in ["\n", "\r\n", "\r"] {
            let text = ": hello\nevent: x\ndata: a\ndata:b\n\ndatabase: no\nid: 1\ndata: c\n\n\ndata\n\ndata: cut"
                .replace('\n', end);
            assert_eq!(
                frames(Framing::Sse, &[text.as_bytes()]),
                expected,
                "{end:?}"
            );
        }
        assert_eq!(
            frames(Framing::Sse, &[b"\xef\xbb\xbfdata: x\r", b"\n\r", b"\n"]),
            ["x"]
        );
    }

    #[test]
    fn lines_are_read_and_the_last_needs_no_end() {
        assert_eq!(
            frames(Framing::Lines, &[b"{}\n\r\n", b" \n[1", b"]"]),
            ["{}", "[1]"]
        );
        assert_eq!(frames(Framing::Whole, &[b"{\n", b"}\n"]), ["{\n}\n"]);
        assert!(frames(Framing::Whole, &[b" \n"]).is_empty());
    }

    #[test]
    fn a_split_letter_is_put_together_and_a_broken_one_is_a_fault() {
        assert_eq!(frames(Framing::Sse, &[b"data: \xc3", b"\xa4\n\n"]), ["ä"]);
        let mut framer = Framer::new(Framing::Sse);
        let fault = framer.push(b"data: \xc3\n\n").unwrap_err();
        assert_eq!(fault.kind, Kind::BadBody);
    }

    #[test]
    fn a_frame_and_a_body_have_a_largest_size() {
        let piece = vec![b'x'; FRAME_BYTES_MAX / 2];
        for framing in [Framing::Sse, Framing::Lines, Framing::Whole] {
            let mut framer = Framer::new(framing);
            framer.push(&piece).unwrap();
            framer.push(&piece).unwrap();
            assert_eq!(framer.push(b"x").unwrap_err().kind, Kind::BadBody);
        }
        let mut framer = Framer::new(Framing::Lines);
        framer.bytes = BODY_BYTES_MAX - 2;
        framer.push(b"{}\n").unwrap_err();
        framer.bytes = BODY_BYTES_MAX - 3;
        framer.push(b"{}\n").unwrap();
    }
}
