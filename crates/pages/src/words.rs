//! Numbers and states in the words that people read. Pure.

use agentwright_api::{ActivityNow, BuildState, BuildStatus, Deployment, ExecutionStatus};
use agentwright_domain::approval::{Gate, GateReason};
use agentwright_domain::spec::{Access, AutomationKind, Permissions};

use crate::parts::{Chip, Tone};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// How long something took: `340 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`.
pub(crate) fn took(ms: i64) -> String {
    let ms = ms.max(0);
    match ms {
        0..SECOND => format!("{ms} ms"),
        SECOND..MINUTE => format!("{}.{} s", ms / SECOND, ms % SECOND / 100),
        MINUTE..HOUR => format!("{} min {} s", ms / MINUTE, ms % MINUTE / SECOND),
        HOUR..DAY => format!("{} h {} min", ms / HOUR, ms % HOUR / MINUTE),
        _ => format!("{} d {} h", ms / DAY, ms % DAY / HOUR),
    }
}

/// How long ago, or in how long: `just now`, `5 min ago`, `in 3 h`.
pub(crate) fn relative(at_ms: i64, now_ms: i64) -> String {
    let distance = at_ms.saturating_sub(now_ms);
    let size = distance.saturating_abs();
    let words = match size {
        0..MINUTE => {
            return if distance > 10 * SECOND {
                "in a moment"
            } else {
                "just now"
            }
            .to_owned();
        }
        MINUTE..HOUR => format!("{} min", size / MINUTE),
        HOUR..DAY => format!("{} h", size / HOUR),
        _ => format!("{} d", size / DAY),
    };
    if distance > 0 {
        format!("in {words}")
    } else {
        format!("{words} ago")
    }
}

/// `832 B`, `14 kB`, `3.1 MB`.
pub(crate) fn bytes(n: u64) -> String {
    const KB: u64 = 1_000;
    const MB: u64 = 1_000 * KB;
    const GB: u64 = 1_000 * MB;
    let tenth = |unit: u64, word: &str| format!("{}.{} {word}", n / unit, n % unit / (unit / 10));
    match n {
        0..KB => format!("{n} B"),
        KB..MB => format!("{} kB", n / KB),
        MB..GB => tenth(MB, "MB"),
        _ => tenth(GB, "GB"),
    }
}

/// Millionths of a dollar as money, to the cent from a dollar on; smaller amounts keep their digits.
pub(crate) fn usd(micro: i64) -> String {
    const DOLLAR: i64 = 1_000_000;
    const CENT: i64 = 10_000;
    let shown = match micro.saturating_abs() {
        ..DOLLAR => micro,
        _ => micro.saturating_add(micro.signum() * CENT / 2) / CENT * CENT,
    };
    exact_usd(shown)
}

/// The same to the last digit.
pub(crate) fn exact_usd(micro: i64) -> String {
    let text = agentwright_domain::spend::usd(micro);
    let number = text.strip_suffix(" USD").unwrap_or(&text);
    match number.strip_prefix('-') {
        Some(number) => format!("-${number}"),
        None => format!("${number}"),
    }
}

/// `1 234 567`, with thin spaces.
pub(crate) fn grouped(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    if n < 0 { format!("-{text}") } else { text }
}

/// `1 build`, `2 builds`.
pub(crate) fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// How a build stands, in a list.
pub(crate) fn status(status: BuildStatus) -> Chip {
    match status {
        BuildStatus::Queued => Chip::new(Tone::Calm, "clock", "Queued"),
        BuildStatus::Running => Chip::new(Tone::Busy, "spin", "Running"),
        BuildStatus::Resuming => Chip::new(Tone::Busy, "retry", "Resuming"),
        BuildStatus::Waiting => Chip::new(Tone::Wait, "hand", "Waiting"),
        BuildStatus::Completed => Chip::new(Tone::Good, "check", "Completed"),
        BuildStatus::Failed => Chip::new(Tone::Bad, "cross", "Failed"),
        BuildStatus::Rejected => Chip::new(Tone::Calm, "ban", "Rejected"),
        BuildStatus::Cancelled => Chip::new(Tone::Calm, "ban", "Cancelled"),
    }
}

/// How a build stands, with what its details add.
pub(crate) fn state(state: &BuildState) -> Chip {
    match state {
        BuildState::Waiting { .. } => Chip::new(Tone::Wait, "hand", "Waits for a yes"),
        BuildState::Spent { .. } => Chip::new(Tone::Wait, "coin", "Budget spent"),
        BuildState::Queued
        | BuildState::Running
        | BuildState::Resuming
        | BuildState::Completed
        | BuildState::Failed { .. }
        | BuildState::Rejected { .. }
        | BuildState::Cancelled { .. } => status(state.status()),
    }
}

/// How one ended attempt at a stage stands.
pub(crate) fn attempt(word: &str) -> Chip {
    match word {
        "done" => Chip::new(Tone::Good, "check", "Done"),
        "failed" => Chip::new(Tone::Bad, "cross", "Failed"),
        "retried" => Chip::new(Tone::Wait, "retry", "Tried again"),
        "skipped" => Chip::new(Tone::Calm, "skip", "Skipped"),
        "cancelled" => Chip::new(Tone::Calm, "ban", "Cancelled"),
        "parked" => Chip::new(Tone::Wait, "clock", "Waited"),
        other => Chip::new(Tone::Calm, "dot", other),
    }
}

