//! From a build's event log to the seed's progress events.
//!
//! A [`Translator`] is fed the whole log from its first entry, in order; what it says depends on nothing else,
//! so the same entry gets the same `seq` whenever and however often a reader comes.

use crate::event::Event;
use crate::executor::phase::{Phase as Name, percent_of, stage_of};
use crate::executor::{EventType, ProgressEvent};
use agentwright_domain::build::Stage;
use agentwright_domain::ids::RunId;
use serde_json::{Map, Value, json};

/// Reads one build's log.
#[derive(Clone, Debug)]
pub struct Translator {
    build: RunId,
    seq: i64,
    percent: u8,
    /// The phase that has begun and not ended.
    open: Option<Name>,
    /// The phase that the last entry was about.
    at: Name,
    ended: bool,
}

impl Translator {
    /// At the beginning of the log.
    pub fn new(build: RunId) -> Self {
        Self {
            build,
            seq: 0,
            percent: 0,
            open: None,
            at: Name::Spec,
            ended: false,
        }
    }

    /// Whether the last event of the build was said.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Whether an entry can be told only together with the one after it, which its commit may have written, too.
    pub fn needs_next(event: &Event) -> bool {
        event.event == "stage.done"
    }

    /// What an entry of the log says. `next` is the entry after it, as far as one is committed.
    pub fn feed(&mut self, event: &Event, next: Option<&Event>) -> Vec<ProgressEvent> {
        let mut said = Vec::new();
        match event.event.as_str() {
            "run.submitted" => self.submitted(event, &mut said),
            "stage.done" => self.done(event, next, &mut said),
            "stage.repair" => self.back(event, Stage::Generate, &mut said),
            "spec.amend" => self.back(event, Stage::Spec, &mut said),
            "gate.waiting" => {
                let gate = event.data.get("gate").and_then(Value::as_str);
                self.gate(event, gate, &mut said);
            }
            "gate.approved" => {
                self.gate(event, Some(&event.stage), &mut said);
                self.begin(self.at, event, &mut said);
            }
            "gate.rejected" => self.gate(event, Some(&event.stage), &mut said),
            "run.ended" => self.end(event, &mut said),
            _ => self.progress(event, &mut said),
        }
        said
    }

    fn submitted(&mut self, event: &Event, said: &mut Vec<ProgressEvent>) {
        if let Some(stage) = stage_of(&event.stage) {
            self.at = Name::of(stage);
            self.percent = percent_of(stage, 0);
        }
        self.say(EventType::PhaseProgress, event, Map::new(), said);
    }

    fn progress(&mut self, event: &Event, said: &mut Vec<ProgressEvent>) {
        if let Some(stage) = stage_of(&event.stage) {
            self.enter(stage, event, said);
            let of_stage = event.data.get("percent").and_then(Value::as_u64);
            if let Some(percent) = of_stage.and_then(|percent| u8::try_from(percent).ok()) {
                self.percent = percent_of(stage, percent);
            }
        }
        self.say(EventType::PhaseProgress, event, Map::new(), said);
    }

    fn done(&mut self, event: &Event, next: Option<&Event>, said: &mut Vec<ProgressEvent>) {
        let Some(stage) = stage_of(&event.stage) else {
            return;
        };
        self.enter(stage, event, said);
        // Looked at once more after a repair, while Verify is open: that phase is not over.
        let again = stage == Stage::Review && self.at == Name::Verify;
        if !again {
            self.percent = percent_of(stage, 100);
        }
        // The end says it.
        let ends = next.is_some_and(|next| next.event == "run.ended" && next.stage != "cancelled");
        if ends {
            return;
        }
        if again || self.at.last_stage() != stage {
            return self.say(EventType::PhaseProgress, event, Map::new(), said);
        }
        self.say(EventType::PhaseComplete, event, Map::new(), said);
        self.open = None;
        let following = Name::ALL.into_iter().find(|name| *name > self.at);
        let gated = next.is_some_and(|next| next.event == "gate.waiting");
        if let Some(following) = following.filter(|_| !gated) {
            self.begin(following, event, said);
        }
    }

