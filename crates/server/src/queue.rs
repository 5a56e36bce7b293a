//! Builds that start by themselves: the backlog in the store, read and written through the crate `queue`.
//!
//! Not here: whether an item may start (`agentwright_queue::start`). `edit.rs` is what people do to the queue,
//! `beat.rs` one look at it, `covered.rs` what a foundation covers, `heart.rs` when it is looked at, `files.rs` its file, `written.rs` what is written about
//! builds. `table.rs` is the same for rows of people's own tables, `visit.rs` and `desk.rs` one look at them, `rows.rs`
//! what their builds mean for them, `tables.rs` how they are connected and shown. `shown.rs` how it is shown,
//! `around.rs` what keeps everything back, `watch.rs` whether builds get on, `tell.rs` what people are told,
//! `report.rs` what was done, `push.rs` where it is pushed.

mod active;
pub(crate) mod around;
pub(crate) mod beat;
mod covered;
pub(crate) mod desk;
pub(crate) mod edit;
pub(crate) mod files;
pub(crate) mod heart;
pub(crate) mod progress;
pub(crate) mod push;
pub(crate) mod report;
mod rows;
pub(crate) mod shown;
pub(crate) mod table;
pub(crate) mod tables;
mod tell;
mod visit;
pub(crate) mod watch;
mod written;

use crate::error::ApiError;
use agentwright_domain::ids::Slug;
use agentwright_queue::start::Standing;
use agentwright_queue::{Item, Priority};
use agentwright_store::Idea;

/// Tries of a write whose backlog changes under its hands.
pub(crate) const WRITE_TRIES: u32 = 10;
/// The status of an idea that was removed and still stands in the file.
const REMOVED: &str = "removed";

/// An idea with its item.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) idea: Idea,
    pub(crate) item: Item,
}

impl Entry {
    /// Reads an idea's item.
    pub(crate) fn of(idea: Idea) -> Result<Self, ApiError> {
        let item = serde_json::from_value(idea.item.clone());
        let item = item.map_err(|error| {
            ApiError::Internal(anyhow::Error::new(error).context(format!("idea {}", idea.label)))
        })?;
        Ok(Self { idea, item })
    }

    /// A new one, at the end of the queue.
    pub(crate) fn new(item: Item, id: i64, position: i64, of: &From<'_>) -> Self {
        let mut entry = Self {
            idea: Idea {
                label: item.label.clone(),
                id,
                name: String::new(),
                task_description: String::new(),
                kind: "script".to_owned(),
                infrastructure_requirement: None,
                status: String::new(),
                builder_status: "not_started".to_owned(),
                priority: None,
                position,
                item: serde_json::Value::Null,
                agreed: None,
                base_dir: of.base_dir.to_owned(),
                zone: of.zone.to_owned(),
                approved_by: None,
                run: None,
                failures: 0,
                failed_at_ms: None,
                created_at_ms: of.now_ms,
            },
            item,
        };
        if entry.item.done {
            entry.stand(&Standing::Done);
        }
        entry.kept();
        entry
    }

    /// Puts the item into the idea's columns.
    pub(crate) fn kept(&mut self) {
        let (idea, item) = (&mut self.idea, &self.item);
        idea.name.clone_from(&item.name);
        idea.task_description = item
            .description
            .clone()
            .unwrap_or_else(|| item.name.clone());
        idea.priority = Some(match item.priority {
            Priority::High => 1,
            Priority::Medium => 4,
            Priority::Low => 7,
        });
        if idea.status != REMOVED {
            let done = item.done || idea.builder_status == "deployed";
            idea.status = if done { "deployed" } else { "ready_to_build" }.to_owned();
        }
        idea.item = serde_json::to_value(item).unwrap_or_default();
    }

    /// Where it stands.
    pub(crate) fn standing(&self) -> Standing {
        match self.idea.builder_status.as_str() {
            "building" | "awaiting_approval" | "queued" => Standing::Building,
            "failed" => Standing::Failed {
                failures: self.idea.failures,
                at_ms: self.idea.failed_at_ms.unwrap_or(0),
            },
            "deployed" => Standing::Done,
            _ if self.item.done => Standing::Done,
            _ => Standing::Queued,
        }
    }

    /// Writes where it stands.
    pub(crate) fn stand(&mut self, standing: &Standing) {
        let (word, done) = match standing {
            Standing::Queued => ("not_started", false),
            Standing::Building => ("building", false),
            Standing::Failed { .. } => ("failed", false),
            Standing::Done => ("deployed", true),
        };
        self.idea.builder_status = word.to_owned();
        self.item.done = done;
        match standing {
            Standing::Failed { failures, at_ms } => {
                self.idea.failures = *failures;
                self.idea.failed_at_ms = Some(*at_ms);
            }
            Standing::Queued | Standing::Done => {
                self.idea.failures = 0;
                self.idea.failed_at_ms = None;
            }
            Standing::Building => {}
        }
        self.kept();
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.idea.status == REMOVED
    }

    pub(crate) fn label(&self) -> &Slug {
        &self.idea.label
    }
}

/// Where a new item comes from.
pub(crate) struct From<'a> {
    pub(crate) base_dir: &'a str,
    pub(crate) zone: &'a str,
    pub(crate) now_ms: i64,
}
