//! A notice as a signed HTTP POST, as Standard Webhooks 1.0 has it (standardwebhooks.com): `webhook-id` is the
//! receiver's idempotency key, `webhook-timestamp` when this try is made, `webhook-signature` an HMAC over both
//! and the body.

use crate::http::{Post, Poster};
use crate::secret::{Address, Secret};
use crate::{Channel, Message, Resolve, SendError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

/// Before the Base64 of a secret.
const SECRET_PREFIX: &str = "whsec_";
/// Signatures of one message: one for each secret, while one replaces the other.
const SECRETS_MAX: usize = 4;

/// Posts to one address.
pub struct Webhook {
    name: String,
    url: Address,
    secret: Option<Secret>,
    poster: Poster,
}

impl Webhook {
    /// A channel that posts to `url` (or to what the reference names) and signs with what `secret` names. The
    /// address is never told: it may hold a token.
    ///
    /// # Errors
    /// What is wrong with the configuration, in words.
    pub fn new(
        name: &str,
        url: &str,
        secret: Option<&str>,
        resolve: &Resolve,
    ) -> Result<Self, String> {
        Ok(Self {
            name: name.to_owned(),
            url: Address::new(url, resolve)?,
            secret: secret
                .map(|secret| Secret::new(secret, resolve))
                .transpose()?,
            poster: Poster::new()?,
        })
    }
}

#[async_trait::async_trait]
impl Channel for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let body = message.to_json().to_string();
        let timestamp = message.sent_at_ms.div_euclid(1_000).to_string();
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value)
                .map_err(|_| SendError::Never(format!("its {name} fits no header")))?;
            headers.insert(HeaderName::from_static(name), value);
            Ok::<(), SendError>(())
        };
        put("webhook-id", &message.id)?;
        put("webhook-timestamp", &timestamp)?;
        if let Some(secret) = &self.secret {
            let signature = signatures(&secret.read().await?, &message.id, &timestamp, &body)
                .map_err(SendError::later)?;
            put("webhook-signature", &signature)?;
        }
        let post = Post {
            url: self.url.read().await?,
            headers,
            body,
        };
        self.poster.send(post).await
    }
}

/// The header's value: one signature for each secret, with spaces between.
fn signatures(
    secrets: &str,
    id: &str,
    timestamp: &str,
    body: &str,
) -> Result<String, &'static str> {
    let mut signatures = Vec::new();
    for secret in secrets.split_whitespace().take(SECRETS_MAX) {
        let key = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
        let key = STANDARD
            .decode(key)
            .map_err(|_| "the signing secret is not whsec_ and Base64")?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key)
            .map_err(|_| "the signing secret cannot be used as a key")?;
        for part in [id, ".", timestamp, ".", body] {
            mac.update(part.as_bytes());
        }
        signatures.push(format!(
            "v1,{}",
            STANDARD.encode(mac.finalize().into_bytes())
        ));
    }
    if signatures.is_empty() {
        return Err("the signing secret is empty");
    }
    Ok(signatures.join(" "))
}

/// How far a sender's clock may be from ours, seconds, as Standard Webhooks recommends.
const TOLERANCE_S: i64 = 5 * 60;

/// Why a message that came in is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// Its time is not now: a repetition from elsewhere, or a wrong clock.
    #[error(
        "webhook-timestamp is not within five minutes of now: send the time of this try, in seconds"
    )]
    Time,
    /// Nobody who knows the secret wrote it.
    #[error(
        "webhook-signature is not one of this hook's secret over webhook-id, webhook-timestamp and the body"
    )]
    Signature,
    /// The secret of this end cannot be used.
    #[error("the secret of this hook cannot be used as a key")]
    Secret,
}

