//! The machine's own clock, as the code under test reads it.
//!
//! The only place in this crate that asks for the time. It is not `engine::Clock`: file ages and
//! `today` must agree with what a program inside the sandbox sees, also when a test moves ours.

use std::time::SystemTime;

/// The zone files that programs inside read; `/usr` is the same inside and outside.
const ZONES: &str = "/usr/share/zoneinfo";

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

/// The zone that a program inside can really use: the asked one where the machine has its file
/// (programs silently fall back to UTC where it does not).
pub(crate) fn usable_zone(asked: &str) -> String {
    let shaped = !asked.split('/').any(|part| part.is_empty() || part == "..");
    if shaped && std::path::Path::new(ZONES).join(asked).is_file() {
        asked.to_owned()
    } else {
        "UTC".to_owned()
    }
}
