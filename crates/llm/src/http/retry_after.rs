//! When a server says to come back. It may say so as seconds, as a date, or as the time when a limit
//! is full again; dates are held against the answer's own `Date`, so that no clock of ours is needed.

use http::HeaderMap;
use jiff::Timestamp;
use std::time::Duration;

/// Beyond this a wait is not believed.
const WAIT_MAX: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// From now; `None` where nothing usable is said.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let get = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let date = get("date").and_then(http_date);
    let wait = get("retry-after-ms")
        .and_then(|text| text.parse().ok().map(|ms: f64| ms / 1_000.0))
        .and_then(seconds)
        .or_else(|| {
            let text = get("retry-after")?;
            let number = text.parse().ok().and_then(seconds);
            number.or_else(|| until(http_date(text)?, date?))
        })
        .or_else(|| full_again(headers, date))?;
    Some(wait.min(WAIT_MAX))
}

/// The latest reset of the limits that are used up.
fn full_again(headers: &HeaderMap, date: Option<Timestamp>) -> Option<Duration> {
    let get = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let anthropic = ["requests", "tokens", "input-tokens", "output-tokens"]
        .iter()
        .filter(|what| get(&format!("anthropic-ratelimit-{what}-remaining")) == Some("0"))
        .filter_map(|what| get(&format!("anthropic-ratelimit-{what}-reset")))
        .filter_map(|text| until(text.parse().ok()?, date?));
    let openai = ["requests", "tokens"]
        .iter()
        .filter(|what| get(&format!("x-ratelimit-remaining-{what}")) == Some("0"))
        .filter_map(|what| get(&format!("x-ratelimit-reset-{what}")))
        .filter_map(spelled);
    anthropic.chain(openai).max()
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok()
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()
}

/// A time that has passed is no wait.
fn until(then: Timestamp, now: Timestamp) -> Option<Duration> {
    let wait = then.duration_since(now);
    Some(Duration::try_from(wait).unwrap_or(Duration::ZERO))
}

/// `6m0s`, `1.5s`, `20ms`, `1h2m`.
fn spelled(text: &str) -> Option<Duration> {
    let mut sum = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let unit = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        sum += number
            * match &rest[..unit] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3_600.0,
                "d" => 86_400.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    seconds(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(pairs: &[(&'static str, &'static str)]) -> Option<Duration> {
        let headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    http::HeaderValue::from_static(value),
                )
            })
            .collect();
        retry_after(&headers)
    }

    #[test]
    fn every_way_of_saying_when_is_understood() {
        let date = ("date", "Fri, 27 Nov 2026 10:00:00 GMT");
        let s = |seconds: f64| Some(Duration::from_secs_f64(seconds));
        for (pairs, expected) in [
            (vec![("retry-after", "2")], s(2.0)),
            (vec![("retry-after", "0.5")], s(0.5)),
            (
                vec![("retry-after-ms", "1500"), ("retry-after", "9")],
                s(1.5),
            ),
            (
                vec![date, ("retry-after", "Fri, 27 Nov 2026 10:01:40 GMT")],
                s(100.0),
            ),
            (
                vec![date, ("retry-after", "Fri, 27 Nov 2026 09:00:00 GMT")],
                s(0.0),
            ),
            (vec![("retry-after", "Fri, 27 Nov 2026 10:01:40 GMT")], None),
            (vec![("retry-after", "99999999999")], Some(super::WAIT_MAX)),
            (vec![("retry-after", "-1")], None),
            (vec![("retry-after", "soon")], None),
            (
                vec![
                    date,
                    ("anthropic-ratelimit-tokens-remaining", "0"),
                    ("anthropic-ratelimit-tokens-reset", "2026-11-27T11:00:00Z"),
                    ("anthropic-ratelimit-requests-remaining", "9"),
                    ("anthropic-ratelimit-requests-reset", "2026-11-28T11:00:00Z"),
                ],
                s(3_600.0),
            ),
            (
                vec![
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "6m1.5s"),
                ],
                s(361.5),
            ),
            (vec![], None),
        ] {
            assert_eq!(wait(&pairs), expected, "{pairs:?}");
        }
    }
}
