//! A strict fake of an ntfy server, in this process: takes what the documented rules allow (docs.ntfy.sh,
//! "Publish as JSON") and refuses everything else with the reason. Not ntfy: nobody subscribes to it.
//!
//! | rule | else |
//! |---|---|
//! | `POST /` with JSON of at most 8,192 bytes | 404, 413 |
//! | known fields only; `topic` 1 to 64 of `-_A-Za-z0-9` | 400 |
//! | `priority` 1 to 5; `tags` a list of texts | 400 |
//! | `message` at most 4,096 bytes (a longer one would become a file) | 413 |
//! | at most 3 `actions`: known, with a label, with a web address; a body is a text, and none with GET | 400 |
//! | the token, where one is required | 401 |
//! | so many requests | 429 with `Retry-After` |

use crate::model_server::connection::{Asked, header, read};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// ntfy's default limit of a message.
const MESSAGE_MAX: usize = 4_096;
/// The limit of the JSON around it.
const BODY_MAX: usize = 2 * MESSAGE_MAX;
/// Actions of one message.
const ACTIONS_MAX: usize = 3;
/// The fields of a message.
const FIELDS: [&str; 15] = [
    "topic",
    "message",
    "title",
    "tags",
    "priority",
    "actions",
    "click",
    "attach",
    "markdown",
    "icon",
    "filename",
    "delay",
    "email",
    "call",
    "sequence_id",
];
/// The fields of an action.
const ACTION_FIELDS: [&str; 10] = [
    "action", "label", "url", "method", "headers", "body", "clear", "intent", "extras", "value",
];

/// The server. Listens on a free port of 127.0.0.1 until it is dropped.
pub struct Ntfy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _stop: DropGuard,
}

#[derive(Default)]
struct State {
    token: Option<String>,
    messages: Vec<Value>,
    refused: Vec<String>,
    down: bool,
    tried: usize,
    left: Option<(usize, u32)>,
}

