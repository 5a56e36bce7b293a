//! Whether and when a channel wants a notice: topics, quiet hours, digests, repetitions. Pure: the time is
//! handed in.

use agentwright_domain::run::Notice;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Notices that are remembered for [`Recent`]; the oldest goes first.
const RECENT_MAX: usize = 1_000;
/// The longest time within which a repetition is kept back: a week.
const ONCE_IN_MAX_S: u64 = 7 * 86_400;

/// What the configuration says of a channel. Everything may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WhenConfig {
    /// The topics that it wants: `build.failed`, `build.*`, `*`. Empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// Topics that neither quiet hours nor a digest hold back; they come on top of `topics` and narrow nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urgent: Vec<String>,
    /// When it is not to be disturbed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet: Option<QuietConfig>,
    /// Times of day (`"08:00"`) at which everything since the last one comes as one message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub digest: Vec<String>,
    /// The zone of these times, IANA; UTC where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The same notice (topic, title and body) comes at most once in so many seconds; 0 means always.
    pub once_in_s: u64,
}

/// Hours without notices: from inclusive, to exclusive; may go over midnight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietConfig {
    /// `"22:00"`.
    pub from: String,
    /// `"07:00"`.
    pub to: String,
}

/// The same, checked.
#[derive(Clone, Debug)]
pub struct When {
    topics: Vec<String>,
    urgent: Vec<String>,
    quiet: Option<(Time, Time)>,
    digest: Vec<Time>,
    zone: TimeZone,
    once_in_ms: i64,
}

/// What a channel says to a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It does not want it.
    Never,
    /// Now.
    Now,
    /// Not before this time, ms.
    At(i64),
}

impl Default for When {
    fn default() -> Self {
        Self {
            topics: Vec::new(),
            urgent: Vec::new(),
            quiet: None,
            digest: Vec::new(),
            zone: TimeZone::UTC,
            once_in_ms: 0,
        }
    }
}

impl When {
    /// Checks what the configuration says.
    ///
    /// # Errors
    /// What is wrong and what to write instead.
    pub fn new(config: &WhenConfig) -> Result<Self, String> {
        for topic in config.topics.iter().chain(&config.urgent) {
            let name = topic.strip_suffix('*').unwrap_or(topic);
            if name.contains('*') || topic.is_empty() {
                return Err(format!(
                    "has the topic {topic:?}: write a whole one, such as \"build.failed\", or a beginning and \"*\""
                ));
            }
        }
        let quiet = config
            .quiet
            .as_ref()
            .map(|quiet| Ok::<_, String>((time(&quiet.from)?, time(&quiet.to)?)))
            .transpose()?;
        if quiet.is_some_and(|(from, to)| from == to) {
            return Err("has quiet hours that begin when they end".to_owned());
        }
        let digest: Result<Vec<Time>, String> = config.digest.iter().map(|at| time(at)).collect();
        let zone = match &config.zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| {
                format!("has the zone {name:?}: write one such as \"Europe/Berlin\"")
            })?,
        };
        if config.once_in_s > ONCE_IN_MAX_S {
            return Err(format!("has once_in_s above {ONCE_IN_MAX_S}"));
        }
        Ok(Self {
            topics: config.topics.clone(),
            urgent: config.urgent.clone(),
            quiet,
            digest: digest?,
            zone,
            once_in_ms: i64::try_from(config.once_in_s * 1_000).unwrap_or(i64::MAX),
        })
    }

    /// Whether and when: `written_ms` is when the notice was written, `now_ms` is now.
    pub fn due(&self, topic: &str, written_ms: i64, now_ms: i64) -> Due {
        if !self.topics.is_empty() && !any(&self.topics, topic) {
            return Due::Never;
        }
        if any(&self.urgent, topic) {
            return Due::Now;
        }
        let Ok(now) = Timestamp::from_millisecond(now_ms).map(|at| at.to_zoned(self.zone.clone()))
        else {
            return Due::Now;
        };
        if let Some(at_ms) = self.next_digest(written_ms).filter(|at_ms| *at_ms > now_ms) {
            return Due::At(at_ms);
        }
        match self.quiet {
            Some((from, to)) if within(now.time(), from, to) => {
                Due::At(next(&now, to).map_or(now_ms, |end| end.timestamp().as_millisecond()))
            }
            Some(_) | None => Due::Now,
        }
    }

    /// Whether what is due at one time goes into one message.
    pub fn gathers(&self) -> bool {
        !self.digest.is_empty()
    }

    /// The first time of a digest after a moment.
    fn next_digest(&self, after_ms: i64) -> Option<i64> {
        let after = Timestamp::from_millisecond(after_ms).ok()?;
        let after = after.to_zoned(self.zone.clone());
        let times = self.digest.iter().filter_map(|at| next(&after, *at));
        times.map(|at| at.timestamp().as_millisecond()).min()
    }
}

