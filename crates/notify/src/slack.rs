//! A Slack incoming webhook (docs.slack.dev, "Sending messages using incoming webhooks").
//!
//! Buttons only open an address: deciding in Slack itself would need an app with a public address of its own.

use crate::http::{Post, Poster};
use crate::secret::Address;
use crate::text::{clip_utf16, line, slack};
use crate::{Action, Channel, Does, Message, Resolve, SendError};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// The longest header block.
const TITLE_MAX: usize = 150;
/// The longest section block.
const BODY_MAX: usize = 3_000;

/// Posts to one channel of Slack.
pub struct Slack {
    name: String,
    url: Address,
    poster: Poster,
}

impl Slack {
    /// A channel that posts to the webhook's address, which is a secret.
    ///
    /// # Errors
    /// What is wrong with the configuration, in words.
    pub fn new(name: &str, url: &str, resolve: &Resolve) -> Result<Self, String> {
        Ok(Self {
            name: name.to_owned(),
            url: Address::new(url, resolve)?,
            poster: Poster::new()?,
        })
    }
}

#[async_trait::async_trait]
impl Channel for Slack {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let post = Post {
            url: self.url.read().await?,
            headers: HeaderMap::new(),
            body: body(message).to_string(),
        };
        self.poster.send(post).await
    }
}

/// Plain text blocks: nothing in them is read as formatting. `text` is what a notification shows.
fn body(message: &Message) -> Value {
    let plain = |text: String| json!({"type": "plain_text", "text": text, "emoji": false});
    let title = clipped(&line(&message.notice.title), TITLE_MAX);
    let mut blocks = vec![json!({"type": "header", "text": plain(title.clone())})];
    let said = clipped(&message.notice.body, BODY_MAX);
    if !said.trim().is_empty() {
        blocks.push(json!({"type": "section", "text": plain(said)}));
    }
    if !message.actions.is_empty() {
        let buttons: Vec<Value> = message.actions.iter().map(button).collect();
        blocks.push(json!({"type": "actions", "elements": buttons}));
    }
    json!({
        "text": title, "blocks": blocks,
        "link_names": false, "unfurl_links": false, "unfurl_media": false,
    })
}

/// Escaped, and cut so that no entity is cut in two.
fn clipped(text: &str, max: usize) -> String {
    let mut room = max;
    loop {
        let safe = slack(&clip_utf16(text, room));
        let over = safe.encode_utf16().count().saturating_sub(max);
        if over == 0 || room == 0 {
            return safe;
        }
        // An escaped character is at most five long.
        room -= over.div_ceil(5).min(room);
    }
}

fn button(action: &Action) -> Value {
    let label = action.does.label();
    let mut button = json!({
        "type": "button", "url": action.url,
        "text": {"type": "plain_text", "text": label, "emoji": false},
    });
    match action.does {
        Does::Approve => button["style"] = "primary".into(),
        Does::Reject => button["style"] = "danger".into(),
        Does::Open => {}
    }
    button
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::{asking, message};
    use crate::testing::{answering, resolving};

    #[tokio::test]
    async fn a_message_is_posted_to_the_address_that_the_reference_names() {
        let (url, asked) = answering("200 OK").await;
        let slack = Slack::new("slack", "env:URL", &resolving(&[("env:URL", &url)])).unwrap();
        let message = message();
        let (sent, asked) = tokio::join!(slack.send(&message), asked);
        sent.unwrap();
        assert!(asked.contains("backup failed at verify"), "{asked}");
    }

    #[test]
    fn words_of_a_model_call_nobody_and_format_nothing() {
        let body = body(&asking());
        let text = body.to_string();
        assert!(
            !text.contains("<!channel>") && text.contains("&lt;!channel&gt;"),
            "{text}"
        );
        assert_eq!(
            body["blocks"][0]["text"]["text"],
            "backup waits for a yes before deploy"
        );
        assert_eq!(body["blocks"][1]["text"]["type"], "plain_text");
        assert_eq!(body["blocks"][2]["elements"][1]["style"], "danger");
        assert_eq!(body["unfurl_links"], false);
    }

    #[test]
    fn long_texts_stay_within_the_blocks_limits() {
        for text in ["&".repeat(9_000), "👋".repeat(9_000), "a<".repeat(9_000)] {
            let mut message = asking();
            message.notice.title = text.clone();
            message.notice.body = text;
            let body = body(&message);
            let length = |n: usize| {
                let text = body["blocks"][n]["text"]["text"].as_str().unwrap();
                text.encode_utf16().count()
            };
            assert!((100..=TITLE_MAX).contains(&length(0)), "{}", length(0));
            assert!((2_900..=BODY_MAX).contains(&length(1)), "{}", length(1));
        }
    }
}
