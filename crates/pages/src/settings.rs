//! The instance: what the machine can do, who may come in, what is limited.

use agentwright_api::{Check, CheckStatus, Doctor, Health, Time};
use askama::Template;

use crate::parts::{Chip, Tone, When};
use crate::shell::{Live, Section, Shell};

/// A key as its list shows it; never the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine {
    /// What it is revoked by.
    pub id: String,
    /// Its beginning.
    pub prefix: String,
    /// Whose, or what for.
    pub name: String,
    /// A person's or a program's, in a word.
    pub kind: String,
    /// What it may do.
    pub role: String,
    /// When it was made.
    pub created_at: Time,
    /// When it ends.
    pub expires_at: Option<Time>,
    /// When it was taken back.
    pub revoked_at: Option<Time>,
}

/// A browser that is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLine {
    /// What it is ended by.
    pub id: String,
    /// Whose.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// Since when.
    pub created_at: Time,
    /// Until when.
    pub expires_at: Time,
    /// Whether it is the one that looks.
    pub current: bool,
}

/// What is shown once and never again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownOnce {
    /// What it is.
    pub title: String,
    /// What to do with it.
    pub words: String,
    /// The thing.
    pub text: String,
}

/// An organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationLine {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is the one that is looked at.
    pub current: bool,
}

struct Key {
    id: String,
    prefix: String,
    name: String,
    kind: String,
    role: String,
    created: When,
    expires: Option<When>,
    revoked: bool,
}

struct Session {
    id: String,
    name: String,
    role: String,
    since: When,
    until: When,
    current: bool,
}

struct Looked {
    name: String,
    chip: Chip,
    detail: Vec<String>,
    fix: Option<String>,
}

/// The page.
#[derive(Template)]
#[template(path = "settings.html")]
pub struct Settings {
    shell: Shell,
    section: Section,
    live: Live,
    version: String,
    started: When,
    machine: Option<Health>,
    checks: Vec<Looked>,
    limits: Vec<(String, String)>,
    keys: Option<Vec<Key>>,
    sessions: Vec<Session>,
    organizations: Vec<OrganizationLine>,
    shown_once: Option<ShownOnce>,
    said: Option<String>,
    problem: Option<String>,
}

impl Settings {
    /// The page of the configured limits (name and value in words).
    pub fn new(shell: Shell, health: &Health, limits: Vec<(String, String)>) -> Self {
        Self {
            section: Section::Settings,
            live: Live::Off,
            version: health.version.clone(),
            started: When::new(health.started_at, shell.now_ms),
            machine: None,
            checks: Vec::new(),
            limits,
            keys: None,
            sessions: Vec::new(),
            organizations: Vec::new(),
            shown_once: None,
            said: None,
            problem: None,
            shell,
        }
    }

    /// With what the doctor finds, for who runs the machine.
    #[must_use]
    pub fn with_machine(mut self, health: Health, doctor: Doctor) -> Self {
        self.machine = Some(health);
        self.checks = doctor.checks.into_iter().map(looked).collect();
        self
    }

    /// With keys and sessions, for who may see them.
    #[must_use]
    pub fn with_access(mut self, keys: Vec<KeyLine>, sessions: Vec<SessionLine>) -> Self {
        let now = self.shell.now_ms;
        self.keys = Some(keys.into_iter().map(|line| key(line, now)).collect());
        self.sessions = sessions
            .into_iter()
            .map(|line| session(line, now))
            .collect();
        self
    }

    /// With all organizations, for who runs the machine.
    #[must_use]
    pub fn with_organizations(mut self, organizations: Vec<OrganizationLine>) -> Self {
        self.organizations = organizations;
        self
    }

    /// With a new key or code, which nobody sees again.
    #[must_use]
    pub fn showing_once(mut self, once: ShownOnce) -> Self {
        self.shown_once = Some(once);
        self
    }

    /// With what was done, or what could not be.
    #[must_use]
    pub fn saying(mut self, said: Option<String>, problem: Option<String>) -> Self {
        self.said = said;
        self.problem = problem;
        self
    }
}

fn key(line: KeyLine, now_ms: i64) -> Key {
    Key {
        id: line.id,
        prefix: line.prefix,
        name: line.name,
        kind: line.kind,
        role: line.role,
        created: When::new(line.created_at, now_ms),
        expires: line.expires_at.map(|at| When::new(at, now_ms)),
        revoked: line.revoked_at.is_some(),
    }
}

fn session(line: SessionLine, now_ms: i64) -> Session {
    Session {
        id: line.id,
        name: line.name,
        role: line.role,
        since: When::new(line.created_at, now_ms),
        until: When::new(line.expires_at, now_ms),
        current: line.current,
    }
}

fn looked(check: Check) -> Looked {
    Looked {
        name: check.name,
        chip: match check.status {
            CheckStatus::Ok => Chip::new(Tone::Good, "check", "Fine"),
            CheckStatus::Warning => Chip::new(Tone::Wait, "alert", "Could be better"),
            CheckStatus::Failed => Chip::new(Tone::Bad, "cross", "Missing"),
        },
        detail: check.detail.lines().map(str::to_owned).collect(),
        fix: check.fix,
    }
}
