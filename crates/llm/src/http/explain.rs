//! Failures in words: what was attempted, where, and what to do. The server's own words are added
//! only where they hold no key and nothing of the question.

use super::Endpoint;
use crate::redact::redact;
use crate::wire::{WireFault, fault_in};
use crate::{Kind, LlmError, Part, Request};
use http::StatusCode;
use serde_json::Value;

/// The longest quotation of a server, in characters.
const QUOTE_MAX: usize = 200;
/// A quotation that has as many characters in a row in common with the question is dropped.
const COMMON_MAX: usize = 16;
/// A shorter part of a question is not looked for in a quotation: it stands everywhere.
const PART_MIN: usize = 4;

/// What a status with its body says.
pub(super) fn classify(status: StatusCode, body: &str) -> WireFault {
    let value: Option<Value> = serde_json::from_str(body).ok();
    let said = value
        .as_ref()
        .and_then(|value| value.get("error").or_else(|| value.get("message")))
        .map(fault_in);
    let known = said.as_ref().map(|fault| fault.kind);
    let kind = match (status.as_u16(), known) {
        (
            400..=499,
            Some(kind @ (Kind::ContextOverflow | Kind::Billing | Kind::UnknownModel | Kind::Auth)),
        ) => kind,
        (401 | 403, _) => Kind::Auth,
        (402, _) => Kind::Billing,
        (413, _) => Kind::ContextOverflow,
        (429, _) => Kind::RateLimited,
        (503 | 529, _) => Kind::Overloaded,
        (408 | 409 | 425, _) => Kind::Server,
        // A page that says "not found" is not a model server's.
        (404, Some(_)) => Kind::UnknownModel,
        (500..=599, Some(Kind::ContextOverflow)) => Kind::ContextOverflow,
        (500..=599, _) => Kind::Server,
        _ => Kind::BadRequest,
    };
    let fault = said.unwrap_or_else(|| WireFault::new(kind, ""));
    WireFault { kind, ..fault }
}

impl Endpoint {
    /// A failure of a kind, in words.
    pub(super) fn error(&self, fault: &WireFault, request: Option<&Request>) -> LlmError {
        self.failure(fault, None, request)
    }

    /// The same with a status.
    pub(super) fn failure(
        &self,
        fault: &WireFault,
        status: Option<StatusCode>,
        request: Option<&Request>,
    ) -> LlmError {
        let model = request.map_or("", |request| request.model.as_str());
        let mut message = self.words(fault.kind, status, model);
        let codes = [
            status.map(|status| status.as_u16().to_string()),
            fault.word.as_ref().map(|word| redact(word, &self.secrets)),
            Some(fault.detail.clone()).filter(|detail| !fault.quoted && !detail.is_empty()),
        ];
        let codes: Vec<String> = codes.into_iter().flatten().collect();
        if !codes.is_empty() {
            message.push_str(&format!(" ({})", codes.join(", ")));
        }
        if fault.quoted
            && let Some(quote) = self.quote(&fault.detail, request)
        {
            message.push_str(&format!("; it said: {quote}"));
        }
        let mut error = LlmError::new(fault.kind, &self.id, message).with_model(model);
        error.status = status.map(|status| status.as_u16());
        error
    }

    fn words(&self, kind: Kind, status: Option<StatusCode>, model: &str) -> String {
        let (id, at) = (&self.id, &self.shown);
        match kind {
            Kind::RateLimited => {
                format!("{id} limits how often it is asked, or a quota is used up")
            }
            Kind::Overloaded => format!("{id} at {at} is overloaded"),
            Kind::Server => format!("{id} at {at} failed on its side"),
            Kind::Auth => match &self.key {
                Some(key) => format!("{id} at {at} does not take the key: check {key}"),
                None => format!(
                    "{id} at {at} wants a key and none is configured: set `key = \"env:NAME\"` of this provider"
                ),
            },
            Kind::Billing => {
                format!("{id} wants to be paid first: check the account's credit and billing")
            }
            Kind::UnknownModel if self.wire.is_ollama() => {
                format!("{id} at {at} does not have the model {model}: run `ollama pull {model}`")
            }
            Kind::UnknownModel => format!(
                "{id} at {at} does not know the model {model}: `agentwright doctor` lists the ones it offers"
            ),
            Kind::ContextOverflow => format!(
                "the question is longer than what {model} at {id} can read: shorten it, raise context_tokens, or use a model with more context"
            ),
            Kind::BadRequest => self.bad_request(status),
            Kind::BadBody => format!(
                "the answer of {id} at {at} is not in the form of {}: check base_url and wire, or what stands between",
                self.wire.as_str()
            ),
            Kind::Truncated => format!(
                "the connection to {id} at {at} ended before the answer's final event; none of it is used"
            ),
            Kind::InBand => format!("{id} at {at} broke its answer off with an error"),
            Kind::Connect if self.wire.is_ollama() => format!(
                "cannot reach {id} at {at}: is it running? Start it with `ollama serve`, or set its base_url"
            ),
            Kind::Connect => format!(
                "cannot reach {id} at {at}: is it running, is base_url right, does the network allow it?"
            ),
            Kind::TimeoutIdle => format!("{id} at {at} was silent for longer than a call allows"),
            Kind::TimeoutTotal => format!(
                "{id} at {at} did not finish in the time of the call: allow more time, a shorter answer or a faster model"
            ),
            Kind::Cancelled => format!("the call to {id} was cancelled"),
            Kind::BadOutput | Kind::Refused | Kind::Replay | Kind::NotConfigured => {
                format!("the call to {id} failed: {kind}")
            }
        }
    }

    fn bad_request(&self, status: Option<StatusCode>) -> String {
        let (id, at) = (&self.id, &self.shown);
        match status {
            Some(StatusCode::NOT_FOUND) => format!(
                "there is no {} at {at}: check base_url and wire of {id}",
                self.wire.path()
            ),
            Some(status) if status.is_redirection() => format!(
                "{id} at {at} points elsewhere, which is not followed: set base_url to where it points"
            ),
            _ => format!(
                "{id} at {at} refuses the question as it was sent: check wire, headers and body of this provider"
            ),
        }
    }

    /// The server's words, where they are safe to show.
    fn quote(&self, detail: &str, request: Option<&Request>) -> Option<String> {
        let line: String = detail
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let line = line.trim();
        if line.is_empty() || request.is_some_and(|request| repeats(line, request)) {
            return None;
        }
        let clean = redact(line, &self.secrets);
        Some(clean.chars().take(QUOTE_MAX).collect())
    }
}

/// Whether a line repeats something of a question.
fn repeats(line: &str, request: &Request) -> bool {
    let line: Vec<char> = line.chars().take(4 * QUOTE_MAX).collect();
    let whole: String = line.iter().collect();
    let windows: Vec<String> = line
        .windows(COMMON_MAX)
        .map(|window| window.iter().collect())
        .collect();
    let repeated = |text: &str| {
        let short = text.trim();
        (short.len() >= PART_MIN && whole.contains(short))
            || windows.iter().any(|window| text.contains(window.as_str()))
    };
    let in_part = |part: &Part| match part {
        Part::Text(text) => repeated(text),
        Part::ToolCall(call) => repeated(&call.arguments.to_string()),
        Part::ToolResult { content, .. } => repeated(content),
    };
    request.system.as_deref().is_some_and(repeated)
        || request
            .messages
            .iter()
            .flat_map(|message| &message.parts)
            .any(in_part)
}
