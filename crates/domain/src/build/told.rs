//! What people are told of a build that is done.

use super::Facts;
use super::decide::At;
use crate::run::Notice;

impl At<'_> {
    /// What was made, where it is, and what to do with it (requirements E10).
    pub(super) fn completed(&self, facts: &Facts, deployed: bool) -> Notice {
        let label = &self.run.label;
        let name = facts.name.as_ref().unwrap_or(label);
        let mut lines = Vec::new();
        match (deployed, facts.version) {
            (true, Some(version)) => lines.push(format!("deployed: {name}, version {version}")),
            (true, None) => lines.push(format!("deployed: {name}")),
            (false, _) => lines.push(format!("verified, not deployed: {name}")),
        }
        lines.extend(facts.url.iter().map(|url| format!("answers at {url}")));
        lines.push(format!("code and evidence: agentwright show {label}"));
        lines.push(if deployed {
            format!("next: agentwright run-now {name}, agentwright logs {name}")
        } else {
            format!("next: agentwright deploy {label}")
        });
        Notice {
            topic: "build.completed".to_owned(),
            title: format!("{label} is completed"),
            body: lines.join("\n"),
        }
    }
}
