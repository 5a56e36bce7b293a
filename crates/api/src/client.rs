//! The typed client: every route as one method, over the daemon's unix socket or over TCP.
//!
//! Connections are kept and reused. Start at [`Client::unix`]; live events are [`Client::events`].

mod access;
mod backlog;
mod connection;
mod queue;
mod spending;
mod stream;

pub use stream::EventStream;

use crate::build::{
    Build, BuildDetail, BuildQuery, BuildSummary, CancelRequest, CreateBuild, DecisionRequest,
    DeployBuild, RetryBuild, ShowQuery, Until, View,
};
use crate::deployment::{
    Deployment, DeploymentDetail, Export, ExportRequest, PauseRequest, Removed, RollbackRequest,
    Service,
};
use crate::event::{CloudEvent, Event, EventQuery, Log};
use crate::execution::{Execution, ExecutionLog, ExecutionQuery, LogQuery};
use crate::plan::{Plan, PlanRequest};
use crate::problem::Problem;
use crate::system::{Doctor, Health};
use crate::{IDEMPOTENCY_HEADER, PREFIX, Page, WAIT_DEFAULT_S};
use bytes::Bytes;
use connection::{Ask, Connections};
use http::{Method, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The largest answer that is read, in bytes.
pub const REPLY_MAX_BYTES: usize = 256 << 20;
/// How long an answer may take where no wait was asked for.
const REPLY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a copy of the database may take.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(3_600);
/// What a long poll may take beyond its own time.
const WAIT_SLACK: Duration = Duration::from_secs(15);

/// Why there is no answer, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there. Start the daemon, or look whether it still lives.
    #[error("cannot reach the daemon at {at}")]
    Unreachable {
        /// The socket or address.
        at: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke before the whole answer was there. Whether the request was carried out is not
    /// known: ask, or repeat it with the same idempotency key.
    #[error("the daemon at {at} went away before it answered")]
    Broken {
        /// The socket or address.
        at: String,
        /// What broke.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The daemon is there but does not answer in time.
    #[error("the daemon at {at} did not answer within {} seconds", after.as_secs())]
    TimedOut {
        /// The socket or address.
        at: String,
        /// How long was waited.
        after: Duration,
    },
    /// The daemon refuses; show the detail.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The answer is not what this client understands: other versions on the two sides.
    #[error("the daemon at {at} answers something that this version does not understand: {what}")]
    Strange {
        /// The socket or address.
        at: String,
        /// What is wrong with it.
        what: String,
    },
}

impl ClientError {
    /// The problem, when the daemon refused.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::Strange { .. } => None,
        }
    }
}

/// The daemon, seen from outside. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    connections: Arc<Connections>,
}

impl Client {
    /// Over the unix socket, however long its path is. Connects with the first request.
    pub fn unix(socket: impl Into<PathBuf>) -> Self {
        Self {
            connections: Arc::new(Connections::unix(socket.into())),
        }
    }

    /// Over TCP, with a key (`aw_…`).
    pub fn tcp(address: SocketAddr, key: impl Into<String>) -> Self {
        Self {
            connections: Arc::new(Connections::tcp(address, key.into())),
        }
    }

    /// The same daemon, asked for another organization: for its owner and for service keys. Connections are not
    /// shared.
    #[must_use]
    pub fn for_organization(&self, organization: &str) -> Self {
        Self {
            connections: Arc::new(self.connections.for_organization(organization)),
        }
    }

