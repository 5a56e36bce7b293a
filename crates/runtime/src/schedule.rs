//! When a schedule fires: pure arithmetic over cron expressions, zones and what a moved clock means.
//!
//! Not here: firing (`supervise`). Start at [`Schedule::parse`] and [`Schedule::settle`].
//!
//! Summer time follows Vixie cron: a fixed time that does not exist fires at the first instant after
//! the gap, one that exists twice fires once; intervals (`*/15`) follow the clock on the wall.

use agentwright_domain::spec::Missed;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::{Timestamp, tz::TimeZone};

/// A firing that is late by no more than this is on time.
pub const ON_TIME_MS: i64 = 60_000;
/// A clock that was set back by more than this starts the schedule anew; less never fires twice.
pub const SET_BACK_MS: i64 = 3_600_000;
/// The reference for "can this ever fire": 2024-01-01, the start of a leap year.
const REFERENCE_MS: i64 = 1_704_067_200_000;

/// A cron expression in a zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// Why a schedule cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// The expression does not parse.
    #[error(
        "{cron:?} is not a schedule: {why}; expected five fields: minute, hour, day of month, month, day of week"
    )]
    Cron {
        /// What was given.
        cron: String,
        /// What is wrong.
        why: String,
    },
    /// The zone is not known.
    #[error("{0:?} is not a time zone: expected an IANA name such as Europe/Berlin")]
    Zone(String),
    /// There is no such day.
    #[error("the schedule {0:?} never fires: there is no such day")]
    Never(String),
}

/// What a schedule asks for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing before this time, ms.
    Wait {
        /// The next firing, ms.
        next_due_at_ms: i64,
    },
    /// It fires now.
    Fire {
        /// The time that it was due, ms.
        due_at_ms: i64,
        /// The firing after it, ms.
        next_due_at_ms: i64,
    },
    /// It was missed, and missed firings are dropped.
    Dropped {
        /// The time that it was due, ms.
        due_at_ms: i64,
        /// The firing after it, ms.
        next_due_at_ms: i64,
    },
}

impl Due {
    /// The firing after this.
    pub fn next_due_at_ms(self) -> i64 {
        match self {
            Self::Wait { next_due_at_ms }
            | Self::Fire { next_due_at_ms, .. }
            | Self::Dropped { next_due_at_ms, .. } => next_due_at_ms,
        }
    }
}

impl Schedule {
    /// Reads an expression of five fields and a zone, and makes sure that it ever fires.
    ///
    /// # Errors
    /// [`BadSchedule`], for the person who wrote it.
    pub fn parse(cron: &str, zone: &str) -> Result<Self, BadSchedule> {
        let bad = |why: String| BadSchedule::Cron {
            cron: cron.chars().take(80).collect(),
            why,
        };
        if cron.split_whitespace().count() != 5 && !cron.trim().starts_with('@') {
            return Err(bad("it does not have five fields".into()));
        }
        let parsed = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(cron)
            .map_err(|error| bad(error.to_string()))?;
        let zone = TimeZone::get(zone).map_err(|_| BadSchedule::Zone(zone.to_owned()))?;
        let schedule = Self { cron: parsed, zone };
        if schedule.next_after(REFERENCE_MS).is_none() {
            return Err(BadSchedule::Never(cron.to_owned()));
        }
        Ok(schedule)
    }

    /// The first firing after a time, ms. `None` beyond the calendar.
    pub fn next_after(&self, after_ms: i64) -> Option<i64> {
        let from = self.at(after_ms)?;
        let next = self.cron.find_next_occurrence(&from, false).ok()?;
        Some(next.timestamp().as_millisecond())
    }

    /// The last firing before a time, ms.
    pub fn last_before(&self, before_ms: i64) -> Option<i64> {
        let from = self.at(before_ms)?;
        let last = self.cron.find_previous_occurrence(&from, false).ok()?;
        Some(last.timestamp().as_millisecond())
    }

    fn at(&self, ms: i64) -> Option<jiff::Zoned> {
        let at = Timestamp::from_millisecond(ms).ok()?;
        Some(at.to_zoned(self.zone.clone()))
    }

