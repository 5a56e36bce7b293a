//! What is around the queue when it is looked at: the person's calendar, budgets, quotas, the machine's room.

use crate::app::App;
use crate::error::ApiError;
use agentwright_domain::deployment::Activity;
use agentwright_domain::ids::Slug;
use agentwright_domain::run::Notice;
use agentwright_domain::spec::AutomationKind;
use agentwright_domain::spend::{Amount, BudgetScope, fits};
use agentwright_notify::CalendarSource;
use agentwright_queue::calendar::{self, Busy};
use agentwright_queue::room::{self, Machine, Needs, Promised, no_room};
use agentwright_store::{OrgScope, Told};
use std::path::Path;
use tokio::sync::Mutex;

/// What a build by hand needs of the disk, MB: its repository, its logs, what the database writes meanwhile.
const LEAST_DISK_MB: u64 = 64;
/// How long a calendar that was read is good, ms.
const CALENDAR_GOOD_MS: i64 = 5 * 60_000;
/// How far ahead it is read, ms: far beyond the longest pause between two readings.
const CALENDAR_AHEAD_MS: i64 = 8 * 86_400_000;
/// A mebibyte.
const MIB: u64 = 1 << 20;
/// A megabyte.
const MB: u64 = 1_000_000;
/// The least that a call of a model can take.
const LEAST: Amount = Amount {
    calls: 1,
    tokens: 1,
    micro_usd: 1,
    wire_ms: 0,
};

/// What is known of the surroundings from look to look.
#[derive(Default)]
pub(crate) struct Surroundings {
    calendar: Mutex<Option<Kept>>,
    pub(super) plans: super::covered::Plans,
}

struct Kept {
    at_ms: i64,
    busy: Result<Busy, String>,
    /// Since when it cannot be read, ms.
    failing_since_ms: Option<i64>,
}

/// What keeps items back at one look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Around {
    pub(crate) busy_until_ms: Option<i64>,
    pub(crate) calendar_unread: Option<String>,
    pub(crate) quota_until_ms: Option<i64>,
    pub(crate) budget_spent: Option<String>,
    pub(crate) no_room: Option<String>,
}

/// Looks around.
pub(crate) async fn look(app: &App, scope: &OrgScope) -> Result<Around, ApiError> {
    let (busy_until_ms, calendar_unread) = match busy(app, scope).await? {
        Ok(busy) => (busy.until(app.now_ms()), None),
        Err(why) => (None, Some(why)),
    };
    Ok(Around {
        busy_until_ms,
        calendar_unread,
        quota_until_ms: app.store().quota_until(scope).await?,
        budget_spent: budget_spent(app, scope).await?,
        no_room: room_of(app).await?,
    })
}

/// When the person is busy; or why nobody knows.
async fn busy(app: &App, scope: &OrgScope) -> Result<Result<Busy, String>, ApiError> {
    let places = &app.config().settings.queue.calendar;
    if places.is_empty() {
        return Ok(Ok(Busy::default()));
    }
    let now_ms = app.now_ms();
    let mut kept = app.surroundings().calendar.lock().await;
    if let Some(kept) = &*kept
        && (0..CALENDAR_GOOD_MS).contains(&(now_ms - kept.at_ms))
    {
        return Ok(kept.busy.clone());
    }
    let busy = read_all(app, places, now_ms).await;
    let since_ms = kept.as_ref().and_then(|kept| kept.failing_since_ms);
    let failing_since_ms = busy.is_err().then(|| since_ms.unwrap_or(now_ms));
    if let (Err(why), Some(since_ms)) = (&busy, failing_since_ms) {
        tracing::warn!(why, "the calendar is not read");
        let told = Told {
            id: format!("calendar-{since_ms}"),
            run: None,
            notice: Notice {
                topic: "queue.calendar".to_owned(),
                title: "The calendar cannot be read: medium items do not start".to_owned(),
                body: format!("{why}\nMend it, or take calendar out of [queue] in config.toml."),
            },
        };
        app.store().tell(scope, &told).await?;
    }
    *kept = Some(Kept {
        at_ms: now_ms,
        busy: busy.clone(),
        failing_since_ms,
    });
    Ok(busy)
}

