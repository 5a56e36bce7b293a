//! Wall clocks: of zones that the machine knows, and of those that only a calendar defines (RFC 5545, 3.6.5).

use super::{OCCURRENCES_MAX, expand, plain_time, value, values};
use icalendar::parser::{Component, Property};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use std::collections::HashMap;
use std::sync::Arc;

/// What clocks on a wall show.
#[derive(Clone, Debug)]
pub(super) enum Wall {
    /// In a zone of the machine.
    Known(TimeZone),
    /// In a zone of the calendar.
    Own(Arc<Own>),
}

/// A zone as a calendar defines it.
#[derive(Debug)]
pub(super) struct Own {
    /// Before the first change.
    first: Offset,
    /// In order.
    changes: Vec<Change>,
}

/// From then on the clocks show another time.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// As they showed it until then.
    wall: DateTime,
    ms: i64,
    to: Offset,
}

impl Wall {
    /// When that is. A time that clocks leave out is taken as they showed it before or after; of one that comes twice
    /// the first is taken.
    pub(super) fn ms(&self, civil: DateTime) -> Option<i64> {
        match self {
            Self::Known(zone) => {
                let at = civil.to_zoned(zone.clone()).ok()?;
                Some(at.timestamp().as_millisecond())
            }
            Self::Own(own) => {
                let after = own.changes.partition_point(|change| change.wall <= civil);
                let at = own.offset(after).to_timestamp(civil).ok()?;
                Some(at.as_millisecond())
            }
        }
    }

    /// What they show then.
    pub(super) fn civil(&self, ms: i64) -> Option<DateTime> {
        let at = Timestamp::from_millisecond(ms).ok()?;
        Some(match self {
            Self::Known(zone) => zone.to_datetime(at),
            Self::Own(own) => {
                let after = own.changes.partition_point(|change| change.ms <= ms);
                own.offset(after).to_datetime(at)
            }
        })
    }
}

impl Own {
    /// After so many changes.
    fn offset(&self, changes: usize) -> Offset {
        let last = changes.checked_sub(1).and_then(|at| self.changes.get(at));
        last.map_or(self.first, |change| change.to)
    }
}

/// All walls of a calendar.
pub(super) struct Walls {
    home: Wall,
    own: HashMap<String, Wall>,
}

impl Walls {
    /// Those that the calendar defines and the machine does not know, until a time.
    ///
    /// # Errors
    /// The name of one that cannot be read, and why.
    pub(super) fn of(
        parts: &[&Component<'_>],
        home: &TimeZone,
        to_ms: i64,
    ) -> Result<Self, (String, &'static str)> {
        let mut own = HashMap::new();
        for part in parts {
            let name = value(part, "TZID").unwrap_or_default();
            if name.is_empty() || TimeZone::get(name).is_ok() {
                continue;
            }
            let wall = defined(part, to_ms).map_err(|why| (name.to_owned(), why))?;
            own.insert(name.to_owned(), Wall::Own(Arc::new(wall)));
        }
        Ok(Self {
            home: Wall::Known(home.clone()),
            own,
        })
    }

    /// The person's own.
    pub(super) fn home(&self) -> &Wall {
        &self.home
    }

    /// That of the zone which a property names; `otherwise` where there is none, or none that anybody knows.
    pub(super) fn named(&self, property: &Property<'_>, otherwise: &Wall) -> Wall {
        let mut params = property.params.iter();
        let named = params.find(|param| param.key.as_ref().eq_ignore_ascii_case("TZID"));
        let named = named.and_then(|param| param.val.as_ref());
        let known = named.and_then(|name| {
            let name = name.as_ref().trim_matches('"');
            let known = TimeZone::get(name).ok().map(Wall::Known);
            known.or_else(|| self.own.get(name).cloned())
        });
        known.unwrap_or_else(|| otherwise.clone())
    }
}

fn defined(part: &Component<'_>, to_ms: i64) -> Result<Own, &'static str> {
    let mut changes = Vec::new();
    let mut first = None;
    let mut left = OCCURRENCES_MAX;
    for observance in &part.components {
        let offset = |name: &str| value(observance, name).and_then(offset);
        let (Some(from), Some(to)) = (offset("TZOFFSETFROM"), offset("TZOFFSETTO")) else {
            return Err("it has no TZOFFSETFROM or TZOFFSETTO");
        };
        let begin = value(observance, "DTSTART").and_then(plain_time);
        let begin = begin.ok_or("a DTSTART of it is no time")?;
        let wall = Wall::Known(TimeZone::fixed(from));
        let mut walls: Vec<DateTime> = values(observance, "RDATE").filter_map(plain_time).collect();
        match value(observance, "RRULE") {
            Some(rule) => walls.extend(expand(rule, begin, &wall, to_ms, &mut left)?),
            None => walls.push(begin),
        }
        for at in walls {
            let ms = wall.ms(at).ok_or("it changes at no time that there is")?;
            if first.is_none_or(|(known, _)| ms < known) {
                first = Some((ms, from));
            }
            changes.push(Change { wall: at, ms, to });
        }
    }
    let (_, first) = first.ok_or("it has neither STANDARD nor DAYLIGHT")?;
    if left == 0 {
        return Err("it changes too often");
    }
    changes.sort_by_key(|change| change.ms);
    Ok(Own { first, changes })
}

/// `+0100`, `-053000`.
fn offset(text: &str) -> Option<Offset> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !matches!(digits.len(), 4 | 6) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let pair = |at: usize| {
        digits
            .get(at..at + 2)
            .map_or(Some(0), |two| two.parse::<i32>().ok())
    };
    let seconds = pair(0)? * 3_600 + pair(2)? * 60 + pair(4)?;
    Offset::from_seconds(sign * seconds).ok()
}
