//! When a person is busy, from an iCalendar file (RFC 5545): medium items do not start then (requirements E11).
//!
//! Wall-clock times are counted on as such and brought into the person's zone afterwards, so that a weekly meeting
//! stays at its hour when clocks change. A zone that the machine does not know counts as the person's own. What is
//! transparent or cancelled keeps nobody busy; a whole day does only where the calendar says so.

use icalendar::parser::{Component, Property, read_calendar_simple, unfold};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use std::collections::HashSet;

/// The largest calendar that is read, bytes.
pub const CALENDAR_MAX_BYTES: usize = 10 << 20;
/// Occurrences that are counted through in one reading: a calendar beyond it is refused, not read in part.
const OCCURRENCES_MAX: usize = 500_000;
/// The longest event, days: longer ones are taken as this long.
const EVENT_MAX_DAYS: i64 = 366;

/// Why a text is no calendar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACalendar {
    /// Too long.
    #[error("it has {0} bytes, and at most {CALENDAR_MAX_BYTES} are read")]
    Long(usize),
    /// Not the format.
    #[error("it is no iCalendar text: {0}")]
    Format(String),
    /// An event cannot be understood.
    #[error("the event {name:?} cannot be read: {why}")]
    Event {
        /// Its title or id.
        name: String,
        /// Why.
        why: String,
    },
    /// Too much repeats.
    #[error("its events repeat more than {OCCURRENCES_MAX} times until now")]
    Many,
}

/// Times at which a person is busy, in order, none touching another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Busy {
    spans: Vec<(i64, i64)>,
}

impl Busy {
    /// Until when, ms, where it is busy now.
    pub fn until(&self, now_ms: i64) -> Option<i64> {
        let now = self
            .spans
            .iter()
            .find(|(from, to)| *from <= now_ms && now_ms < *to);
        now.map(|(_, to)| *to)
    }

    fn of(mut spans: Vec<(i64, i64)>) -> Self {
        spans.sort_unstable();
        let mut apart: Vec<(i64, i64)> = Vec::with_capacity(spans.len());
        for (from, to) in spans {
            match apart.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                Some(_) | None => apart.push((from, to)),
            }
        }
        Self { spans: apart }
    }
}

/// Reads when a person is busy between two times, ms.
///
/// # Errors
/// [`NotACalendar`]: what cannot be read in whole is not read in part, for a meeting may be in the rest.
pub fn read(text: &str, zone: &TimeZone, from_ms: i64, to_ms: i64) -> Result<Busy, NotACalendar> {
    if text.len() > CALENDAR_MAX_BYTES {
        return Err(NotACalendar::Long(text.len()));
    }
    let text = unfold(text);
    let roots = read_calendar_simple(&text)
        .map_err(|error| NotACalendar::Format(format!("{:?}", error.code)))?;
    let calendars: Vec<&Component<'_>> = roots
        .iter()
        .filter(|root| root.name.as_ref().eq_ignore_ascii_case("VCALENDAR"))
        .collect();
    let inside = calendars.iter().flat_map(|root| &root.components);
    let events: Vec<&Component<'_>> = inside
        .filter(|part| part.name.as_ref().eq_ignore_ascii_case("VEVENT"))
        .collect();
    if calendars.is_empty() || events.len() != text.matches("BEGIN:VEVENT").count() {
        let why = "it does not begin with BEGIN:VCALENDAR, or breaks off";
        return Err(NotACalendar::Format(why.to_owned()));
    }
    let mut reading = Reading {
        zone,
        from_ms,
        to_ms,
        left: OCCURRENCES_MAX,
        moved: events
            .iter()
            .filter_map(|event| moved(event, zone))
            .collect(),
        spans: Vec::new(),
    };
    for event in events {
        reading.event(event)?;
    }
    Ok(Busy::of(reading.spans))
}

/// An occurrence that an event of its own stands for: its id and when it would have been, ms.
fn moved(event: &Component<'_>, zone: &TimeZone) -> Option<(String, i64)> {
    let uid = value(event, "UID")?;
    let was = start(event.find_prop("RECURRENCE-ID")?, zone)?;
    Some((uid.to_owned(), was.ms()?))
}

struct Reading<'a> {
    zone: &'a TimeZone,
    from_ms: i64,
    to_ms: i64,
    left: usize,
    moved: HashSet<(String, i64)>,
    spans: Vec<(i64, i64)>,
}

