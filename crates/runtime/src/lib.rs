//! The local target: supervises deployed automations and fires their executions.
//!
//! Not here: how a build comes to be deployed (`pipeline`), what an end means for the deployment
//! (`domain::execution`), the walls (`sandbox`).

pub mod environment;
pub mod install;
pub mod layout;
pub mod notices;
pub mod schedule;
pub mod secrets;
pub mod tree;
