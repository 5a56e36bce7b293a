//! When a person is busy, from an iCalendar file (RFC 5545): medium items do not start then (requirements E11).
//!
//! Wall-clock times are counted on as such and brought into the person's zone afterwards, so that a weekly meeting
//! stays at its hour when clocks change. A zone that the machine does not know is the one that the calendar defines;
//! where it defines none, the person's own. What is transparent or cancelled keeps nobody busy; a whole day does only
//! where the calendar says so.

mod wall;

use icalendar::parser::{Component, Property, read_calendar_simple, unfold};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use std::collections::HashSet;
use wall::{Wall, Walls};

/// The largest calendar that is read, bytes.
pub const CALENDAR_MAX_BYTES: usize = 10 << 20;
/// Occurrences that are counted through in one reading: a calendar beyond it is refused, not read in part.
const OCCURRENCES_MAX: usize = 500_000;
/// The longest event, ms: longer ones are taken as this long.
const EVENT_MAX_MS: i64 = 366 * 86_400_000;

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
    /// A zone that the calendar defines cannot be understood.
    #[error("the zone {name:?} cannot be read: {why}")]
    Zone {
        /// Its name.
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

    /// Busy wherever one of them is.
    pub fn together(all: impl IntoIterator<Item = Self>) -> Self {
        Self::of(all.into_iter().flat_map(|busy| busy.spans).collect())
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
    let (mut events, mut periods, mut zones) = (Vec::new(), Vec::new(), Vec::new());
    for part in inside {
        match part.name.as_ref().to_ascii_uppercase().as_str() {
            "VEVENT" => events.push(part),
            "VFREEBUSY" => periods.push(part),
            "VTIMEZONE" => zones.push(part),
            _ => {}
        }
    }
    let whole = |begin: &str, found: usize| text.matches(begin).count() == found;
    if calendars.is_empty()
        || !whole("BEGIN:VEVENT", events.len())
        || !whole("BEGIN:VFREEBUSY", periods.len())
    {
        let why = "it does not begin with BEGIN:VCALENDAR, or breaks off";
        return Err(NotACalendar::Format(why.to_owned()));
    }
    let walls = Walls::of(&zones, zone, to_ms).map_err(|(name, why)| NotACalendar::Zone {
        name,
        why: why.to_owned(),
    })?;
    let mut reading = Reading {
        walls: &walls,
        from_ms,
        to_ms,
        left: OCCURRENCES_MAX,
        moved: events
            .iter()
            .filter_map(|event| moved(event, &walls))
            .collect(),
        spans: Vec::new(),
    };
    for event in events {
        reading.event(event)?;
    }
    for part in periods {
        reading.free_busy(part)?;
    }
    Ok(Busy::of(reading.spans))
}

/// An occurrence that an event of its own stands for: its id and when it would have been, ms.
fn moved(event: &Component<'_>, walls: &Walls) -> Option<(String, i64)> {
    let uid = value(event, "UID")?;
    let was = start(event.find_prop("RECURRENCE-ID")?, walls)?;
    Some((uid.to_owned(), was.ms()?))
}

struct Reading<'a> {
    walls: &'a Walls,
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
            .and_then(|property| start(property, self.walls))
            .ok_or_else(|| wrong("its DTSTART is no time"))?;
        if begin.whole_day && !is("TRANSP", "OPAQUE") {
            return Ok(());
        }
        let long_ms = self.length(event, &begin).map_err(wrong)?;
        let uid = value(event, "UID").unwrap_or_default().to_owned();
        let own = event.find_prop("RECURRENCE-ID").is_some();
        let excluded: HashSet<DateTime> = self.times(event, "EXDATE", &begin).into_iter().collect();
        for at in self.occurrences(event, &begin).map_err(wrong)? {
            let at_ms = begin.wall.ms(at);
            let at_ms = at_ms.ok_or_else(|| wrong("it is at no time that there is"))?;
            let replaced = !own && self.moved.contains(&(uid.clone(), at_ms));
            if !replaced && !excluded.contains(&at) {
                self.busy(at_ms, at_ms.saturating_add(long_ms));
            }
        }
        if self.left == 0 {
            return Err(NotACalendar::Many);
        }
        Ok(())
    }

    fn busy(&mut self, from_ms: i64, to_ms: i64) {
        if to_ms > self.from_ms && from_ms < self.to_ms {
            self.spans.push((from_ms, to_ms));
        }
    }

    /// Times that others worked out: `FREEBUSY;FBTYPE=BUSY:20260206T210000Z/PT1H,…`.
    fn free_busy(&mut self, part: &Component<'_>) -> Result<(), NotACalendar> {
        let properties = part.properties.iter();
        for property in properties.filter(|it| it.name.as_ref().eq_ignore_ascii_case("FREEBUSY")) {
            let mut params = property.params.iter();
            let free = params.any(|param| {
                let says = param
                    .val
                    .as_ref()
                    .is_some_and(|val| val.as_ref().eq_ignore_ascii_case("FREE"));
                param.key.as_ref().eq_ignore_ascii_case("FBTYPE") && says
            });
            let periods = property.val.as_ref().split(',').filter(|_| !free);
            for text in periods {
                let (from_ms, to_ms) =
                    self.period(text.trim())
                        .ok_or_else(|| NotACalendar::Event {
                            name: "FREEBUSY".to_owned(),
                            why: format!(
                                "{:?} is no period",
                                text.chars().take(80).collect::<String>()
                            ),
                        })?;
                self.busy(from_ms, to_ms);
            }
        }
        Ok(())
    }

    fn period(&self, text: &str) -> Option<(i64, i64)> {
        let (from, to) = text.split_once('/')?;
        let home = self.walls.home();
        let from_ms = time(from, home, home)?.ms()?;
        let to_ms = match time(to, home, home) {
            Some(to) => to.ms()?,
            None => from_ms.saturating_add(length(to)?),
        };
        (from_ms <= to_ms).then_some((from_ms, to_ms))
    }

    /// How long it is, ms.
    fn length(&self, event: &Component<'_>, begin: &At) -> Result<i64, &'static str> {
        if let Some(end) = event.find_prop("DTEND") {
            let end = start(end, self.walls).and_then(|end| end.ms());
            let begin = begin.ms();
            let long = end.zip(begin).map(|(end, begin)| end - begin);
            return match long.ok_or("its DTEND is no time")? {
                long_ms if long_ms < 0 => Err("it ends before it begins"),
                long_ms => Ok(long_ms.min(EVENT_MAX_MS)),
            };
        }
        if let Some(long) = value(event, "DURATION") {
            return length(long).ok_or("its DURATION is no length");
        }
        Ok(if begin.whole_day { 86_400_000 } else { 0 })
    }

    /// The wall-clock times at which it begins, until the end of what is read.
    fn occurrences(
        &mut self,
        event: &Component<'_>,
        begin: &At,
    ) -> Result<Vec<DateTime>, &'static str> {
        let mut times = self.times(event, "RDATE", begin);
        match value(event, "RRULE") {
            // What ended before it is read may still go on: it is kept for the longest event's time.
            Some(rule) => {
                let wall = &begin.wall;
                let more = expand(rule, begin.civil, wall, self.to_ms, &mut self.left);
                times.extend(more.map_err(|_| "its RRULE is no rule")?);
            }
            None => times.push(begin.civil),
        }
        Ok(times)
    }

    /// The times of a property that may hold several, on the wall of the beginning.
    fn times(&self, event: &Component<'_>, name: &str, begin: &At) -> Vec<DateTime> {
        let mut times = Vec::new();
        for property in properties(event, name) {
            let wall = self.walls.named(property, &begin.wall);
            for text in property.val.as_ref().split(',') {
                // A period names its beginning first.
                let text = text.trim().split('/').next().unwrap_or_default();
                let Some(at) = time(text, &wall, &begin.wall) else {
                    continue;
                };
                if at.whole_day {
                    times.push(at.civil);
                } else {
                    times.extend(at.ms().and_then(|ms| begin.wall.civil(ms)));
                }
            }
        }
        times
    }
}

