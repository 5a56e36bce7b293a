//! Push to a phone through an ntfy server (docs.ntfy.sh, "Publish as JSON"), with buttons that decide.
//!
//! The phone itself sends what a button does: the address must be reachable from there, and it passes through
//! the ntfy server. That is why it holds a token for one decision only.

use crate::http::{Post, Poster};
use crate::message::Weight;
use crate::secret::{Address, Secret};
use crate::text::{clip_bytes, line, plain};
use crate::{Action, Channel, Does, Message, Resolve, SendError};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value, json};

/// The server's own default; a longer message would arrive as a file.
const MESSAGE_MAX_BYTES: usize = 4_096;
/// The server reads twice that of JSON.
const BODY_MAX_BYTES: usize = 2 * MESSAGE_MAX_BYTES;
/// What a phone shows of a title.
const TITLE_MAX_BYTES: usize = 250;
/// Buttons of one message.
const ACTIONS_MAX: usize = 3;
/// The longest topic.
const TOPIC_MAX: usize = 64;

/// What a channel of this kind needs to know.
#[derive(Clone, Debug)]
pub struct NtfyConfig {
    /// The server, without the topic.
    pub url: String,
    /// The topic.
    pub topic: String,
    /// A reference to the access token.
    pub token: Option<String>,
}

/// Publishes to one topic.
pub struct Ntfy {
    name: String,
    url: Address,
    topic: String,
    token: Option<Secret>,
    poster: Poster,
}

impl Ntfy {
    /// A channel that publishes as the configuration says.
    ///
    /// # Errors
    /// What is wrong with the configuration, in words.
    pub(crate) fn new(
        name: &str,
        config: &NtfyConfig,
        resolve: &Resolve,
        poster: Poster,
    ) -> Result<Self, String> {
        let topic = &config.topic;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if topic.is_empty() || topic.len() > TOPIC_MAX || !topic.chars().all(plain) {
            return Err(format!(
                "has the topic {topic:?}: use 1 to {TOPIC_MAX} letters, digits, hyphens and underscores"
            ));
        }
        let token = config.token.as_ref();
        Ok(Self {
            name: name.to_owned(),
            url: Address::new(&config.url, resolve)?,
            topic: topic.clone(),
            token: token.map(|token| Secret::new(token, resolve)).transpose()?,
            poster,
        })
    }
}

#[async_trait::async_trait]
impl Channel for Ntfy {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.token {
            let bearer = HeaderValue::from_str(&format!("Bearer {}", token.read().await?));
            let mut bearer = bearer
                .map_err(|_| SendError::later("the token has characters that no header takes"))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let post = Post {
            url: self.url.read().await?,
            headers,
            body: body(&self.topic, message),
        };
        self.poster.send(post).await
    }
}

/// The request's body, within the server's limits whatever the message is.
fn body(topic: &str, message: &Message) -> String {
    let (priority, tag) = match message.weight() {
        Weight::Asks => (4, "raised_hand"),
        Weight::Bad => (4, "warning"),
        Weight::Tells => (3, "white_check_mark"),
    };
    let mut json = json!({
        "topic": topic,
        "title": clip_bytes(&line(&message.notice.title), TITLE_MAX_BYTES),
        "priority": priority,
        "tags": [tag],
    });
    let actions = message.actions.iter().take(ACTIONS_MAX);
    let actions: Vec<Value> = actions.map(button).collect();
    if !actions.is_empty() {
        json["actions"] = actions.into();
    }
    let open = message
        .actions
        .iter()
        .find(|action| action.does == Does::Open);
    if let Some(open) = open {
        json["click"] = open.url.as_str().into();
    }
    let said = plain(&message.notice.body);
    // An empty message would read "triggered".
    let said = if said.trim().is_empty() {
        line(&message.notice.title)
    } else {
        said
    };
    let mut room = MESSAGE_MAX_BYTES;
    loop {
        json["message"] = clip_bytes(&said, room).into();
        let text = json.to_string();
        // Characters that JSON writes as several bytes may make it too long though the message is not.
        let over = text.len().saturating_sub(BODY_MAX_BYTES);
        if over == 0 || room == 0 {
            return text;
        }
        room = room.saturating_sub(over);
    }
}

fn button(action: &Action) -> Value {
    let label = action.does.label();
    match action.does {
        Does::Approve | Does::Reject => json!({
            "action": "http", "label": label, "url": action.url, "method": "POST", "clear": true,
        }),
        Does::Open => json!({"action": "view", "label": label, "url": action.url}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::{asking, message};
    use agentwright_testkit::Ntfy as FakeNtfy;
    use std::sync::Arc;

    fn channel(server: &FakeNtfy) -> Ntfy {
        let config = NtfyConfig {
            url: server.url(),
            topic: "builds".to_owned(),
            token: Some("env:T".to_owned()),
        };
        let resolve: Resolve = Arc::new(|reference| match reference {
            "env:T" => Ok("tk_s3cret".to_owned()),
            _ => Err("it is not set".to_owned()),
        });
        Ntfy::new("phone", &config, &resolve, Poster::new().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_gate_comes_with_two_buttons_that_post_and_one_that_opens() {
        let server = FakeNtfy::start().await;
        server.require_token("tk_s3cret");
        channel(&server).send(&asking()).await.unwrap();
        let got = server.messages();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0]["title"], "backup waits for a yes before deploy");
        assert_eq!(got[0]["priority"], 4);
        assert_eq!(got[0]["click"], "https://builds.example.org/builds/run");
        let actions = got[0]["actions"].as_array().unwrap();
        assert_eq!(actions.len(), 3);
        assert_eq!(actions[0]["action"], "http");
        assert_eq!(actions[0]["method"], "POST");
        assert_eq!(actions[2]["action"], "view");
    }

    #[tokio::test]
    async fn the_longest_and_strangest_message_stays_within_the_servers_limits() {
        let server = FakeNtfy::start().await;
        server.require_token("tk_s3cret");
        for body in [
            "\"\\\n".repeat(9_000),
            "ä👋".repeat(9_000),
            String::new(),
            "\u{7}".repeat(9),
        ] {
            let mut message = asking();
            message.notice.title = body.clone();
            message.notice.body = body;
            message.actions[0].url.push_str(&"x".repeat(1_000));
            message.actions.push(message.actions[2].clone());
            channel(&server).send(&message).await.unwrap();
        }
        assert_eq!(server.messages().len(), 4);
        assert_eq!(server.refused(), [""; 0]);
    }

    #[tokio::test]
    async fn a_wrong_token_is_refused_for_good_and_never_told() {
        let server = FakeNtfy::start().await;
        server.require_token("tk_other");
        let error = channel(&server).send(&message()).await.unwrap_err();
        assert!(matches!(&error, SendError::Never(said) if said.contains("401")));
        assert!(!error.to_string().contains("s3cret"));
    }

    #[tokio::test]
    async fn a_server_that_is_busy_or_down_is_tried_again() {
        let server = FakeNtfy::start().await;
        server.require_token("tk_s3cret");
        server.limit_requests(0, 17);
        let error = channel(&server).send(&message()).await.unwrap_err();
        let SendError::Later { wait, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(wait.map(|wait| wait.as_secs()), Some(17));
        let gone = channel(&server);
        server.take_down();
        let error = gone.send(&message()).await.unwrap_err();
        assert!(
            matches!(error, SendError::Later { wait: None, .. }),
            "{error}"
        );
    }
}
