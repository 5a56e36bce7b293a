//! What always waits for a person (requirements E5): classes of risk, from a spec's permissions and effects, and
//! from an item's words before there is a spec. Each adds a gate; nothing takes one away.

use crate::Item;
use agentwright_domain::spec::{Access, AutomationKind, Spec};
use serde::{Deserialize, Serialize};

/// A class of risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Systems that others depend on.
    Production,
    /// Messages to people elsewhere.
    Messages,
    /// Money.
    Money,
    /// Who may do what.
    Access,
    /// What cannot be undone.
    Destructive,
    /// Data that is nobody else's business.
    Sensitive,
    /// How a system is built as a whole.
    Architecture,
}

impl Class {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Production => "touches a production system",
            Self::Messages => "sends messages to others",
            Self::Money => "has to do with money",
            Self::Access => "changes who may do what",
            Self::Destructive => "may destroy something",
            Self::Sensitive => "reads or writes sensitive data",
            Self::Architecture => "changes how a system is built",
        }
    }
}

/// A risk and what it was seen by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Risk {
    /// Which class.
    pub class: Class,
    /// The host, folder, program or words.
    pub because: String,
}

impl std::fmt::Display for Risk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.class.words(), self.because)
    }
}

/// Whether the target is marked as production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// It is.
    Production,
    /// It is not.
    Other,
}

/// Hosts by what one does there. A beginning dot means every host below.
const HOSTS: [(Class, &[&str]); 3] = [
    (
        Class::Messages,
        &[
            "api.telegram.org",
            "hooks.slack.com",
            ".slack.com",
            "discord.com",
            "discordapp.com",
            "api.twilio.com",
            "api.sendgrid.com",
            "api.mailgun.net",
            "api.postmarkapp.com",
            "graph.facebook.com",
            "api.twitter.com",
            "api.x.com",
            "graph.microsoft.com",
            "gmail.googleapis.com",
            ".whatsapp.com",
            "bsky.social",
        ],
    ),
    (
        Class::Money,
        &[
            "api.stripe.com",
            "api.paypal.com",
            "api-m.paypal.com",
            ".adyen.com",
            "api.mollie.com",
            "api.coinbase.com",
            "api.binance.com",
            ".braintreegateway.com",
            ".wise.com",
            ".squareup.com",
            "api.kraken.com",
        ],
    ),
    (
        Class::Access,
        &[
            "iam.amazonaws.com",
            ".okta.com",
            "login.microsoftonline.com",
            ".auth0.com",
            "admin.googleapis.com",
        ],
    ),
];
/// The model of an agent.
const AGENT_HOST: &str = "api.anthropic.com";
/// Ports that mail goes through.
const MAIL_PORTS: [u16; 4] = [25, 465, 587, 2_525];
/// Folders with what is nobody else's business.
const SENSITIVE: [&str; 9] = [
    "/.ssh",
    "/.gnupg",
    "/.aws",
    "/.kube",
    "/.mozilla",
    "/.config/google-chrome",
    "/etc/shadow",
    "/.password-store",
    "/.local/share/keyrings",
];
/// Folders whose change changes the machine.
const SYSTEM: [&str; 8] = [
    "/etc", "/usr", "/boot", "/lib", "/bin", "/sbin", "/var/lib", "/opt",
];
/// Programs by what they do.
const PROGRAMS: [(Class, &[&str]); 4] = [
    (
        Class::Access,
        &[
            "sudo", "su", "useradd", "usermod", "userdel", "passwd", "chmod", "chown", "setfacl",
            "visudo",
        ],
    ),
    (
        Class::Destructive,
        &[
            "rm", "dd", "mkfs", "shred", "wipefs", "parted", "dropdb", "truncate",
        ],
    ),
    (
        Class::Production,
        &[
            "kubectl",
            "helm",
            "terraform",
            "ansible-playbook",
            "systemctl",
            "docker",
            "podman",
        ],
    ),
    (
        Class::Messages,
        &["sendmail", "mail", "mutt", "msmtp", "swaks"],
    ),
];

