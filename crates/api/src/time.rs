//! Times on the wire: ISO 8601 in UTC with milliseconds. Inside, they are milliseconds since 1970.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A moment. Written `2026-11-21T22:00:00.000Z`; any ISO 8601 time with an offset is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(i64);

impl Time {
    /// From milliseconds since 1970 UTC.
    pub fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970 UTC.
    pub fn as_ms(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            // Outside the years -9999 to 9999 there is no text form; the nearest end stands for it.
            Err(_) if self.0 < 0 => write!(f, "{:.3}", jiff::Timestamp::MIN),
            Err(_) => write!(f, "{:.3}", jiff::Timestamp::MAX),
        }
    }
}

/// Why a text is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 8601 time with an offset, for example 2026-11-21T22:00:00Z")]
pub struct NotATime;

impl TryFrom<String> for Time {
    type Error = NotATime;
    fn try_from(text: String) -> Result<Self, NotATime> {
        let at: jiff::Timestamp = text.parse().map_err(|_| NotATime)?;
        Ok(Self(at.as_millisecond()))
    }
}

impl From<Time> for String {
    fn from(time: Time) -> String {
        time.to_string()
    }
}

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_iso_8601_with_milliseconds_and_comes_back() {
        let time = Time::from_ms(1_795_298_400_123);
        assert_eq!(time.to_string(), "2026-11-21T22:00:00.123Z");
        let json = serde_json::to_string(&time).unwrap();
        assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), time);
    }

    #[test]
    fn an_offset_is_understood_and_nonsense_is_refused() {
        let time: Time = serde_json::from_str("\"2026-11-21T23:00:00+01:00\"").unwrap();
        assert_eq!(time.to_string(), "2026-11-21T22:00:00.000Z");
        assert!(serde_json::from_str::<Time>("\"yesterday\"").is_err());
    }

    #[test]
    fn a_time_beyond_the_calendar_is_written_as_its_end() {
        assert!(Time::from_ms(i64::MAX).to_string().starts_with("9999-"));
        assert!(Time::from_ms(i64::MIN).to_string().starts_with("-009999-"));
    }
}
