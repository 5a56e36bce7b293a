//! Plans, permissions, triggers, gates and results in the words that people read.
//!
//! Everything that comes from the daemon passes [`safe_line`] here.

use agentwright_api::{
    ActivityNow, BuildState, Deployment, Difference, LevelResult, Plan, PlanVerdict, StageResult,
};
use agentwright_domain::approval::{GateReason, Subject};
use agentwright_domain::evidence::Verdict;
use agentwright_domain::spec::{Access, AutomationKind, Missed, Permissions, Trigger};
use owo_colors::OwoColorize as _;
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

use crate::output::{bytes, duration, moment, safe_line};

/// How much of a value is shown on one line, in characters.
const VALUE_SHOWN: usize = 120;

/// A plan, line by line: what, with which inputs, when, touching what.
pub(crate) fn plan(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    let title = plan
        .purpose
        .as_deref()
        .or(plan.reason.as_deref())
        .unwrap_or("no plan");
    lines.push(format!("{} {}", "plan".bold(), safe_line(title)));
    let from = match (&plan.name, &plan.foundation) {
        (Some(name), Some(foundation)) => Some(format!(
            "{name}, from the foundation {}",
            safe_line(foundation)
        )),
        (Some(name), None) => Some(name.to_string()),
        (None, Some(foundation)) => Some(format!("from the foundation {}", safe_line(foundation))),
        (None, None) => None,
    };
    if let Some(from) = from {
        lines.push(field("builds", &from));
    }
    if let Some(when) = &plan.trigger {
        lines.push(field("runs", &trigger(when)));
    }
    for (name, value) in plan.inputs.iter().filter(|(_, value)| !is_empty(value)) {
        let text = format!("{} = {}", safe_line(name), short(value));
        lines.push(field("input", &text));
    }
    match plan.verdict {
        PlanVerdict::Ready | PlanVerdict::Incomplete => {
            lines.extend(permissions(&plan.permissions));
        }
        // The reason is the title already.
        PlanVerdict::Model | PlanVerdict::Refused => {}
    }
    if let Some(acceptance) = &plan.acceptance {
        let cases = acceptance.cases.len();
        let probes: usize = acceptance.cases.iter().map(|case| case.probes.len()).sum();
        lines.push(field(
            "tests",
            &format!("{probes} probes in {cases} cases, sealed before any code is written"),
        ));
    }
    for note in &plan.notes {
        lines.push(field("note", &safe_line(note)));
    }
    lines
}

/// Whether there is nothing to show.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What may be touched, one line each; says so where it is nothing.
pub(crate) fn permissions(permissions: &Permissions) -> Vec<String> {
    let mut lines = Vec::new();
    for folder in &permissions.folders {
        let path = safe_line(&folder.path);
        lines.push(match (folder.access, folder.create) {
            (Access::Read, _) => field("reads", &path),
            (Access::Write, false) => field("writes", &path),
            (Access::Write, true) => field("writes", &format!("{path} (made when missing)")),
        });
    }
    for host in &permissions.network {
        lines.push(field("network", &host.to_string()));
    }
    for host in &permissions.allow_private {
        lines.push(field("network", &format!("{host} (private address)")));
    }
    for program in &permissions.programs {
        lines.push(field("program", &safe_line(program)));
    }
    for secret in &permissions.secrets {
        lines.push(field("secret", &safe_line(&secret.in_words())));
    }
    if lines.is_empty() {
        lines.push(field("touches", "nothing beyond its own directory"));
    }
    lines
}

/// When something runs.
pub(crate) fn trigger(trigger: &Trigger) -> String {
    let words = safe_line(&agentwright_intent::describe(trigger));
    match trigger {
        Trigger::Schedule { cron, missed, .. } => {
            let missed = match missed {
                Missed::Skip => "missed runs are dropped",
                Missed::RunOnce => "missed runs are made up for once",
            };
            format!("{words}, cron {}; {missed}", safe_line(cron))
        }
        Trigger::Service { .. } | Trigger::Once | Trigger::Manual => words,
    }
}

/// What an automation is, as a word.
pub(crate) fn kind(kind: AutomationKind) -> &'static str {
    match kind {
        AutomationKind::Script => "script",
        AutomationKind::ClaudeAgent => "claude agent",
        AutomationKind::Service => "service",
    }
}

