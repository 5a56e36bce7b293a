//! `[queue]`: builds that start by themselves, how they are watched, what is reported of them.

use agentwright_domain::build::ApprovalMode;
use agentwright_domain::secret::{NotAReference, Reference};
use agentwright_notify::CalendarSource;
use agentwright_queue::window::{NotAWindow, Window};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

/// The most calendars.
const CALENDARS_MAX: usize = 16;
/// The most inbound webhooks.
const HOOKS_MAX: usize = 100;

/// Builds that start by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueSettings {
    /// The directory of `BUILD_QUEUE.md` and of what is written about builds, absolute; without it there is no file.
    pub dir: Option<PathBuf>,
    /// Seconds between looks at the queue, 10 to 86400.
    pub heartbeat_s: u64,
    /// Builds that may have started by themselves at once, 1 to 64.
    pub limit: u32,
    /// When medium items may start, `"22:00"`; inclusive.
    pub off_hours_from: String,
    /// Until when, `"06:00"`; exclusive.
    pub off_hours_to: String,
    /// The person's time zone, IANA; the machine's where nothing is said.
    pub zone: Option<String>,
    /// When a person is asked by these builds.
    pub mode: ApprovalMode,
    /// The person's calendars, in iCalendar format: each an absolute path, an address, or `env:NAME` that holds one; one
    /// alone needs no list. Medium and approved low items do not start while one is busy, nor while one cannot be read.
    #[serde(with = "one_or_many")]
    pub calendar: Vec<String>,
    /// What the machine keeps free.
    pub room: RoomSettings,
    /// How builds are watched.
    pub watch: WatchSettings,
    /// Nightly reports.
    pub report: ReportSettings,
    /// Where repositories of builds are pushed to.
    pub push: Option<PushSettings>,
    /// Webhooks that add items.
    pub hooks: Vec<HookSettings>,
}

/// What the machine keeps free: nothing starts by itself into less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoomSettings {
    /// Disk where builds are kept, MB.
    pub disk_mb: u64,
    /// Memory of one build, MB.
    pub memory_mb: u64,
    /// Cores of one build; 0 asks for none.
    pub cores: u32,
}

/// How builds are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchSettings {
    /// Seconds between looks at builds under way, 1 to 3600.
    pub every_s: u64,
    /// Seconds without progress after which somebody is told, whatever it looks like; 60 or more.
    pub stall_s: u64,
    /// Seconds between progress notices of a build, 60 or more; 0 sends none.
    pub progress_s: u64,
}

/// Nightly reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSettings {
    /// Whether there are any.
    pub nightly: bool,
    /// When, in the person's zone: `"23:00"`.
    pub at: String,
    /// Where they are written, absolute; `build-reports` in the data directory where nothing is said.
    pub dir: Option<PathBuf>,
}

/// Where repositories of builds are pushed to, each as a branch of its label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushSettings {
    /// An absolute path, a `file://` or an `ssh://` address, or `user@host:path`.
    pub remote: String,
    /// For ssh: a reference to the private key, which alone is shown there. The keys of the daemon's user where nothing is
    /// said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// For ssh: the file of host keys that alone are believed; those that the daemon's user and the machine know where
    /// nothing is said. One that is not there is never believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<PathBuf>,
}

impl PushSettings {
    /// To there, as the daemon's user.
    pub fn new(remote: impl Into<String>) -> Self {
        Self {
            remote: remote.into(),
            key: None,
            known_hosts: None,
        }
    }

    fn problem(&self) -> Option<String> {
        let remote = &self.remote;
        if !is_remote(remote) {
            return Some(format!(
                "has push.remote {remote:?}: write an absolute path, a file:// or ssh:// address, or user@host:path"
            ));
        }
        if self
            .key
            .as_ref()
            .is_some_and(|key| key.parse::<Reference>().is_err())
        {
            return Some(format!(
                "has a push.key that cannot be meant: it {NotAReference}"
            ));
        }
        // It stands in a command that git gives to a shell.
        let plain = |path: &PathBuf| {
            let text = path.to_string_lossy();
            path.is_absolute()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
        };
        if !self.known_hosts.as_ref().is_none_or(plain) {
            return Some(
                "has a push.known_hosts that is not an absolute path of plain characters".into(),
            );
        }
        None
    }
}