    /// Decides what is due now, given the firing that was waited for (`None` before the first).
    /// Firing twice for one time is impossible: what is returned as next always lies after `now_ms`.
    pub fn settle(&self, next_due_at_ms: Option<i64>, missed: Missed, now_ms: i64) -> Due {
        let next = self.next_after(now_ms).unwrap_or(i64::MAX);
        let Some(due) = next_due_at_ms else {
            return Due::Wait {
                next_due_at_ms: next,
            };
        };
        if now_ms < due {
            // The firing before the one waited for: later than now only when the clock was set back.
            let last = self.last_before(due).unwrap_or(i64::MIN);
            let set_back = last.saturating_sub(now_ms) > SET_BACK_MS;
            return Due::Wait {
                next_due_at_ms: if set_back { next } else { due },
            };
        }
        let on_time = now_ms.saturating_sub(due) <= ON_TIME_MS;
        match missed {
            Missed::Skip if !on_time => Due::Dropped {
                due_at_ms: due,
                next_due_at_ms: next,
            },
            Missed::Skip | Missed::RunOnce => Due::Fire {
                due_at_ms: due,
                next_due_at_ms: next,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    fn berlin(cron: &str) -> Schedule {
        Schedule::parse(cron, "Europe/Berlin").unwrap()
    }

    #[test]
    fn a_fixed_time_inside_the_spring_gap_fires_once_right_after_it() {
        let s = berlin("30 2 * * *");
        let first = s.next_after(ms("2026-03-29T00:00:00Z")).unwrap();
        assert_eq!(first, ms("2026-03-29T01:00:00Z"));
        assert_eq!(s.next_after(first).unwrap(), ms("2026-03-30T00:30:00Z"));
    }

    #[test]
    fn a_fixed_time_inside_the_autumn_overlap_fires_once() {
        let s = berlin("30 2 * * *");
        let first = s.next_after(ms("2026-10-24T12:00:00Z")).unwrap();
        assert_eq!(first, ms("2026-10-25T00:30:00Z"));
        assert_eq!(s.next_after(first).unwrap(), ms("2026-10-26T01:30:00Z"));
    }

    #[test]
    fn a_night_job_stays_at_two_on_the_wall_in_summer_and_winter() {
        let s = berlin("0 2 * * *");
        assert_eq!(
            s.next_after(ms("2026-07-01T12:00:00Z")).unwrap(),
            ms("2026-07-02T00:00:00Z")
        );
        assert_eq!(
            s.next_after(ms("2026-12-01T12:00:00Z")).unwrap(),
            ms("2026-12-02T01:00:00Z")
        );
    }

    #[test]
    fn an_interval_goes_on_through_both_halves_of_the_overlap() {
        let s = berlin("*/30 * * * *");
        let mut at = ms("2026-10-24T23:59:00Z");
        let mut fired = 0;
        while at < ms("2026-10-25T03:00:00Z") {
            at = s.next_after(at).unwrap();
            fired += 1;
        }
        assert_eq!(fired, 7);
    }

    #[test]
    fn a_missed_night_runs_once_or_is_dropped_as_the_policy_says() {
        let s = berlin("0 2 * * *");
        let due = ms("2026-11-18T01:00:00Z");
        let now = ms("2026-11-21T09:00:00Z");
        let next_due_at_ms = ms("2026-11-22T01:00:00Z");
        assert_eq!(
            s.settle(Some(due), Missed::RunOnce, now),
            Due::Fire {
                due_at_ms: due,
                next_due_at_ms
            }
        );
        assert_eq!(
            s.settle(Some(due), Missed::Skip, now),
            Due::Dropped {
                due_at_ms: due,
                next_due_at_ms
            }
        );
    }

    #[test]
    fn a_firing_that_is_a_little_late_counts_as_on_time() {
        let s = berlin("0 2 * * *");
        let due = ms("2026-11-18T01:00:00Z");
        assert!(matches!(
            s.settle(Some(due), Missed::Skip, due + ON_TIME_MS),
            Due::Fire { .. }
        ));
        assert!(matches!(
            s.settle(Some(due), Missed::Skip, due + ON_TIME_MS + 1),
            Due::Dropped { .. }
        ));
    }

    #[test]
    fn a_clock_set_back_by_seconds_does_not_fire_again() {
        let s = berlin("0 2 * * *");
        let fired = ms("2026-11-18T01:00:00Z");
        let next = s.next_after(fired).unwrap();
        let due = s.settle(Some(next), Missed::RunOnce, fired - 5_000);
        assert_eq!(
            due,
            Due::Wait {
                next_due_at_ms: next
            }
        );
    }

    #[test]
    fn a_clock_that_ran_years_ahead_and_was_corrected_fires_at_the_next_real_time() {
        let s = berlin("0 2 * * *");
        let wrong = ms("2036-01-01T01:00:00Z");
        let now = ms("2026-11-18T12:00:00Z");
        assert_eq!(
            s.settle(Some(wrong), Missed::RunOnce, now),
            Due::Wait {
                next_due_at_ms: ms("2026-11-19T01:00:00Z")
            }
        );
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_what_is_expected() {
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "61 * * * *",
            "every day",
            "0 25 * * *",
        ] {
            let error = Schedule::parse(bad, "UTC").unwrap_err();
            assert!(error.to_string().contains("five fields"), "{bad}: {error}");
        }
        assert_eq!(
            Schedule::parse("0 2 * * *", "Mars/Olympus").unwrap_err(),
            BadSchedule::Zone("Mars/Olympus".into())
        );
        assert_eq!(
            Schedule::parse("0 0 30 2 *", "UTC").unwrap_err(),
            BadSchedule::Never("0 0 30 2 *".into())
        );
    }

    proptest! {
        #[test]
        fn every_answer_lies_ahead_and_following_it_never_repeats_a_time(
            start in 1_600_000_000_000_i64..2_200_000_000_000,
            pick in 0_usize..6,
            late in 0_i64..400_000_000,
        ) {
            let cron = ["0 2 * * *", "30 2 * * 1-5", "*/15 * * * *", "0 0 1 * *", "5 4 29 2 *", "0 3 L * *"][pick];
            let s = berlin(cron);
            let mut now = start;
            let mut next = None;
            let mut last_fired = i64::MIN;
            for _ in 0..6 {
                let due = s.settle(next, Missed::RunOnce, now);
                if let Due::Fire { due_at_ms, .. } = due {
                    prop_assert!(due_at_ms > last_fired);
                    last_fired = due_at_ms;
                }
                prop_assert!(due.next_due_at_ms() > now);
                next = Some(due.next_due_at_ms());
                now = due.next_due_at_ms() + late;
            }
        }
    }
}