/// Whether who knows one of the secrets sent this, and now. The header may hold several signatures, with spaces
/// between.
///
/// # Errors
/// [`Unverified`].
pub fn verify(
    secrets: &str,
    (id, timestamp): (&str, &str),
    signature: &str,
    body: &[u8],
    now_s: i64,
) -> Result<(), Unverified> {
    let at_s: i64 = timestamp.parse().map_err(|_| Unverified::Time)?;
    if now_s.abs_diff(at_s) > TOLERANCE_S.unsigned_abs() {
        return Err(Unverified::Time);
    }
    let given: Vec<Vec<u8>> = signature
        .split_whitespace()
        .take(SECRETS_MAX)
        .filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok())
        .collect();
    let mut keys = 0;
    for secret in secrets.split_whitespace().take(SECRETS_MAX) {
        let key = secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret);
        let key = STANDARD.decode(key).map_err(|_| Unverified::Secret)?;
        let mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| Unverified::Secret)?;
        keys += 1;
        for one in &given {
            let mut mac = mac.clone();
            for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                mac.update(part);
            }
            // Compared in constant time.
            if mac.verify_slice(one).is_ok() {
                return Ok(());
            }
        }
    }
    Err(if keys == 0 {
        Unverified::Secret
    } else {
        Unverified::Signature
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::message;
    use crate::testing::{answering, resolving};

    /// The example of the specification's own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn signatures_are_those_of_the_specifications_example() {
        let of = |secrets: &str| {
            let body = r#"{"test": 2432232314}"#;
            signatures(secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
        };
        assert_eq!(of(SECRET).unwrap(), SIGNATURE);
        assert_eq!(of(&SECRET["whsec_".len()..]).unwrap(), SIGNATURE);
        let both = of(&format!(
            "whsec_b2xkZXIta2V5LW9mLXR3ZW50eS1mb3Vy {SECRET}\n"
        ))
        .unwrap();
        let both: Vec<_> = both.split(' ').collect();
        assert_eq!((both.len(), both[1]), (2, SIGNATURE));
        assert!(of(" ").is_err());
        assert!(of("whsec_not base64").is_err());
    }

    #[tokio::test]
    async fn a_notice_is_posted_with_its_id_as_the_idempotency_key_and_signed() {
        let (url, asked) = answering("204 No Content").await;
        let resolve = resolving(&[("env:S", SECRET), ("env:URL", &url)]);
        let hook = Webhook::new("hook", "env:URL", Some("env:S"), &resolve).unwrap();
        let message = message();
        let (sent, asked) = tokio::join!(hook.send(&message), asked);
        sent.unwrap();
        assert!(asked.starts_with("POST /hook?token=t"), "{asked}");
        assert!(asked.contains("webhook-id: run-1-0\r\n"), "{asked}");
        assert!(
            asked.contains("webhook-timestamp: 1614265330\r\n"),
            "{asked}"
        );
        assert!(asked.contains(r#""type":"build.failed""#), "{asked}");
        let body = asked.split("\r\n\r\n").nth(1).unwrap();
        let signature = signatures(SECRET, "run-1-0", "1614265330", body).unwrap();
        assert!(
            asked.contains(&format!("webhook-signature: {signature}\r\n")),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn a_receiver_that_is_not_there_is_tried_again_and_its_address_is_not_told() {
        let resolve = resolving(&[]);
        let hook = Webhook::new("hook", "http://127.0.0.1:1/s3cret", None, &resolve).unwrap();
        let error = hook.send(&message()).await.unwrap_err();
        assert!(matches!(error, SendError::Later { .. }));
        assert!(!error.to_string().contains("s3cret"));
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_read_or_used_is_told_by_its_reference_only() {
        for (secret, says) in [("env:GONE", "env:GONE"), ("env:S", "Base64")] {
            let resolve = resolving(&[("env:S", "s3cret?")]);
            let hook = Webhook::new("hook", "http://127.0.0.1:1/", Some(secret), &resolve).unwrap();
            let error = hook.send(&message()).await.unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn what_comes_in_is_believed_with_a_signature_of_now_only() {
        let secrets = "whsec_c2VjcmV0LW9sZA== whsec_c2VjcmV0LW5ldw==";
        let body = r#"{"name": "x"}"#;
        let signed = signatures(secrets, "m1", "1000", body).unwrap();
        let second = signed.split(' ').nth(1).unwrap();
        let asks = |signature: &str, id: &str, at: &str, body: &str, now_s| {
            verify(secrets, (id, at), signature, body.as_bytes(), now_s)
        };
        for signature in [&signed, second] {
            assert_eq!(asks(signature, "m1", "1000", body, 1_300), Ok(()));
        }
        assert_eq!(
            asks(&signed, "m1", "1000", body, 1_301),
            Err(Unverified::Time)
        );
        assert_eq!(
            asks(&signed, "m1", "1000", body, 699),
            Err(Unverified::Time)
        );
        assert_eq!(
            asks(&signed, "m1", "now", body, 1_000),
            Err(Unverified::Time)
        );
        for (signature, id, body) in [
            (signed.as_str(), "m2", body),
            (&signed, "m1", "{}"),
            ("", "m1", body),
            ("v1,AAAA v2,AAAA nonsense", "m1", body),
        ] {
            let verdict = asks(signature, id, "1000", body, 1_000);
            assert_eq!(
                verdict,
                Err(Unverified::Signature),
                "{signature} {id} {body}"
            );
        }
        let other = signatures("whsec_b3RoZXI=", "m1", "1000", body).unwrap();
        assert_eq!(
            asks(&other, "m1", "1000", body, 1_000),
            Err(Unverified::Signature)
        );
        let none = verify("", ("m1", "1000"), &signed, body.as_bytes(), 1_000);
        assert_eq!(none, Err(Unverified::Secret));
    }
}
