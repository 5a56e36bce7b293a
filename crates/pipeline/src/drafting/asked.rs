//! Whether what a spec asks for stands in the sentence. Pure; names must stand there whole.

use super::Wish;
use agentwright_domain::spec::{Access, Spec, Trigger};
use serde_json::json;

/// What the spec asks for beyond what the person wrote. A model may mean well: a person decides.
pub(super) fn unasked(spec: &Spec, wish: &Wish<'_>) -> Vec<String> {
    let request = wish.request;
    let said = format!("{} {}", request.intent, json!(request.inputs)).to_lowercase();
    let before = wish.existing.map(|spec| &spec.permissions);
    let mut found = Vec::new();
    for folder in &spec.permissions.folders {
        let known = before.is_some_and(|before| {
            before
                .folders
                .iter()
                .any(|other| other.path == folder.path && other.access == folder.access)
        });
        if !known && !names_folder(&said, wish, &folder.path) {
            let verb = match folder.access {
                Access::Read => "reads",
                Access::Write => "writes",
            };
            found.push(format!(
                "it {verb} {}, which the sentence does not name",
                folder.path
            ));
        }
    }
    let hosts = spec
        .permissions
        .network
        .iter()
        .chain(&spec.permissions.allow_private);
    for at in hosts {
        let known = before
            .is_some_and(|before| before.network.contains(at) || before.allow_private.contains(at));
        if !known && !stands(&said, &at.host) {
            found.push(format!(
                "it connects to {at}, which the sentence does not name"
            ));
        }
    }
    for program in &spec.permissions.programs {
        if !stands(&said, &program.to_lowercase()) {
            found.push(format!(
                "it uses the program {program}, which the sentence does not name"
            ));
        }
    }
    for secret in &spec.permissions.secrets {
        let place = secret.file().unwrap_or_else(|| secret.variable.clone());
        found.push(format!(
            "it is given the secret {} as {place}",
            secret.reference
        ));
    }
    if let (Trigger::Service { .. }, None) = (&spec.trigger, wish.existing)
        && ![
            "service", "server", "api", "http", "listen", "endpoint", "webhook", "page",
        ]
        .iter()
        .any(|word| stands(&said, word))
    {
        found.push("it stays up as a service, which the sentence does not ask for".to_owned());
    }
    found
}

/// Whether a name stands in the text by itself, not as a part of another one.
fn stands(said: &str, name: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    !name.is_empty()
        && said.match_indices(name).any(|(at, _)| {
            let mut before = said[..at].chars().rev();
            let begins = match before.next() {
                Some('.') => before.next().is_none_or(|c| !inner(c)),
                Some(c) => !inner(c),
                None => true,
            };
            let mut after = said[at + name.len()..].chars();
            let ends = match after.next() {
                // A full stop ends a sentence; within a name something follows it.
                Some('.') => after.next().is_none_or(|c| !inner(c)),
                Some(c) => !inner(c),
                None => true,
            };
            begins && ends
        })
}

/// Whether the sentence names the folder, or a file in it: as it stands, from where it was said, or from home. The
/// place where it was said is no name.
pub(super) fn names_folder(said: &str, wish: &Wish<'_>, path: &str) -> bool {
    let path = path.to_lowercase();
    let below = |place: &str| {
        let place = place.to_lowercase();
        let rest = path.strip_prefix(place.trim_end_matches('/'))?;
        Some(rest.strip_prefix('/')?.to_owned()).filter(|rest| !rest.is_empty())
    };
    let mut names = vec![path.clone()];
    if let Some(short) = below(&wish.request.base_dir) {
        names.extend([format!("./{short}"), short]);
    }
    if let Some(short) = wish.home.and_then(below) {
        names.push(format!("~/{short}"));
    }
    names.iter().any(|name| is_path_in(said, name))
}

fn is_path_in(said: &str, name: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '~');
    said.match_indices(name).any(|(at, _)| {
        let begins = said[..at].chars().next_back().is_none_or(|c| !inner(c));
        let rest = &said[at + name.len()..];
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | ';' | ')');
        let rest = rest.split(ends).next().unwrap_or_default();
        let rest = rest.trim_end_matches(['.', ':', '!', '?']);
        // What follows may be a file that lies in it.
        let whole = match rest.strip_prefix('/') {
            None => rest.is_empty(),
            Some("") => true,
            Some(file) => !file.contains('/') && file.contains(['.', '*']),
        };
        begins && whole
    })
}
