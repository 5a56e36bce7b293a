//! A model server for tests, in this process: it says what a script tells it to, in every wire form that
//! agentwright speaks, and it can fail in every way that a real one does. Not a model, and not a mock of one
//! provider: where the forms allow it any real client (also `claude` and `codex`) can be pointed at it.
//!
//! ```
//! # use agentwright_testkit::model_server::{Fault, ModelServer, Step};
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! // Two answers in a row; a third question is answered with 500.
//! let server = ModelServer::playing([
//!     Step::fault(Fault::RateLimited { retry_after: Some(1) }),
//!     Step::text("PASS: looks right"),
//! ])
//! .await;
//! // Or decided from the question: its texts, its tools, what its tools answered, its number.
//! let other = ModelServer::start(|question| match question.results.last() {
//!     None => Step::tool("write_file", serde_json::json!({"path": "a.txt", "content": "hi"})),
//!     Some(result) => Step::text(format!("the tool said: {}", result.content)),
//! })
//! .await;
//! // Clients go to `server.url()` (Anthropic, Ollama) or `server.openai_url()` (OpenAI forms).
//! assert!(server.url().starts_with("http://127.0.0.1:"));
//! assert!(server.requests().is_empty() && other.requests().is_empty());
//! # }
//! ```
//!
//! | form | path |
//! |---|---|
//! | Anthropic Messages | `POST /v1/messages`, with any query; `POST /v1/messages/count_tokens` |
//! | OpenAI chat completions | `POST /v1/chat/completions` |
//! | OpenAI responses | `POST /v1/responses` |
//! | Ollama | `POST /api/generate`, `POST /api/chat` |
//! | listings and signs of life | `GET /api/tags`, `GET /v1/models`, `GET /api/version`, `HEAD /` |
//!
//! The question's own `stream` field decides whether the answer comes in pieces. Everything stops when the value
//! is dropped. Start with [`ModelServer`], then [`Step`] and [`Fault`].

mod answer;
mod anthropic;
pub(crate) mod connection;
mod ollama;
mod openai_chat;
mod openai_responses;
mod question;
mod step;

pub use question::{ApiForm, Question, ToolAnswer, Turn};
pub use step::{Content, Fault, Step, Tokens};

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// What it lists where nothing else is said.
const MODELS: [&str; 3] = ["claude-sonnet-4-5-20250929", "gpt-4o-mini", "llama3.1:8b"];

type Script = dyn FnMut(&Question) -> Step + Send;

/// The server. Listens on a free port of 127.0.0.1 until it is dropped.
pub struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

/// What connections share.
struct Shared {
    state: Mutex<State>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct State {
    script: Box<Script>,
    seen: Vec<Question>,
    others: Vec<String>,
    models: Vec<String>,
    key: Option<String>,
}

impl ModelServer {
    /// Answers every question with what the script makes of it. Scripts are called one at a time, in the
    /// order in which questions came in whole.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(script: impl FnMut(&Question) -> Step + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                script: Box::new(script),
                seen: Vec::new(),
                others: Vec::new(),
                models: MODELS.map(str::to_owned).to_vec(),
                key: None,
            }),
            stop: stop.clone(),
            tasks: TaskTracker::new(),
        });
        let accepting = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = accepting.stop.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                if let Ok((stream, _)) = accepted {
                    let shared = Arc::clone(&accepting);
                    accepting.tasks.spawn(async move {
                        let stop = shared.stop.clone();
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = connection::serve(stream, shared) => {}
                        }
                    });
                }
            }
        });
        Self {
            address,
            shared,
            _stop: stop.drop_guard(),
        }
    }

    /// Answers with these in order, then with 500.
    pub async fn playing(steps: impl IntoIterator<Item = Step>) -> Self {
        let mut steps: VecDeque<Step> = steps.into_iter().collect();
        Self::start(move |_| {
            let over = || Step::fault(Fault::Server);
            steps.pop_front().unwrap_or_else(over)
        })
        .await
    }

    /// Fails the first `count` questions with this, and answers all after them with the step.
    pub async fn failing_first(count: usize, fault: Fault, then: Step) -> Self {
        Self::start(move |question| {
            if question.number <= count {
                Step::fault(fault.clone())
            } else {
                then.clone()
            }
        })
        .await
    }

    /// For the Anthropic and Ollama forms: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// For the OpenAI forms: `http://127.0.0.1:PORT/v1`.
    pub fn openai_url(&self) -> String {
        format!("{}/v1", self.url())
    }

    /// The models it lists from now on.
    pub fn set_models<S: Into<String>>(&self, models: impl IntoIterator<Item = S>) {
        self.shared.lock().models = models.into_iter().map(Into::into).collect();
    }

    /// Refuses (401) from now on what comes without this key, as `x-api-key` or bearer.
    pub fn require_key(&self, key: impl Into<String>) {
        self.shared.lock().key = Some(key.into());
    }

    /// The questions so far, in the order in which they were answered; refused keys are not among them.
    pub fn requests(&self) -> Vec<Question> {
        self.shared.lock().seen.clone()
    }

    /// What else was asked: `HEAD /`, `GET /v1/models`, …; also what it does not know.
    pub fn other_requests(&self) -> Vec<String> {
        self.shared.lock().others.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a question, keeps it and has the script answer it.
    fn ask(&self, mut question: Question) -> (Question, Step) {
        let mut state = self.lock();
        question.number = state.seen.len() + 1;
        state.seen.push(question.clone());
        let step = (state.script)(&question);
        (question, step)
    }
}

#[cfg(test)]
mod tests;
