//! Times as people write them, and the off-hours window, in a person's zone.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// A moment as it was written: in a zone of its own, or in the person's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// With its own offset.
    At(Timestamp),
    /// What a clock on the person's wall shows.
    Civil(DateTime),
}

/// Reads `2026-02-06 15:00`, `2026-02-06T15:00:00`, `2026-02-06`, or a moment with an offset.
pub fn moment(text: &str) -> Option<Moment> {
    let text = text.trim();
    // The usual form has neither an offset nor a zone.
    let plain = !text.contains(['Z', 'z', '+', '[']) && text.matches('-').count() == 2;
    if plain && let Ok(civil) = text.parse::<DateTime>() {
        return Some(Moment::Civil(civil));
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(Moment::At(at));
    }
    if let Ok(zoned) = text.parse::<Zoned>() {
        return Some(Moment::At(zoned.timestamp()));
    }
    text.parse::<DateTime>().ok().map(Moment::Civil)
}

impl Moment {
    /// The moment, ms. A wall clock's time that a zone skips is the moment just after; of one that it shows twice,
    /// the first.
    pub fn ms(self, zone: &TimeZone) -> Option<i64> {
        match self {
            Self::At(at) => Some(at.as_millisecond()),
            Self::Civil(civil) => {
                let zoned = civil.to_zoned(zone.clone()).ok()?;
                Some(zoned.timestamp().as_millisecond())
            }
        }
    }
}

/// Hours of every day: from inclusive, to exclusive; may go over midnight.
#[derive(Clone, Debug)]
pub struct Window {
    from: Time,
    to: Time,
    zone: TimeZone,
}

/// Why hours are no window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAWindow {
    /// A time is none.
    #[error("{0:?} is no time of day: write it as 22:00")]
    Time(String),
    /// Both are the same.
    #[error("the window begins when it ends: write other times")]
    Empty,
    /// The zone is unknown.
    #[error("{0:?} is no time zone: write one such as Europe/Berlin")]
    Zone(String),
}

impl Window {
    /// Reads times of day and an IANA zone.
    ///
    /// # Errors
    /// [`NotAWindow`].
    pub fn new(from: &str, to: &str, zone: &str) -> Result<Self, NotAWindow> {
        let time = |text: &str| {
            let shaped = text.len() == 5 && text.as_bytes()[2] == b':';
            let time = text.parse().ok().filter(|_| shaped);
            time.ok_or_else(|| NotAWindow::Time(text.to_owned()))
        };
        let (from, to) = (time(from)?, time(to)?);
        if from == to {
            return Err(NotAWindow::Empty);
        }
        let zone = TimeZone::get(zone).map_err(|_| NotAWindow::Zone(zone.to_owned()))?;
        Ok(Self { from, to, zone })
    }

    /// The seed's: 22:00 to 06:00.
    ///
    /// # Errors
    /// [`NotAWindow::Zone`].
    pub fn off_hours(zone: &str) -> Result<Self, NotAWindow> {
        Self::new("22:00", "06:00", zone)
    }

    /// Its zone: the person's.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Whether a wall clock of the zone shows a time of the window.
    pub fn contains(&self, now_ms: i64) -> bool {
        let Some(now) = self.local(now_ms).map(|now| now.time()) else {
            return false;
        };
        if self.from < self.to {
            self.from <= now && now < self.to
        } else {
            self.from <= now || now < self.to
        }
    }

    /// When it opens next, ms; now where it is open.
    pub fn opens_ms(&self, now_ms: i64) -> Option<i64> {
        if self.contains(now_ms) {
            return Some(now_ms);
        }
        let mut day = self.local(now_ms)?.date();
        for _ in 0..3 {
            let open = day
                .to_datetime(self.from)
                .to_zoned(self.zone.clone())
                .ok()?;
            let open_ms = open.timestamp().as_millisecond();
            if open_ms > now_ms {
                return Some(open_ms);
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    fn local(&self, now_ms: i64) -> Option<Zoned> {
        let now = Timestamp::from_millisecond(now_ms).ok()?;
        Some(now.to_zoned(self.zone.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Zoned>().unwrap().timestamp().as_millisecond()
    }

    #[test]
    fn the_off_hours_begin_at_ten_and_end_before_six_on_the_persons_wall() {
        let window = Window::off_hours("Europe/Berlin").unwrap();
        for (at, open) in [
            ("2026-02-06T21:59:59[Europe/Berlin]", false),
            ("2026-02-06T22:00[Europe/Berlin]", true),
            ("2026-02-07T05:59:59[Europe/Berlin]", true),
            ("2026-02-07T06:00[Europe/Berlin]", false),
            // Clocks go forward from 2 to 3, and back from 3 to 2.
            ("2026-03-29T03:00[Europe/Berlin]", true),
            ("2026-03-29T06:00[Europe/Berlin]", false),
            ("2026-10-25T05:59[Europe/Berlin]", true),
            ("2026-10-25T06:00[Europe/Berlin]", false),
        ] {
            assert_eq!(window.contains(ms(at)), open, "{at}");
        }
        let noon = ms("2026-02-06T12:00[Europe/Berlin]");
        let ten = ms("2026-02-06T22:00[Europe/Berlin]");
        assert_eq!(window.opens_ms(noon), Some(ten));
        assert_eq!(window.opens_ms(ten + 5), Some(ten + 5));
    }

    #[test]
    fn a_window_by_day_and_one_whose_beginning_is_skipped_open_too() {
        let day = Window::new("09:00", "17:00", "UTC").unwrap();
        assert!(day.contains(ms("2026-02-06T09:00[UTC]")));
        assert_eq!(
            day.opens_ms(ms("2026-02-06T17:00[UTC]")),
            Some(ms("2026-02-07T09:00[UTC]"))
        );
        // 02:30 is never shown on that day.
        let odd = Window::new("02:30", "04:00", "Europe/Berlin").unwrap();
        assert_eq!(
            odd.opens_ms(ms("2026-03-29T01:00[Europe/Berlin]")),
            Some(ms("2026-03-29T03:30[Europe/Berlin]"))
        );
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let at = ms("2026-02-06T15:00[Europe/Berlin]");
        for text in [
            "2026-02-06 15:00",
            "2026-02-06T15:00:00",
            "2026-02-06T14:00:00Z",
            "2026-02-06T15:00:00+01:00",
            "2026-02-06T15:00[Europe/Berlin]",
        ] {
            assert_eq!(
                moment(text).and_then(|it| it.ms(&berlin)),
                Some(at),
                "{text}"
            );
        }
        assert!(moment("2026-02-06").is_some());
        for text in ["", "tomorrow", "15:00", "2026-13-40"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_window_is_refused_in_words() {
        assert_eq!(
            Window::new("22", "06:00", "UTC").err(),
            Some(NotAWindow::Time("22".into()))
        );
        assert_eq!(
            Window::new("06:00", "06:00", "UTC").err(),
            Some(NotAWindow::Empty)
        );
        assert_eq!(
            Window::off_hours("Moon").err(),
            Some(NotAWindow::Zone("Moon".into()))
        );
    }
}
