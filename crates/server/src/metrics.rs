//! What was answered, how fast, and what is going on: counted here, shown by `GET /metrics` (OpenMetrics text,
//! which Prometheus reads) and, in the contract's words, by `GET /state`.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use agentwright_api::executor::ResourceUsage;
use axum::extract::State;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Minutes whose requests and errors are remembered, by minute.
const MINUTES: usize = 60;
/// The bounds of answering times, seconds.
const BUCKETS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0];
const TEXT: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    method: String,
    /// The route's pattern, never the path: paths are endless.
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Place {
    place: &'static str,
}

/// The counters.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Histogram,
    streams: Gauge,
    builds: Family<Place, Gauge>,
    memory: Gauge,
    began: Instant,
    minutes: Mutex<Minutes>,
}

impl Default for Metrics {
    fn default() -> Self {
        let requests = Family::<Answered, Counter>::default();
        let seconds = Histogram::new(BUCKETS);
        let streams = Gauge::default();
        let builds = Family::<Place, Gauge>::default();
        let memory = Gauge::default();
        let mut registry = Registry::with_prefix("agentwright");
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Until the head of the answer",
            Unit::Seconds,
            seconds.clone(),
        );
        registry.register("live_streams", "Open live streams", streams.clone());
        registry.register(
            "builds",
            "Builds that are worked on, or wait for a worker",
            builds.clone(),
        );
        registry.register_with_unit(
            "resident_memory",
            "Memory of the process",
            Unit::Bytes,
            memory.clone(),
        );
        Self {
            registry,
            requests,
            seconds,
            streams,
            builds,
            memory,
            began: Instant::now(),
            minutes: Mutex::default(),
        }
    }
}

/// Requests and errors by minute, the last [`MINUTES`].
struct Minutes {
    total: u64,
    of: [(u64, u64, u64); MINUTES],
}

impl Default for Minutes {
    fn default() -> Self {
        Self {
            total: 0,
            of: [(0, 0, 0); MINUTES],
        }
    }
}

impl Minutes {
    fn one(&mut self, minute: u64, failed: bool) {
        self.total += 1;
        let slot = &mut self.of[usize::try_from(minute).unwrap_or(0) % MINUTES];
        if slot.0 != minute {
            *slot = (minute, 0, 0);
        }
        slot.1 += 1;
        slot.2 += u64::from(failed);
    }

    fn requests(&self, minute: u64) -> u64 {
        let found = self.of.iter().find(|slot| slot.0 == minute);
        found.map_or(0, |slot| slot.1)
    }

    fn errors(&self, minute: u64) -> u64 {
        let recent = |slot: &&(u64, u64, u64)| slot.0 + MINUTES as u64 > minute;
        self.of.iter().filter(recent).map(|slot| slot.2).sum()
    }
}

/// Requests as `GET /state` tells them.
pub(crate) struct Requests {
    pub(crate) total: u64,
    pub(crate) per_minute: u64,
    pub(crate) errors: u64,
}

/// Counts a stream while it is open.
pub(crate) struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// One request was answered.
    pub(crate) fn answered(&self, method: &Method, route: &str, status: u16, took: Duration) {
        let labels = Answered {
            method: known(method).to_owned(),
            route: route.to_owned(),
            status,
        };
        self.requests.get_or_create(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
        self.by_minute().one(self.minute(), status >= 500);
    }

    /// A stream is opened.
    pub(crate) fn stream(&self) -> OpenStream {
        self.streams.inc();
        OpenStream(self.streams.clone())
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> Requests {
        let minute = self.minute();
        let minutes = self.by_minute();
        let whole = minute.checked_sub(1).unwrap_or(minute);
        Requests {
            total: minutes.total,
            per_minute: minutes.requests(whole),
            errors: minutes.errors(minute),
        }
    }

    /// Minutes since the start.
    fn minute(&self) -> u64 {
        self.began.elapsed().as_secs() / 60
    }

    fn by_minute(&self) -> std::sync::MutexGuard<'_, Minutes> {
        self.minutes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The methods that are counted by name: a caller may make up others.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => method.as_str(),
        _ => "other",
    }
}

/// `GET /metrics`. Names no organization and no automation, but counts all of them: for who runs the server.
pub(crate) async fn show(State(app): State<App>, who: Who) -> Result<Response, ApiError> {
    who.require_instance_admin()?;
    let metrics = app.metrics();
    let (at_work, waiting) = app.store().builds_at_work(None).await?;
    for (place, count) in [("at_work", at_work), ("queued", waiting)] {
        let gauge = metrics.builds.get_or_create(&Place { place });
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    let memory = used().memory_mb << 20;
    metrics
        .memory
        .set(i64::try_from(memory).unwrap_or(i64::MAX));
    let mut text = String::new();
    encode(&mut text, &metrics.registry).map_err(|error| ApiError::Internal(error.into()))?;
    Ok(([(header::CONTENT_TYPE, TEXT)], text).into_response())
}

/// What this process uses, as far as `/proc` tells.
pub(crate) fn used() -> ResourceUsage {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident_kb = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15 of proc(5), counted after the command's closing bracket: user and system time, in ticks.
    let ticks: u64 = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split(' ').skip(11).take(2))
        .into_iter()
        .flatten()
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    let per_second = rustix::param::clock_ticks_per_second();
    ResourceUsage {
        memory_mb: resident_kb.unwrap_or(0) >> 10,
        #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
        cpu_seconds: ticks as f64 / per_second as f64,
        open_files: files as u64,
        active_builds: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_forgotten_after_an_hour() {
        let mut minutes = Minutes::default();
        minutes.one(0, true);
        minutes.one(0, false);
        minutes.one(59, true);
        assert_eq!((minutes.requests(0), minutes.errors(59)), (2, 2));
        minutes.one(60, false);
        assert_eq!((minutes.requests(60), minutes.errors(60)), (1, 1));
        assert_eq!(minutes.total, 4);
    }

    #[test]
    fn the_process_is_seen() {
        let used = used();
        assert!(used.memory_mb > 0 && used.open_files > 2);
    }
}
