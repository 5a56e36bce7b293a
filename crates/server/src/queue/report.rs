//! Reports of a time (requirements E8): gathered from the store, one for each night kept, written and told.
//!
//! A night is the time from one evening's report to the next, on the person's wall. What the machine slept through is
//! made up for, night by night, at the next look; the row in the store decides who writes it, once.

mod text;

use super::{files, shown};
use crate::app::App;
use crate::error::ApiError;
use agentwright_api::{
    FieldProblem, QueueItem, Report, ReportBuild, ReportCause, ReportDay, ReportQuery,
    ReportTotals, Time,
};
use agentwright_domain::build::Phase;
use agentwright_domain::ids::OrganizationId;
use agentwright_domain::run::{Notice, RunState, RunStatus};
use agentwright_queue::needs::estimate_ms;
use agentwright_queue::window::moment;
use agentwright_store::{EndedOf, OrgScope, Told};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Nights that are made up for after a sleep; older ones are in the first of them.
const NIGHTS_MAX: usize = 7;
/// The longest time of one report, days.
const DAYS_MAX: i64 = 366;
/// A day, ms.
const DAY_MS: i64 = 86_400_000;
/// The folder in the data directory.
const FOLDER: &str = "build-reports";
/// Characters of a report in a notice.
const NOTICE_MAX: usize = 8_000;

/// A report as somebody asks for it.
pub(crate) async fn asked(
    app: &App,
    scope: &OrgScope,
    query: &ReportQuery,
) -> Result<Report, ApiError> {
    if let Some(night) = &query.night {
        let kept = app.store().kept_report(scope, Some(night)).await?;
        let kept = kept.ok_or_else(|| ApiError::no("report of the night", night))?;
        return serde_json::from_value(kept.report)
            .map_err(|error| ApiError::Internal(anyhow::Error::new(error)));
    }
    let zone = app.queue_zone();
    let now_ms = app.now_ms();
    let at = |name: &str, text: &str, end: bool| {
        let ms = moment(text).and_then(|at| at.ms(zone));
        // A date alone means all of its day.
        let whole = end && text.trim().len() == 10;
        let ms = ms.map(|ms| if whole { next_day(ms, zone) } else { ms });
        ms.ok_or_else(|| {
            ApiError::Invalid(vec![FieldProblem {
                at: name.to_owned(),
                problem: "must be a date such as 2026-02-06, or a time such as 2026-02-06T09:00"
                    .to_owned(),
            }])
        })
    };
    let to_ms = query.to.as_deref().map(|text| at("to", text, true));
    let to_ms = to_ms.transpose()?.unwrap_or(now_ms + 1);
    let from_ms = query.from.as_deref().map(|text| at("from", text, false));
    let from_ms = from_ms.transpose()?.unwrap_or(to_ms - DAY_MS);
    if from_ms >= to_ms || to_ms - from_ms > DAYS_MAX * DAY_MS {
        return Err(ApiError::Invalid(vec![FieldProblem {
            at: "from".to_owned(),
            problem: format!("must be before to, by at most {DAYS_MAX} days"),
        }]));
    }
    make(app, scope, (from_ms, to_ms), None).await
}

fn next_day(ms: i64, zone: &TimeZone) -> i64 {
    let at = Timestamp::from_millisecond(ms).map(|at| at.to_zoned(zone.clone()));
    let next = at.and_then(|at| at.checked_add(Span::new().days(1)));
    next.map_or(ms + DAY_MS, |at| at.timestamp().as_millisecond())
}