/// What differs from the deployed version.
pub(crate) fn differences(differs: &[Difference]) -> Vec<String> {
    if differs.is_empty() {
        return vec![field(
            "differs",
            "nothing in spec, permissions, effects or schedule",
        )];
    }
    let mut lines = Vec::new();
    for difference in differs {
        lines.push(field("differs", &safe_line(&difference.at)));
        if let Some(before) = &difference.before {
            lines.push(format!(
                "             {}",
                format!("- {}", short(before)).red()
            ));
        }
        if let Some(after) = &difference.after {
            lines.push(format!(
                "             {}",
                format!("+ {}", short(after)).green()
            ));
        }
    }
    lines
}

/// Why a gate is there, and what exactly is asked.
pub(crate) fn gate(reasons: &[GateReason], subject: Option<&Subject>) -> Vec<String> {
    let mut lines = Vec::new();
    for reason in reasons {
        let text = match reason {
            GateReason::Mode => continue,
            GateReason::Production => "the target is marked as production".to_owned(),
            GateReason::Risk(risk) => format!("risk: {}", safe_line(risk)),
            GateReason::Unreviewed(why) => {
                format!("no overseer judged this code: {}", safe_line(why))
            }
            GateReason::Amended(why) => format!("the spec was changed: {}", safe_line(why)),
        };
        lines.push(field("because", &text.yellow().to_string()));
    }
    if let Some(subject) = subject {
        let mut parts = vec![format!("spec {}", subject.spec.short())];
        if let Some(code) = &subject.code {
            parts.push(format!("code {}", code.short()));
        }
        if let Some(evidence) = &subject.evidence {
            parts.push(format!("evidence {}", evidence.short()));
        }
        parts.push(format!("target {}", subject.target.short()));
        parts.push(format!("policy {}", subject.policy.short()));
        lines.push(field("yes to", subject.digest.as_str()));
        lines.push(field("made of", &parts.join(" · ")));
    }
    lines
}

/// One ended attempt at a stage.
pub(crate) fn stage(stage: &StageResult) -> String {
    let mark = match stage.status.as_str() {
        "done" => "✓".green().to_string(),
        "failed" => "✗".red().to_string(),
        "retried" => "↻".yellow().to_string(),
        _ => "–".dimmed().to_string(),
    };
    let took = Duration::from_millis(u64::try_from(stage.duration_ms).unwrap_or(0));
    format!(
        "{mark} {:<10} {}  {}",
        safe_line(&stage.stage),
        safe_line(&stage.summary),
        duration(took).dimmed()
    )
}

/// One level of verify.
pub(crate) fn level(level: &LevelResult) -> String {
    let mark = match level.verdict {
        Verdict::Pass => "✓".green().to_string(),
        Verdict::Fail => "✗".red().to_string(),
    };
    format!(
        "  {mark} level {} {:<10} {}  {}",
        level.number,
        level.level.word(),
        safe_line(&level.summary),
        duration(Duration::from_millis(level.duration_ms)).dimmed()
    )
}

/// The levels in one line: how many held, behind which walls, at what cost.
pub(crate) fn evidence(levels: &[LevelResult]) -> Option<String> {
    let last = levels.last()?.attempt;
    let ours: Vec<_> = levels
        .iter()
        .filter(|level| level.attempt == last)
        .collect();
    let held = ours
        .iter()
        .filter(|level| level.verdict == Verdict::Pass)
        .count();
    let cpu: u64 = ours.iter().map(|level| level.cpu_ms).sum();
    let memory = ours
        .iter()
        .map(|level| level.max_rss_bytes)
        .max()
        .unwrap_or(0);
    let tier = ours
        .iter()
        .rev()
        .map(|level| level.tier.as_str())
        .find(|tier| !tier.is_empty());
    let mut text = format!("{held} of 4 levels held");
    if let Some(tier) = tier {
        let _ = write!(text, ", sandbox tier {}", safe_line(tier));
    }
    let _ = write!(
        text,
        ", {} of processor time, {} of memory",
        duration(Duration::from_millis(cpu)),
        bytes(memory)
    );
    Some(text)
}

