//! Keeping model exchanges and answering from them later, strictly.
//!
//! A cassette is JSON Lines, one exchange on a line: the question as canonical JSON, what came with its times,
//! how it failed. Secrets are out of it before it is written. A question is found again by the digest of its provider's
//! kind and itself (ids of tool calls do not count), and the how-manieth of its like it is.

mod replay;

pub use replay::ReplayProvider;

use crate::redact::{redact, redact_value};
use crate::{Event, Kind, LlmError, Request, Role, Secret, Usage};
use agentwright_domain::digest::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The longest line of a cassette, in bytes.
pub const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Takes finished exchanges. Called once for each attempt on the wire that ended by itself.
pub trait Recorder: Send + Sync {
    /// Keeps one. What goes wrong here must not touch the call: it is the recorder's to tell.
    fn record(&self, exchange: &Exchange<'_>);
}

/// One attempt on the wire, from question to end.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// What for.
    pub role: Role,
    /// The provider's id.
    pub provider: &'a str,
    /// The provider's kind ([`crate::Provider::kind`]).
    pub kind: &'a str,
    /// What was asked.
    pub request: &'a Request,
    /// What came, each with its time from the start.
    pub events: &'a [(Duration, Event)],
    /// How it failed, if it did.
    pub error: Option<&'a LlmError>,
}

/// One line of a cassette.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Names the question.
    pub key: Digest,
    /// Which of the questions with this key, from 1.
    pub ordinal: u32,
    /// What for.
    pub role: Role,
    /// The provider's id.
    pub provider: String,
    /// The provider's kind.
    pub kind: String,
    /// The question, without secrets, ids of tool calls numbered.
    pub request: Value,
    /// Milliseconds from the start, and what came.
    pub events: Vec<(u64, Event)>,
    /// How it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RecordedError>,
}

/// A failure as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedError {
    /// What kind.
    pub kind: Kind,
    /// The HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// When the provider said to come back, ms from then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Usage that was known before.
    #[serde(default, skip_serializing_if = "Usage::is_unknown")]
    pub usage: Usage,
    /// For people.
    pub message: String,
}

impl Entry {
    /// An exchange as it is kept, as the first of its like.
    pub fn new(exchange: &Exchange<'_>, secrets: &[Secret]) -> Self {
        let request = canonical(exchange.request, secrets);
        Self {
            key: key(exchange.kind, &request),
            ordinal: 1,
            role: exchange.role,
            provider: exchange.provider.to_owned(),
            kind: exchange.kind.to_owned(),
            request,
            events: clean_events(exchange.events, secrets),
            error: exchange.error.map(|error| RecordedError {
                kind: error.kind,
                status: error.status,
                retry_after_ms: error.retry_after.map(millis),
                usage: error.usage,
                message: redact(&error.message, secrets),
            }),
        }
    }
}

/// Writes exchanges to a file (or any writer) as they end, each line at once.
pub struct CassetteWriter {
    secrets: Vec<Secret>,
    state: Mutex<Writing>,
}

struct Writing {
    out: Box<dyn Write + Send>,
    ordinals: HashMap<Digest, u32>,
    failure: Option<String>,
}

impl CassetteWriter {
    /// `secrets` are everything that is known to be secret; what has the shape of a key goes too.
    pub fn new(out: impl Write + Send + 'static, secrets: Vec<Secret>) -> Self {
        Self {
            secrets,
            state: Mutex::new(Writing {
                out: Box::new(out),
                ordinals: HashMap::new(),
                failure: None,
            }),
        }
    }

    /// Why the recording is not whole, if it is not.
    pub fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Writing> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder for CassetteWriter {
    fn record(&self, exchange: &Exchange<'_>) {
        let mut entry = Entry::new(exchange, &self.secrets);
        let mut state = self.lock();
        let ordinal = state.ordinals.entry(entry.key.clone()).or_default();
        *ordinal += 1;
        entry.ordinal = *ordinal;
        let written = serde_json::to_vec(&entry)
            .map_err(std::io::Error::from)
            .and_then(|mut line| {
                if line.len() >= LINE_BYTES_MAX {
                    return Err(std::io::Error::other("an exchange is too long to be kept"));
                }
                line.push(b'\n');
                state.out.write_all(&line)?;
                state.out.flush()
            });
        if let Err(error) = written {
            tracing::warn!(%error, "a model exchange is not recorded");
            state.failure.get_or_insert_with(|| error.to_string());
        }
    }
}

/// What was recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cassette {
    /// In the order of their ends.
    pub entries: Vec<Entry>,
}