impl Reading<'_> {
    fn event(&mut self, event: &Component<'_>) -> Result<(), NotACalendar> {
        let is = |name: &str, word: &str| {
            value(event, name).is_some_and(|value| value.eq_ignore_ascii_case(word))
        };
        if is("STATUS", "CANCELLED") || is("TRANSP", "TRANSPARENT") {
            return Ok(());
        }
        let wrong = |why: &str| NotACalendar::Event {
            name: value(event, "SUMMARY")
                .or_else(|| value(event, "UID"))
                .unwrap_or("without a name")
                .chars()
                .take(80)
                .collect(),
            why: why.to_owned(),
        };
        let begin = event
            .find_prop("DTSTART")
            .and_then(|property| start(property, self.zone))
            .ok_or_else(|| wrong("its DTSTART is no time"))?;
        if begin.whole_day && !is("TRANSP", "OPAQUE") {
            return Ok(());
        }
        let long_ms = self.length(event, &begin).map_err(wrong)?;
        let uid = value(event, "UID").unwrap_or_default().to_owned();
        let own = event.find_prop("RECURRENCE-ID").is_some();
        let excluded = excluded(event, &begin);
        for at in self.occurrences(event, &begin).map_err(wrong)? {
            let at_ms = At {
                civil: at,
                ..begin.clone()
            }
            .ms()
            .ok_or_else(|| wrong("it is at no time that there is"))?;
            let replaced = !own && self.moved.contains(&(uid.clone(), at_ms));
            let end_ms = at_ms.saturating_add(long_ms);
            let seen = end_ms > self.from_ms && at_ms < self.to_ms;
            if seen && !replaced && !excluded.contains(&at) {
                self.spans.push((at_ms, end_ms));
            }
        }
        if self.left == 0 {
            return Err(NotACalendar::Many);
        }
        Ok(())
    }

    /// How long it is, ms.
    fn length(&self, event: &Component<'_>, begin: &At) -> Result<i64, &'static str> {
        let most_ms = EVENT_MAX_DAYS * 86_400_000;
        if let Some(end) = event.find_prop("DTEND") {
            let end = start(end, self.zone).and_then(|end| end.ms());
            let begin = begin.ms();
            let long = end.zip(begin).map(|(end, begin)| end - begin);
            return match long.ok_or("its DTEND is no time")? {
                long_ms if long_ms < 0 => Err("it ends before it begins"),
                long_ms => Ok(long_ms.min(most_ms)),
            };
        }
        if let Some(long) = value(event, "DURATION") {
            let span: Span = long.parse().map_err(|_| "its DURATION is no length")?;
            let long = span
                .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
                .map_err(|_| "its DURATION is no length")?;
            let long_ms = i64::try_from(long.as_millis()).unwrap_or(most_ms);
            return Ok(long_ms.clamp(0, most_ms));
        }
        Ok(if begin.whole_day { 86_400_000 } else { 0 })
    }

    /// The wall-clock times at which it begins, until the end of what is read.
    fn occurrences(
        &mut self,
        event: &Component<'_>,
        begin: &At,
    ) -> Result<Vec<DateTime>, &'static str> {
        let mut times = added(event, begin);
        let Some(rule) = value(event, "RRULE") else {
            times.push(begin.civil);
            return Ok(times);
        };
        let zone = &begin.zone;
        let rule = on_the_wall(rule, zone).ok_or("its RRULE is no rule")?;
        let text = format!("DTSTART:{}\nRRULE:{rule}", plain(begin.civil));
        let set: rrule::RRuleSet = text.parse().map_err(|_| "its RRULE is no rule")?;
        let last = Timestamp::from_millisecond(self.to_ms).map_err(|_| "beyond all time")?;
        let last = last.to_zoned(zone.clone()).datetime();
        // What ended before it is read may still go on: it is kept for the longest event's time.
        for at in &set {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            let at = Timestamp::from_second(at.timestamp()).map_err(|_| "beyond all time")?;
            let at = at.to_zoned(TimeZone::UTC).datetime();
            if at > last {
                break;
            }
            times.push(at);
        }
        Ok(times)
    }
}

/// A beginning as a wall clock shows it, with the wall's zone.
#[derive(Clone, Debug)]
struct At {
    civil: DateTime,
    zone: TimeZone,
    whole_day: bool,
}

impl At {
    fn ms(&self) -> Option<i64> {
        let at = self.civil.to_zoned(self.zone.clone()).ok()?;
        Some(at.timestamp().as_millisecond())
    }
}

fn value<'a>(of: &'a Component<'_>, name: &str) -> Option<&'a str> {
    of.find_prop(name)
        .map(|property| property.val.as_ref().trim())
}

fn start(property: &Property<'_>, zone: &TimeZone) -> Option<At> {
    time(property.val.as_ref().trim(), &zone_of(property, zone), zone)
}