/// A beginning as a wall clock shows it.
#[derive(Clone, Debug)]
struct At {
    civil: DateTime,
    wall: Wall,
    whole_day: bool,
}

impl At {
    fn ms(&self) -> Option<i64> {
        self.wall.ms(self.civil)
    }
}

fn value<'a>(of: &'a Component<'_>, name: &str) -> Option<&'a str> {
    of.find_prop(name)
        .map(|property| property.val.as_ref().trim())
}

fn properties<'a, 't>(
    of: &'a Component<'t>,
    name: &'a str,
) -> impl Iterator<Item = &'a Property<'t>> {
    let all = of.properties.iter();
    all.filter(move |property| property.name.as_ref().eq_ignore_ascii_case(name))
}

/// All values of a property that may hold several.
fn values<'a>(of: &'a Component<'_>, name: &'a str) -> impl Iterator<Item = &'a str> {
    properties(of, name).flat_map(|property| property.val.as_ref().split(',').map(str::trim))
}

fn start(property: &Property<'_>, walls: &Walls) -> Option<At> {
    let wall = walls.named(property, walls.home());
    time(property.val.as_ref().trim(), &wall, walls.home())
}

/// `20260206`, `20260206T150000` or `20260206T150000Z`.
fn time(text: &str, wall: &Wall, home: &Wall) -> Option<At> {
    if text.len() == 8 {
        let day = Date::strptime("%Y%m%d", text).ok()?;
        return Some(At {
            civil: day.to_datetime(jiff::civil::Time::midnight()),
            wall: home.clone(),
            whole_day: true,
        });
    }
    let (text, wall) = match text.strip_suffix(['Z', 'z']) {
        Some(text) => (text, Wall::Known(TimeZone::UTC)),
        None => (text, wall.clone()),
    };
    Some(At {
        civil: plain_time(text)?,
        wall,
        whole_day: false,
    })
}

