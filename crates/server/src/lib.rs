//! The daemon: routes, live streams, wiring and the life of the process.
//!
//! Not here: decisions (`domain`), the work of a run (`pipeline`, `runtime`), what goes over the wire (`api`).
//! Start at [`daemon::run`], then [`App::start`] (the wiring) and `router.rs` (the list of all routes).

mod app;
mod asking;
mod auth;
pub mod backup;
pub mod boot;
mod changes;
mod conditions;
mod config;
pub mod daemon;
mod deployed;
mod doctor;
mod error;
mod estimates;
mod extract;
mod find;
mod firing;
mod front;
mod jobs;
mod later;
mod live;
mod metrics;
mod openapi;
mod pages;
mod planned;
mod queue;
mod rates;
mod removal;
mod replay;
mod repository;
mod router;
mod routes;
mod secrets;
mod show;
mod submit;
mod view;

pub use app::{App, Clocks, Executors, StartError, Work};
pub use config::{
    Config, ConfigError, Flags, HookSettings, LogLevel, NotifyChannel, PushSettings, QueueSettings,
    ReportSettings, RoomSettings, Settings, VaultConfig, WatchSettings,
};
pub use openapi::text as openapi;