/// Why a text is no cassette.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the cassette cannot be read: {detail}")]
pub struct CassetteError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub detail: String,
}

impl Cassette {
    /// Reads one. Every key is computed again: an edited question is an error, not another question.
    pub fn read(text: &str) -> Result<Self, CassetteError> {
        let lines = text.lines().zip(1..).filter(|(line, _)| !line.is_empty());
        let entries = lines.map(|(text, line)| {
            let bad = |detail: String| CassetteError { line, detail };
            if text.len() > LINE_BYTES_MAX {
                return Err(bad("it is too long".to_owned()));
            }
            let entry: Entry = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
            if key(&entry.kind, &entry.request) != entry.key {
                return Err(bad(
                    "its question is not the one that was recorded".to_owned()
                ));
            }
            Ok(entry)
        });
        Ok(Self {
            entries: entries.collect::<Result<_, _>>()?,
        })
    }
}

/// A question in the form in which it is compared: without secrets, ids of tool calls numbered in the
/// order in which they appear.
pub fn canonical(request: &Request, secrets: &[Secret]) -> Value {
    let mut value = serde_json::to_value(request).unwrap_or_default();
    let mut ids: Vec<String> = Vec::new();
    let parts = value
        .pointer_mut("/messages")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(|message| message.get_mut("parts")?.as_array_mut())
        .flatten();
    for part in parts {
        for kind in ["tool_call", "tool_result"] {
            if let Some(id) = part.get_mut(kind).and_then(|part| part.get_mut("id")) {
                let name = id.as_str().unwrap_or_default().to_owned();
                let at = ids.iter().position(|known| *known == name);
                let at = at.unwrap_or_else(|| {
                    ids.push(name);
                    ids.len() - 1
                });
                *id = json!(format!("call_{}", at + 1));
            }
        }
    }
    redact_value(value, secrets)
}

/// The digest of a question and of whom it was put to.
pub fn key(kind: &str, canonical: &Value) -> Digest {
    let mut hasher = Sha256::new();
    let mut text = String::new();
    write_sorted(&json!({"kind": kind, "request": canonical}), &mut text);
    hasher.update(text.as_bytes());
    Digest::from_sha256(hasher.finalize().into())
}

/// JSON with sorted keys, whatever map the build uses.
fn write_sorted(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_sorted(&fields[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_sorted(item, out);
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// A key may be split over events: texts are looked at in one piece, and become one event where
/// something had to go.
fn clean_events(events: &[(Duration, Event)], secrets: &[Secret]) -> Vec<(u64, Event)> {
    let mut out: Vec<(u64, Event)> = Vec::new();
    let mut rest = events;
    while let Some((at, event)) = rest.first() {
        let run = rest
            .iter()
            .take_while(|(_, other)| {
                let same = std::mem::discriminant(other) == std::mem::discriminant(event);
                same && piece(other).is_some()
            })
            .count();
        let (run, after) = rest.split_at(run.max(1));
        rest = after;
        let joined: String = run.iter().filter_map(|(_, event)| piece(event)).collect();
        let clean = redact(&joined, secrets);
        if clean == joined {
            out.extend(
                run.iter()
                    .map(|(at, event)| (millis(*at), whole(event, secrets))),
            );
        } else {
            let event = match event {
                Event::Reasoning(_) => Event::Reasoning(clean),
                _ => Event::Text(clean),
            };
            out.push((millis(*at), event));
        }
    }
    out
}

fn piece(event: &Event) -> Option<&str> {
    match event {
        Event::Text(text) | Event::Reasoning(text) => Some(text),
        Event::ToolCall(_) | Event::Usage(_) | Event::Done { .. } | Event::Restarted { .. } => None,
    }
}

fn whole(event: &Event, secrets: &[Secret]) -> Event {
    let value = serde_json::to_value(event).unwrap_or_default();
    serde_json::from_value(redact_value(value, secrets)).unwrap_or_else(|_| event.clone())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
