//! The patterns in which times are said, each with what it makes of them.

use super::{DayPart, Every, Parts};
use crate::lex::compiled;
use regex::{Captures, Regex};
use std::sync::LazyLock;

pub(super) type Read = fn(&Captures<'_>, &mut Parts) -> bool;

const DAY: &str =
    "(?:mon|tues|wednes|thurs|fri|satur|sun)days?|mon|tues?|wed|thurs?|thur|fri|sat|sun";
const TIME: &str = r"t\d{4}[sa]|noon|midday|midnight|half past \d{1,2}|quarter (?:past|to) \d{1,2}|\d{1,2}(?: o'clock| h)|\d{4}(?: hours| hrs|hrs|h)|\d{1,2}";
const SURE: &str = r"t\d{4}[sa]|noon|midday|midnight|half past \d{1,2}|quarter (?:past|to) \d{1,2}|\d{1,2} o'clock";
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// The patterns in the order in which they are tried.
pub(super) static READERS: LazyLock<Vec<(Regex, Read)>> = LazyLock::new(|| {
    let join = r"(?: ?,? ?(?:and|&|or|\+|,|then)(?: (?:on|at|every|also))*)";
    let days = format!(r"(?:{DAY})(?:{join} (?:{DAY}))*");
    let clock = format!(r"(?:{TIME})(?: (?:sharp|exactly))?(?:{join} (?:{TIME}))*");
    let sure = format!(r"(?:{SURE})(?:{join} (?:{TIME}))*");
    let part = r"(?: (?:(?:in|during) the (?P<part>morning|afternoon|evening|night)|(?P<half>am|pm)|at (?P<night>night)))?";
    let daylight = "morning|afternoon|evening|night|lunchtime|lunch time";
    let list: Vec<(String, Read)> = vec![
        (r" (?:on demand|on request|manually|by hand|when(?:ever)? i (?:ask|say|want|tell (?:you|it)|call it|run it|start it)|only when i ask)\b".into(), |_, p| flag(&mut p.manual)),
        (r" (?:just once|only once|one time only|one time|one off|once only|right now|right away|immediately|a single time|this once|now)\b(?: and then)?".into(), |_, p| flag(&mut p.once)),
        (r" (?:as often as (?:possible|you can)|from time to time|(?:every )?now and then|once in a while|every so often|occasionally|sometimes)\b".into(), |c, p| trouble(c, p, "how often is that?")),
        (r" (?:tomorrow|tonight|next (?:week|month|monday|tuesday|wednesday|thursday|friday|saturday|sunday)|this (?:evening|afternoon|weekend)|in (?:an?|\d+) (?:minutes?|hours?|days?|weeks?))\b".into(), |c, p| trouble(c, p, "a date of its own is not a schedule")),
        (r" (?:every|each|any) \d+(?:st|nd|rd|th) (?:day|week|month|hour|minute)s?\b| every (?:second|third|other|fourth|fifth) (?:minute|hour|day|night|morning|evening|week|month|monday|tuesday|wednesday|thursday|friday|saturday|sunday)s?\b| (?:bi ?-? ?weekly|fortnightly|every fortnight|alternate days|on alternate (?:days|weeks)|bi ?-? ?monthly)\b".into(), read_alternate),
        (r" (?:on |at )?(?:the )?(?P<end>last day|end) of (?:the|each|every|a) (?P<what>month|day|week|business day|working day|work day|quarter|year)\b(?: day)?".into(), read_end),
        (r" (?:on |at )?(?:the )?(?:first day|first|1st|start|beginning) of (?:the|each|every|a) (?P<what>month|week|year|quarter|day)\b".into(), read_start),
        (r" (?:every|each|once every|all) (?:(?P<n>\d+(?:\.\d+)?) ?|(?P<frac>half an?|half a|half|quarter of an?|quarter|couple of|few|single) )?(?P<unit>min|mins|minutes?|m|hrs?|hours?|h|days?|d|weeks?|months?|years?|quarters?|seconds?|secs?|s)\b(?: or so)?".into(), read_every),
        (r" (?:(?:in|at|with) )?(?:an? )?(?P<n>\d+) ?(?:- ?)?(?P<unit>minutes?|mins?|hours?|hrs?) ?(?:- ?)?intervals?\b| (?:in|at|with )?(?:an? )?intervals? of (?P<m>\d+) (?P<u>minutes?|mins?|hours?|hrs?)\b".into(), read_interval),
        (r" (?P<count>once|twice|thrice|\d+ times?|one time|two times|several times|a few times|multiple times)(?: ,)? (?:(?:in|per|every|each) )?(?:a |an |every |each )?(?P<unit>minute|hour|day|night|week|month|year|quarter|weekday|morning|evening|daily|weekly|monthly)s?\b".into(), read_count),
        (r" (?:on |at )?(?:the )?(?:very )?(?P<n>first|second|third|fourth|last|1st|2nd|3rd|4th) (?P<day>DAY)(?: (?:of|in) (?:the|each|every|a) month| (?:each|every|a) month| monthly)?\b".replace("DAY", DAY), read_nth),
        (r" (?:on |at )?(?:the )?(?P<list>\d+(?:st|nd|rd|th)(?:(?: ,| and| , and| &)(?: the)? \d+(?:st|nd|rd|th)?)*)(?: day)?(?: of (?:the|each|every|a) month| each month| every month| monthly)?\b".into(), read_days_of_month),
        (r" (?:on )?(?:the )?day (?P<list>\d+)(?: of (?:the|each|every) month)?\b".into(), read_days_of_month),
        (r" (?:in|every|each) (?P<month>january|february|march|april|june|july|august|september|october|november|december)\b".into(), read_month),
        (format!(r" (?:except|excluding|excepting|but not|not|apart from|other than|skip|skipping|without)(?: for)?(?: on)?(?: the)? (?P<days>weekends?|weekdays|{days})\b"), read_except),
        (format!(r" (?:from |on |every |each |between )?(?P<a>{DAY}) ?(?:-|to|through|thru|till|until|and) (?P<b>{DAY})\b"), read_range),
        (r" (?:(?:on|every|each|during|all|only on|only) )*(?:the )?(?P<what>weekdays?|week days?|work ?days?|working days?|business days?|school days?|weekends?|week ends?)\b".into(), read_kind_of_day),
        (format!(r" (?:(?:on|every|each|all) )+(?P<days>{days})(?: (?P<part>{daylight})s?)?\b"), read_weekdays),
        (format!(r" (?P<days>(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days)(?:{join} (?:(?:mon|tues|wednes|thurs|fri|satur|sun)days))*)(?: (?P<part>{daylight})s?)?\b"), read_weekdays),
        (r" (?:(?:during|in|within) )?(?:the )?(?:business|office|working|work) hours\b".into(), |_, p| window(p, 9, 17)),
        (format!(r" (?:between|from|during) (?P<a>{TIME}) (?:and|to|till|until|-|through) (?P<b>{TIME})\b"), read_window),
        (format!(r" (?:at|@|around|about|by|before|starting at|from)(?: (?:about|around|exactly|precisely|roughly))? (?P<list>{clock})(?P<far> ?(?:mb|gb|kb|tb|%|percent|files?|items?|entries|copies|times|backups?|days?|weeks?|hours?|minutes?|seconds?|rows?|lines?|most|least))?{part}"), read_times),
        (format!(r" (?P<list>{sure}){part}"), read_times),
        (format!(r" (?:(?:every|each|during|over|all) (?:single )?|in the |at |by )(?:the )?(?P<part>{daylight})s?\b"), read_part),
        (r" nightly\b".into(), |_, p| day_part(p, DayPart::Night, true)),
        (r" over ?night\b".into(), |_, p| p.times.is_empty() && p.every.is_none() && day_part(p, DayPart::Night, true)),
        (r" (?:at lunch ?time|at lunch)\b".into(), |_, p| day_part(p, DayPart::Noon, true)),
        (r" (?:every ?day|daily|day by day|each and every day)\b".into(), |_, p| every(p, Every::Days(1))),
        (r" (?:hourly|on the hour|around the clock)\b".into(), |_, p| every(p, Every::Hours(1))),
        (r" weekly\b".into(), |_, p| every(p, Every::Weeks(1))),
        (r" monthly\b".into(), |_, p| every(p, Every::Months(1))),
        (r" quarterly\b".into(), |_, p| every(p, Every::Months(3))),
        (r" (?:yearly|annually)\b".into(), |_, p| every(p, Every::Months(12))),
        (r" (?:in |on )?(?:the )?(?P<zone>utc|gmt|(?:[a-z]+(?: [a-z]+)?) time)(?: time| zone)*\b".into(), read_zone),
    ];
    list.into_iter()
        .map(|(pattern, read)| (compiled(&pattern), read))
        .collect()
});

fn flag(place: &mut bool) -> bool {
    *place = true;
    true
}

fn every(parts: &mut Parts, every: Every) -> bool {
    // "every 15 minutes … every day": the finer one stays.
    let finer = matches!(
        parts.every,
        Some(Every::Minutes(_) | Every::Hours(_) | Every::PerDay(_))
    );
    if !finer {
        parts.every = Some(every);
    }
    true
}

fn day_part(parts: &mut Parts, part: DayPart, daily: bool) -> bool {
    parts.part = Some(part);
    if daily && parts.every.is_none() && parts.weekdays.is_empty() {
        parts.every = Some(Every::Days(1));
    }
    true
}

fn window(parts: &mut Parts, from: u32, to: u32) -> bool {
    parts.window = Some((from, to));
    true
}

fn trouble(captures: &Captures<'_>, parts: &mut Parts, why: &'static str) -> bool {
    parts
        .trouble
        .get_or_insert((captures[0].trim().to_owned(), why));
    true
}

fn read_alternate(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    let text = captures[0].trim();
    let number = |word: &str| match word {
        "other" | "second" => Some(2),
        "third" => Some(3),
        "fourth" => Some(4),
        "fifth" => Some(5),
        _ => word
            .trim_end_matches(|c: char| c.is_ascii_alphabetic())
            .parse()
            .ok(),
    };
    let words: Vec<&str> = text.split(' ').collect();
    let n = words.get(1).and_then(|word| number(word));
    match (n, words.last().map(|w| w.trim_end_matches('s'))) {
        (Some(n), Some("minute")) => every(parts, Every::Minutes(n)),
        (Some(n), Some("hour")) => every(parts, Every::Hours(n)),
        (Some(n), Some("month")) => every(parts, Every::Months(n)),
        (Some(_), Some("day" | "night" | "morning" | "evening")) => trouble(
            captures,
            parts,
            "cron counts days within a month, so it cannot skip every other day exactly",
        ),
        _ => trouble(captures, parts, "cron cannot count weeks"),
    }
}

fn read_every(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    let unit = &captures["unit"];
    let number: Option<f64> = captures.name("n").and_then(|m| m.as_str().parse().ok());
    let all = captures[0].starts_with(" all");
    if number.is_none() && (all || matches!(unit, "m" | "h" | "d" | "s")) {
        return false;
    }
    let mut n = number.unwrap_or(1.0);
    match captures.name("frac").map(|m| m.as_str()) {
        Some(frac) if frac.starts_with("half") => n = 0.5,
        Some(frac) if frac.starts_with("quarter") => n = 0.25,
        Some("single") => {}
        Some(_) => return trouble(captures, parts, "how many is that?"),
        None => {}
    }
    let kind = unit.trim_end_matches('s');
    let (minutes, whole) = match kind {
        "min" | "minute" | "m" => (n, n.fract() == 0.0),
        "hr" | "hour" | "h" => (n * 60.0, (n * 60.0).fract() == 0.0),
        "sec" | "second" | "" => {
            return trouble(captures, parts, "the shortest interval is one minute");
        }
        _ => (0.0, n.fract() == 0.0),
    };
    if !whole || n <= 0.0 || n > 100_000.0 {
        return trouble(captures, parts, "that is not a whole number of minutes");
    }
    // Invariant: checked above to be whole, positive and small.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, positive and at most 100,000"
    )]
    let (count, minutes) = (n as u32, minutes as u32);
    let found = match kind {
        "day" | "d" => Every::Days(count),
        "week" => Every::Weeks(count),
        "month" => Every::Months(count),
        "quarter" => Every::Months(count * 3),
        "year" => Every::Months(count.saturating_mul(12)),
        _ if minutes % 60 == 0 => Every::Hours(minutes / 60),
        _ => Every::Minutes(minutes),
    };
    every(parts, found)
}

