//! How long a build will take: the median and the 90th percentile of like builds that ended well.
//!
//! Like are builds of the same automation; where those are too few, builds from the same foundation; then builds that a
//! model wrote or did not, as this one. Only the time that was worked counts, waiting never. What is only planned is
//! compared in the same order, and where nothing is like it with all.

use crate::app::App;
use agentwright_api::executor::Estimates;
use agentwright_domain::build::BuildState;
use agentwright_domain::ids::{OrganizationId, Slug};
use agentwright_domain::run::{Run, RunInput, RunState};
use agentwright_store::{EndedBuild, Error, OrgScope};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// So many builds are looked at, the newest.
const LOOKED_AT: u32 = 200;
/// With fewer like builds than this nothing is said.
const LIKE_MIN: usize = 3;
/// What was read is good for so long.
const GOOD_FOR: Duration = Duration::from_secs(20);
/// Organizations whose history is kept; beyond it all are read anew.
const ORGANIZATIONS_MAX: usize = 256;

/// What is known of the past, by organization.
#[derive(Default)]
pub(crate) struct History {
    read: Mutex<HashMap<OrganizationId, Read>>,
}

/// When it was read, and what.
type Read = (Instant, Arc<Vec<Sample>>);

/// A build that ended well.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    label: String,
    name: Option<Slug>,
    foundation: Option<String>,
    deploys: bool,
    by_model: bool,
    worked_ms: i64,
}

impl History {
    /// What like builds took; `None` where too few are known, and for an ended one.
    pub(crate) async fn of(
        &self,
        app: &App,
        scope: &OrgScope,
        run: &Run,
    ) -> Result<Option<Estimates>, Error> {
        let (RunState::Build(state), RunInput::Build(request)) = (&run.state, &run.input) else {
            return Ok(None);
        };
        if run.status.ended() || request.deploys.is_some() {
            return Ok(None);
        }
        let samples = self.samples(app, scope).await?;
        Ok(like(&samples, state, &run.label))
    }

    /// The past builds that a forecast of a planned one is drawn from.
    pub(crate) async fn like_wanted(
        &self,
        app: &App,
        scope: &OrgScope,
        wanted: &Wanted,
    ) -> Result<Drawn, Error> {
        let samples = self.samples(app, scope).await?;
        Ok(drawn(&samples, wanted))
    }

    async fn samples(&self, app: &App, scope: &OrgScope) -> Result<Arc<Vec<Sample>>, Error> {
        let organization = scope.organization();
        {
            let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, samples)) = read.get(organization)
                && at.elapsed() < GOOD_FOR
            {
                return Ok(Arc::clone(samples));
            }
        }
        let ended = app.store().ended_builds(scope, LOOKED_AT).await?;
        let samples: Arc<Vec<Sample>> = Arc::new(ended.into_iter().filter_map(sample).collect());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.len() >= ORGANIZATIONS_MAX {
            read.clear();
        }
        read.insert(organization.clone(), (Instant::now(), Arc::clone(&samples)));
        Ok(samples)
    }
}

/// A build that nobody has submitted yet.
pub(crate) struct Wanted {
    /// The automation that it changes.
    pub(crate) changes: Option<Slug>,
    /// The foundation that it is made from; without one a model writes it.
    pub(crate) foundation: Option<String>,
    /// Whether it is to be deployed.
    pub(crate) deploys: bool,
}

/// Past builds, and what they have in common with what is planned.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Drawn {
    /// In words that go behind "12 builds"; empty where there is none.
    pub(crate) alike: String,
    /// Time spent working, ms.
    pub(crate) worked_ms: Vec<i64>,
    /// Their labels.
    pub(crate) labels: HashSet<String>,
}

