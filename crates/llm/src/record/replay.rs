//! A provider that answers from a cassette and knows nothing else.

use super::{Cassette, Entry, canonical, key};
use crate::{
    CallCx, Caps, Event, Kind, LlmError, Provider, RETRY_AFTER_MAX, Request, SchemaSupport, Secret,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Answers what was recorded of one provider, each exchange once, without its waits. A question that was
/// not recorded is [`Kind::Replay`], and the message says where it differs from the recorded one in its place.
pub struct ReplayProvider {
    id: String,
    kind: String,
    secrets: Vec<Secret>,
    entries: Vec<Entry>,
    used: Mutex<Vec<bool>>,
}

impl ReplayProvider {
    /// For what a cassette holds of a provider. `secrets` are those of the recording's redaction that may
    /// stand in questions again.
    pub fn new(cassette: &Cassette, provider: &str, secrets: Vec<Secret>) -> Self {
        let of_it = |entry: &&Entry| entry.provider == provider;
        let entries: Vec<Entry> = cassette.entries.iter().filter(of_it).cloned().collect();
        Self {
            id: provider.to_owned(),
            kind: entries
                .first()
                .map_or_else(|| "replay".to_owned(), |entry| entry.kind.clone()),
            secrets,
            used: Mutex::new(vec![false; entries.len()]),
            entries,
        }
    }

    /// Exchanges that nobody asked for yet: 0 at the end of a replay that went the same way.
    pub fn unused(&self) -> usize {
        self.lock().iter().filter(|used| !**used).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<bool>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, request: &Request) -> Result<&Entry, LlmError> {
        let asked = canonical(request, &self.secrets);
        let wanted = key(&self.kind, &asked);
        let mut used = self.lock();
        let fits = |(at, entry): &(usize, &Entry)| !used[*at] && entry.key == wanted;
        if let Some((at, entry)) = self.entries.iter().enumerate().find(fits) {
            used[at] = true;
            return Ok(entry);
        }
        let next = used.iter().position(|used| !used);
        let why = match next.map(|at| (at + 1, first_difference(&self.entries[at].request, &asked)))
        {
            None => format!("all {} recorded answers are used", self.entries.len()),
            Some((number, Some(place))) => {
                format!("it differs from recorded question {number} at {place}")
            }
            Some((number, None)) => {
                format!("it is question {number} of another kind of provider")
            }
        };
        let message = format!("{} was asked what was not recorded: {why}", self.id);
        Err(LlmError::new(Kind::Replay, &self.id, message).with_model(&request.model))
    }
}

#[async_trait::async_trait]
impl Provider for ReplayProvider {
    fn id(&self) -> &str {
        &self.id
    }

    fn kind(&self) -> &str {
        &self.kind
    }

    fn caps(&self, _: &str) -> Caps {
        Caps {
            tools: true,
            schema: SchemaSupport::Native,
            context_tokens: None,
            max_output_tokens: None,
        }
    }

    fn stream(&self, request: Request, _: CallCx) -> BoxStream<'static, Result<Event, LlmError>> {
        let items: Vec<Result<Event, LlmError>> = match self.find(&request) {
            Err(error) => vec![Err(error)],
            Ok(entry) => {
                let events = entry.events.iter().map(|(_, event)| Ok(event.clone()));
                let error = entry.error.as_ref().map(|recorded| {
                    let message = format!("recorded: {}", recorded.message);
                    let mut error = LlmError::new(recorded.kind, &self.id, message);
                    error.model = request.model;
                    error.status = recorded.status;
                    error.usage = recorded.usage;
                    // A short wait changes nothing about what comes after it.
                    error.retry_after = recorded
                        .retry_after_ms
                        .map(Duration::from_millis)
                        .filter(|after| *after > RETRY_AFTER_MAX);
                    Err(error)
                });
                events.chain(error).collect()
            }
        };
        futures::stream::iter(items).boxed()
    }

    async fn models(&self) -> Result<Vec<String>, LlmError> {
        let models = self.entries.iter().filter_map(|entry| {
            let model = entry.request.get("model")?;
            model.as_str().map(str::to_owned)
        });
        let mut models: Vec<String> = models.collect();
        models.sort();
        models.dedup();
        Ok(models)
    }

    async fn health(&self) -> Result<(), LlmError> {
        Ok(())
    }
}

/// The JSON pointer of the first place where two values differ; `/` is the whole.
pub(super) fn first_difference(a: &Value, b: &Value) -> Option<String> {
    if a == b {
        return None;
    }
    let inside = match (a, b) {
        (Value::Object(left), Value::Object(right)) => {
            let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
            keys.sort();
            keys.dedup();
            keys.into_iter().find_map(|key| {
                let name = key.replace('~', "~0").replace('/', "~1");
                match (left.get(key), right.get(key)) {
                    (Some(l), Some(r)) => first_difference(l, r).map(|at| join(&name, &at)),
                    _ => Some(format!("/{name}")),
                }
            })
        }
        (Value::Array(left), Value::Array(right)) => {
            let pair = left.iter().zip(right).enumerate();
            pair.into_iter()
                .find_map(|(i, (l, r))| first_difference(l, r).map(|at| join(&i.to_string(), &at)))
                .or_else(|| Some(format!("/{}", left.len().min(right.len()))))
        }
        _ => None,
    };
    Some(inside.unwrap_or_else(|| "/".to_owned()))
}

fn join(name: &str, below: &str) -> String {
    if below == "/" {
        format!("/{name}")
    } else {
        format!("/{name}{below}")
    }
}