/// "5 minute intervals", "an interval of 2 hours"
fn read_interval(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    let number = captures.name("n").or_else(|| captures.name("m"));
    let unit = captures.name("unit").or_else(|| captures.name("u"));
    match (number.and_then(|n| n.as_str().parse().ok()), unit) {
        (Some(n), Some(unit)) if unit.as_str().starts_with('m') => every(parts, Every::Minutes(n)),
        (Some(n), Some(_)) => every(parts, Every::Hours(n)),
        _ => false,
    }
}

fn read_count(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    let count = match &captures["count"] {
        "once" | "one time" => 1,
        "twice" | "two times" => 2,
        "thrice" => 3,
        text => match text.split(' ').next().and_then(|n| n.parse().ok()) {
            Some(n) => n,
            None => return trouble(captures, parts, "how many times, and when?"),
        },
    };
    let found = match (&captures["unit"], count) {
        ("minute", 1) => Every::Minutes(1),
        ("hour", 1) => Every::Hours(1),
        ("hour", n) if n > 0 && 60 % n == 0 => Every::Minutes(60 / n),
        ("day" | "daily", 1) => Every::Days(1),
        ("day" | "daily", n) => Every::PerDay(n),
        ("night", 1) => return day_part(parts, DayPart::Night, true),
        ("morning", 1) => return day_part(parts, DayPart::Morning, true),
        ("evening", 1) => return day_part(parts, DayPart::Evening, true),
        ("weekday", 1) => {
            parts.weekdays.extend(1..=5);
            return true;
        }
        ("week" | "weekly", 1) => Every::Weeks(1),
        ("month" | "monthly", 1) => Every::Months(1),
        ("quarter", 1) => Every::Months(3),
        ("year", 1) => Every::Months(12),
        _ => Every::PerOther,
    };
    every(parts, found)
}

