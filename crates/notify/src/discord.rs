//! A Discord webhook (discord.com/developers, "Execute Webhook").

use crate::http::{Post, Poster};
use crate::message::Weight;
use crate::secret::Address;
use crate::text::{clip_utf16, discord, line};
use crate::{Action, Channel, Message, Resolve, SendError};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// The longest title of an embed.
const TITLE_MAX: usize = 256;
/// The longest description of an embed.
const BODY_MAX: usize = 4_096;

/// Posts to one channel of Discord.
pub struct Discord {
    name: String,
    url: Address,
    poster: Poster,
}

impl Discord {
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
impl Channel for Discord {
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

fn body(message: &Message) -> Value {
    let links: Vec<String> = message.actions.iter().map(link).collect();
    let links = links.join(" · ");
    let room = BODY_MAX.saturating_sub(links.encode_utf16().count() + 2);
    let mut said = clipped(&message.notice.body, room);
    if !links.is_empty() {
        said = format!("{said}\n\n{links}");
    }
    let colour = match message.weight() {
        Weight::Asks => 0x00e6_9f00,
        Weight::Bad => 0x00d5_5e00,
        Weight::Tells => 0x0000_9e73,
    };
    json!({
        "embeds": [{
            "title": clipped(&line(&message.notice.title), TITLE_MAX),
            "description": said.trim(),
            "color": colour,
        }],
        "allowed_mentions": {"parse": []},
    })
}

/// Escaped, and cut so that no escape is cut in two.
fn clipped(text: &str, max: usize) -> String {
    let mut room = max;
    loop {
        let safe = discord(&clip_utf16(text, room));
        let over = safe.encode_utf16().count().saturating_sub(max);
        if over == 0 || room == 0 {
            return safe;
        }
        room -= over.div_ceil(2).min(room);
    }
}

fn link(action: &Action) -> String {
    let url = action.url.replace('(', "%28").replace(')', "%29");
    format!("[{}]({url})", action.does.label())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::{asking, message};
    use crate::testing::{answering, resolving};

    #[tokio::test]
    async fn a_limit_of_discords_is_waited_for() {
        let (url, asked) = answering("429 Too Many Requests\r\nretry-after: 0.3").await;
        let discord = Discord::new("discord", &url, &resolving(&[])).unwrap();
        let message = message();
        let (sent, asked) = tokio::join!(discord.send(&message), asked);
        let SendError::Later { wait, .. } = sent.unwrap_err() else {
            panic!("given up");
        };
        assert_eq!(wait.map(|wait| wait.as_secs()), Some(1));
        assert!(
            asked.contains(r#""allowed_mentions":{"parse":[]}"#),
            "{asked}"
        );
    }

    #[test]
    fn words_of_a_model_call_nobody_and_format_nothing() {
        let body = body(&asking());
        let said = body["embeds"][0]["description"].as_str().unwrap();
        assert!(!said.contains("@everyone"), "{said}");
        assert!(said.contains(r"\*\*now\*\*"), "{said}");
        assert!(
            said.contains("[Reject](https://builds.example.org/hooks/decide/no)"),
            "{said}"
        );
    }

    #[test]
    fn long_texts_stay_within_the_embeds_limits_and_keep_their_links() {
        for text in ["*".repeat(9_000), "👋".repeat(9_000), "@a".repeat(9_000)] {
            let mut message = asking();
            message.notice.title = text.clone();
            message.notice.body = text;
            let body = body(&message);
            let of = |key: &str| body["embeds"][0][key].as_str().unwrap().to_owned();
            let title = of("title").encode_utf16().count();
            let said = of("description").encode_utf16().count();
            assert!((200..=TITLE_MAX).contains(&title), "{title}");
            assert!((4_000..=BODY_MAX).contains(&said), "{said}");
            assert!(of("description").ends_with("builds/run)"));
        }
    }
}
