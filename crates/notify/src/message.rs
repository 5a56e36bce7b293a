//! A notice on its way out, and its shapes that channels share.

use agentwright_domain::run::Notice;
use serde_json::{Value, json};

/// Notices named in one gathered message; the rest is counted.
const GATHERED_MAX: usize = 30;

/// A notice on its way out.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The same for every try: the receiver's idempotency key.
    pub id: String,
    /// Whose.
    pub organization: String,
    /// The run that it is about, where it is about one.
    pub run: Option<String>,
    /// When it was written, ms.
    pub at_ms: i64,
    /// When this try is made, ms.
    pub sent_at_ms: i64,
    /// What is said.
    pub notice: Notice,
    /// What the person can do about it.
    pub actions: Vec<Action>,
}

/// Something to press.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What it does.
    pub does: Does,
    /// Where: opened with GET it only shows; an approval or rejection takes a POST.
    pub url: String,
}

/// What an action does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Says yes at the gate.
    Approve,
    /// Says no at the gate.
    Reject,
    /// Shows what it is about.
    Open,
}

impl Does {
    /// On the button.
    pub fn label(self) -> &'static str {
        match self {
            Self::Approve => "Approve",
            Self::Reject => "Reject",
            Self::Open => "Open",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Open => "open",
        }
    }
}

/// How much a message matters, where a service has words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Somebody is asked for something.
    Asks,
    /// Something went wrong.
    Bad,
    /// Good to know.
    Tells,
}

impl Message {
    /// What programs get: the same JSON for all of them (docs/formats.md, "Notices").
    pub fn to_json(&self) -> Value {
        let mut json = json!({
            "id": self.id,
            "type": self.notice.topic,
            "organization": self.organization,
            "run": self.run,
            "at_ms": self.at_ms,
            "title": self.notice.title,
            "body": self.notice.body,
        });
        if !self.actions.is_empty() {
            let action = |action: &Action| json!({"does": action.does.word(), "url": action.url});
            json["actions"] = self.actions.iter().map(action).collect();
        }
        json
    }

    /// Several as one, in their order. `None` for none; one stays as it is.
    pub fn gathered(messages: Vec<Self>) -> Option<Self> {
        let count = messages.len();
        let mut messages = messages.into_iter();
        let first = messages.next()?;
        if count == 1 {
            return Some(first);
        }
        let mut lines = vec![first.notice.title.clone()];
        lines.extend(messages.take(GATHERED_MAX - 1).map(|one| one.notice.title));
        let mut body: String = lines.iter().map(|line| format!("- {line}\n")).collect();
        if count > GATHERED_MAX {
            body.push_str(&format!("and {} more\n", count - GATHERED_MAX));
        }
        Some(Self {
            id: format!("{}-and-{}", first.id, count - 1),
            notice: Notice {
                topic: "digest".to_owned(),
                title: format!("{count} notices"),
                body,
            },
            actions: Vec::new(),
            ..first
        })
    }

    /// How much it matters, from its topic.
    pub(crate) fn weight(&self) -> Weight {
        let last = self.notice.topic.rsplit('.').next().unwrap_or_default();
        match last {
            "waiting" | "escalated" | "spent" => Weight::Asks,
            "failed" | "paused" | "stalled" | "missed" => Weight::Bad,
            _ => Weight::Tells,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn message() -> Message {
        Message {
            id: "run-1-0".to_owned(),
            organization: "local".to_owned(),
            run: Some("run".to_owned()),
            at_ms: 12_345,
            sent_at_ms: 1_614_265_330_000,
            notice: Notice {
                topic: "build.failed".to_owned(),
                title: "backup failed at verify".to_owned(),
                body: "the archive is empty".to_owned(),
            },
            actions: Vec::new(),
        }
    }

    /// A gate's, with hostile words in it.
    pub(crate) fn asking() -> Message {
        let action = |does, end: &str| Action {
            does,
            url: format!("https://builds.example.org/{end}"),
        };
        Message {
            notice: Notice {
                topic: "build.waiting".to_owned(),
                title: "backup waits for a yes\r\nbefore deploy".to_owned(),
                body: "<!channel> @everyone & **now** \u{202e}\u{1b}[31m".to_owned(),
            },
            actions: vec![
                action(Does::Approve, "hooks/decide/yes"),
                action(Does::Reject, "hooks/decide/no"),
                action(Does::Open, "builds/run"),
            ],
            ..message()
        }
    }

    #[test]
    fn the_shared_json_names_actions_only_where_there_are_some() {
        assert_eq!(message().to_json().get("actions"), None);
        assert_eq!(asking().to_json()["actions"][1]["does"], "reject");
    }

    #[test]
    fn several_notices_become_one_that_names_each_up_to_a_bound() {
        assert_eq!(Message::gathered(Vec::new()), None);
        assert_eq!(Message::gathered(vec![asking()]), Some(asking()));
        let many = Message::gathered(vec![message(); GATHERED_MAX + 2]).unwrap();
        assert_eq!(many.notice.title, "32 notices");
        assert_eq!(many.notice.body.lines().count(), GATHERED_MAX + 1);
        assert!(many.notice.body.ends_with("and 2 more\n"));
        assert_ne!(many.id, message().id);
    }
}