/// `20260206T150000`, on whatever wall.
fn plain_time(text: &str) -> Option<DateTime> {
    DateTime::strptime("%Y%m%dT%H%M%S", text).ok()
}

/// `PT1H`, ms, at most as long as an event is.
fn length(text: &str) -> Option<i64> {
    let span: Span = text.parse().ok()?;
    let long = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours());
    let long_ms = i64::try_from(long.ok()?.as_millis()).unwrap_or(EVENT_MAX_MS);
    Some(long_ms.clamp(0, EVENT_MAX_MS))
}

/// The times of a rule on its wall, the first included, until `to_ms`; `left` counts down with each.
fn expand(
    rule: &str,
    begin: DateTime,
    wall: &Wall,
    to_ms: i64,
    left: &mut usize,
) -> Result<Vec<DateTime>, &'static str> {
    let rule = on_the_wall(rule, wall).ok_or("a rule of it is none")?;
    let text = format!("DTSTART:{}\nRRULE:{rule}", plain(begin));
    let set: rrule::RRuleSet = text.parse().map_err(|_| "a rule of it is none")?;
    let last = wall.civil(to_ms).ok_or("beyond all time")?;
    let mut times = Vec::new();
    for at in &set {
        if *left == 0 {
            break;
        }
        *left -= 1;
        let at = Timestamp::from_second(at.timestamp()).map_err(|_| "beyond all time")?;
        let at = TimeZone::UTC.to_datetime(at);
        if at > last {
            break;
        }
        times.push(at);
    }
    Ok(times)
}

