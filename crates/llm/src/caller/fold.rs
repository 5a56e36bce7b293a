//! Events into a reply. What is too long is an error, not a shorter answer.

use crate::{Event, Kind, Stop, ToolCall, Usage};

/// The longest answer that is kept, in bytes of text, thoughts and calls together.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most calls of tools in one answer.
pub(crate) const TOOL_CALLS_MAX: usize = 256;

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct Fold {
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) tool_calls: Vec<ToolCall>,
    pub(super) usage: Usage,
    /// Set by the final event only.
    pub(super) end: Option<(Stop, Option<String>)>,
    bytes: usize,
}

impl Fold {
    /// Takes one event.
    pub(super) fn take(&mut self, event: &Event) -> Result<(), Kind> {
        match event {
            Event::Text(text) => {
                self.bytes += text.len();
                self.text.push_str(text);
            }
            Event::Reasoning(text) => {
                self.bytes += text.len();
                self.reasoning.push_str(text);
            }
            Event::ToolCall(call) => {
                self.bytes += call.name.len() + call.arguments.to_string().len();
                self.tool_calls.push(call.clone());
            }
            Event::Usage(usage) => self.usage.overwrite(usage),
            Event::Done { stop, request_id } => {
                self.end = Some((stop.clone(), request_id.clone()));
            }
            Event::Restarted { .. } => {}
        }
        if self.bytes > ANSWER_BYTES_MAX || self.tool_calls.len() > TOOL_CALLS_MAX {
            return Err(Kind::BadBody);
        }
        Ok(())
    }
}