    /// Whether the daemon is there and well.
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.read("/health", &()).await
    }

    /// What the machine can do.
    pub async fn doctor(&self) -> Result<Doctor, ClientError> {
        self.read("/doctor", &()).await
    }

    /// Asks the daemon to stop; it answers, then ends.
    pub async fn stop_daemon(&self) -> Result<Health, ClientError> {
        self.post("/daemon/stop", &Nothing {}, None).await
    }

    /// What would be built.
    pub async fn plan(&self, request: &PlanRequest) -> Result<Plan, ClientError> {
        self.post("/plans", request, None).await
    }

    /// Creates a build. The same `key` with the same request gives the same build.
    pub async fn create_build(
        &self,
        request: &CreateBuild,
        key: Option<&str>,
    ) -> Result<Build, ClientError> {
        self.post("/builds", request, key).await
    }

    /// Builds, newest first.
    pub async fn builds(&self, query: &BuildQuery) -> Result<Page<BuildSummary>, ClientError> {
        self.read("/builds", query).await
    }

    /// One build with everything. `id` is an id, a unique beginning of one, or a label.
    pub async fn build(&self, id: &str) -> Result<BuildDetail, ClientError> {
        self.read(&format!("/builds/{}", escaped(id)), &()).await
    }

    /// The same, as soon as something happened after event `after`, at the latest after `timeout_s`
    /// seconds (at most [`crate::WAIT_MAX_S`]). [`View::Brief`] leaves the lists empty.
    pub async fn wait_build(
        &self,
        id: &str,
        after: i64,
        timeout_s: u32,
        view: View,
    ) -> Result<BuildDetail, ClientError> {
        let query = ShowQuery {
            wait_after: Some(after),
            timeout_s: Some(timeout_s),
            view,
            ..ShowQuery::default()
        };
        self.show(id, &query).await
    }

    /// The build as soon as it has ended or waits for a person, at the latest after `timeout_s` seconds.
    /// The lists are empty.
    pub async fn settled_build(
        &self,
        id: &str,
        timeout_s: u32,
    ) -> Result<BuildDetail, ClientError> {
        let query = ShowQuery {
            wait_until: Some(Until::Settled),
            timeout_s: Some(timeout_s),
            view: View::Brief,
            ..ShowQuery::default()
        };
        self.show(id, &query).await
    }

    async fn show(&self, id: &str, query: &ShowQuery) -> Result<BuildDetail, ClientError> {
        let path = format!("{PREFIX}/builds/{}{}", escaped(id), query_text(query));
        let wait = u64::from(query.timeout_s.unwrap_or(WAIT_DEFAULT_S));
        let limit = Duration::from_secs(wait) + WAIT_SLACK;
        self.json(Ask::new(Method::GET, path), limit).await
    }

    /// Live events of a build after `after`, to its end. Reconnects by itself.
    pub fn events(&self, id: &str, after: i64) -> EventStream {
        let path = format!("{PREFIX}/builds/{}/events", escaped(id));
        EventStream::new(self.connections.clone(), path, after)
    }

    /// Live events of an execution.
    pub fn execution_events(&self, id: &str, after: i64) -> EventStream {
        let path = format!("{PREFIX}/executions/{}/events", escaped(id));
        EventStream::new(self.connections.clone(), path, after)
    }

    /// A page of events, without waiting.
    pub async fn events_page(
        &self,
        id: &str,
        query: &EventQuery,
    ) -> Result<Page<Event>, ClientError> {
        let path = format!("/builds/{}/events", escaped(id));
        let page: Page<CloudEvent> = self.read(&path, query).await?;
        let items = page.items.into_iter().map(|event| event.data).collect();
        let next = page.next;
        Ok(Page { items, next })
    }

    /// Everything that a build said.
    pub async fn build_log(&self, id: &str) -> Result<Log, ClientError> {
        self.read(&format!("/builds/{}/logs", escaped(id)), &())
            .await
    }

    /// The bytes of one artifact.
    pub async fn artifact(&self, id: &str, name: &str) -> Result<Bytes, ClientError> {
        let path = format!(
            "{PREFIX}/builds/{}/artifacts/{}",
            escaped(id),
            escaped(name)
        );
        let reply = self
            .connections
            .ask(Ask::new(Method::GET, path), REPLY_TIMEOUT)
            .await?;
        if reply.status.is_success() {
            return Ok(reply.body);
        }
        Err(self.refusal(reply.status, &reply.body))
    }

    /// Approves or rejects.
    pub async fn decide(&self, id: &str, request: &DecisionRequest) -> Result<Build, ClientError> {
        self.post(&format!("/builds/{}/decisions", escaped(id)), request, None)
            .await
    }

    /// Ends a build.
    pub async fn cancel(&self, id: &str, request: &CancelRequest) -> Result<Build, ClientError> {
        self.post(&format!("/builds/{}/cancel", escaped(id)), request, None)
            .await
    }

    /// A new build of the same request.
    pub async fn retry(
        &self,
        id: &str,
        request: &RetryBuild,
        key: Option<&str>,
    ) -> Result<Build, ClientError> {
        self.post(&format!("/builds/{}/retry", escaped(id)), request, key)
            .await
    }

    /// Deploys what a completed build made.
    pub async fn deploy(
        &self,
        id: &str,
        request: &DeployBuild,
        key: Option<&str>,
    ) -> Result<Build, ClientError> {
        self.post(&format!("/builds/{}/deploy", escaped(id)), request, key)
            .await
    }

    /// All deployments, by name.
    pub async fn deployments(&self) -> Result<Page<Deployment>, ClientError> {
        self.read("/deployments", &()).await
    }

    /// One deployment with its versions and newest executions.
    pub async fn deployment(&self, name: &str) -> Result<DeploymentDetail, ClientError> {
        self.read(&format!("/deployments/{}", escaped(name)), &())
            .await
    }

    /// Its executions, newest first.
    pub async fn executions(
        &self,
        name: &str,
        query: &ExecutionQuery,
    ) -> Result<Page<Execution>, ClientError> {
        self.read(&format!("/deployments/{}/executions", escaped(name)), query)
            .await
    }

    /// What an execution wrote; the newest one's when none is named.
    pub async fn execution_log(
        &self,
        name: &str,
        query: &LogQuery,
    ) -> Result<ExecutionLog, ClientError> {
        self.read(&format!("/deployments/{}/logs", escaped(name)), query)
            .await
    }

    /// One execution, as soon as something happened after event `after`, or after `timeout_s` seconds.
    pub async fn wait_execution(
        &self,
        id: &str,
        after: i64,
        timeout_s: u32,
    ) -> Result<Execution, ClientError> {
        let path = format!(
            "{PREFIX}/executions/{}?wait_after={after}&timeout_s={timeout_s}",
            escaped(id)
        );
        let limit = Duration::from_secs(u64::from(timeout_s)) + WAIT_SLACK;
        self.json(Ask::new(Method::GET, path), limit).await
    }

    /// Fires it now; refused while an execution goes on.
    pub async fn run_now(&self, name: &str) -> Result<Execution, ClientError> {
        let path = format!("/deployments/{}/run-now", escaped(name));
        self.post(&path, &Nothing {}, None).await
    }

    /// No further firings.
    pub async fn pause(
        &self,
        name: &str,
        request: &PauseRequest,
    ) -> Result<Deployment, ClientError> {
        self.post(
            &format!("/deployments/{}/pause", escaped(name)),
            request,
            None,
        )
        .await
    }

    /// Fires again.
    pub async fn resume(&self, name: &str) -> Result<Deployment, ClientError> {
        let path = format!("/deployments/{}/resume", escaped(name));
        self.post(&path, &Nothing {}, None).await
    }

    /// Ends what runs, and fires no more.
    pub async fn stop(&self, name: &str) -> Result<Deployment, ClientError> {
        let path = format!("/deployments/{}/stop", escaped(name));
        self.post(&path, &Nothing {}, None).await
    }

    /// Makes another version the active one.
    pub async fn rollback(
        &self,
        name: &str,
        request: &RollbackRequest,
    ) -> Result<Deployment, ClientError> {
        let path = format!("/deployments/{}/rollback", escaped(name));
        self.post(&path, request, None).await
    }

    /// Writes a standalone directory.
    pub async fn export(&self, name: &str, request: &ExportRequest) -> Result<Export, ClientError> {
        self.post(
            &format!("/deployments/{}/export", escaped(name)),
            request,
            None,
        )
        .await
    }

    /// Removes a deployment and everything of it.
    pub async fn remove(&self, name: &str) -> Result<Removed, ClientError> {
        let path = format!("{PREFIX}/deployments/{}", escaped(name));
        self.json(Ask::new(Method::DELETE, path), REPLY_TIMEOUT)
            .await
    }

    /// The service directory.
    pub async fn services(&self) -> Result<Page<Service>, ClientError> {
        self.read("/services", &()).await
    }

    async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, ClientError> {
        let path = format!("{PREFIX}{path}{}", query_text(query));
        self.json(Ask::new(Method::GET, path), REPLY_TIMEOUT).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        key: Option<&str>,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.strange(error.to_string()))?;
        let mut ask = Ask::new(Method::POST, format!("{PREFIX}{path}"));
        ask.headers
            .push((header::CONTENT_TYPE.as_str(), "application/json".to_owned()));
        if let Some(key) = key {
            ask.headers.push((IDEMPOTENCY_HEADER, key.to_owned()));
        }
        ask.body = body.into();
        let limit = match path {
            "/snapshots" => SNAPSHOT_TIMEOUT,
            _ => REPLY_TIMEOUT,
        };
        self.json(ask, limit).await
    }

    async fn json<T: DeserializeOwned>(&self, ask: Ask, limit: Duration) -> Result<T, ClientError> {
        let reply = self.connections.ask(ask, limit).await?;
        if !reply.status.is_success() {
            return Err(self.refusal(reply.status, &reply.body));
        }
        serde_json::from_slice(&reply.body).map_err(|error| self.strange(error.to_string()))
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        refusal(self.connections.place(), status, body)
    }

    fn strange(&self, what: String) -> ClientError {
        ClientError::Strange {
            at: self.connections.place(),
            what,
        }
    }
}