fn read_nth(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    let n = match &captures["n"] {
        "first" | "1st" => 1,
        "second" | "2nd" => 2,
        "third" | "3rd" => 3,
        "fourth" | "4th" => 4,
        _ => 5,
    };
    parts.nth = Some((n, weekday(&captures["day"])));
    true
}

fn read_end(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    match &captures["what"] {
        "month" => parts.last_day = true,
        "week" => {
            parts.weekdays.insert(5);
            parts.part.get_or_insert(DayPart::EndOfDay);
        }
        "business day" | "working day" | "work day" => {
            parts.weekdays.extend(1..=5);
            parts.part.get_or_insert(DayPart::EndOfDay);
        }
        "quarter" | "year" => {
            return trouble(
                captures,
                parts,
                "cron cannot name the last day of a quarter or year; a first day it can",
            );
        }
        _ => return day_part(parts, DayPart::EndOfDay, true),
    }
    true
}

fn read_start(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    match &captures["what"] {
        "month" => {
            parts.days.insert(1);
        }
        "week" => {
            parts.weekdays.insert(1);
        }
        "quarter" => return every(parts, Every::Months(3)),
        "year" => return every(parts, Every::Months(12)),
        _ => return day_part(parts, DayPart::Morning, true),
    }
    true
}

fn read_days_of_month(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    let numbers: Vec<u32> = captures["list"]
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok())
        .collect();
    if let Some(day) = numbers.iter().find(|day| **day == 0 || **day > 31) {
        let text = format!("the {day}th");
        parts
            .trouble
            .get_or_insert((text, "no month has such a day"));
    }
    parts.days.extend(numbers);
    true
}