fn drawn(samples: &[Sample], wanted: &Wanted) -> Drawn {
    let by_model = wanted.foundation.is_none();
    let of = |alike: String, is: &dyn Fn(&Sample) -> bool| Drawn {
        alike,
        worked_ms: found(samples, is).map(|one| one.worked_ms).collect(),
        labels: found(samples, is).map(|one| one.label.clone()).collect(),
    };
    let mut tried = Vec::new();
    if let Some(name) = &wanted.changes {
        let same = |one: &Sample| one.deploys == wanted.deploys && one.name.as_ref() == Some(name);
        tried.push(of(format!("of {name}"), &same));
    }
    if let Some(foundation) = &wanted.foundation {
        let same = |one: &Sample| {
            one.deploys == wanted.deploys && one.foundation.as_ref() == Some(foundation)
        };
        tried.push(of(format!("from the foundation {foundation}"), &same));
    }
    let written = match by_model {
        true => "that a model wrote",
        false => "from any foundation",
    };
    tried.push(of(written.to_owned(), &|one| {
        one.deploys == wanted.deploys && one.by_model == by_model
    }));
    let enough = |drawn: &Drawn| drawn.worked_ms.len() >= LIKE_MIN;
    let any = || of("of any kind, none of them like this".to_owned(), &|_| true);
    tried.into_iter().find(enough).unwrap_or_else(any)
}

fn found<'a>(
    samples: &'a [Sample],
    is: &'a dyn Fn(&Sample) -> bool,
) -> impl Iterator<Item = &'a Sample> {
    samples.iter().filter(move |one| is(one))
}

/// A whole build; one that deploys what another made, or replays, says nothing about those.
fn sample(ended: EndedBuild) -> Option<Sample> {
    let (RunState::Build(state), RunInput::Build(request)) = (ended.state, ended.input) else {
        return None;
    };
    let whole = request.deploys.is_none() && request.replays.is_none();
    whole.then(|| Sample {
        label: ended.label,
        name: state.facts.name.clone(),
        foundation: state.facts.foundation.clone(),
        deploys: state.policy.auto_deploy,
        by_model: state.facts.coder.is_some(),
        worked_ms: ended.worked_ms,
    })
}

fn like(samples: &[Sample], state: &BuildState, label: &Slug) -> Option<Estimates> {
    let facts = &state.facts;
    let deploys = state.policy.auto_deploy;
    // Before its spec is made a build has no name; its label begins with the one that it will get.
    let named = |name: &Slug| match &facts.name {
        Some(known) => name == known,
        None => {
            let rest = label.as_str().strip_prefix(name.as_str());
            rest.is_some_and(|rest| {
                rest.is_empty() || rest[1..].bytes().all(|b| b.is_ascii_digit())
            })
        }
    };
    let same = samples
        .iter()
        .filter(|one| one.deploys == deploys && one.name.as_ref().is_some_and(named));
    let alike = samples
        .iter()
        .filter(|one| one.deploys == deploys && one.by_model == facts.coder.is_some());
    let from_it = samples.iter().filter(|one| {
        let known = facts.foundation.is_some() && one.foundation == facts.foundation;
        one.deploys == deploys && known
    });
    figures(same.map(|one| one.worked_ms).collect())
        .or_else(|| figures(from_it.map(|one| one.worked_ms).collect()))
        .or_else(|| figures(alike.map(|one| one.worked_ms).collect()))
}