/// The next moment, strictly after one, at which clocks of its zone show a time of day. Where clocks are put
/// forward over it, the moment just after.
fn next(after: &Zoned, at: Time) -> Option<Zoned> {
    let mut day = after.date();
    // Today's may be over, tomorrow's may be skipped by the zone: the third day is always there.
    for _ in 0..3 {
        let moment = day
            .to_datetime(at)
            .to_zoned(after.time_zone().clone())
            .ok()?;
        if moment.timestamp() > after.timestamp() {
            return Some(moment);
        }
        day = day.tomorrow().ok()?;
    }
    None
}

fn within(now: Time, from: Time, to: Time) -> bool {
    if from < to {
        from <= now && now < to
    } else {
        from <= now || now < to
    }
}

fn time(text: &str) -> Result<Time, String> {
    let wrong = || format!("has the time {text:?}: write it as \"22:00\"");
    let shaped = text.len() == 5 && text.as_bytes()[2] == b':';
    if !shaped {
        return Err(wrong());
    }
    text.parse().map_err(|_| wrong())
}

fn any(patterns: &[String], topic: &str) -> bool {
    patterns
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => topic.starts_with(start),
            None => pattern == topic,
        })
}

/// What each channel was told lately, so that it is not told the same again and again. Kept in memory: after a
/// restart a repetition may come through.
#[derive(Debug, Default)]
pub struct Recent(VecDeque<Told>);

#[derive(Debug)]
struct Told {
    channel: String,
    notice: Notice,
    at_ms: i64,
}

impl Recent {
    /// Whether the channel was told the same within its time.
    pub fn repeats(&self, channel: &str, when: &When, notice: &Notice, now_ms: i64) -> bool {
        when.once_in_ms > 0
            && self.0.iter().any(|told| {
                told.channel == channel
                    && told.notice == *notice
                    && (0..when.once_in_ms).contains(&(now_ms - told.at_ms))
            })
    }

