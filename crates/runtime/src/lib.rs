//! The local target: supervises deployed automations and fires their executions.
//!
//! Not here: how a build comes to be deployed (`pipeline`), what an end means for the deployment
//! (`domain::execution`), the walls (`sandbox`).

pub mod layout;
pub mod schedule;
pub mod tree;
