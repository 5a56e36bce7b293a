//! A bounded POST, and what its answer means. Shared by the channels that speak HTTP.

use crate::SendError;
use jiff::fmt::rfc2822;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url, redirect};
use std::time::Duration;

/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait that a receiver may ask for.
const WAIT_MAX: Duration = Duration::from_secs(6 * 3_600);

/// Sends requests; follows no redirect: what is sent there was meant for here.
#[derive(Clone)]
pub(crate) struct Poster {
    client: Client,
}

/// One request on its way.
pub(crate) struct Post {
    /// Where to. Never told in an error: it may hold a secret.
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Poster {
    /// A client with the system's roots of trust.
    ///
    /// # Errors
    /// Why the client cannot be made, in words.
    pub(crate) fn new() -> Result<Self, String> {
        // Fails only when another part of the process was first: the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| error.without_url().to_string())?;
        Ok(Self { client })
    }

    /// Fetches a text of at most `max` bytes.
    pub(crate) async fn fetch(&self, url: Url, max: usize) -> Result<Vec<u8>, SendError> {
        let failed = |error: reqwest::Error| SendError::later(error.without_url().to_string());
        let mut answer = self.client.get(url).send().await.map_err(failed)?;
        verdict(answer.status(), answer.headers())?;
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + part.len() > max {
                return Err(SendError::Never(format!("it is longer than {max} bytes")));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    /// Posts JSON once.
    pub(crate) async fn send(&self, post: Post) -> Result<(), SendError> {
        let answer = self
            .client
            .post(post.url)
            .headers(post.headers)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(post.body)
            .send()
            .await
            .map_err(|error| SendError::later(error.without_url().to_string()))?;
        verdict(answer.status(), answer.headers())
    }
}

/// An address that a channel may post to.
pub(crate) fn address(text: &str) -> Result<Url, &'static str> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or("needs an http:// or https:// address")
}

fn verdict(status: StatusCode, headers: &HeaderMap) -> Result<(), SendError> {
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
        SendError::Later {
            said,
            wait: wait(headers),
        }
    } else {
        SendError::Never(said)
    })
}

/// `Retry-After`: seconds, also with a fraction (Discord), or a date, which is taken from the answer's own
/// `Date` so that nobody's clock matters.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let after = text(RETRY_AFTER)?.trim();
    let wait = match after.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds.ceil()).ok()?,
        Err(_) => {
            let (until, now) = (
                rfc2822::parse(after).ok()?,
                rfc2822::parse(text(DATE)?).ok()?,
            );
            let left = until.timestamp().duration_since(now.timestamp());
            Duration::try_from(left).unwrap_or_default()
        }
    };
    Some(wait.min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_receiver_that_names_a_time_is_left_alone_until_then() {
        let date = ("date", "Fri, 27 Nov 2026 04:10:00 GMT");
        for (after, seconds) in [
            ("7", Some(7)),
            ("0.65", Some(1)),
            ("Fri, 27 Nov 2026 04:12:00 GMT", Some(120)),
            ("Fri, 27 Nov 2026 04:09:00 GMT", Some(0)),
            ("99999999", Some(6 * 3_600)),
            ("-3", None),
            ("soon", None),
        ] {
            let headers = headers(&[("retry-after", after), date]);
            let error = verdict(StatusCode::TOO_MANY_REQUESTS, &headers).unwrap_err();
            let SendError::Later { wait, .. } = error else {
                panic!("{after}");
            };
            assert_eq!(wait, seconds.map(Duration::from_secs), "{after}");
        }
    }

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_not() {
        for (status, later) in [
            (500, true),
            (503, true),
            (429, true),
            (408, true),
            (400, false),
            (401, false),
            (404, false),
            (410, false),
            (302, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = verdict(status, &HeaderMap::new()).unwrap_err();
            assert_eq!(matches!(error, SendError::Later { .. }), later, "{status}");
        }
        assert!(verdict(StatusCode::NO_CONTENT, &HeaderMap::new()).is_ok());
    }

    #[test]
    fn what_is_no_web_address_is_refused() {
        for url in ["", "nonsense", "file:///etc/passwd", "ftp://host/"] {
            assert!(address(url).is_err(), "{url}");
        }
    }
}