/// The zone that a property names; the person's where there is none, or none that is known.
fn zone_of(property: &Property<'_>, zone: &TimeZone) -> TimeZone {
    let named = property
        .params
        .iter()
        .find(|param| param.key.as_ref().eq_ignore_ascii_case("TZID"));
    let named = named.and_then(|param| param.val.as_ref());
    named
        .and_then(|name| TimeZone::get(name.as_ref().trim_matches('"')).ok())
        .unwrap_or_else(|| zone.clone())
}

/// `20260206`, `20260206T150000` or `20260206T150000Z`.
fn time(text: &str, zone: &TimeZone, home: &TimeZone) -> Option<At> {
    if text.len() == 8 {
        let day = Date::strptime("%Y%m%d", text).ok()?;
        return Some(At {
            civil: day.to_datetime(jiff::civil::Time::midnight()),
            zone: home.clone(),
            whole_day: true,
        });
    }
    let (text, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(text) => (text, TimeZone::UTC),
        None => (text, zone.clone()),
    };
    Some(At {
        civil: DateTime::strptime("%Y%m%dT%H%M%S", text).ok()?,
        zone,
        whole_day: false,
    })
}

/// The times of a property that may hold several, on the wall of the beginning.
fn times(event: &Component<'_>, name: &str, begin: &At) -> Vec<DateTime> {
    let properties = event
        .properties
        .iter()
        .filter(|property| property.name.as_ref().eq_ignore_ascii_case(name));
    let mut times = Vec::new();
    for property in properties {
        let zone = zone_of(property, &begin.zone);
        for text in property.val.as_ref().split(',') {
            // A period names its beginning first.
            let text = text.trim().split('/').next().unwrap_or_default();
            let Some(at) = time(text, &zone, &begin.zone) else {
                continue;
            };
            let Ok(zoned) = at.civil.to_zoned(at.zone) else {
                continue;
            };
            let wall = zoned.with_time_zone(begin.zone.clone()).datetime();
            times.push(if at.whole_day { at.civil } else { wall });
        }
    }
    times
}

fn excluded(event: &Component<'_>, begin: &At) -> HashSet<DateTime> {
    times(event, "EXDATE", begin).into_iter().collect()
}

fn added(event: &Component<'_>, begin: &At) -> Vec<DateTime> {
    times(event, "RDATE", begin)
}

/// A rule whose end is on the wall, too: all of it is counted as if the wall were UTC.
fn on_the_wall(rule: &str, zone: &TimeZone) -> Option<String> {
    let mut parts = Vec::new();
    for part in rule.split(';').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=')?;
        if !name.eq_ignore_ascii_case("UNTIL") {
            parts.push(part.to_owned());
            continue;
        }
        let until = time(value, zone, zone)?;
        let wall = if until.whole_day {
            // The whole of its last day counts.
            until
                .civil
                .date()
                .to_datetime(jiff::civil::time(23, 59, 59, 0))
        } else {
            let until = until.civil.to_zoned(until.zone).ok()?;
            until.with_time_zone(zone.clone()).datetime()
        };
        parts.push(format!("UNTIL={}", plain(wall)));
    }
    Some(parts.join(";"))
}