fn read_month(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    if let Some(at) = MONTHS.iter().position(|name| *name == &captures["month"]) {
        parts.months.extend(u32::try_from(at + 1));
    }
    true
}

fn read_except(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    let days = &captures["days"];
    if days.starts_with("weekend") {
        parts.except.extend([0, 6]);
    } else if days.starts_with("weekday") {
        parts.except.extend(1..=5);
    } else {
        parts.except.extend(weekdays_in(days));
    }
    true
}

fn read_range(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    let (from, to) = (weekday(&captures["a"]), weekday(&captures["b"]));
    let joined = captures[0].contains(" and ") && !captures[0].contains("between");
    if joined {
        let plain = captures[0]
            .split_whitespace()
            .next()
            .is_some_and(|w| matches!(w, "on" | "every" | "each"));
        if !plain && !captures["a"].ends_with("days") {
            return false;
        }
        parts.weekdays.extend([from, to]);
        return true;
    }
    let mut day = from;
    for _ in 0..7 {
        parts.weekdays.insert(day);
        if day == to {
            break;
        }
        day = (day + 1) % 7;
    }
    true
}

fn read_kind_of_day(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    let weekend = captures["what"].replace(' ', "");
    // "a poem about the weekend" says no time.
    if weekend == "weekend"
        && captures[0]
            .trim()
            .trim_start_matches("the ")
            .starts_with("week")
    {
        return false;
    }
    if weekend.starts_with("weekend") {
        parts.weekdays.extend([0, 6]);
    } else {
        parts.weekdays.extend(1..=5);
    }
    true
}

