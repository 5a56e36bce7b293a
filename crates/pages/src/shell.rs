//! What stands around every page: navigation, who is here, where live news come from.

use crate::assets;
use crate::parts::{Csrf, Icon, icon};

/// What the server knows about the request.
#[derive(Clone, Debug)]
pub struct Shell {
    /// The path that everything is under: `/`, or `/prefix/`. Begins and ends with a slash.
    pub base: String,
    /// The path and query of this page, relative to the base.
    pub here: String,
    /// What state-changing forms carry.
    pub csrf: String,
    /// Where the stream of the organization was before the page's data was read.
    pub cursor: String,
    /// Who looks, by name.
    pub who: String,
    /// Whether there is a session that can be ended.
    pub session: bool,
    /// Builds that wait for a person.
    pub waiting: usize,
    /// Now, milliseconds since 1970.
    pub now_ms: i64,
    /// The version of the program.
    pub version: String,
    /// Which boot of the server made the page: files of another one may be others.
    pub boot: String,
}

/// What a page is told about as it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Live {
    /// Nothing: the page stays as it is.
    Off,
    /// Anything of the organization.
    All,
    /// One run, from this event on.
    Run {
        /// Its id.
        id: String,
        /// The newest event that the page shows.
        after: i64,
    },
}

impl Live {
    /// Where the page listens, relative to the base; empty when nowhere.
    pub(crate) fn path(&self, shell: &Shell) -> String {
        match self {
            Self::Off => String::new(),
            Self::All => format!("live?after={}", shell.cursor),
            Self::Run { id, after } => format!("live?run={id}&after={after}"),
        }
    }
}

/// The places of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// What is going on.
    Home,
    /// All builds.
    Builds,
    /// What waits for a person.
    Approvals,
    /// What starts by itself.
    Queue,
    /// What was done in a time.
    Reports,
    /// The form.
    New,
    /// What is deployed.
    Deployments,
    /// The directory.
    Services,
    /// What models cost.
    Costs,
    /// How builds go.
    Insights,
    /// Who did what.
    Audit,
    /// The instance.
    Settings,
    /// None of them.
    Elsewhere,
}

pub(crate) struct Place {
    pub(crate) section: Section,
    pub(crate) path: &'static str,
    pub(crate) icon: Icon,
    pub(crate) name: &'static str,
    /// Its name where there is little room.
    pub(crate) short: &'static str,
}

impl Section {
    /// Whether it has a tab of its own on a phone.
    pub(crate) fn tab(self) -> bool {
        match self {
            Self::Home | Self::Builds | Self::Approvals | Self::Deployments => true,
            Self::New
            | Self::Queue
            | Self::Reports
            | Self::Services
            | Self::Costs
            | Self::Insights
            | Self::Audit
            | Self::Settings
            | Self::Elsewhere => false,
        }
    }
}

/// The navigation, in order.
pub(crate) fn places() -> Vec<Place> {
    let place = |section, path, name_of, name| Place {
        section,
        path,
        icon: icon(name_of),
        name,
        short: if name == "Deployments" {
            "Deployed"
        } else {
            name
        },
    };
    vec![
        place(Section::Home, "", "home", "Home"),
        place(Section::Builds, "builds", "layers", "Builds"),
        place(Section::Approvals, "approvals", "hand", "Approvals"),
        place(Section::Queue, "queue", "plan", "Queue"),
        place(Section::Deployments, "deployments", "rocket", "Deployments"),
        place(Section::Services, "services", "globe", "Services"),
        place(Section::Costs, "costs", "coin", "Costs"),
        place(Section::Insights, "insights", "chart", "Insights"),
        place(Section::Reports, "report", "file", "Reports"),
        place(Section::Audit, "audit", "scroll", "Audit"),
        place(Section::Settings, "settings", "gear", "Settings"),
    ]
}

impl Shell {
    pub(crate) fn csrf(&self) -> Csrf {
        Csrf {
            csrf: self.csrf.clone(),
        }
    }

    pub(crate) fn asset(&self, name: &str) -> String {
        assets::path(name)
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        places()
    }

    pub(crate) fn icon(&self, name: &'static str) -> Icon {
        icon(name)
    }
}