/// An inbound webhook: `POST /api/v1/hooks/{id}` adds an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookSettings {
    /// The last part of its address.
    pub id: String,
    /// What holds its signing secret (`whsec_…`): `env:NAME` or `file:/PATH`; several with spaces between while one
    /// replaces the other.
    pub secret: String,
    /// The organization whose queue it adds to; `local` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            dir: None,
            heartbeat_s: 30 * 60,
            limit: 1,
            off_hours_from: "22:00".into(),
            off_hours_to: "06:00".into(),
            zone: None,
            mode: ApprovalMode::default(),
            calendar: Vec::new(),
            room: RoomSettings::default(),
            watch: WatchSettings::default(),
            report: ReportSettings::default(),
            push: None,
            hooks: Vec::new(),
        }
    }
}

impl Default for RoomSettings {
    fn default() -> Self {
        Self {
            disk_mb: 1_000,
            memory_mb: 512,
            cores: 1,
        }
    }
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            every_s: 60,
            stall_s: 4 * 3_600,
            progress_s: 2 * 3_600,
        }
    }
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self {
            nightly: true,
            at: "23:00".into(),
            dir: None,
        }
    }
}

impl QueueSettings {
    /// What is wrong with it.
    pub(super) fn problem(&self) -> Option<String> {
        if let Err(why) = self.window() {
            return Some(format!("has off-hours that cannot be meant: {why}"));
        }
        let dirs = [&self.dir, &self.report.dir];
        if dirs.into_iter().flatten().any(|dir| !dir.is_absolute()) {
            return Some("has a dir that is not an absolute path".into());
        }
        let bounds = (10..=86_400).contains(&self.heartbeat_s) && (1..=64).contains(&self.limit);
        if !bounds {
            let said = "has a heartbeat_s outside of 10 to 86400, or a limit outside of 1 to 64";
            return Some(said.into());
        }
        self.watched_wrong()
            .or_else(|| self.reported_wrong())
            .or_else(|| self.hooked_wrong())
    }

    fn watched_wrong(&self) -> Option<String> {
        let watch = &self.watch;
        let progress = watch.progress_s == 0 || watch.progress_s >= 60;
        let fits = (1..=3_600).contains(&watch.every_s) && watch.stall_s >= 60 && progress;
        if !fits {
            let said = "has a watch outside of its bounds: every_s is 1 to 3600, stall_s 60 or more, progress_s 0 or 60 or more";
            return Some(said.into());
        }
        if self.calendar.len() > CALENDARS_MAX {
            return Some(format!("has more than {CALENDARS_MAX} calendars"));
        }
        // Only their form is looked at.
        let unread: crate::secrets::Resolve = Arc::new(|_| Err("not read yet".to_owned()));
        let mut sources = self.calendar.iter();
        let why = sources.find_map(|calendar| CalendarSource::new(calendar, &unread).err())?;
        Some(format!("has a calendar that cannot be meant: it {why}"))
    }

    fn reported_wrong(&self) -> Option<String> {
        if self.report_at().is_none() {
            let at = &self.report.at;
            return Some(format!(
                "has report.at {at:?}: write a time such as \"23:00\""
            ));
        }
        self.push.as_ref()?.problem()
    }

    fn hooked_wrong(&self) -> Option<String> {
        let mut seen = HashSet::new();
        for hook in &self.hooks {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            let fits = (1..=64).contains(&hook.id.len()) && hook.id.chars().all(plain);
            if !fits || !seen.insert(&hook.id) {
                let id = &hook.id;
                return Some(format!(
                    "has a hook {id:?}: an id is letters, digits and -, at most 64, and there is one of each"
                ));
            }
            let named = ["env:", "file:", "vault:"];
            if !named.iter().any(|start| hook.secret.starts_with(start)) {
                let id = &hook.id;
                return Some(format!(
                    "has a secret of the hook {id}: it must be env:NAME or file:/PATH, never the secret itself"
                ));
            }
        }
        (self.hooks.len() > HOOKS_MAX).then(|| format!("has more than {HOOKS_MAX} hooks"))
    }