impl Ntfy {
    /// Starts one that takes everything which keeps to the rules.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State::default()));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (shared, stopped) = (Arc::clone(&state), stop.clone());
        tasks.clone().spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = stopped.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((stream, _)) = accepted else { continue };
                lock(&shared).tried += 1;
                if lock(&shared).down {
                    continue;
                }
                let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = stopped.cancelled() => {}
                        () = serve(stream, shared) => {}
                    }
                });
            }
        });
        Self {
            address,
            state,
            _stop: stop.drop_guard(),
        }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Refuses (401) from now on what comes without this token.
    pub fn require_token(&self, token: &str) {
        lock(&self.state).token = Some(token.to_owned());
    }

    /// Takes so many requests more, then answers 429 and asks to wait so many seconds.
    pub fn limit_requests(&self, more: usize, retry_after_s: u32) {
        lock(&self.state).left = Some((more, retry_after_s));
    }

    /// Closes every connection without an answer from now on.
    pub fn take_down(&self) {
        lock(&self.state).down = true;
    }

    /// Answers again.
    pub fn bring_up(&self) {
        lock(&self.state).down = false;
    }

    /// How many connections were tried so far, also while it was down.
    pub fn tried(&self) -> usize {
        lock(&self.state).tried
    }

    /// What was published, in order.
    pub fn messages(&self) -> Vec<Value> {
        lock(&self.state).messages.clone()
    }

    /// Why requests were refused, in order.
    pub fn refused(&self) -> Vec<String> {
        lock(&self.state).refused.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    while let Ok(Some(asked)) = read(&mut stream).await {
        if lock(&state).down {
            return;
        }
        let (status, extra, body) = answer(&asked, &mut lock(&state));
        let text = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\n{extra}content-length: {}\r\n\r\n",
            text.len()
        );
        let whole = format!("{head}{text}");
        if stream.get_mut().write_all(whole.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(asked: &Asked, state: &mut State) -> (u16, String, Value) {
    if let Some((left, wait_s)) = &mut state.left {
        if *left == 0 {
            let wait = format!("retry-after: {wait_s}\r\n");
            return (
                429,
                wait,
                json!({"code": 42901, "http": 429, "error": "limit reached"}),
            );
        }
        *left -= 1;
    }
    let shown = header(&asked.headers, "authorization");
    let wanted = state.token.as_ref().map(|token| format!("Bearer {token}"));
    let ruled = if wanted.is_some() && shown != wanted.as_deref() {
        Err((401, "unauthorized".to_owned()))
    } else {
        publish(asked)
    };
    match ruled {
        Ok(message) => {
            state.messages.push(message.clone());
            (200, String::new(), message)
        }
        Err((status, why)) => {
            state.refused.push(why.clone());
            let error = json!({"code": u32::from(status) * 100, "http": status, "error": why});
            (status, String::new(), error)
        }
    }
}

type Refusal = (u16, String);

fn publish(asked: &Asked) -> Result<Value, Refusal> {
    if asked.method != "POST" || asked.target != "/" {
        return Err((
            404,
            format!("no JSON is taken at {} {}", asked.method, asked.target),
        ));
    }
    if asked.body.len() > BODY_MAX {
        return Err((413, format!("{} bytes of JSON", asked.body.len())));
    }
    let bad = |why: &str| (400, why.to_owned());
    let message: Value = serde_json::from_slice(&asked.body).map_err(|_| bad("no JSON"))?;
    let fields = message.as_object().ok_or_else(|| bad("no object"))?;
    known(fields, &FIELDS)?;
    let topic = text(fields, "topic")?.unwrap_or_default();
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if topic.is_empty() || topic.len() > 64 || !topic.chars().all(named) {
        return Err(bad("topic invalid"));
    }
    for field in ["title", "click"] {
        text(fields, field)?;
    }
    let said = text(fields, "message")?.unwrap_or_default();
    if said.len() > MESSAGE_MAX {
        return Err((413, format!("a message of {} bytes", said.len())));
    }
    if let Some(priority) = fields.get("priority")
        && !priority
            .as_u64()
            .is_some_and(|level| (1..=5).contains(&level))
    {
        return Err(bad("priority invalid"));
    }
    if let Some(tags) = fields.get("tags")
        && !tags
            .as_array()
            .is_some_and(|tags| tags.iter().all(Value::is_string))
    {
        return Err(bad("tags invalid"));
    }
    if let Some(actions) = fields.get("actions") {
        let actions = actions.as_array().ok_or_else(|| bad("actions invalid"))?;
        if actions.len() > ACTIONS_MAX {
            return Err(bad("only 3 actions allowed"));
        }
        actions.iter().try_for_each(action)?;
    }
    Ok(message)
}

fn action(action: &Value) -> Result<(), Refusal> {
    let bad = |why: String| Err((400, why));
    let Some(fields) = action.as_object() else {
        return bad("action is no object".to_owned());
    };
    known(fields, &ACTION_FIELDS)?;
    let kind = text(fields, "action")?.unwrap_or_default();
    if !["view", "broadcast", "http", "copy"].contains(&kind.as_str()) {
        return bad(format!("action {kind:?} unknown"));
    }
    if text(fields, "label")?.unwrap_or_default().is_empty() {
        return bad("parameter 'label' is required".to_owned());
    }
    let url = text(fields, "url")?.unwrap_or_default();
    let web = url.starts_with("https://") || url.starts_with("http://");
    if ["view", "http"].contains(&kind.as_str()) && !web {
        return bad(format!("parameter 'url' is required for action {kind:?}"));
    }
    let method = text(fields, "method")?.unwrap_or_else(|| "POST".to_owned());
    let body = text(fields, "body")?;
    if ["GET", "HEAD"].contains(&method.as_str()) && body.is_some() {
        return bad(format!(
            "parameter 'body' cannot be set if method is {method}"
        ));
    }
    if fields.get("clear").is_some_and(|clear| !clear.is_boolean()) {
        return bad("parameter 'clear' is no boolean".to_owned());
    }
    Ok(())
}

fn known(fields: &Map<String, Value>, names: &[&str]) -> Result<(), Refusal> {
    match fields.keys().find(|key| !names.contains(&key.as_str())) {
        Some(key) => Err((400, format!("field {key:?} unknown"))),
        None => Ok(()),
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err((400, format!("{name} is no text"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruled(method: &str, body: &Value) -> Result<Value, Refusal> {
        publish(&Asked {
            method: method.to_owned(),
            target: "/".to_owned(),
            headers: Vec::new(),
            body: body.to_string().into_bytes(),
        })
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_the_reason() {
        let view = json!({"action": "view", "label": "Open", "url": "https://x"});
        assert!(
            ruled(
                "POST",
                &json!({"topic": "b", "message": "m", "actions": [view]})
            )
            .is_ok()
        );
        let with = |action: Value| json!({"topic": "b", "actions": [action]});
        for (body, status, says) in [
            (json!({"message": "m"}), 400, "topic"),
            (json!({"topic": "a/b"}), 400, "topic"),
            (json!({"topic": "b", "colour": 1}), 400, "colour"),
            (json!({"topic": "b", "priority": 6}), 400, "priority"),
            (json!({"topic": "b", "tags": "x"}), 400, "tags"),
            (json!({"topic": "b", "title": 1}), 400, "title"),
            (
                json!({"topic": "b", "message": "x".repeat(4_097)}),
                413,
                "4097",
            ),
            (
                json!({"topic": "b", "title": "x".repeat(9_000)}),
                413,
                "bytes of JSON",
            ),
            (
                json!({"topic": "b", "actions": [view, view, view, view]}),
                400,
                "only 3",
            ),
            (with(json!({"action": "dance", "label": "x"})), 400, "dance"),
            (
                with(json!({"action": "view", "url": "https://x"})),
                400,
                "label",
            ),
            (with(json!({"action": "http", "label": "x"})), 400, "url"),
            (
                with(json!({"action": "http", "label": "x", "url": "https://x", "body": {}})),
                400,
                "body",
            ),
            (
                with(
                    json!({"action": "http", "label": "x", "url": "https://x", "method": "GET", "body": "b"}),
                ),
                400,
                "method is GET",
            ),
            (
                with(json!({"action": "view", "label": "x", "url": "https://x", "clear": 1})),
                400,
                "clear",
            ),
        ] {
            let (got, why) = ruled("POST", &body).unwrap_err();
            assert!(got == status && why.contains(says), "{body}: {got} {why}");
        }
        assert_eq!(ruled("PUT", &json!({"topic": "b"})).unwrap_err().0, 404);
    }
}
