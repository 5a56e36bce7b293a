//! A report for people, as Markdown. Names are people's: nothing in them is markup.

use crate::queue::active::plain;
use agentwright_api::{QueueItem, Report, ReportBuild, Time};
use agentwright_domain::run::RunStatus;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Builds of one list.
const LISTED: usize = 100;

/// `Build report - Feb 6, 2026`.
pub(super) fn title(report: &Report) -> String {
    let night = report
        .night
        .as_deref()
        .and_then(|night| night.parse::<jiff::civil::Date>().ok());
    match night {
        Some(night) => format!("Build report - {}", night.strftime("%b %-d, %Y")),
        None => "Build report".to_owned(),
    }
}

pub(super) fn markdown(report: &Report, zone: &TimeZone) -> String {
    let at = |time: Time| clock(time, zone);
    let totals = &report.totals;
    let mut text = format!(
        "# {}\n\n{} to {}, {}.\n",
        title(report),
        at(report.from),
        at(report.to),
        report.zone
    );
    let of = |status: RunStatus| {
        report
            .ended
            .iter()
            .filter(move |one| one.status == status.word())
    };
    let ended = |one: &ReportBuild| ended(one, zone);
    list(&mut text, "Completed", of(RunStatus::Completed).map(ended));
    list(&mut text, "Failed", of(RunStatus::Failed).map(ended));
    list(
        &mut text,
        "Ended by a person",
        of(RunStatus::Cancelled).map(ended),
    );
    list(
        &mut text,
        "Currently building",
        report.active.iter().map(|item| active(item, zone)),
    );
    list(&mut text, "Queue", report.queue.iter().map(waiting));
    list(
        &mut text,
        "Failures by cause",
        report
            .causes
            .iter()
            .map(|one| format!("{}: {}", one.cause, one.builds)),
    );
    let rate = totals
        .success_percent
        .map_or_else(|| "–".to_owned(), |percent| format!("{percent} %"));
    let sums = [
        format!(
            "{} completed, {} failed, {} ended by a person",
            totals.completed, totals.failed, totals.cancelled
        ),
        format!("success rate: {rate}"),
        format!("work: {}", took(totals.worked_s)),
        format!("models: {} calls, {}", totals.calls, usd(totals.micro_usd)),
        format!(
            "tests: {} of processor time; kept: {}",
            took(totals.cpu_ms / 1_000),
            bytes(totals.disk_bytes)
        ),
    ];
    list(&mut text, "Totals", sums.into_iter());
    text
}

fn list(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    text.push_str(&format!("\n## {title}\n\n"));
    let mut count = 0;
    for line in lines {
        count += 1;
        if count <= LISTED {
            text.push_str(&format!("- {line}\n"));
        }
    }
    match count {
        0 => text.push_str("(none)\n"),
        count if count > LISTED => text.push_str(&format!("- and {} more\n", count - LISTED)),
        _ => {}
    }
}

fn ended(one: &ReportBuild, zone: &TimeZone) -> String {
    let name = match &one.link {
        Some(link) => format!("[{}]({link})", one.label),
        None => one.label.to_string(),
    };
    let against = one.estimated_s.map_or_else(String::new, |estimated_s| {
        format!(", estimated {}", took(estimated_s))
    });
    format!(
        "{name} at {}: {}; took {}{against}, work {}; cost {}; tests {} of processor time, {} of memory; keeps {}",
        clock(one.ended_at, zone),
        plain(&one.outcome),
        took(one.took_s),
        took(one.worked_s),
        usd(one.micro_usd),
        took(one.cpu_ms / 1_000),
        bytes(one.memory_bytes),
        bytes(one.disk_bytes)
    )
}

fn active(item: &QueueItem, zone: &TimeZone) -> String {
    let name = plain(&item.name);
    let Some(progress) = &item.progress else {
        return format!("{name}: {}", item.status.replace('_', " "));
    };
    let expected = match progress.expected {
        Some(at) => format!("expected at {}", clock(at, zone)),
        None => "no estimate".to_owned(),
    };
    format!(
        "{name}: {} %, {}, {} ({expected})",
        progress.percent, progress.phase, progress.verdict
    )
}

fn waiting(item: &QueueItem) -> String {
    let why = item.why.as_ref();
    let why = why.map_or("not looked at yet", |why| why.words.as_str());
    format!("{}: {}", plain(&item.name), plain(why))
}

fn clock(at: Time, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(at.as_ms()) {
        Ok(at) => at
            .to_zoned(zone.clone())
            .strftime("%Y-%m-%d %H:%M")
            .to_string(),
        Err(_) => at.to_string(),
    }
}

/// `4 h 30 min`, `12 min`, `8 s`.
fn took(seconds: i64) -> String {
    let (hours, minutes) = (seconds / 3_600, seconds % 3_600 / 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

fn usd(micro: i64) -> String {
    format!("${}.{:02}", micro / 1_000_000, micro % 1_000_000 / 10_000)
}

fn bytes(n: i64) -> String {
    match n {
        n if n < 1_000_000 => format!("{} kB", n / 1_000),
        n => format!("{} MB", n / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_amounts_are_said_as_people_say_them() {
        let said: Vec<String> = [8, 60, 720, 3_600, 16_200].map(took).into();
        assert_eq!(said, ["8 s", "1 min", "12 min", "1 h", "4 h 30 min"]);
        assert_eq!(usd(1_234_567), "$1.23");
        assert_eq!(
            (bytes(1_500), bytes(2_500_000)),
            ("1 kB".into(), "2 MB".into())
        );
    }
}
