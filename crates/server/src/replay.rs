//! A replay: an ended build once more with its recorded answers, and whether it comes to the same.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use crate::view;
use agentwright_api::{Replayed, code};
use agentwright_domain::build::{BuildState, Facts};
use agentwright_domain::digest::Digest;
use agentwright_domain::evidence::Verdict;
use agentwright_domain::run::Run;
use agentwright_store::TestResultRow;

/// Stages that a replay goes through.
const COMPARED: [&str; 5] = ["spec", "package", "generate", "review", "verify"];

/// Compares a replay with what it replays.
pub(crate) async fn compare(app: &App, who: &Who, replay: &Run) -> Result<Replayed, ApiError> {
    let (now, request) = parts(replay)?;
    let Some(of) = &request.replays else {
        return Err(ApiError::Conflict(
            code::NOT_A_REPLAY,
            format!("{} is no replay", replay.label),
        ));
    };
    if !replay.status.ended() {
        return Err(ApiError::Conflict(
            code::NOT_ENDED,
            format!("{} has not ended", replay.label),
        ));
    }
    let store = app.store();
    let old = store.run(&who.scope, of).await?;
    let old = old.ok_or_else(|| ApiError::no("build", of.as_str()))?;
    let (then, _) = parts(&old)?;
    let mut compared = Compared::default();
    compared.digest("spec", then.facts.spec.as_ref(), now.facts.spec.as_ref());
    compared.digest(
        "acceptance",
        then.facts.acceptance.as_ref(),
        now.facts.acceptance.as_ref(),
    );
    compared.trees(&then.facts, &now.facts);
    let steps = async |run: &Run| {
        let rows = store.stages(&who.scope, &run.id).await?;
        let kept = rows
            .into_iter()
            .filter(|row| COMPARED.contains(&row.stage.as_str()) && row.status != "parked");
        let lines: Vec<String> = kept
            .map(|row| format!("{} {} {}", row.stage, row.attempt, row.status))
            .collect();
        Ok::<_, ApiError>(lines)
    };
    compared.lists("stages", &steps(&old).await?, &steps(replay).await?);
    let levels = async |run: &Run| {
        let rows = store.test_results(&who.scope, &run.id).await?;
        Ok::<_, ApiError>(rows.iter().map(verdict).collect::<Vec<_>>())
    };
    compared.lists("verdicts", &levels(&old).await?, &levels(replay).await?);
    Ok(Replayed {
        of: of.clone(),
        build: replay.id.clone(),
        identical: compared.differences.is_empty(),
        same: compared.same,
        differences: compared.differences,
    })
}

fn parts(run: &Run) -> Result<(&BuildState, &agentwright_domain::build::BuildRequest), ApiError> {
    view::build_parts(run).ok_or_else(|| ApiError::no("build", run.id.as_str()))
}

fn verdict(row: &TestResultRow) -> String {
    let word = match row.result.verdict {
        Verdict::Pass => "holds",
        Verdict::Fail => "fails",
    };
    format!(
        "try {} level {} {word}",
        row.attempt,
        row.result.level.number()
    )
}

#[derive(Default)]
struct Compared {
    same: Vec<String>,
    differences: Vec<String>,
}

impl Compared {
    fn digest(&mut self, what: &str, then: Option<&Digest>, now: Option<&Digest>) {
        let short = |digest: Option<&Digest>| digest.map_or("none", Digest::short).to_owned();
        if then == now {
            self.same.push(format!("{what} {}", short(then)));
        } else {
            self.differences
                .push(format!("{what}: was {}, is {}", short(then), short(now)));
        }
    }

    /// Every tree of code, in the order in which it was written.
    fn trees(&mut self, then: &Facts, now: &Facts) {
        let trees = |facts: &Facts| -> Vec<String> {
            let tried = facts.tried.iter().map(|tried| &tried.code);
            tried
                .chain(&facts.code)
                .map(|code| code.short().to_owned())
                .collect()
        };
        self.lists("code", &trees(then), &trees(now));
    }

    fn lists(&mut self, what: &str, then: &[String], now: &[String]) {
        if then == now {
            self.same.push(format!("{what}: {}", then.join(", ")));
            return;
        }
        let at = then.iter().zip(now).position(|(then, now)| then != now);
        let at = at.unwrap_or(then.len().min(now.len()));
        let word = |list: &[String]| list.get(at).map_or("nothing", String::as_str).to_owned();
        self.differences.push(format!(
            "{what}, number {}: was {}, is {}",
            at + 1,
            word(then),
            word(now)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::Compared;

    #[test]
    fn the_first_difference_of_two_lists_is_named() {
        let list = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut compared = Compared::default();
        compared.lists("code", &list(&["a", "b"]), &list(&["a", "b"]));
        assert!(compared.differences.is_empty());
        compared.lists("code", &list(&["a", "b"]), &list(&["a", "c"]));
        compared.lists("code", &list(&["a", "b"]), &list(&["a"]));
        assert_eq!(
            compared.differences,
            [
                "code, number 2: was b, is c",
                "code, number 2: was b, is nothing"
            ]
        );
    }
}