/// How one execution stands.
pub(crate) fn execution(status: ExecutionStatus) -> Chip {
    match status {
        ExecutionStatus::Queued => Chip::new(Tone::Calm, "clock", "Queued"),
        ExecutionStatus::Running => Chip::new(Tone::Busy, "spin", "Running"),
        ExecutionStatus::Resuming => Chip::new(Tone::Busy, "retry", "Resuming"),
        ExecutionStatus::Completed => Chip::new(Tone::Good, "check", "Completed"),
        ExecutionStatus::Failed => Chip::new(Tone::Bad, "cross", "Failed"),
        ExecutionStatus::Cancelled => Chip::new(Tone::Calm, "ban", "Cancelled"),
    }
}

/// Whether a deployment is well and at work.
pub(crate) fn activity(deployment: &Deployment) -> Chip {
    match &deployment.activity {
        ActivityNow::Active if deployment.failures_in_a_row > 0 => {
            let failures = count(deployment.failures_in_a_row as usize, "failure", "failures");
            Chip::new(Tone::Bad, "alert", format!("{failures} in a row"))
        }
        ActivityNow::Active if deployment.current_execution.is_some() => {
            Chip::new(Tone::Busy, "spin", "Running")
        }
        ActivityNow::Active => Chip::new(Tone::Good, "check", "Active"),
        ActivityNow::Paused { .. } => Chip::new(Tone::Wait, "pause", "Paused"),
        ActivityNow::Stopped { .. } => Chip::new(Tone::Calm, "stop", "Stopped"),
    }
}

/// What an automation is.
pub(crate) fn kind(kind: AutomationKind) -> &'static str {
    match kind {
        AutomationKind::Script => "Script",
        AutomationKind::ClaudeAgent => "Claude agent",
        AutomationKind::Service => "Service",
    }
}

/// A gate's name.
pub(crate) fn gate(gate: Gate) -> &'static str {
    match gate {
        Gate::Spec => "Before any code is written",
        Gate::Deploy => "Before it is deployed",
    }
}

/// Why a person is asked, where it is more than that the build was told to ask.
pub(crate) fn reason(reason: &GateReason) -> Option<String> {
    Some(match reason {
        GateReason::Mode => return None,
        GateReason::Production => "The target is marked as production.".to_owned(),
        GateReason::Risk(risk) => format!("Risk: {risk}"),
        GateReason::Unreviewed(why) => format!("No overseer judged this code: {why}"),
        GateReason::Amended(why) => format!("The spec was changed: {why}"),
    })
}

/// One thing that an automation may touch.
pub(crate) struct Permit {
    /// An icon.
    pub(crate) icon: &'static str,
    /// `Reads`, `Writes`, `Network`, …
    pub(crate) what: &'static str,
    /// Which.
    pub(crate) which: String,
}

/// What may be touched, one by one.
pub(crate) fn permits(permissions: &Permissions) -> Vec<Permit> {
    let permit = |icon, what, which| Permit { icon, what, which };
    let mut all = Vec::new();
    for folder in &permissions.folders {
        let path = folder.path.clone();
        all.push(match (folder.access, folder.create) {
            (Access::Read, _) => permit("folder", "Reads", path),
            (Access::Write, false) => permit("pen", "Writes", path),
            (Access::Write, true) => permit("pen", "Writes", format!("{path} (made when missing)")),
        });
    }
    for host in &permissions.network {
        all.push(permit("globe", "Network", host.to_string()));
    }
    for host in &permissions.allow_private {
        all.push(permit("globe", "Private network", host.to_string()));
    }
    for program in &permissions.programs {
        all.push(permit("terminal", "Program", program.clone()));
    }
    for secret in &permissions.secrets {
        all.push(permit("key", "Secret", secret.in_words()));
    }
    for (name, value) in &permissions.environment {
        all.push(permit("terminal", "Variable", format!("{name}={value}")));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_at_a_glance() {
        for (ms, words) in [
            (-5, "0 ms"),
            (340, "340 ms"),
            (4_260, "4.2 s"),
            (185_000, "3 min 5 s"),
            (7_800_000, "2 h 10 min"),
            (100_000_000, "1 d 3 h"),
        ] {
            assert_eq!(took(ms), words);
        }
    }

    #[test]
    fn moments_are_said_from_now() {
        let now = 1_000_000_000;
        for (at, words) in [
            (now, "just now"),
            (now + 30_000, "in a moment"),
            (now - 300_000, "5 min ago"),
            (now + 3 * HOUR, "in 3 h"),
            (now - 3 * DAY, "3 d ago"),
        ] {
            assert_eq!(relative(at, now), words);
        }
    }

    #[test]
    fn sizes_money_and_counts_are_short() {
        assert_eq!(
            (bytes(832), bytes(14_200)),
            ("832 B".into(), "14 kB".into())
        );
        assert_eq!(
            (bytes(3_140_000), bytes(5_000_000_000)),
            ("3.1 MB".into(), "5.0 GB".into())
        );
        assert_eq!(
            (usd(1_250_000), usd(-300)),
            ("$1.25".into(), "-$0.0003".into())
        );
        assert_eq!(grouped(-1_234_567), "-1\u{2009}234\u{2009}567");
        assert_eq!(
            (count(1, "run", "runs"), count(0, "run", "runs")),
            ("1 run".into(), "0 runs".into())
        );
    }
}