/// Gathers a report. What is active and what waits is as it is now.
async fn make(
    app: &App,
    scope: &OrgScope,
    (from_ms, to_ms): (i64, i64),
    night: Option<&str>,
) -> Result<Report, ApiError> {
    let entries = shown::entries(app, scope).await?;
    let estimates: HashMap<&str, i64> = entries
        .iter()
        .filter_map(|entry| {
            let said = entry.item.estimate.as_deref()?;
            Some((entry.label().as_str(), estimate_ms(said)? / 1_000))
        })
        .collect();
    let items = shown::items(app, scope).await?;
    let of = |statuses: &[&str]| -> Vec<QueueItem> {
        let there = items.iter();
        let there = there.filter(|item| statuses.contains(&item.status.as_str()));
        there.cloned().collect()
    };
    let rows = app.store().ended_between(scope, from_ms, to_ms).await?;
    let (calls, micro_usd) = app.store().spent_between(scope, from_ms, to_ms).await?;
    let link = app.address();
    let ended: Vec<ReportBuild> = rows
        .iter()
        .map(|row| ReportBuild {
            estimated_s: estimates.get(row.label.as_str()).copied(),
            link: link.as_ref().map(|url| format!("{url}/builds/{}", row.id)),
            ..build(row)
        })
        .collect();
    let zone = app.queue_zone();
    let mut report = Report {
        night: night.map(str::to_owned),
        from: Time::from_ms(from_ms),
        to: Time::from_ms(to_ms),
        zone: zone.iana_name().unwrap_or("UTC").to_owned(),
        causes: causes(&rows),
        totals: ReportTotals {
            calls,
            micro_usd,
            ..totals(&ended)
        },
        days: days(&ended, (from_ms, to_ms), zone),
        ended,
        active: of(&["building", "awaiting_approval"]),
        queue: of(&["queued", "failed"]),
        markdown: String::new(),
    };
    report.markdown = text::markdown(&report, zone);
    Ok(report)
}

fn build(row: &EndedOf) -> ReportBuild {
    let begun_ms = row.started_at_ms.unwrap_or(row.created_at_ms);
    ReportBuild {
        build: row.id.clone(),
        label: row.label.clone(),
        status: row.status.word().to_owned(),
        ended_at: Time::from_ms(row.ended_at_ms),
        took_s: (row.ended_at_ms - begun_ms).max(0) / 1_000,
        worked_s: row.worked_ms / 1_000,
        estimated_s: None,
        micro_usd: row.micro_usd,
        cpu_ms: row.cpu_ms,
        memory_bytes: row.memory_bytes,
        disk_bytes: row.disk_bytes,
        outcome: outcome(row),
        link: None,
    }
}

fn outcome(row: &EndedOf) -> String {
    let RunState::Build(state) = &row.state else {
        return String::new();
    };
    let facts = &state.facts;
    match &state.phase {
        Phase::Completed { deployed: true } => {
            let name = facts.name.as_ref().unwrap_or(&row.label);
            let version = facts
                .version
                .map_or_else(String::new, |version| format!(", version {version}"));
            match &facts.url {
                Some(url) => format!("deployed as {name}{version}, answers at {url}"),
                None => format!("deployed as {name}{version}"),
            }
        }
        Phase::Completed { deployed: false } => "verified, not deployed".to_owned(),
        Phase::Failed { stage, reason, .. } => format!("failed at {}: {reason}", stage.word()),
        Phase::Rejected { by, notes, .. } => match notes {
            Some(notes) => format!("rejected by {by}: {notes}"),
            None => format!("rejected by {by}"),
        },
        Phase::Cancelled { by, reason } => format!("ended by {by}: {reason}"),
        Phase::Stage { .. } | Phase::Gate { .. } | Phase::Spent { .. } => String::new(),
    }
}

fn causes(rows: &[EndedOf]) -> Vec<ReportCause> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for row in rows {
        if let RunState::Build(state) = &row.state
            && let Phase::Failed { stage, class, .. } = &state.phase
        {
            let class = serde_json::to_value(class).unwrap_or_default();
            let class = class.as_str().unwrap_or_default().to_owned();
            *counts
                .entry(format!("{}: {class}", stage.word()))
                .or_default() += 1;
        }
    }
    let mut causes: Vec<ReportCause> = counts
        .into_iter()
        .map(|(cause, builds)| ReportCause { cause, builds })
        .collect();
    causes.sort_by_key(|one| std::cmp::Reverse(one.builds));
    causes
}

fn count(ended: &[&ReportBuild], status: RunStatus) -> u32 {
    let of = ended.iter().filter(|one| one.status == status.word());
    u32::try_from(of.count()).unwrap_or(u32::MAX)
}

fn totals(ended: &[ReportBuild]) -> ReportTotals {
    let all: Vec<&ReportBuild> = ended.iter().collect();
    let (completed, failed) = (
        count(&all, RunStatus::Completed),
        count(&all, RunStatus::Failed),
    );
    ReportTotals {
        completed,
        failed,
        cancelled: count(&all, RunStatus::Cancelled),
        success_percent: (completed * 100).checked_div(completed + failed),
        worked_s: ended.iter().map(|one| one.worked_s).sum(),
        calls: 0,
        micro_usd: 0,
        cpu_ms: ended.iter().map(|one| one.cpu_ms).sum(),
        disk_bytes: ended.iter().map(|one| one.disk_bytes).sum(),
    }
}

