//! A notice as an HTTP POST, with the headers of Standard Webhooks (standardwebhooks.com):
//! `webhook-id` is the receiver's idempotency key, `webhook-timestamp` when the notice was written.

use crate::{Channel, Message, SendError};
use reqwest::{Client, StatusCode, Url, redirect};
use std::time::Duration;

/// How long the receiver may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Posts to one address.
pub struct Webhook {
    name: String,
    url: Url,
    client: Client,
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// It is no address.
    #[error("the webhook {name} needs an http:// or https:// address")]
    Address {
        /// Which channel.
        name: String,
    },
    /// No client can be made.
    #[error("the webhook {name} cannot be set up: {detail}")]
    Client {
        /// Which channel.
        name: String,
        /// Why.
        detail: String,
    },
}

impl Webhook {
    /// A channel that posts to `url`. The address is never logged: it may hold a token.
    pub fn new(name: &str, url: &str) -> Result<Self, WebhookError> {
        let name = name.to_owned();
        let url = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| WebhookError::Address { name: name.clone() })?;
        // Fails only when another part of the process was first: the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| WebhookError::Client {
                name: name.clone(),
                detail: error.without_url().to_string(),
            })?;
        Ok(Self { name, url, client })
    }
}

#[async_trait::async_trait]
impl Channel for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let answer = self
            .client
            .post(self.url.clone())
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", (message.at_ms / 1_000).to_string())
            .json(&message.to_json())
            .send()
            .await
            .map_err(|error| SendError::Later(error.without_url().to_string()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said = format!("answered {status}");
        let passing = status.is_server_error()
            || [
                StatusCode::REQUEST_TIMEOUT,
                StatusCode::TOO_EARLY,
                StatusCode::TOO_MANY_REQUESTS,
            ]
            .contains(&status);
        Err(if passing {
            SendError::Later(said)
        } else {
            SendError::Never(said)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::message;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers one request with a status line; gives back what was asked.
    async fn answering(status: &'static str) -> (Webhook, impl Future<Output = String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?token=t", listener.local_addr().unwrap());
        let asked = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = String::new();
            while !asked.ends_with('}') {
                let mut part = [0; 4_096];
                let read = stream.read(&mut part).await.unwrap();
                asked.push_str(std::str::from_utf8(&part[..read]).unwrap());
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            asked
        };
        (Webhook::new("hook", &url).unwrap(), asked)
    }

    #[tokio::test]
    async fn a_notice_is_posted_with_its_id_as_the_idempotency_key() {
        let (hook, asked) = answering("204 No Content").await;
        let message = message();
        let (sent, asked) = tokio::join!(hook.send(&message), asked);
        sent.unwrap();
        let asked = asked.to_ascii_lowercase();
        assert!(asked.starts_with("post /hook?token=t"), "{asked}");
        assert!(asked.contains("webhook-id: run-1-0\r\n"), "{asked}");
        assert!(asked.contains("webhook-timestamp: 12\r\n"), "{asked}");
        assert!(asked.contains(r#""type":"build.failed""#), "{asked}");
    }

    #[tokio::test]
    async fn a_busy_receiver_is_tried_again_and_a_refusing_one_is_not() {
        for (status, later) in [
            ("503 Service Unavailable", true),
            ("429 Too Many Requests", true),
            ("404 Not Found", false),
            ("302 Found", false),
        ] {
            let (hook, asked) = answering(status).await;
            let message = message();
            let (sent, _) = tokio::join!(hook.send(&message), asked);
            let error = sent.unwrap_err();
            assert_eq!(matches!(error, SendError::Later(_)), later, "{status}");
        }
    }

    #[tokio::test]
    async fn a_receiver_that_is_not_there_is_tried_again_and_its_address_is_not_told() {
        let hook = Webhook::new("hook", "http://127.0.0.1:1/secret").unwrap();
        let error = hook.send(&message()).await.unwrap_err();
        assert!(matches!(error, SendError::Later(_)));
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn what_is_no_web_address_is_refused() {
        for url in ["", "nonsense", "file:///etc/passwd", "ftp://host/"] {
            let refused = Webhook::new("hook", url);
            assert!(
                matches!(refused, Err(WebhookError::Address { .. })),
                "{url}"
            );
        }
    }
}
