//! One file per noun. A handler takes the request apart, makes one call, and shows what came of it.

pub(crate) mod audit;
pub(crate) mod builds;
pub(crate) mod connect;
pub(crate) mod decisions;
pub(crate) mod deployments;
pub(crate) mod executions;
pub(crate) mod executor;
pub(crate) mod files;
pub(crate) mod hooks;
pub(crate) mod inbound;
pub(crate) mod keys;
pub(crate) mod organizations;
pub(crate) mod plans;
pub(crate) mod queue;
pub(crate) mod spending;
pub(crate) mod system;