    /// Back to an earlier stage, whose phase begins again.
    fn back(&mut self, event: &Event, to: Stage, said: &mut Vec<ProgressEvent>) {
        if let Some(stage) = stage_of(&event.stage) {
            self.enter(stage, event, said);
        }
        self.say(EventType::PhaseProgress, event, Map::new(), said);
        self.percent = percent_of(to, 0);
        self.open = None;
        self.begin(Name::of(to), event, said);
    }

    /// A gate belongs to the phase that follows it.
    fn gate(&mut self, event: &Event, gate: Option<&str>, said: &mut Vec<ProgressEvent>) {
        let before = match gate {
            Some("spec") => Stage::Package,
            Some(_) | None => Stage::Deploy,
        };
        self.at = Name::of(before);
        self.percent = percent_of(before, 0);
        let mut data = Map::new();
        data.insert("gate".into(), json!(gate));
        let subject = event.data.get("subject");
        if let Some(digest) = subject.and_then(|subject| subject.get("digest")) {
            data.insert("subject_digest".into(), digest.clone());
        }
        self.say(EventType::PhaseProgress, event, data, said);
    }

    fn end(&mut self, event: &Event, said: &mut Vec<ProgressEvent>) {
        let mut data = Map::new();
        data.insert("final".into(), json!(true));
        let kind = match event.stage.as_str() {
            "completed" => {
                self.percent = 100;
                let skipped: Vec<_> = Name::ALL.iter().filter(|name| **name > self.at).collect();
                data.insert("status".into(), json!("completed"));
                data.insert("skipped".into(), json!(skipped));
                EventType::PhaseComplete
            }
            "cancelled" | "spec gate" | "deploy gate" => {
                data.insert("status".into(), json!("cancelled"));
                EventType::Error
            }
            stage => {
                if let Some(stage) = stage_of(stage) {
                    self.enter(stage, event, said);
                }
                data.insert("status".into(), json!("failed"));
                EventType::Error
            }
        };
        self.say(kind, event, data, said);
        self.ended = true;
    }

    /// Something of a stage: its phase has begun.
    fn enter(&mut self, stage: Stage, event: &Event, said: &mut Vec<ProgressEvent>) {
        let name = Name::of(stage);
        let again = stage == Stage::Review && self.open == Some(Name::Verify);
        if self.open != Some(name) && !again {
            self.percent = self.percent.max(percent_of(stage, 0));
            self.begin(name, event, said);
        }
    }

    fn begin(&mut self, name: Name, event: &Event, said: &mut Vec<ProgressEvent>) {
        if self.open == Some(name) {
            return;
        }
        (self.open, self.at) = (Some(name), name);
        let line = format!("{} begins", name.word());
        let told = Event {
            message: line,
            data: Value::Null,
            ..event.clone()
        };
        self.say(EventType::PhaseStart, &told, Map::new(), said);
    }

    fn say(
        &mut self,
        kind: EventType,
        event: &Event,
        mut data: Map<String, Value>,
        said: &mut Vec<ProgressEvent>,
    ) {
        self.seq += 1;
        if kind != EventType::PhaseStart {
            data.insert("event".into(), json!(event.event));
            data.insert("stage".into(), json!(event.stage));
            if let Value::Object(more) = &event.data {
                for (name, value) in more {
                    data.entry(name.clone()).or_insert_with(|| value.clone());
                }
            }
        }
        said.push(ProgressEvent {
            event_type: kind,
            build_id: self.build.clone(),
            phase_name: self.at,
            progress_percent: self.percent,
            message: event.message.clone(),
            timestamp: event.at,
            data,
            seq: self.seq,
        });
    }
}
