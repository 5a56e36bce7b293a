//! Putting the parts of a time together into one cron expression, or a question.

use super::{DayPart, Every, Parts, When, question, scheduled};
use agentwright_domain::spec::Trigger;
use std::collections::BTreeSet;

/// What the parts mean.
pub(super) fn trigger(parts: &Parts, zone: &str) -> When {
    let zone = parts.zone.as_deref().unwrap_or(zone);
    if let Some(cron) = &parts.cron {
        return match cron.parse::<croner::Cron>() {
            Ok(_) => When::Said(scheduled(cron.clone(), zone)),
            Err(why) => When::Ask(question(format!(
                "\"{cron}\" is not a cron expression: {why}. When is it to run?"
            ))),
        };
    }
    if let Some((text, why)) = &parts.trouble {
        return When::Ask(question(format!(
            "\"{text}\": {why}. When exactly is it to run?"
        )));
    }
    if parts.manual {
        return When::Said(Trigger::Manual);
    }
    let timed = parts.every.is_some()
        || !parts.weekdays.is_empty()
        || !parts.days.is_empty()
        || parts.last_day
        || parts.nth.is_some()
        || !parts.times.is_empty()
        || parts.part.is_some()
        || parts.window.is_some();
    if !timed {
        return if parts.once {
            When::Said(Trigger::Once)
        } else {
            When::Silent
        };
    }
    match fields(parts) {
        Ok(cron) => When::Said(scheduled(cron, zone)),
        Err(text) => When::Ask(question(text)),
    }
}

fn fields(parts: &Parts) -> Result<String, String> {
    let (minute, hour) = clock_fields(parts)?;
    let (day, month, weekday) = date_fields(parts)?;
    Ok(format!("{minute} {hour} {day} {month} {weekday}"))
}

fn clock_fields(parts: &Parts) -> Result<(String, String), String> {
    let window = |last: bool| match parts.window {
        Some((from, to)) => format!("{from}-{}", if last && to < 24 { to } else { to - 1 }),
        None => "*".to_owned(),
    };
    match parts.every {
        Some(Every::Minutes(1)) => return Ok(("*".into(), window(false))),
        Some(Every::Minutes(n)) if n < 60 && 60 % n == 0 => {
            return Ok((format!("*/{n}"), window(false)));
        }
        Some(Every::Minutes(n)) => {
            return Err(format!(
                "Every {n} minutes does not divide an hour evenly, so cron cannot say it. Every {} minutes, or something else?",
                nearest(n, 60)
            ));
        }
        Some(Every::Hours(n)) if n < 24 && 24 % n == 0 => {
            let minute = parts.times.first().map_or(0, |(minute, _)| minute % 60);
            let hours = match (n, parts.window) {
                (1, _) => window(true),
                (_, Some((from, to))) => format!("{from}-{to}/{n}"),
                (_, None) => format!("*/{n}"),
            };
            return Ok((minute.to_string(), hours));
        }
        Some(Every::Hours(24)) => {}
        Some(Every::Hours(n)) => {
            return Err(format!(
                "Every {n} hours does not divide a day evenly, so cron cannot say it. Every {} hours, or at fixed times?",
                nearest(n, 24)
            ));
        }
        Some(Every::PerDay(n)) if parts.times.is_empty() => {
            if n == 0 || n > 24 || 24 % n != 0 {
                return Err(format!("{n} times a day: at which times?"));
            }
            let step = 24 / n;
            let hours: Vec<String> = (0..n).map(|i| ((6 + i * step) % 24).to_string()).collect();
            let mut hours: Vec<u32> = hours.iter().filter_map(|h| h.parse().ok()).collect();
            hours.sort_unstable();
            return Ok(("0".into(), list(&hours)));
        }
        Some(Every::PerDay(n)) if usize::try_from(n).is_ok_and(|n| n != parts.times.len()) => {
            return Err(format!(
                "{n} times a day, but {} times are given: at which times?",
                parts.times.len()
            ));
        }
        Some(Every::PerOther) => {
            return Err("How often is that: on which days and at which times?".into());
        }
        _ => {}
    }
    fixed_times(parts)
}