/// All calendars together; the first that cannot be read speaks for all, for a meeting may be in it.
async fn read_all(app: &App, places: &[String], now_ms: i64) -> Result<Busy, String> {
    let mut all = Vec::with_capacity(places.len());
    for (at, place) in places.iter().enumerate() {
        let busy = read(app, place, now_ms).await;
        // Its place may be a secret: it is told by its number.
        let of = |why: String| match places.len() {
            1 => why,
            many => format!("calendar {} of {many}: {why}", at + 1),
        };
        all.push(busy.map_err(of)?);
    }
    Ok(Busy::together(all))
}

async fn read(app: &App, place: &str, now_ms: i64) -> Result<Busy, String> {
    let source = CalendarSource::new(place, app.secrets())?;
    let text = source.read(calendar::CALENDAR_MAX_BYTES).await?;
    let zone = app.queue_zone().clone();
    let read = tokio::task::spawn_blocking(move || {
        calendar::read(&text, &zone, now_ms, now_ms + CALENDAR_AHEAD_MS)
    });
    let read = read.await.map_err(|error| error.to_string())?;
    read.map_err(|error| error.to_string())
}

/// The budget of the organization that has no room for one more call.
async fn budget_spent(app: &App, scope: &OrgScope) -> Result<Option<String>, ApiError> {
    let budgets = app.store().budgets(scope, None).await?;
    for of in [BudgetScope::Organization, BudgetScope::Day] {
        let budget = budgets.get(of);
        if *budget == agentwright_domain::spend::Budget::default() {
            continue;
        }
        let spent = app.store().spent(scope, of, None, "").await?;
        if let Err(exceeded) = fits(of, budget, &spent, &LEAST) {
            let words = format!(
                "the {} budget of {} ({} used or set aside)",
                of.word(),
                exceeded.limit,
                exceeded.spent
            );
            return Ok(Some(words));
        }
    }
    Ok(None)
}

/// Why the disk is too full to build anything, also by hand. What cannot be told is left to the first write.
pub(crate) fn disk_full(app: &App) -> Option<String> {
    let kept = app.config().settings.queue.room.disk_mb;
    let kept = kept.min(LEAST_DISK_MB).saturating_mul(MB);
    let free = disk_free(&app.config().data_dir).ok()?;
    room::disk_full(free, kept)
}

/// What the machine has no room for. Of all organizations: they share it.
async fn room_of(app: &App) -> Result<Option<String>, ApiError> {
    let settings = &app.config().settings.queue.room;
    let machine = match machine(&app.config().data_dir) {
        Ok(machine) => machine,
        Err(error) => {
            tracing::debug!(%error, "cannot tell what room the machine has");
            return Ok(None);
        }
    };
    let (builds, _) = app.store().builds_at_work(None).await?;
    let promised = Promised {
        builds: u32::try_from(builds).unwrap_or(u32::MAX),
        services_memory: services_memory(app).await?,
    };
    let needs = Needs {
        disk: settings.disk_mb.saturating_mul(MB),
        memory: settings.memory_mb.saturating_mul(MB),
        cores: settings.cores,
    };
    Ok(no_room(&machine, &promised, &needs))
}

/// Memory that services which run may take, bytes.
async fn services_memory(app: &App) -> Result<u64, ApiError> {
    let mut memory: u64 = 0;
    for (scope, row) in app.store().all_deployments().await? {
        let runs = matches!(row.activity, Activity::Active) && row.current_run.is_some();
        if !runs {
            continue;
        }
        let name: &Slug = &row.name;
        let version = app
            .store()
            .version(&scope, name, row.active_version)
            .await?;
        if let Some(version) = version.filter(|it| it.spec.kind == AutomationKind::Service) {
            memory = memory.saturating_add(version.spec.limits.memory_mib.saturating_mul(MIB));
        }
    }
    Ok(memory)
}

fn disk_free(dir: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn machine(dir: &Path) -> std::io::Result<Machine> {
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let of = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name))?;
        let kib = line.trim().trim_end_matches("kB").trim();
        kib.parse::<u64>().ok().map(|kib| kib.saturating_mul(1_024))
    };
    let missing = || std::io::Error::other("/proc/meminfo is not as expected");
    let cores = std::thread::available_parallelism()?;
    Ok(Machine {
        disk_free: disk_free(dir)?,
        memory: of("MemTotal:").ok_or_else(missing)?,
        memory_free: of("MemAvailable:").ok_or_else(missing)?,
        cores: u32::try_from(cores.get()).unwrap_or(u32::MAX),
    })
}
