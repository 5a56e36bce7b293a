//! Usage out of an answer while it passes: frame by frame, nothing kept. Start at [`Inspector`].

use agentwright_llm::http::{Framer, Framing};
use agentwright_llm::wire::{Decode, WireFault};
use agentwright_llm::{Event, Kind, Request, Stop, Usage, Wire};

/// Reads along.
pub(super) struct Inspector {
    framer: Framer,
    decoder: Box<dyn Decode>,
    streamed: bool,
    pub(super) usage: Usage,
    pub(super) stop: Option<Stop>,
    pub(super) request_id: Option<String>,
    pub(super) fault: Option<WireFault>,
}

impl Inspector {
    pub(super) fn new(wire: Wire, streamed: bool) -> Self {
        Self {
            framer: Framer::new(if streamed {
                Framing::Sse
            } else {
                Framing::Whole
            }),
            decoder: wire.decoder(&Request::default()),
            streamed,
            usage: Usage::default(),
            stop: None,
            request_id: None,
            fault: None,
        }
    }

    /// Takes a piece as it passes. After a fault nothing more is read; the piece passes all the same.
    pub(super) fn push(&mut self, piece: &[u8]) {
        if self.fault.is_some() || self.stop.is_some() {
            return;
        }
        if let Err(fault) = self.framer.push(piece) {
            self.fault = Some(fault);
            return;
        }
        let mut out = Vec::new();
        while let Some(frame) = self.framer.next_frame() {
            let read = self.decoder.frame(&frame, &mut out);
            self.take(&mut out);
            if let Err(fault) = read {
                self.fault = Some(fault);
                return;
            }
        }
    }

    /// The end: `None` when the answer was whole.
    pub(super) fn finish(&mut self) -> Option<Kind> {
        if !self.streamed
            && self.fault.is_none()
            && let Ok(Some(body)) = self.framer.finish()
        {
            let mut out = Vec::new();
            self.fault = self.decoder.whole(&body, &mut out).err();
            self.take(&mut out);
        }
        match (&self.fault, &self.stop) {
            (Some(fault), _) => Some(fault.kind),
            (None, Some(_)) => None,
            (None, None) => Some(Kind::Truncated),
        }
    }

    fn take(&mut self, events: &mut Vec<Event>) {
        for event in events.drain(..) {
            match event {
                Event::Usage(usage) => self.usage.overwrite(&usage),
                Event::Done { stop, request_id } => {
                    self.stop = Some(stop);
                    self.request_id = request_id.or(self.request_id.take());
                }
                Event::Text(_)
                | Event::Reasoning(_)
                | Event::ToolCall(_)
                | Event::Restarted { .. } => {}
            }
        }
    }
}