/// The risks of a spec.
pub fn of_spec(spec: &Spec, target: Target) -> Vec<Risk> {
    let mut risks = Vec::new();
    let mut add = |class, because: String| risks.push(Risk { class, because });
    if target == Target::Production {
        add(
            Class::Production,
            "the target is marked as production".to_owned(),
        );
    }
    let permissions = &spec.permissions;
    for to in permissions.network.iter().chain(&permissions.allow_private) {
        if MAIL_PORTS.contains(&to.port) {
            add(Class::Messages, format!("mail through {to}"));
        }
        for (class, hosts) in HOSTS {
            if hosts.iter().any(|known| is_host(&to.host, known)) {
                add(class, to.to_string());
            }
        }
    }
    for folder in &permissions.folders {
        let path = folder.path.trim_end_matches('/');
        if SENSITIVE
            .iter()
            .any(|known| path.ends_with(known) || path.contains(&format!("{known}/")))
        {
            add(Class::Sensitive, folder.path.clone());
        }
        let system = path.is_empty()
            || SYSTEM
                .iter()
                .any(|known| path == *known || path.starts_with(&format!("{known}/")));
        if folder.access != Access::Read && system {
            add(Class::Production, format!("writes to {}", folder.path));
        }
    }
    let named = permissions.programs.iter().chain(spec.command.first());
    for program in named {
        let name = program.rsplit('/').next().unwrap_or_default();
        for (class, programs) in PROGRAMS {
            if programs.contains(&name) {
                add(class, format!("the program {name}"));
            }
        }
    }
    // Its own model is where an agent's words go anyway; anywhere else a secret could go, too.
    let elsewhere = permissions.network.iter().any(|to| to.host != AGENT_HOST);
    if spec.kind == AutomationKind::ClaudeAgent && elsewhere && !permissions.secrets.is_empty() {
        add(
            Class::Sensitive,
            "an agent with a secret, and hosts besides its model".to_owned(),
        );
    }
    risks.sort();
    risks.dedup();
    risks
}

fn is_host(host: &str, known: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    match known.strip_prefix('.') {
        Some(domain) => host == domain || host.ends_with(known),
        None => host == known,
    }
}

/// Words that together mean a risk: one of each list, in one sentence.
const WORDS: [(Class, &[&str], &[&str]); 9] = [
    (
        Class::Production,
        &[
            "deploy", "migrate", "restart", "change", "update", "roll", "touch", "modify", "write",
            "patch", "push",
        ],
        &["production", "prod", "live", "customer-facing"],
    ),
    (
        Class::Messages,
        &[
            "send", "sends", "post", "posts", "publish", "tweet", "reply", "replies", "answer",
            "email", "emails", "message", "notify", "announce", "text",
        ],
        &[
            "email",
            "emails",
            "mail",
            "newsletter",
            "tweet",
            "customers",
            "clients",
            "users",
            "subscribers",
            "twitter",
            "linkedin",
            "facebook",
            "instagram",
            "everyone",
            "team",
            "sms",
            "whatsapp",
        ],
    ),
    (
        Class::Money,
        &[
            "pay",
            "pays",
            "buy",
            "buys",
            "order",
            "orders",
            "purchase",
            "purchases",
            "transfer",
            "charge",
            "refund",
            "invoice",
            "trade",
            "trades",
            "sell",
            "subscribe",
            "donate",
        ],
        &[
            "money",
            "payment",
            "payments",
            "invoice",
            "invoices",
            "card",
            "stripe",
            "paypal",
            "bank",
            "account",
            "shares",
            "stock",
            "bitcoin",
            "crypto",
            "tickets",
            "customers",
            "domain",
            "automatically",
            "eur",
            "usd",
            "dollars",
            "euros",
        ],
    ),
    (
        Class::Access,
        &[
            "grant", "grants", "revoke", "add", "remove", "rotate", "change", "reset", "create",
            "delete", "give",
        ],
        &[
            "access",
            "permission",
            "permissions",
            "role",
            "roles",
            "password",
            "passwords",
            "credentials",
            "admin",
            "admins",
            "firewall",
            "sudo",
            "acl",
        ],
    ),
    (
        Class::Destructive,
        &[
            "delete",
            "deletes",
            "drop",
            "drops",
            "wipe",
            "wipes",
            "erase",
            "purge",
            "overwrite",
            "truncate",
            "format",
            "destroy",
            "remove",
        ],
        &[
            "files",
            "database",
            "databases",
            "table",
            "tables",
            "rows",
            "backups",
            "disk",
            "everything",
            "data",
            "records",
            "folder",
            "folders",
            "history",
            "users",
            "accounts",
            "partition",
        ],
    ),
    (
        Class::Sensitive,
        &[
            "read", "collect", "export", "upload", "copy", "process", "analyze", "analyse",
            "store", "scan", "send", "fetch",
        ],
        &[
            "passwords",
            "medical",
            "health",
            "salary",
            "salaries",
            "passport",
            "ssn",
            "credit-card",
            "biometric",
            "keys",
            "pii",
            "gdpr",
        ],
    ),
    (
        Class::Architecture,
        &[
            "rewrite",
            "redesign",
            "replace",
            "migrate",
            "restructure",
            "re-architect",
            "rearchitect",
            "refactor",
        ],
        &[
            "architecture",
            "whole",
            "entire",
            "everything",
            "monolith",
            "microservices",
            "database",
            "framework",
            "backend",
            "platform",
            "codebase",
        ],
    ),
    (
        Class::Money,
        &["stripe", "paypal"],
        &["live", "charge", "refund", "payout", "payouts"],
    ),
    (
        Class::Production,
        &["production", "prod"],
        &[
            "server",
            "servers",
            "database",
            "system",
            "systems",
            "cluster",
            "deployment",
            "environment",
        ],
    ),
];