fn fixed_times(parts: &Parts) -> Result<(String, String), String> {
    if parts.times.is_empty() {
        if let Some((from, to)) = parts.window {
            return Err(format!(
                "Between {from} and {to} o'clock: how often, or at which time?"
            ));
        }
        let minute = match parts.part {
            Some(DayPart::Morning) => 7 * 60,
            Some(DayPart::Noon) => 12 * 60,
            Some(DayPart::Afternoon) => 14 * 60,
            Some(DayPart::Evening) => 19 * 60,
            Some(DayPart::EndOfDay) => 18 * 60,
            // "every night" is the small hours; "Sunday night" still belongs to Sunday.
            Some(DayPart::Night) if parts.weekdays.is_empty() => 2 * 60,
            Some(DayPart::Night) => 23 * 60,
            None => 6 * 60,
        };
        return Ok(((minute % 60).to_string(), (minute / 60).to_string()));
    }
    let mut times: BTreeSet<u32> = BTreeSet::new();
    for (minute, settled) in &parts.times {
        let shifted = match parts.part {
            Some(DayPart::Afternoon | DayPart::Evening) if !settled && *minute < 720 => {
                minute + 720
            }
            Some(DayPart::Night) if !settled && (300..720).contains(minute) => minute + 720,
            Some(DayPart::Night) if !settled && *minute == 720 => 0,
            _ => *minute,
        };
        times.insert(shifted);
    }
    let minutes: BTreeSet<u32> = times.iter().map(|time| time % 60).collect();
    let hours: Vec<u32> = times.iter().map(|time| time / 60).collect();
    let mut minutes = minutes.into_iter();
    match (minutes.next(), minutes.next()) {
        (Some(minute), None) => Ok((minute.to_string(), list(&hours))),
        _ => Err("One cron expression has one minute for all its hours. Which times with the same minute, for example 8:30 and 18:30?".into()),
    }
}

fn date_fields(parts: &Parts) -> Result<(String, String, String), String> {
    let mut weekdays = parts.weekdays.clone();
    if !parts.except.is_empty() {
        if weekdays.is_empty() {
            weekdays = (0..7).collect();
        }
        weekdays.retain(|day| !parts.except.contains(day));
        if weekdays.is_empty() {
            return Err("No day of the week is left. On which days is it to run?".into());
        }
    }
    let month = if parts.months.is_empty() {
        "*".to_owned()
    } else {
        list(&parts.months.iter().copied().collect::<Vec<_>>())
    };
    if (parts.nth.is_some() || parts.last_day || !parts.days.is_empty()) && !weekdays.is_empty() {
        return Err("A day of the month and a day of the week together: cron would run on either. Which one?".into());
    }
    if let Some((n, day)) = parts.nth {
        let which = if n == 5 {
            "L".to_owned()
        } else {
            format!("#{n}")
        };
        return Ok(("*".into(), month, format!("{day}{which}")));
    }
    if parts.last_day {
        return Ok(("L".into(), month, "*".into()));
    }
    if !parts.days.is_empty() {
        let month = match parts.every {
            Some(Every::Months(n)) if n > 1 => months(n)?,
            _ => month,
        };
        return Ok((
            list(&parts.days.iter().copied().collect::<Vec<_>>()),
            month,
            "*".into(),
        ));
    }
    match parts.every {
        Some(Every::Days(n)) if n > 1 => Err(format!(
            "Every {n} days: cron counts days within a month, so it cannot do that exactly. On which days of the week or month?"
        )),
        Some(Every::Weeks(n)) if n > 1 => Err(format!(
            "Every {n} weeks: cron cannot count weeks. Every week, or on which days of the month?"
        )),
        Some(Every::Weeks(_)) if weekdays.is_empty() => Ok(("*".into(), month, "1".into())),
        Some(Every::Months(n)) if weekdays.is_empty() => Ok((
            "1".into(),
            if parts.months.is_empty() {
                months(n)?
            } else {
                month
            },
            "*".into(),
        )),
        Some(Every::Months(_)) => Err(
            "Once a month on a day of the week: which one, for example the first Monday?".into(),
        ),
        _ => Ok(("*".into(), month, days(&weekdays))),
    }
}