/// Nearest rank.
fn figures(mut worked_ms: Vec<i64>) -> Option<Estimates> {
    if worked_ms.len() < LIKE_MIN {
        return None;
    }
    worked_ms.sort_unstable();
    let rank = |percent: usize| worked_ms[(worked_ms.len() * percent).div_ceil(100) - 1];
    Some(Estimates {
        median_ms: rank(50),
        p90_ms: rank(90),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentwright_domain::build::{ApprovalMode, BuildPolicy};

    fn past(name: &str, worked_ms: i64) -> Sample {
        Sample {
            label: name.to_owned(),
            name: Slug::from_words(name),
            foundation: None,
            deploys: true,
            by_model: false,
            worked_ms,
        }
    }

    fn now(label: &str) -> (BuildState, Slug) {
        let state = BuildState::new(BuildPolicy::new(ApprovalMode::Auto));
        (state, Slug::parse(label).unwrap())
    }

    #[test]
    fn builds_of_the_same_automation_count_first_then_those_written_alike() {
        let mut samples: Vec<Sample> = [100, 200, 900].map(|ms| past("notes-zip", ms)).into();
        samples.extend([5, 6, 7, 8].map(|ms| past("other", ms)));
        let (state, label) = now("notes-zip-4");
        let known = like(&samples, &state, &label).unwrap();
        assert_eq!((known.median_ms, known.p90_ms), (200, 900));
        let (state, label) = now("something-new");
        assert_eq!(like(&samples, &state, &label).unwrap().median_ms, 8);
        assert_eq!(like(&samples[..2], &state, &label), None, "too few");
        let mut verified_only = state.clone();
        verified_only.policy.auto_deploy = false;
        assert_eq!(like(&samples, &verified_only, &label), None);
        assert_eq!(known.left_ms(150), Some(50));
        assert_eq!(known.left_ms(250), Some(650), "longer than most");
        assert_eq!(known.left_ms(950), None, "longer than all");
    }

    fn from(foundation: &str, name: &str, worked_ms: i64) -> Sample {
        Sample {
            foundation: Some(foundation.to_owned()),
            ..past(name, worked_ms)
        }
    }

    #[test]
    fn builds_from_the_same_foundation_are_nearer_than_those_from_any() {
        let mut samples: Vec<Sample> = [1, 2, 3].map(|ms| from("feed-digest", "news", ms)).into();
        samples.extend([70, 80, 90].map(|ms| from("folder-backup", "notes-zip", ms)));
        let (mut state, label) = now("something-new");
        assert_eq!(like(&samples, &state, &label).unwrap().median_ms, 3);
        state.facts.foundation = Some("folder-backup".to_owned());
        assert_eq!(like(&samples, &state, &label).unwrap().median_ms, 80);
    }

    #[test]
    fn a_forecast_is_drawn_from_the_likest_builds_and_says_which() {
        let mut samples: Vec<Sample> = [1, 2, 3].map(|ms| from("feed-digest", "news", ms)).into();
        samples.extend([70, 80, 90].map(|ms| from("folder-backup", "notes-zip", ms)));
        let model = |ms| Sample {
            by_model: true,
            ..past("count-words", ms)
        };
        samples.extend([1_000, 2_000].map(model));
        let wanted = |changes: Option<&str>, foundation: Option<&str>| Wanted {
            changes: changes.and_then(Slug::from_words),
            foundation: foundation.map(str::to_owned),
            deploys: true,
        };
        for (changes, foundation, says, builds) in [
            (Some("news"), Some("feed-digest"), "of news", 3),
            (
                None,
                Some("folder-backup"),
                "from the foundation folder-backup",
                3,
            ),
            (
                Some("never"),
                Some("folder-backup"),
                "from the foundation folder-backup",
                3,
            ),
            (None, Some("url-watch"), "from any foundation", 6),
            (None, None, "of any kind, none of them like this", 8),
        ] {
            let seen = drawn(&samples, &wanted(changes, foundation));
            assert_eq!((seen.alike.as_str(), seen.worked_ms.len()), (says, builds));
        }
        samples.push(model(3_000));
        let by_model = drawn(&samples, &wanted(None, None));
        assert_eq!(by_model.worked_ms, [1_000, 2_000, 3_000]);
        assert_eq!(by_model.alike, "that a model wrote");
        assert!(by_model.labels.contains("count-words") && by_model.labels.len() == 1);
        let verified_only = Wanted {
            deploys: false,
            ..wanted(None, Some("folder-backup"))
        };
        assert!(drawn(&samples, &verified_only).alike.contains("any kind"));
        assert!(drawn(&[], &verified_only).worked_ms.is_empty());
    }
}