    /// The time of day of the nightly report.
    pub(crate) fn report_at(&self) -> Option<jiff::civil::Time> {
        let at = &self.report.at;
        at.parse().ok().filter(|_| at.len() == 5)
    }

    /// The off-hours in the person's zone.
    pub(crate) fn window(&self) -> Result<Window, NotAWindow> {
        let system = || jiff::tz::TimeZone::system().iana_name().map(str::to_owned);
        let zone = self.zone.clone().or_else(system);
        let zone = zone.as_deref().unwrap_or("UTC");
        Window::new(&self.off_hours_from, &self.off_hours_to, zone)
    }
}

/// Whether git may be given it: never an option, never a helper that runs a command.
fn is_remote(text: &str) -> bool {
    let plain = text.chars().all(|c| !c.is_control() && !c.is_whitespace());
    let scheme = |scheme: &str| {
        text.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('-'))
    };
    let scp = text.split_once(':').is_some_and(|(host, path)| {
        let name = |c: char| c.is_ascii_alphanumeric() || "@.-_".contains(c);
        let at = host.contains('@') && !host.starts_with('-') && host.chars().all(name);
        at && !path.is_empty() && !path.starts_with(':')
    });
    plain && (scheme("/") || scheme("file:///") || scheme("ssh://") || scp)
}

/// `"a"` or `["a", "b"]`.
mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }

    pub(super) fn serialize<S: Serializer>(all: &[String], to: S) -> Result<S::Ok, S::Error> {
        all.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
        Ok(match OneOrMany::deserialize(from)? {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(all) => all,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_calendar_or_several_are_given_and_too_many_are_refused() {
        let of = |text: &str| serde_json::from_str::<QueueSettings>(text).unwrap();
        assert_eq!(of("{}").calendar, Vec::<String>::new());
        assert_eq!(of(r#"{"calendar": "/a.ics"}"#).calendar, ["/a.ics"]);
        let two = of(r#"{"calendar": ["/a.ics", "env:WORK"]}"#);
        assert_eq!(two.calendar, ["/a.ics", "env:WORK"]);
        assert_eq!(two.problem(), None);
        let odd = of(r#"{"calendar": ["/a.ics", "b.ics"]}"#);
        assert!(odd.problem().unwrap().contains("absolute path"));
        let many = QueueSettings {
            calendar: vec!["/a.ics".to_owned(); CALENDARS_MAX + 1],
            ..QueueSettings::default()
        };
        assert!(many.problem().unwrap().contains("more than 16 calendars"));
    }

    #[test]
    fn a_key_is_a_reference_and_known_hosts_no_option_of_ssh() {
        let push = |key: &str, hosts: &str| PushSettings {
            key: Some(key.to_owned()),
            known_hosts: Some(hosts.into()),
            ..PushSettings::new("git@host:x")
        };
        assert_eq!(push("file:/etc/key", "/etc/known").problem(), None);
        let said = push("-----BEGIN OPENSSH PRIVATE KEY-----", "/etc/known").problem();
        let said = said.unwrap();
        assert!(
            said.contains("push.key") && !said.contains("BEGIN"),
            "{said}"
        );
        for odd in ["known", "/a b", "/a'$(id)", "/%h"] {
            let said = push("env:KEY", odd).problem().unwrap();
            assert!(said.contains("push.known_hosts"), "{said}");
        }
    }

    #[test]
    fn a_remote_is_a_place_and_never_a_command() {
        for text in [
            "/srv/git/all.git",
            "file:///srv/x",
            "ssh://git@host/x",
            "git@host:x/y.git",
        ] {
            assert!(is_remote(text), "{text}");
        }
        for text in [
            "",
            "--upload-pack=x",
            "ext::sh -c x",
            "https://host/x",
            "x",
            "-o@host:x",
            "ssh://-oProxy",
            "fd::7",
        ] {
            assert!(!is_remote(text), "{text}");
        }
    }
}