/// The risks that an item's own words tell of. Only ever holds back: a spec says more.
pub fn of_words(item: &Item) -> Vec<Risk> {
    let mut risks = Vec::new();
    let texts = [Some(item.name.as_str()), item.description.as_deref()];
    let criteria = item.criteria.iter().map(|one| one.text.as_str());
    for text in texts.into_iter().flatten().chain(criteria) {
        for sentence in text.split(['.', ';', '\n', '!', '?']) {
            let lower = sentence.to_lowercase();
            let words: Vec<&str> = lower
                .split(|c: char| !(c.is_alphanumeric() || c == '-'))
                .filter(|word| !word.is_empty())
                .collect();
            for (class, deeds, things) in WORDS {
                let deed = words.iter().position(|word| deeds.contains(word));
                let thing = words
                    .iter()
                    .enumerate()
                    .find(|(at, word)| Some(*at) != deed && things.contains(word));
                if let (Some(deed), Some((_, thing))) = (deed, thing) {
                    risks.push(Risk {
                        class,
                        because: format!("\"{} … {thing}\"", words[deed]),
                    });
                }
            }
        }
    }
    risks.sort();
    risks.dedup_by_key(|risk| risk.class);
    risks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::label;

    fn classes(text: &str) -> Vec<Class> {
        let mut item = Item::new(label("x", |_| false), "x");
        item.description = Some(text.to_owned());
        of_words(&item).into_iter().map(|risk| risk.class).collect()
    }

    #[test]
    fn words_tell_the_classes_and_everyday_work_has_none() {
        for (text, class) in [
            ("Deploy the new login page to production", Class::Production),
            ("Send a newsletter to all subscribers", Class::Messages),
            ("Pay the invoices from the bank account", Class::Money),
            ("Grant the interns admin access", Class::Access),
            ("Delete old records from the database", Class::Destructive),
            ("Export the salaries to a sheet", Class::Sensitive),
            ("Rewrite the whole backend in Rust", Class::Architecture),
        ] {
            assert!(
                classes(text).contains(&class),
                "{text}: {:?}",
                classes(text)
            );
        }
        for text in [
            "Build OAuth integration with Spotify API. Create Python script that authenticates user, fetches liked songs, and auto-generates weekly playlists based on mood categories.",
            "Every night zip /home/ann/notes into /backups",
            "Count the words of each file and write a CSV",
            "Watch a page and append its title to a file",
        ] {
            assert_eq!(classes(text), [], "{text}");
        }
    }

    fn spec(permissions: &serde_json::Value) -> Spec {
        serde_json::from_value(serde_json::json!({
            "format": 1, "name": "x", "purpose": "does", "kind": "script", "command": ["python3", "/app/main.py"],
            "permissions": permissions, "trigger": {"type": "manual"},
            "acceptance": {"smoke": {"name": "runs", "steps": []}, "cases": []},
        }))
        .unwrap()
    }

    #[test]
    fn a_spec_tells_by_its_hosts_folders_and_programs_whatever_its_words_are() {
        let risky = spec(&serde_json::json!({
            "network": ["smtp.example.org:587", "api.stripe.com:443", "team.slack.com:443"],
            "folders": [
                {"name": "keys", "path": "/home/ann/.ssh", "access": "read"},
                {"name": "etc", "path": "/etc/nginx", "access": "write"},
            ],
            "programs": ["rm", "/usr/bin/sudo", "python3"],
        }));
        let found = of_spec(&risky, Target::Other);
        let of = |class| found.iter().filter(|risk| risk.class == class).count();
        let all = [
            Class::Production,
            Class::Messages,
            Class::Money,
            Class::Access,
            Class::Destructive,
            Class::Sensitive,
        ];
        assert_eq!(all.map(of), [1, 2, 1, 1, 1, 1], "{found:?}");
        let plain = spec(&serde_json::json!({
            "network": ["example.org:443", "notslack.com:443"],
            "folders": [{"name": "notes", "path": "/home/ann/notes", "access": "read"}],
        }));
        assert_eq!(of_spec(&plain, Target::Other), []);
        assert_eq!(of_spec(&plain, Target::Production).len(), 1);
    }
}