fn date(ms: i64, zone: &TimeZone) -> Option<Date> {
    let at = Timestamp::from_millisecond(ms).ok()?;
    Some(at.to_zoned(zone.clone()).date())
}

/// Every day that the time touches, also those on which nothing ended.
fn days(ended: &[ReportBuild], (from_ms, to_ms): (i64, i64), zone: &TimeZone) -> Vec<ReportDay> {
    let (Some(first), Some(last)) = (date(from_ms, zone), date(to_ms - 1, zone)) else {
        return Vec::new();
    };
    let mut by_date: HashMap<Date, Vec<&ReportBuild>> = HashMap::new();
    for one in ended {
        if let Some(day) = date(one.ended_at.as_ms(), zone) {
            by_date.entry(day).or_default().push(one);
        }
    }
    let all = first.series(Span::new().days(1));
    all.take_while(|day| *day <= last)
        .map(|day| {
            let of = by_date.remove(&day).unwrap_or_default();
            ReportDay {
                date: day.to_string(),
                completed: count(&of, RunStatus::Completed),
                failed: count(&of, RunStatus::Failed),
                cancelled: count(&of, RunStatus::Cancelled),
                worked_s: of.iter().map(|one| one.worked_s).sum(),
                micro_usd: of.iter().map(|one| one.micro_usd).sum(),
                cpu_ms: of.iter().map(|one| one.cpu_ms).sum(),
                memory_bytes: of.iter().map(|one| one.memory_bytes).max().unwrap_or(0),
                disk_bytes: of.iter().map(|one| one.disk_bytes).sum(),
            }
        })
        .collect()
}

/// Which evenings are done, as far as this process knows.
pub(crate) type Nights = HashMap<OrganizationId, Date>;

/// Writes the reports that are due. Cheap where none is.
pub(crate) async fn nightly(app: &App, done: &mut Nights) -> Result<(), ApiError> {
    let settings = &app.config().settings.queue;
    let Some(at) = settings.report_at().filter(|_| settings.report.nightly) else {
        return Ok(());
    };
    let Some(evening) = last_evening(app.now_ms(), at, app.queue_zone()) else {
        return Ok(());
    };
    let local = OrgScope::local();
    if done.get(local.organization()) == Some(&evening) {
        return Ok(());
    }
    for organization in app.store().organizations().await? {
        let scope = OrgScope::authenticated(organization.id);
        of_organization(app, &scope, evening, at).await?;
        done.insert(scope.organization().clone(), evening);
    }
    Ok(())
}

/// The date of the newest evening whose time has come.
fn last_evening(now_ms: i64, at: jiff::civil::Time, zone: &TimeZone) -> Option<Date> {
    let today = date(now_ms, zone)?;
    if evening_ms(today, at, zone)? <= now_ms {
        return Some(today);
    }
    today.yesterday().ok()
}

fn evening_ms(day: Date, at: jiff::civil::Time, zone: &TimeZone) -> Option<i64> {
    let at = day.to_datetime(at).to_zoned(zone.clone()).ok()?;
    Some(at.timestamp().as_millisecond())
}

