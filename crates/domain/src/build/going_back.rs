//! What a build does besides going on: it waits for a quota or a budget, goes back to its code, or to its spec.

use super::decide::At;
use super::{
    ATTEMPTS_MAX, ApprovalMode, Facts, FailureClass, PARKS_MAX, Phase, Repair, SAME_EVIDENCE_MAX,
    Stage, Tried,
};
use crate::digest::Digest;
use crate::run::{NewEvent, Next, Notice, Record, Transition};
use serde_json::json;

impl At<'_> {
    /// Back to the queue until a known time; the try does not count, waiting is bounded all the same.
    pub(super) fn park(
        &self,
        stage: Stage,
        attempt: u32,
        reason: &str,
        until_ms: i64,
    ) -> Transition {
        if !self.state.policy.may_park {
            let reason = format!("{reason}; this build was told not to wait for it");
            return self.failed(stage, attempt, FailureClass::Limit, &reason, &[]);
        }
        if self.state.facts.parks >= PARKS_MAX {
            let reason = format!("waited {PARKS_MAX} times: {reason}");
            return self.failed(stage, attempt, FailureClass::Limit, &reason, &[]);
        }
        let mut to = self.to(&self.state.facts);
        to.facts_mut().parks += 1;
        to.stage = Some(self.row(stage, attempt, "parked", reason));
        let at_ms = until_ms.max(self.now_ms);
        let mut event = NewEvent::new("stage.parked", stage.word(), format!("waits: {reason}"));
        event.data = json!({ "not_before_ms": at_ms });
        to.events.push(event);
        to.next = Next::Requeue {
            not_before_ms: at_ms,
        };
        to
    }

    pub(super) fn spent(&self, stage: Stage, attempt: u32, limit: &str) -> Transition {
        let mut to = self.to(&self.state.facts);
        to.stage = Some(self.row(stage, attempt, "parked", limit));
        to.events.push(NewEvent::new(
            "budget.spent",
            stage.word(),
            format!("waits: {limit}"),
        ));
        to.notices.push(Notice {
            topic: "build.budget".to_owned(),
            title: format!("{} waits: a budget is spent", self.run.label),
            body: format!(
                "{limit}\nRaise it with agentwright budget, then: agentwright resume {}",
                self.run.label
            ),
        });
        to.phase(Phase::Spent {
            stage,
            attempt,
            limit: limit.to_owned(),
            since_ms: self.now_ms,
        });
        to.next = Next::Wait;
        to
    }

    pub(super) fn resumed(&self, stage: Stage, attempt: u32, by: &str) -> Transition {
        let mut to = self.to(&self.state.facts);
        to.events.push(NewEvent::new(
            "run.resumed",
            stage.word(),
            format!("resumed by {by}"),
        ));
        to.work(stage, attempt)
    }

    /// Back to whoever wrote the code, unless that gets nowhere.
    pub(super) fn repair(
        &self,
        stage: Stage,
        attempt: u32,
        repair: &Repair,
        failure: &Digest,
        records: &[Record],
    ) -> Transition {
        let facts = &self.state.facts;
        let give_up = |why: String| {
            let reason = format!("{}; {why}", repair.reason);
            self.failed(stage, attempt, FailureClass::Tests, &reason, records)
        };
        let Some(code) = facts.code.clone() else {
            return give_up("there is no code to repair".to_owned());
        };
        if !may_go_back(stage) {
            return give_up(format!("nothing is repaired at {}", stage.word()));
        }
        let repairs = self.state.policy.repairs;
        let done = facts.tried.len();
        if repairs == 0 {
            return self.failed(stage, attempt, FailureClass::Tests, &repair.reason, records);
        }
        if done >= repairs as usize || attempt >= ATTEMPTS_MAX {
            return give_up(format!("gave up after {done} repairs"));
        }
        if facts.tried.iter().any(|tried| tried.code == code) {
            return give_up(
                "the repair changed nothing, or went back to what had failed".to_owned(),
            );
        }
        let same = facts.tried.iter().rev();
        if same.take_while(|tried| tried.failure == *failure).count() + 1 >= SAME_EVIDENCE_MAX {
            return give_up(format!(
                "the same failure {SAME_EVIDENCE_MAX} times in a row"
            ));
        }
        let mut to = self.to(facts);
        to.stage = Some(self.row(stage, attempt, "repairing", &repair.reason));
        to.records = records.to_vec();
        let facts = to.facts_mut();
        facts.tried.push(Tried {
            code,
            failure: failure.clone(),
        });
        facts.repair = Some(repair.clone());
        (facts.code, facts.reviewed, facts.verified) = (None, None, None);
        let line = format!("repair {}: {}", done + 1, repair.reason);
        to.events
            .push(NewEvent::new("stage.repair", stage.word(), line));
        to.work(Stage::Generate, attempt + 1)
    }

    /// The spec is made anew and shown to a person; where nobody is asked, the build fails.
    pub(super) fn amend(
        &self,
        stage: Stage,
        attempt: u32,
        reason: &str,
        records: &[Record],
    ) -> Transition {
        let facts = &self.state.facts;
        let asked = self.state.policy.mode != ApprovalMode::Auto && may_go_back(stage);
        if !asked || facts.amendment.is_some() {
            let reason = format!("the spec is wrong: {reason}");
            return self.failed(stage, attempt, FailureClass::Tests, &reason, records);
        }
        let mut to = self.to(&Facts {
            replaces: facts.replaces.clone(),
            amendment: Some(reason.to_owned()),
            reviews: facts.reviews,
            parks: facts.parks,
            ..Facts::default()
        });
        to.stage = Some(self.row(stage, attempt, "amending", reason));
        to.records = records.to_vec();
        to.events
            .push(NewEvent::new("spec.amend", stage.word(), reason));
        to.work(Stage::Spec, 1)
    }
}

/// The stages whose outcome may send a build back: code is there, and nothing has been shown to a person yet.
fn may_go_back(stage: Stage) -> bool {
    match stage {
        Stage::Generate | Stage::Review | Stage::Verify => true,
        Stage::Spec | Stage::Package | Stage::Preview | Stage::Deploy | Stage::Register => false,
    }
}
