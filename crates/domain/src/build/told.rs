//! What people are told about a build, in words. Builds of a row of a person's own table are told as requirements A11
//! say, to the letter.

use super::{BacklogRow, Facts, FailureClass, Stage};
use crate::approval::Gate;
use crate::evidence::Verdict;
use crate::run::{Notice, Record, Run, RunInput};

/// How a build failed.
pub(super) struct Failure<'a> {
    pub(super) stage: Stage,
    pub(super) class: FailureClass,
    pub(super) reason: &'a str,
    pub(super) records: &'a [Record],
}

/// That it began, where somebody is told.
pub(super) fn begun(run: &Run) -> Option<Notice> {
    let BacklogRow { id, name, kind, .. } = row(run)?;
    Some(notice(
        "build.started",
        format!("[Agent Builder] Building {name} (id={id}, type={kind})"),
        format!("agentwright show {}", run.label),
    ))
}

/// That it waits at a gate.
pub(super) fn waiting(run: &Run, gate: Gate, line: &str) -> Notice {
    let how = format!("agentwright approve {}", run.label);
    let Some(BacklogRow { id, name, kind, .. }) = row(run).filter(|_| gate == Gate::Deploy) else {
        return notice("build.waiting", format!("{} {line}", run.label), how);
    };
    notice(
        "build.waiting",
        format!("Agent Ready for Promotion — {name}"),
        format!(
            "[Agent Builder] READY — {name} passed all tests, awaiting your approval\n\
             All 4 test levels passed in sandbox. Automation id={id} ({kind}) is ready for production promotion. \
             Reply to approve or reject.\n{how}"
        ),
    )
}

/// That it failed.
pub(super) fn failed(run: &Run, failure: &Failure<'_>) -> Notice {
    let Failure { stage, reason, .. } = failure;
    let title = match row(run) {
        Some(row) => of_row(row, failure),
        None => format!("{} failed at {}", run.label, stage.word()),
    };
    notice("build.failed", title, (*reason).to_owned())
}

fn of_row(BacklogRow { name, .. }: &BacklogRow, failure: &Failure<'_>) -> String {
    let Failure {
        stage,
        class,
        reason,
        records,
    } = failure;
    let level = records.iter().find_map(|record| match record {
        Record::TestResult(result) if result.verdict == Verdict::Fail => {
            Some(result.level.number())
        }
        _ => None,
    });
    match (stage, class, level) {
        (_, FailureClass::Fault, _) => format!("[Agent Builder] ERROR — {name}: {reason}"),
        (Stage::Review, _, _) => {
            format!("[Agent Builder] FAIL — Overseer rejected {name}: {reason}")
        }
        (_, _, Some(level)) => {
            format!("[Agent Builder] FAIL — {name} failed Level {level}: {reason}")
        }
        (Stage::Spec | Stage::Package | Stage::Generate, _, None) => {
            format!("[Agent Builder] FAIL — Generation failed for {name}: {reason}")
        }
        (Stage::Verify | Stage::Preview | Stage::Deploy | Stage::Register, _, None) => {
            format!(
                "[Agent Builder] FAIL — {name} failed at {}: {reason}",
                stage.word()
            )
        }
    }
}

fn row(run: &Run) -> Option<&BacklogRow> {
    match &run.input {
        RunInput::Build(request) => request.row.as_ref(),
        RunInput::Execution => None,
    }
}

fn notice(topic: &str, title: String, body: String) -> Notice {
    Notice {
        topic: topic.to_owned(),
        title,
        body,
    }
}

/// That it is done: what was made, where it is, and what to do with it (requirements E10).
pub(super) fn completed(run: &Run, facts: &Facts, deployed: bool) -> Notice {
    let label = &run.label;
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
    let title = format!("{label} is completed");
    notice("build.completed", title, lines.join("\n"))
}
