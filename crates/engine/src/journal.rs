//! What an operator reads in the log: one line per stage that ended, per wait and per end of a run.
//!
//! The truth is in the run's events; these lines only help to find it. Texts of automations are cut.

use agentwright_domain::run::{NewRun, Next, Run, Transition};

/// The longest text of a line, in characters.
const TEXT_MAX: usize = 300;

/// A run was submitted.
pub(crate) fn submitted(new: &NewRun) {
    tracing::info!(
        organization = %new.organization,
        run = %new.id,
        label = %new.label,
        kind = new.state.kind().word(),
        "run submitted"
    );
}

/// A transition was committed.
pub(crate) fn committed(run: &Run, to: &Transition) {
    let (organization, id, label) = (&run.organization, &run.id, &run.label);
    let kind = run.kind.word();
    if let Some(row) = &to.stage {
        tracing::info!(
            %organization, run = %id, %label, kind,
            stage = row.stage,
            attempt = row.attempt,
            outcome = row.status,
            ms = row.ended_at_ms.saturating_sub(row.started_at_ms),
            summary = short(&row.summary),
            "stage ended"
        );
    }
    let said = to.events.last().map_or("", |event| event.message.as_str());
    match to.next {
        Next::Wait => {
            tracing::info!(%organization, run = %id, %label, kind, why = short(said), "run waits for a person");
        }
        Next::End { status } => {
            let status = status.word();
            tracing::info!(%organization, run = %id, %label, kind, status, why = short(said), "run ended");
        }
        Next::Continue | Next::Requeue { .. } => {}
    }
}

fn short(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}