fn months(n: u32) -> Result<String, String> {
    match n {
        1 => Ok("*".into()),
        12 => Ok("1".into()),
        2 | 3 | 4 | 6 => Ok(format!("*/{n}")),
        _ => Err(format!(
            "Every {n} months does not divide a year evenly. In which months?"
        )),
    }
}

fn nearest(n: u32, of: u32) -> u32 {
    (1..=of)
        .filter(|d| of.is_multiple_of(*d))
        .min_by_key(|d| d.abs_diff(n))
        .unwrap_or(1)
}

fn list(numbers: &[u32]) -> String {
    numbers
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

fn days(weekdays: &BTreeSet<u8>) -> String {
    if weekdays.is_empty() || weekdays.len() == 7 {
        return "*".to_owned();
    }
    let all: Vec<u8> = weekdays.iter().copied().collect();
    let run = all.windows(2).all(|pair| pair[1] == pair[0] + 1);
    match (all.first(), all.last()) {
        (Some(first), Some(last)) if run && all.len() > 2 => format!("{first}-{last}"),
        _ => all.iter().map(u8::to_string).collect::<Vec<_>>().join(","),
    }
}

/// A trigger in words, for people.
pub fn describe(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Schedule { cron, zone, .. } => format!("{} ({zone})", cron_in_words(cron)),
        Trigger::Service { publish: 0, .. } => {
            "all the time, as a service on a free port".to_owned()
        }
        Trigger::Service { publish, .. } => format!("all the time, as a service on port {publish}"),
        Trigger::Once => "once, when it is deployed".to_owned(),
        Trigger::Manual => "when asked to".to_owned(),
    }
}

fn cron_in_words(cron: &str) -> String {
    let fields: Vec<&str> = cron.split(' ').collect();
    let [minute, hour, day, month, weekday] = fields[..] else {
        return format!("at the times of \"{cron}\"");
    };
    let names = [
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
    ];
    let named = |text: &str| {
        text.parse::<usize>()
            .ok()
            .and_then(|n| names.get(n))
            .map(|n| (*n).to_owned())
    };
    let days = match (day, month, weekday) {
        ("*", "*", "*") => "every day".to_owned(),
        ("*", "*", "1-5") => "every weekday".to_owned(),
        ("*", "*", "0,6") => "every Saturday and Sunday".to_owned(),
        ("L", "*", "*") => "on the last day of every month".to_owned(),
        ("*", "*", one) if one.split(',').all(|d| named(d).is_some()) => {
            let list: Vec<String> = one.split(',').filter_map(named).collect();
            format!("every {}", list.join(", "))
        }
        (one, "*", "*") if one.parse::<u32>().is_ok() => format!("on day {one} of every month"),
        _ => return format!("at the times of \"{cron}\""),
    };
    let every_day = days == "every day";
    match (minute, hour) {
        ("*", "*") if every_day => "every minute".to_owned(),
        ("0", "*") if every_day => "every hour".to_owned(),
        (m, "*") if m.starts_with("*/") && every_day => format!("every {} minutes", &m[2..]),
        ("0", h) if h.starts_with("*/") && every_day => format!("every {} hours", &h[2..]),
        (m, h) => match (
            m.parse::<u32>(),
            h.split(',')
                .map(str::parse::<u32>)
                .collect::<Result<Vec<_>, _>>(),
        ) {
            (Ok(m), Ok(hours)) => {
                let times: Vec<String> = hours.iter().map(|h| format!("{h:02}:{m:02}")).collect();
                format!("{days} at {}", times.join(" and "))
            }
            _ => format!("at the times of \"{cron}\""),
        },
    }
}