fn read_weekdays(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    parts.weekdays.extend(weekdays_in(&captures["days"]));
    if let Some(part) = captures.name("part") {
        parts.part = day_part_of(part.as_str());
    }
    true
}

fn read_window(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    let (Some(a), Some(b)) = (clock(&captures["a"]), clock(&captures["b"])) else {
        return trouble(captures, parts, "that time does not exist");
    };
    let (from, mut to) = (a.0 / 60, b.0 / 60);
    if to <= from && !b.1 {
        to += 12;
    }
    if a.0 % 60 != 0 || b.0 % 60 != 0 || to <= from || to > 24 {
        return trouble(captures, parts, "give full hours, the earlier one first");
    }
    window(parts, from, to)
}

fn read_times(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    if captures.name("far").is_some() {
        return false;
    }
    let part = ["part", "half", "night"]
        .iter()
        .find_map(|name| captures.name(name))
        .map(|m| m.as_str());
    static CLOCK: LazyLock<Regex> = LazyLock::new(|| compiled(&format!(r"\b(?:{TIME})")));
    for found in CLOCK.find_iter(&captures["list"]) {
        let Some((mut minute, settled)) = clock(found.as_str()) else {
            return trouble(captures, parts, "that time does not exist");
        };
        match part {
            Some("pm" | "afternoon" | "evening") if minute < 720 => minute += 720,
            Some("am" | "morning") if minute >= 720 && !settled => minute -= 720,
            Some("night") if (300..720).contains(&minute) => minute += 720,
            _ => {}
        }
        parts.times.push((minute, settled || part.is_some()));
    }
    true
}

