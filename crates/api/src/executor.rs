//! The wire of `/executor` and of the service contract: the seed's names, to the letter.
//!
//! Not here: our own surface (`/api/v1`). What one of our runs is in these names, [`job`] and [`Translator`]
//! say; the table of it is a snapshot that people review (`tests/it/snapshots`). A request ignores fields that
//! it does not know, as the first implementation did.

mod contract;
mod events;
mod jobs;
mod phase;
mod wire;

pub use contract::{
    Backing, BackingStatus, ContractCapabilities, ContractHealth, ContractState, Dependencies,
    Message, MessageReply, MessageType, ResourceUsage, ServiceStatus, UDC_VERSION,
};
pub use events::Translator;
pub use jobs::{Estimates, JobParts, job, job_status};
pub use phase::{Phase, PhaseName, percent_of};
pub use wire::{
    Accepted, Approve, Approved, Bounds, BuildDroplet, CancelJob, Cancelled, ClaudeApi, EventType,
    ExecutorCapabilities, ExecutorHealth, FinalDecision, HealthStatus, Job, JobPhase, JobQuery,
    JobStatus, Moment, PhaseStatus, ProgressEvent, RetryJob, StreamQuery,
};

/// The first part of these paths.
pub const EXECUTOR_PREFIX: &str = "/executor";
