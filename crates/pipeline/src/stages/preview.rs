//! A dry run on the person's real data, read-only; and what exactly will wait at the gate.

use super::deploy::deployed_now;
use super::{Done, Stop, Work, kept};
use crate::digests::subject;
use agentwright_domain::approval::Gate;
use agentwright_domain::build::{FailureClass, Stage, outdated};
use agentwright_domain::digest::Digest;
use agentwright_domain::spec::Spec;
use agentwright_runtime::blocking;
use agentwright_runtime::install::{NOT_CODE, code_digest};
use agentwright_runtime::tree;
use agentwright_verify::{PreviewError, PreviewReport, PreviewWork};

/// Lines of output that are shown where it names no changes itself.
const LINES_MAX: usize = 50;

pub(super) async fn work(work: &Work<'_>) -> Result<Done, Stop> {
    let spec = work.spec().await?;
    // Nobody is asked for a yes that deploys nothing.
    if work.request.changes.is_some() {
        let there = deployed_now(work, &spec.name).await?;
        if let Some(why) = outdated(work.run, there.as_ref().map(|status| &status.version)) {
            return Err(Stop::Failed(FailureClass::Deploy, why));
        }
    }
    let mut facts = work.facts();
    facts.preview = match &spec.preview {
        Some(_) => lines(look(work, &spec).await?),
        None => Vec::new(),
    };
    let environment = kept_environment(work).await?;
    facts.subject = Some(subject(
        &spec,
        &facts,
        &work.state.policy,
        Gate::Deploy,
        &environment,
    )?);
    let summary = match facts.preview.len() {
        0 => "it has no dry run".to_owned(),
        1 => facts.preview[0].clone(),
        count => format!("{} (and {} further lines)", facts.preview[0], count - 1),
    };
    Ok(Done::new(summary, facts))
}

async fn look(work: &Work<'_>, spec: &Spec) -> Result<Result<PreviewReport, String>, Stop> {
    let scratch = work.scratch(Stage::Preview).await?;
    let (repository, app) = (work.repository(), scratch.join("app"));
    let to = app.clone();
    let code = blocking(move || {
        tree::copy(&repository, &NOT_CODE, &to)?;
        code_digest(&to)
    })
    .await?;
    if Some(&code) != work.state.facts.verified.as_ref() {
        return Err(Stop::fault(
            "the code was changed after it was verified; build it again",
        ));
    }
    let programs = work.present_programs(spec).await;
    let job = PreviewWork {
        spec,
        app,
        scratch,
        programs,
    };
    match work
        .builds
        .verifier(work.run)
        .preview(&job, &work.handle.cancelled())
        .await
    {
        Ok(report) => Ok(Ok(report)),
        Err(PreviewError::Cancelled) => Err(Stop::Retry("it was stopped".to_owned())),
        Err(error @ PreviewError::FolderMissing(_)) => {
            Err(Stop::Failed(FailureClass::Deploy, error.to_string()))
        }
        // What a person decides on is then that there is no preview.
        Err(error @ (PreviewError::None | PreviewError::Fault(_))) => Ok(Err(error.to_string())),
    }
}

fn lines(seen: Result<PreviewReport, String>) -> Vec<String> {
    let report = match seen {
        Ok(report) => report,
        Err(why) => return vec![format!("no preview: {why}")],
    };
    if !report.succeeded {
        let words = report
            .stderr
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty());
        let words = words
            .map(|line| format!(": {}", line.trim()))
            .unwrap_or_default();
        return vec![format!(
            "the dry run did not work: {}{words}",
            report.ending
        )];
    }
    if !report.changes.is_empty() {
        return report.changes;
    }
    let said = report
        .stdout
        .lines()
        .map(without_time)
        .filter(|line| !line.is_empty());
    let said: Vec<String> = said.take(LINES_MAX).map(str::to_owned).collect();
    if said.is_empty() {
        vec!["it would change nothing now".to_owned()]
    } else {
        said
    }
}

/// A line of a log without the time it begins with: people are told what, not when it was looked.
fn without_time(line: &str) -> &str {
    let line = line.trim();
    let Some((time, rest)) = line.split_once(' ') else {
        return line;
    };
    let shaped = time.len() >= 19
        && time.as_bytes()[10] == b'T'
        && time
            .bytes()
            .all(|b| b.is_ascii_digit() || b"-:T.,Z+".contains(&b));
    if shaped { rest.trim_start() } else { line }
}

/// The host's programs as verify saw them.
pub(super) async fn kept_environment(work: &Work<'_>) -> Result<Digest, Stop> {
    let path = work.directory().join(kept::ENVIRONMENT);
    let text = blocking(move || std::fs::read_to_string(path)).await;
    let digest = text.ok().and_then(|text| Digest::parse(text.trim()).ok());
    digest.ok_or_else(|| {
        Stop::fault("what verify left beside the repository is gone; build it again")
    })
}

#[cfg(test)]
mod tests {
    use super::without_time;

    #[test]
    fn the_time_of_a_log_line_is_left_out_and_nothing_else() {
        assert_eq!(
            without_time("2026-11-21T11:23:17 would delete 2"),
            "would delete 2"
        );
        assert_eq!(without_time(" 2026-11-21T11:23:17.123Z  x"), "x");
        assert_eq!(without_time("2026-11-21 report"), "2026-11-21 report");
        assert_eq!(without_time("would create a"), "would create a");
    }
}