    /// Remembers that it was told.
    pub fn told(&mut self, channel: &str, when: &When, notice: &Notice, now_ms: i64) {
        if when.once_in_ms == 0 {
            return;
        }
        if self.0.len() == RECENT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Told {
            channel: channel.to_owned(),
            notice: notice.clone(),
            at_ms: now_ms,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn when(config: &str) -> When {
        When::new(&serde_json::from_str(config).unwrap()).unwrap()
    }

    fn ms(text: &str) -> i64 {
        let zoned: Zoned = text.parse().unwrap();
        zoned.timestamp().as_millisecond()
    }

    fn notice(title: &str) -> Notice {
        Notice {
            topic: "build.failed".into(),
            title: title.into(),
            body: String::new(),
        }
    }

    #[test]
    fn a_channel_gets_the_topics_that_it_wants() {
        let when = when(r#"{"topics": ["build.*", "automation.paused"]}"#);
        for (topic, due) in [
            ("build.failed", Due::Now),
            ("build.waiting", Due::Now),
            ("automation.paused", Due::Now),
            ("automation.notice", Due::Never),
            ("buildings", Due::Never),
        ] {
            assert_eq!(when.due(topic, 0, 0), due, "{topic}");
        }
        assert_eq!(When::default().due("anything", 0, 0), Due::Now);
    }

    #[test]
    fn quiet_hours_hold_back_until_they_end_and_not_what_is_urgent() {
        let when = when(
            r#"{"quiet": {"from": "22:00", "to": "07:00"}, "zone": "Europe/Berlin", "urgent": ["build.waiting"]}"#,
        );
        let end = ms("2026-11-28T07:00[Europe/Berlin]");
        for (now, due) in [
            ("2026-11-27T21:59:59[Europe/Berlin]", Due::Now),
            ("2026-11-27T22:00[Europe/Berlin]", Due::At(end)),
            ("2026-11-28T06:59:59[Europe/Berlin]", Due::At(end)),
            ("2026-11-28T07:00[Europe/Berlin]", Due::Now),
        ] {
            assert_eq!(when.due("build.failed", 0, ms(now)), due, "{now}");
            assert_eq!(when.due("build.waiting", 0, ms(now)), Due::Now, "{now}");
        }
        let noon = self::when(r#"{"quiet": {"from": "12:00", "to": "13:00"}}"#);
        let now = ms("2026-11-27T12:30[UTC]");
        assert_eq!(noon.due("x", now, now), Due::At(now + 30 * 60_000));
    }

    #[test]
    fn quiet_hours_end_when_the_clock_shows_it_also_when_clocks_are_changed() {
        let when = when(r#"{"quiet": {"from": "22:00", "to": "02:30"}, "zone": "Europe/Berlin"}"#);
        // Clocks go from 02:00 to 03:00: 02:30 is never shown.
        let night = ms("2026-03-29T01:00[Europe/Berlin]");
        assert_eq!(
            when.due("x", 0, night),
            Due::At(ms("2026-03-29T03:30[Europe/Berlin]"))
        );
        // Clocks go back from 03:00 to 02:00: 02:30 is shown twice, the first counts.
        let night = ms("2026-10-25T01:00[Europe/Berlin]");
        let Due::At(end) = when.due("x", 0, night) else {
            panic!("not quiet");
        };
        assert_eq!(end - night, 90 * 60_000);
    }

    #[test]
    fn a_digest_gathers_what_was_written_since_the_last_one() {
        let when = when(r#"{"digest": ["08:00", "18:00"], "zone": "America/New_York"}"#);
        assert!(when.gathers());
        let written = ms("2026-11-27T09:00[America/New_York]");
        let evening = ms("2026-11-27T18:00[America/New_York]");
        assert_eq!(when.due("x", written, written), Due::At(evening));
        assert_eq!(when.due("x", written, evening), Due::Now);
        assert_eq!(when.due("x", written, evening + 1), Due::Now);
        let morning = ms("2026-11-28T08:00[America/New_York]");
        assert_eq!(when.due("x", evening, evening), Due::At(morning));
    }

    #[test]
    fn a_repetition_within_the_time_is_recognised_and_the_memory_is_bounded() {
        let (mut recent, hourly) = (Recent::default(), when(r#"{"once_in_s": 3600}"#));
        recent.told("a", &hourly, &notice("x"), 1_000);
        assert!(recent.repeats("a", &hourly, &notice("x"), 3_600_999));
        assert!(!recent.repeats("a", &hourly, &notice("x"), 3_601_000));
        assert!(!recent.repeats("a", &hourly, &notice("y"), 1_001));
        assert!(!recent.repeats("b", &hourly, &notice("x"), 1_001));
        assert!(!recent.repeats("a", &When::default(), &notice("x"), 1_001));
        // A clock that was put back makes nothing a repetition of the future.
        assert!(!recent.repeats("a", &hourly, &notice("x"), 0));
        for n in 0..2 * RECENT_MAX {
            recent.told("a", &hourly, &notice(&n.to_string()), 2_000);
        }
        assert_eq!(recent.0.len(), RECENT_MAX);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        for (config, says) in [
            (r#"{"topics": ["*.failed"]}"#, "*.failed"),
            (r#"{"topics": [""]}"#, "topic"),
            (r#"{"quiet": {"from": "22", "to": "07:00"}}"#, "22:00"),
            (r#"{"quiet": {"from": "22:00", "to": "25:00"}}"#, "25:00"),
            (
                r#"{"quiet": {"from": "07:00", "to": "07:00"}}"#,
                "begin when they end",
            ),
            (r#"{"digest": ["8 am"]}"#, "8 am"),
            (r#"{"zone": "Berlin"}"#, "Europe/Berlin"),
            (r#"{"once_in_s": 10000000}"#, "once_in_s"),
        ] {
            let error = When::new(&serde_json::from_str(config).unwrap()).unwrap_err();
            assert!(error.contains(says), "{config}: {error}");
        }
    }
}