/// An empty JSON object.
#[derive(Serialize)]
struct Nothing {}

fn refusal(at: String, status: StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => ClientError::Refused(Box::new(problem)),
        Err(_) => ClientError::Strange {
            at,
            what: format!("status {status} without a problem"),
        },
    }
}

/// `?a=1&b=x` of a flat struct; empty when it has no fields.
fn query_text(query: &impl Serialize) -> String {
    let mut text = String::new();
    if let Ok(Value::Object(fields)) = serde_json::to_value(query) {
        for (name, value) in fields {
            let value = match value {
                Value::Null | Value::Array(_) | Value::Object(_) => continue,
                Value::String(word) => word,
                Value::Bool(_) | Value::Number(_) => value.to_string(),
            };
            text.push(if text.is_empty() { '?' } else { '&' });
            text.push_str(&name);
            text.push('=');
            text.push_str(&escaped(&value));
        }
    }
    text
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_only_the_fields_that_are_set() {
        assert_eq!(query_text(&BuildQuery::default()), "");
        let query = BuildQuery {
            limit: Some(5),
            before: Some("a b&c".into()),
            ..BuildQuery::default()
        };
        assert_eq!(query_text(&query), "?before=a%20b%26c&limit=5");
        assert_eq!(query_text(&()), "");
    }

    #[test]
    fn a_segment_cannot_leave_its_place() {
        assert_eq!(escaped("../x/ü"), "..%2Fx%2F%C3%BC");
    }
}