fn plain(wall: DateTime) -> String {
    wall.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Zoned;

    fn ms(text: &str) -> i64 {
        text.parse::<Zoned>().unwrap().timestamp().as_millisecond()
    }

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    fn calendar(events: &str) -> String {
        format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//EN\r\n{events}END:VCALENDAR\r\n")
    }

    fn event(lines: &str) -> String {
        format!("BEGIN:VEVENT\r\nUID:one@x\r\nSUMMARY:Stand-up\r\n{lines}\r\nEND:VEVENT\r\n")
    }

    /// Read over the spring of 2026.
    fn busy(events: &str) -> Result<Busy, NotACalendar> {
        let (from, to) = ("2026-02-01T00:00[UTC]", "2026-06-01T00:00[UTC]");
        read(&calendar(events), &berlin(), ms(from), ms(to))
    }

    #[test]
    fn a_weekly_meeting_stays_at_its_hour_when_clocks_change_and_ends_when_it_says() {
        let weekly = busy(&event(
            "DTSTART;TZID=Europe/Berlin:20260105T230000\r\nDURATION:PT1H\r\nRRULE:FREQ=WEEKLY;UNTIL=20260413T210000Z\r\nEXDATE;TZID=Europe/Berlin:20260302T230000",
        ))
        .unwrap();
        for (at, until) in [
            (
                "2026-02-02T23:30[Europe/Berlin]",
                Some("2026-02-03T00:00[Europe/Berlin]"),
            ),
            ("2026-02-02T22:59[Europe/Berlin]", None),
            // Excluded; after the clocks went forward; the last one; after it.
            ("2026-03-02T23:30[Europe/Berlin]", None),
            (
                "2026-03-30T23:30[Europe/Berlin]",
                Some("2026-03-31T00:00[Europe/Berlin]"),
            ),
            (
                "2026-04-13T23:30[Europe/Berlin]",
                Some("2026-04-14T00:00[Europe/Berlin]"),
            ),
            ("2026-04-20T23:30[Europe/Berlin]", None),
        ] {
            assert_eq!(weekly.until(ms(at)), until.map(ms), "{at}");
        }
    }

    #[test]
    fn what_overlaps_is_one_time_and_what_keeps_nobody_busy_is_none() {
        let two = format!(
            "{}{}{}{}{}",
            event("DTSTART:20260206T210000Z\r\nDTEND:20260206T220000Z"),
            event("DTSTART:20260206T213000Z\r\nDTEND:20260206T233000Z"),
            event("DTSTART:20260207T210000Z\r\nDTEND:20260207T220000Z\r\nTRANSP:TRANSPARENT"),
            event("DTSTART:20260208T210000Z\r\nDTEND:20260208T220000Z\r\nSTATUS:CANCELLED"),
            event("DTSTART;VALUE=DATE:20260209"),
        );
        let busy = busy(&two).unwrap();
        assert_eq!(
            busy.until(ms("2026-02-06T21:10[UTC]")),
            Some(ms("2026-02-06T23:30[UTC]"))
        );
        for day in ["07", "08", "09"] {
            assert_eq!(
                busy.until(ms(&format!("2026-02-{day}T21:30[UTC]"))),
                None,
                "{day}"
            );
        }
        let whole = event("DTSTART;VALUE=DATE:20260209\r\nTRANSP:OPAQUE");
        let whole = super::tests::busy(&whole).unwrap();
        let noon = ms("2026-02-09T12:00[Europe/Berlin]");
        assert_eq!(
            whole.until(noon),
            Some(ms("2026-02-10T00:00[Europe/Berlin]"))
        );
    }

    #[test]
    fn an_occurrence_that_was_moved_is_busy_where_it_went_only() {
        let moved = format!(
            "{}{}",
            event("DTSTART:20260202T210000Z\r\nDTEND:20260202T220000Z\r\nRRULE:FREQ=DAILY;COUNT=5"),
            event(
                "DTSTART:20260203T010000Z\r\nDTEND:20260203T020000Z\r\nRECURRENCE-ID:20260203T210000Z"
            ),
        );
        let busy = busy(&moved).unwrap();
        assert!(busy.until(ms("2026-02-02T21:30[UTC]")).is_some());
        assert!(busy.until(ms("2026-02-03T21:30[UTC]")).is_none());
        assert!(busy.until(ms("2026-02-03T01:30[UTC]")).is_some());
        assert!(busy.until(ms("2026-02-06T21:30[UTC]")).is_some());
        assert!(busy.until(ms("2026-02-07T21:30[UTC]")).is_none());
    }

    #[test]
    fn a_zone_that_nobody_knows_is_the_persons_and_long_lines_are_folded() {
        let odd = event(
            "DTSTART;TZID=W. Europe Standard Time:20260206T2\r\n 20000\r\nDTEND;TZID=W. Europe Standard Time:20260206T230000",
        );
        let at = ms("2026-02-06T22:30[Europe/Berlin]");
        assert!(busy(&odd).unwrap().until(at).is_some());
    }

    #[test]
    fn what_cannot_be_read_in_whole_is_refused_with_the_reason() {
        let said = |events: &str| busy(events).unwrap_err().to_string();
        assert!(said(&event("DTSTART:soon")).contains("Stand-up"));
        assert!(
            said(&event("DTSTART:20260206T210000Z\r\nDTEND:20260206T200000Z"))
                .contains("ends before")
        );
        assert!(
            said(&event("DTSTART:20260206T210000Z\r\nRRULE:FREQ=SOMETIMES")).contains("no rule")
        );
        let endless = event("DTSTART:20000101T000000Z\r\nDURATION:PT1M\r\nRRULE:FREQ=MINUTELY");
        assert_eq!(busy(&endless).unwrap_err(), NotACalendar::Many);
        let read = |text: &str| read(text, &TimeZone::UTC, 0, 1);
        for text in [
            "",
            "<html>Sign in</html>",
            "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:x\r\n",
        ] {
            assert!(matches!(read(text), Err(NotACalendar::Format(_))), "{text}");
        }
        let long = "x".repeat(CALENDAR_MAX_BYTES + 1);
        assert!(matches!(read(&long), Err(NotACalendar::Long(_))));
        assert_eq!(read(&calendar("")).unwrap(), Busy::default());
    }
}
