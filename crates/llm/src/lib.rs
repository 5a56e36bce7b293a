//! Asking language models: providers, their wire forms, usage, prices, and the scripted provider.
//!
//! One way in: [`Caller::complete`] (or [`Callers::complete`] with fallbacks). It reserves with a
//! [`Meter`], streams from a [`Provider`], folds the events into a [`Reply`], checks a schema itself and
//! settles. It knows no run, no stage and no store, and reads neither clock nor environment: both are
//! handed in. Start with [`caller`], then [`wire`].

pub mod caller;
pub mod config;
pub mod detect;
mod error;
mod guard;
pub mod http;
mod meter;
mod prices;
mod provider;
pub mod record;
pub mod redact;
mod reply;
mod request;
mod role;
mod schema;
mod scripted;
mod secret;
pub mod wire;

pub use caller::{Caller, Callers, Limits, Listener, Retry};
pub use config::{Auth, Fallback, KeyRef, Keys, ProviderConfig, Resolve, RoleConfig};
pub use detect::{Detected, ModelsConfig, Parts, detect};
pub use error::{Advice, Failure, Kind, LlmError, RETRY_AFTER_MAX};
pub use http::HttpProvider;
pub use meter::{CallRecord, Meter, Planned, Refusal, Ticket, Unmetered};
pub use prices::{Price, Prices, PricesError};
pub use provider::{CallCx, Caps, Provider, SchemaSupport};
pub use record::{Cassette, CassetteWriter, Exchange, Recorder, ReplayProvider};
pub use reply::{Event, Reply, Stop, Usage};
pub use request::{Message, OutputSchema, Part, Request, Speaker, Tool, ToolCall};
pub use role::Role;
pub use scripted::{ScriptedProvider, Step};
pub use secret::Secret;
pub use wire::{Dialect, Wire};