/// A rule whose end is on the wall, too: all of it is counted as if the wall were UTC.
fn on_the_wall(rule: &str, wall: &Wall) -> Option<String> {
    let mut parts = Vec::new();
    for part in rule.split(';').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=')?;
        if !name.eq_ignore_ascii_case("UNTIL") {
            parts.push(part.to_owned());
            continue;
        }
        let until = time(value, wall, wall)?;
        let until = if until.whole_day {
            // The whole of its last day counts.
            until
                .civil
                .date()
                .to_datetime(jiff::civil::time(23, 59, 59, 0))
        } else {
            wall.civil(until.ms()?)?
        };
        parts.push(format!("UNTIL={}", plain(until)));
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

    /// As Outlook writes it: rules from 1601 on.
    const EASTERN: &str = "BEGIN:VTIMEZONE\r\nTZID:Office of Ann\r\n\
        BEGIN:STANDARD\r\nDTSTART:16011104T020000\r\nRRULE:FREQ=YEARLY;BYDAY=1SU;BYMONTH=11\r\n\
        TZOFFSETFROM:-0400\r\nTZOFFSETTO:-0500\r\nEND:STANDARD\r\n\
        BEGIN:DAYLIGHT\r\nDTSTART:16010311T020000\r\nRRULE:FREQ=YEARLY;BYDAY=2SU;BYMONTH=3\r\n\
        TZOFFSETFROM:-0500\r\nTZOFFSETTO:-0400\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\n";

    #[test]
    fn a_zone_that_only_the_calendar_defines_is_read_from_it() {
        let weekly = "DTSTART;TZID=Office of Ann:20260105T160000\r\nDTEND;TZID=\"Office of Ann\":20260105T170000\r\n\
            RRULE:FREQ=WEEKLY;UNTIL=20260406T200000Z\r\nEXDATE;TZID=Office of Ann:20260309T160000";
        let busy = busy(&format!("{EASTERN}{}", event(weekly))).unwrap();
        for (at, until) in [
            ("2026-03-02T16:30[America/New_York]", true),
            ("2026-03-09T16:30[America/New_York]", false),
            // The clocks went forward on the 8th of March there, and on the 29th in Berlin.
            ("2026-03-16T16:30[America/New_York]", true),
            ("2026-03-16T15:30[America/New_York]", false),
            ("2026-04-06T16:30[America/New_York]", true),
            ("2026-04-13T16:30[America/New_York]", false),
        ] {
            assert_eq!(busy.until(ms(at)).is_some(), until, "{at}");
        }
        let said = |zone: &str| super::tests::busy(zone).unwrap_err().to_string();
        let odd = EASTERN.replace("TZOFFSETTO:-0500", "TZOFFSETTO:early");
        assert!(said(&odd).contains("\"Office of Ann\" cannot be read: it has no TZOFFSETFROM"));
    }

    #[test]
    fn every_hour_of_years_in_a_zone_of_the_calendar_is_that_of_the_machine() {
        let zones = |text: &str| -> (Walls, i64) {
            let text = calendar(text);
            let roots = read_calendar_simple(&text).unwrap();
            let to = ms("2030-01-01T00:00[UTC]");
            let parts: Vec<&Component<'_>> = roots[0].components.iter().collect();
            (Walls::of(&parts, &TimeZone::UTC, to).unwrap(), to)
        };
        let (walls, to) = zones(EASTERN);
        let of = "DTSTART;TZID=Office of Ann:20260105T160000";
        let text = calendar(&event(of));
        let roots = read_calendar_simple(&text).unwrap();
        let property = roots[0].components[0].find_prop("DTSTART").unwrap();
        let own = walls.named(property, walls.home());
        let known = Wall::Known(TimeZone::get("America/New_York").unwrap());
        assert!(matches!(own, Wall::Own(_)));
        // The rule of those years holds there since 2007.
        let mut at = ms("2008-01-01T00:30[UTC]");
        while at < to {
            let civil = own.civil(at).unwrap();
            assert_eq!(Some(civil), known.civil(at));
            assert_eq!(own.ms(civil), known.ms(civil), "{civil}");
            at += 3_600_000;
        }
    }

    #[test]
    fn what_others_worked_out_is_busy_unless_it_is_free() {
        let periods = "BEGIN:VFREEBUSY\r\nUID:f\r\nFREEBUSY:20260206T210000Z/PT1H,20260207T210000Z/20260207T220000Z\r\n\
            FREEBUSY;FBTYPE=FREE:20260208T210000Z/PT1H\r\nFREEBUSY;FBTYPE=BUSY-TENTATIVE:20260209T210000Z/PT1H\r\n\
            END:VFREEBUSY\r\n";
        let busy = busy(periods).unwrap();
        for (day, is) in [("06", true), ("07", true), ("08", false), ("09", true)] {
            let at = ms(&format!("2026-02-{day}T21:30[UTC]"));
            assert_eq!(busy.until(at).is_some(), is, "{day}");
        }
        let odd = periods.replace("/PT1H,", "/soon,");
        let said = super::tests::busy(&odd).unwrap_err().to_string();
        assert!(said.contains("20260206T210000Z/soon"), "{said}");
        let two = Busy::together([
            busy,
            super::tests::busy(&event("DTSTART:20260208T210000Z\r\nDTEND:20260208T220000Z"))
                .unwrap(),
        ]);
        assert!(two.until(ms("2026-02-08T21:30[UTC]")).is_some());
        assert!(two.until(ms("2026-02-06T21:30[UTC]")).is_some());
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