async fn of_organization(
    app: &App,
    scope: &OrgScope,
    evening: Date,
    at: jiff::civil::Time,
) -> Result<(), ApiError> {
    let kept = app.store().kept_report(scope, None).await?;
    let last = kept.and_then(|kept| kept.night.parse::<Date>().ok());
    let mut nights = Vec::new();
    let mut day = evening;
    while last.is_none_or(|last| day > last) && nights.len() < NIGHTS_MAX {
        nights.push(day);
        match day.yesterday() {
            // Of nights before the first one nobody has to know.
            Ok(before) if last.is_some() => day = before,
            Ok(_) | Err(_) => break,
        }
    }
    // From the last report on: what was before the nights that are made up for is in the first of them.
    let mut from = last.unwrap_or_else(|| evening.yesterday().unwrap_or(evening));
    for night in nights.into_iter().rev() {
        let zone = app.queue_zone();
        let (Some(from_ms), Some(to_ms)) =
            (evening_ms(from, at, zone), evening_ms(night, at, zone))
        else {
            continue;
        };
        from = night;
        let name = night.to_string();
        let report = make(app, scope, (from_ms, to_ms), Some(&name)).await?;
        // Of an evening before there was anything here nobody has to know.
        let before = to_ms < app.started_at_ms();
        let waits = !(report.active.is_empty() && report.queue.is_empty());
        let something = !report.ended.is_empty() || (waits && !before);
        if last.is_none() && !something {
            continue;
        }
        let value = serde_json::to_value(&report)
            .map_err(|error| ApiError::Internal(anyhow::Error::new(error)))?;
        if app.store().keep_report(scope, &name, &value).await? {
            tracing::info!(night = name, "the nightly report is made");
        }
        publish(app, scope, Some(&name)).await?;
    }
    // Also one that was kept by a process that died before it was told.
    publish(app, scope, None).await
}

/// Writes a report's file where it is missing, and tells of it, once; the newest one where none is named.
async fn publish(app: &App, scope: &OrgScope, night: Option<&str>) -> Result<(), ApiError> {
    let Some(kept) = app.store().kept_report(scope, night).await? else {
        return Ok(());
    };
    let report: Report = serde_json::from_value(kept.report)
        .map_err(|error| ApiError::Internal(anyhow::Error::new(error)))?;
    let path = folder(app, scope).join(format!("{}.md", kept.night));
    if let Err(error) = write(&path, &report.markdown) {
        tracing::warn!(%error, path = %path.display(), "cannot write the nightly report");
    }
    let body: String = report.markdown.chars().take(NOTICE_MAX).collect();
    let told = Told {
        id: format!("report-{}", kept.night),
        run: None,
        notice: Notice {
            topic: "report.nightly".to_owned(),
            title: text::title(&report),
            body,
        },
    };
    app.store().tell(scope, &told).await?;
    Ok(())
}

/// Where reports of an organization are written.
fn folder(app: &App, scope: &OrgScope) -> PathBuf {
    let layout = app.layout();
    if *scope != OrgScope::local() {
        return layout.organization(scope).join(FOLDER);
    }
    let set = app.config().settings.queue.report.dir.clone();
    set.unwrap_or_else(|| layout.data().join(FOLDER))
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if path.symlink_metadata().is_ok() {
        // What a person made of it stays.
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    files::put(path, text).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Zoned;

    fn ms(text: &str) -> i64 {
        text.parse::<Zoned>().unwrap().timestamp().as_millisecond()
    }

    #[test]
    fn the_evening_is_the_persons_over_changes_of_the_clock() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let late = jiff::civil::time(23, 0, 0, 0);
        for (now, evening) in [
            ("2026-02-06T22:59:59[Europe/Berlin]", "2026-02-05"),
            ("2026-02-06T23:00[Europe/Berlin]", "2026-02-06"),
            ("2026-02-07T00:30[Europe/Berlin]", "2026-02-06"),
        ] {
            let found = last_evening(ms(now), late, &zone).unwrap();
            assert_eq!(found.to_string(), evening, "{now}");
        }
        // 02:30 is skipped on this day, and shown twice on that.
        let odd = jiff::civil::time(2, 30, 0, 0);
        for (now, evening) in [
            ("2026-03-29T01:59[Europe/Berlin]", "2026-03-28"),
            ("2026-03-29T03:30[Europe/Berlin]", "2026-03-29"),
            ("2026-10-25T02:30+02:00[Europe/Berlin]", "2026-10-25"),
            ("2026-10-25T02:30+01:00[Europe/Berlin]", "2026-10-25"),
        ] {
            let found = last_evening(ms(now), odd, &zone).unwrap();
            assert_eq!(found.to_string(), evening, "{now}");
        }
    }

    #[test]
    fn days_are_whole_in_the_persons_zone_and_none_is_left_out() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let (from, to) = (
            "2026-03-28T23:00[Europe/Berlin]",
            "2026-03-30T23:00[Europe/Berlin]",
        );
        let dates: Vec<String> = days(&[], (ms(from), ms(to)), &zone)
            .into_iter()
            .map(|day| day.date)
            .collect();
        assert_eq!(dates, ["2026-03-28", "2026-03-29", "2026-03-30"]);
    }
}
