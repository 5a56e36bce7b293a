//! The machine's own clock, as the code under test reads it.
//!
//! The only place in this crate that asks for the time. It is not `engine::Clock`: file ages and
//! `today` must agree with what a program inside the sandbox sees, also when a test moves ours.

use std::time::SystemTime;

/// Now.
#[expect(
    clippy::disallowed_methods,
    reason = "fixtures must agree with the clock that the code under test reads"
)]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Today's date in a zone, `YYYY-MM-DD`.
pub(crate) fn today(zone: &str) -> String {
    let now = jiff::Timestamp::try_from(now()).unwrap_or_default();
    let zone = jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
    now.to_zoned(zone).date().to_string()
}
