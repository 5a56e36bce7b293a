//! Keeping model exchanges and answering from them later.

use crate::{Event, LlmError, Request, Role};
use std::time::Duration;

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
