//! Live events: server-sent events with resume.

use super::connection::{Ask, Connections};
use super::{ClientError, refusal};
use crate::event::{CloudEvent, Event};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The server says something at least this often, a third of it in fact.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// How long the first answer of a stream may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// How often in a row a lost connection is made again.
const RECONNECTS_MAX: u32 = 8;
/// The pause before the first further try; doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause between tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The longest event, in bytes.
const EVENT_MAX_BYTES: usize = 4 << 20;
/// What is read of a refusal, in bytes.
const REFUSAL_MAX_BYTES: usize = 1 << 20;
/// The name of the event with which the server says that nothing more will come.
pub(crate) const END_EVENT: &str = "end";

/// The events of one run, each once and in order, until the run has ended. A lost connection is made again
/// after the last event that was seen.
#[derive(Debug)]
pub struct EventStream {
    connections: Arc<Connections>,
    path: String,
    after: i64,
    body: Option<Incoming>,
    parser: Parser,
    failures: u32,
    ended: bool,
}

impl EventStream {
    pub(super) fn new(connections: Arc<Connections>, path: String, after: i64) -> Self {
        Self {
            connections,
            path,
            after,
            body: None,
            parser: Parser::default(),
            failures: 0,
            ended: false,
        }
    }

    /// The `seq` of the last event that was handed out.
    pub fn seq(&self) -> i64 {
        self.after
    }

    /// The next event; `None` after the run's last one.
    ///
    /// # Errors
    /// When the daemon refuses, or stays away for about 20 seconds. Calling again tries again.
    pub async fn next(&mut self) -> Option<Result<Event, ClientError>> {
        while !self.ended {
            match self.parser.take() {
                Some(Said::Event(event)) if event.seq <= self.after => {}
                Some(Said::Event(event)) => {
                    self.after = event.seq;
                    self.failures = 0;
                    return Some(Ok(*event));
                }
                Some(Said::End) => self.ended = true,
                None => {
                    if let Err(error) = self.read_more().await {
                        return Some(Err(error));
                    }
                }
            }
        }
        None
    }

    async fn read_more(&mut self) -> Result<(), ClientError> {
        let Some(body) = &mut self.body else {
            return self.connect().await;
        };
        match tokio::time::timeout(SILENCE_MAX, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else {
                    return Ok(());
                };
                self.parser
                    .push(&data)
                    .map_err(|what| ClientError::Strange {
                        at: self.connections.place(),
                        what,
                    })
            }
            // Silence, a broken connection, or a close without the end event: the daemon stopped.
            Ok(Some(Err(_)) | None) | Err(_) => {
                self.body = None;
                self.parser = Parser::default();
                Ok(())
            }
        }
    }

    async fn connect(&mut self) -> Result<(), ClientError> {
        if self.failures > 0 {
            let doubled = PAUSE_FIRST * 2_u32.pow(self.failures.min(10) - 1);
            tokio::time::sleep(doubled.min(PAUSE_MAX)).await;
        }
        self.failures += 1;
        let ask = Ask::live(format!("{}?after={}", self.path, self.after));
        match self.connections.open(&ask, OPEN_TIMEOUT).await {
            Ok(response) if response.status().is_success() => {
                self.body = Some(response.into_body());
                Ok(())
            }
            Ok(response) => {
                let status = response.status();
                let body = Limited::new(response.into_body(), REFUSAL_MAX_BYTES)
                    .collect()
                    .await
                    .map_err(|source| self.connections.broken(source))?
                    .to_bytes();
                self.ended = true;
                Err(refusal(self.connections.place(), status, &body))
            }
            Err(_) if self.failures <= RECONNECTS_MAX => Ok(()),
            Err(error) => {
                self.failures = 0;
                Err(error)
            }
        }
    }
}

/// What the server said.
#[derive(Debug, PartialEq)]
enum Said {
    Event(Box<Event>),
    End,
}

/// Server-sent events out of bytes (WHATWG HTML §9.2.6, as far as our server uses it).
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    name: String,
    data: String,
    said: VecDeque<Said>,
}

impl Parser {
    fn take(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() + self.data.len() > EVENT_MAX_BYTES {
                    return Err(format!("an event of more than {EVENT_MAX_BYTES} bytes"));
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).into_owned();
            self.line.clear();
            self.line_ended(line.trim_end_matches('\r'))?;
        }
        Ok(())
    }

    fn line_ended(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() {
            return self.event_ended();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments keep the connection alive; `id` is in the data, too.
            _ => {}
        }
        Ok(())
    }

    fn event_ended(&mut self) -> Result<(), String> {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if name == END_EVENT {
            self.said.push_back(Said::End);
        } else if !data.is_empty() {
            let event: CloudEvent =
                serde_json::from_str(&data).map_err(|error| error.to_string())?;
            self.said.push_back(Said::Event(Box::new(event.data)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "id: 4\nevent: stage.done\ndata: {\"specversion\":\"1.0\",\"id\":\"r:4\",\"source\":\"/\",\"type\":\"agentwright.stage.done\",\"time\":\"2026-11-21T22:00:00Z\",\"datacontenttype\":\"application/json\",\"data\":{\"seq\":4,\"at\":\"2026-11-21T22:00:00Z\",\"event\":\"stage.done\",\"stage\":\"spec\",\"message\":\"sealed\"}}\n\n";

    #[test]
    fn an_event_is_read_however_its_bytes_are_cut() {
        let mut parser = Parser::default();
        for byte in ONE.as_bytes() {
            parser.push(&[*byte]).unwrap();
        }
        let Some(Said::Event(event)) = parser.take() else {
            panic!("no event");
        };
        assert_eq!((event.seq, event.stage.as_str()), (4, "spec"));
        assert_eq!(parser.take(), None);
    }

    #[test]
    fn comments_are_skipped_and_the_end_is_seen() {
        let mut parser = Parser::default();
        parser
            .push(b": still here\n\nevent: end\r\ndata: {}\r\n\r\n")
            .unwrap();
        assert_eq!(parser.take(), Some(Said::End));
        assert_eq!(parser.take(), None);
    }

    #[test]
    fn an_endless_event_and_nonsense_are_refused() {
        let mut parser = Parser::default();
        let long = vec![b'x'; EVENT_MAX_BYTES + 1];
        assert!(parser.push(&long).is_err());
        assert!(Parser::default().push(b"data: {nonsense\n\n").is_err());
    }
}