fn read_part(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    match day_part_of(&captures["part"]) {
        Some(part) => day_part(parts, part, true),
        None => false,
    }
}

fn read_zone(captures: &Captures<'_>, parts: &mut Parts) -> bool {
    const CITIES: [(&str, &str); 22] = [
        ("berlin", "Europe/Berlin"),
        ("london", "Europe/London"),
        ("paris", "Europe/Paris"),
        ("madrid", "Europe/Madrid"),
        ("rome", "Europe/Rome"),
        ("vienna", "Europe/Vienna"),
        ("zurich", "Europe/Zurich"),
        ("amsterdam", "Europe/Amsterdam"),
        ("moscow", "Europe/Moscow"),
        ("new york", "America/New_York"),
        ("eastern", "America/New_York"),
        ("chicago", "America/Chicago"),
        ("central", "America/Chicago"),
        ("denver", "America/Denver"),
        ("mountain", "America/Denver"),
        ("los angeles", "America/Los_Angeles"),
        ("pacific", "America/Los_Angeles"),
        ("toronto", "America/Toronto"),
        ("tokyo", "Asia/Tokyo"),
        ("delhi", "Asia/Kolkata"),
        ("singapore", "Asia/Singapore"),
        ("sydney", "Australia/Sydney"),
    ];
    let zone = &captures["zone"];
    if zone == "utc" || zone == "gmt" {
        parts.zone = Some("UTC".to_owned());
        return true;
    }
    let place = zone.trim_end_matches(" time");
    let found = CITIES
        .iter()
        .find(|(city, _)| place == *city || place.ends_with(&format!(" {city}")));
    if let Some((_, name)) = found {
        parts.zone = Some((*name).to_owned());
    }
    found.is_some()
}

fn day_part_of(word: &str) -> Option<DayPart> {
    match word {
        "morning" => Some(DayPart::Morning),
        "afternoon" => Some(DayPart::Afternoon),
        "evening" => Some(DayPart::Evening),
        "night" => Some(DayPart::Night),
        "lunchtime" | "lunch time" => Some(DayPart::Noon),
        _ => None,
    }
}

fn weekdays_in(text: &str) -> Vec<u8> {
    static ONE: LazyLock<Regex> = LazyLock::new(|| compiled(&format!(r"\b(?:{DAY})\b")));
    ONE.find_iter(text)
        .map(|found| weekday(found.as_str()))
        .collect()
}

fn weekday(word: &str) -> u8 {
    let names = ["su", "mo", "tu", "we", "th", "fr", "sa"];
    (0u8..7)
        .find(|day| word.starts_with(names[usize::from(*day)]))
        .unwrap_or(0)
}

/// A clock time: minute of the day, and whether am or pm is settled.
fn clock(text: &str) -> Option<(u32, bool)> {
    let number = |text: &str| -> Option<u32> {
        text.split(|c: char| !c.is_ascii_digit())
            .find(|n| !n.is_empty())
            .and_then(|n| n.parse().ok())
    };
    let (minute, settled) = match text {
        "noon" | "midday" => (720, true),
        "midnight" => (0, true),
        _ if text.starts_with('t') => (number(text)?, text.ends_with('s')),
        _ => {
            let n = number(text)?;
            let digits = text.bytes().filter(u8::is_ascii_digit).count();
            if digits == 4 {
                (
                    (n / 100 < 24 && n % 100 < 60).then_some(n / 100 * 60 + n % 100)?,
                    true,
                )
            } else if text.starts_with("half past") {
                (n * 60 + 30, false)
            } else if text.starts_with("quarter past") {
                (n * 60 + 15, false)
            } else if text.starts_with("quarter to") {
                ((n * 60).checked_sub(15)?, false)
            } else {
                (if n == 24 { 0 } else { n * 60 }, n > 12 || n == 0)
            }
        }
    };
    (minute < 1440).then_some((minute, settled))
}