/// How a build stands, as a word and, where there is one, a reason.
pub(crate) fn state(state: &BuildState) -> String {
    let word = state.status().word();
    match state {
        BuildState::Queued | BuildState::Running | BuildState::Resuming => word.cyan().to_string(),
        BuildState::Waiting { gate, .. } => {
            format!("{} for you, at the {} gate", word.yellow(), gate.word())
        }
        BuildState::Spent { limit, .. } => {
            format!("{}: {}", word.yellow(), safe_line(limit))
        }
        BuildState::Completed => word.green().to_string(),
        BuildState::Failed { reason, .. } => format!("{}: {}", word.red(), safe_line(reason)),
        BuildState::Rejected { by, notes, .. } => format!(
            "{} by {}{}",
            word.red(),
            safe_line(by),
            notes
                .as_deref()
                .map_or_else(String::new, |text| format!(": {}", safe_line(text)))
        ),
        BuildState::Cancelled { by, reason } => {
            format!("{} by {}: {}", word.red(), safe_line(by), safe_line(reason))
        }
    }
}

/// Whether a deployment runs, in words.
pub(crate) fn activity(deployment: &Deployment) -> String {
    match &deployment.activity {
        ActivityNow::Active if deployment.current_execution.is_some() => {
            "running".cyan().to_string()
        }
        ActivityNow::Active => "active".green().to_string(),
        ActivityNow::Paused { reason, .. } => {
            format!("{}: {}", "paused".yellow(), safe_line(reason))
        }
        ActivityNow::Stopped { .. } => "stopped".red().to_string(),
    }
}

/// When a deployment runs next, or where it answers.
pub(crate) fn next(deployment: &Deployment) -> String {
    match (&deployment.endpoint, deployment.next_due_at) {
        (Some(endpoint), _) => safe_line(endpoint),
        (None, Some(at)) => moment(at.as_ms()),
        (None, None) => match deployment.trigger {
            Trigger::Manual => "when you ask".to_owned(),
            Trigger::Once => "ran once".to_owned(),
            Trigger::Schedule { .. } | Trigger::Service { .. } => "–".to_owned(),
        },
    }
}

/// A name and what it is, indented.
pub(crate) fn field(name: &str, text: &str) -> String {
    format!("  {:<9} {text}", name.dimmed())
}

/// A value on one line, cut where it is long.
pub(crate) fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => safe_line(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            safe_line(&value.to_string())
        }
    };
    match text.char_indices().nth(VALUE_SHOWN) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plain(lines: &[String]) -> String {
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    #[test]
    fn permissions_name_every_door() {
        let given: Permissions = serde_json::from_value(json!({
            "folders": [
                { "name": "source", "path": "/a", "access": "read" },
                { "name": "target", "path": "/b", "access": "write", "create": true },
            ],
            "network": ["example.org:443"],
            "allow_private": ["10.0.0.7:5432"],
            "programs": ["psql"],
            "secrets": [
                { "variable": "TOKEN", "reference": "env:TOKEN" },
                { "variable": "ROLE", "reference": "file:/r", "as": "file" },
            ],
        }))
        .unwrap();
        let text = plain(&permissions(&given));
        for part in [
            "reads     /a",
            "made when missing",
            "/b",
            "example.org:443",
            "10.0.0.7:5432 (private",
            "psql",
            "TOKEN from env:TOKEN",
            "ROLE from file:/r, as the file /run/secrets/ROLE",
        ] {
            assert!(text.contains(part), "{part} not in\n{text}");
        }
        assert!(plain(&permissions(&Permissions::default())).contains("nothing beyond"));
    }

    #[test]
    fn a_difference_shows_before_and_after_without_obeying_them() {
        let differs = [Difference {
            at: "/inputs/keep".to_owned(),
            before: Some(json!(7)),
            after: Some(json!("14\u{1b}[2J")),
        }];
        let text = plain(&differences(&differs));
        assert!(
            text.contains("/inputs/keep")
                && text.contains("- 7")
                && text.contains("+ 14\\u{1b}[2J"),
            "{text}"
        );
        assert!(plain(&differences(&[])).contains("nothing"));
    }

    #[test]
    fn a_long_value_is_cut() {
        let text = short(&json!("x".repeat(1_000)));
        assert_eq!(text.chars().count(), VALUE_SHOWN + 1);
    }

    #[test]
    fn every_trigger_is_a_phrase() {
        for (trigger_of, part) in [
            (json!({ "type": "manual" }), "asked"),
            (json!({ "type": "once" }), "once"),
            (
                json!({ "type": "service", "port": 8080, "publish": 0, "health_path": "/health" }),
                "free port",
            ),
            (
                json!({ "type": "schedule", "cron": "0 0 * * *", "zone": "Europe/Berlin" }),
                "cron 0 0 * * *",
            ),
        ] {
            let text = trigger(&serde_json::from_value(trigger_of).unwrap());
            assert!(text.contains(part), "{part} not in {text}");
        }
    }
}
