//! What a group writes, worked out in memory from the locked rows. Pure.

use super::{Commit, Committed, Key, Report, Writer};
use crate::audit::{Audit, Change, Said};
use crate::db::json_text;
use crate::error::{CommitError, Error};
use crate::watch::News;
use agentwright_domain::ids::RunId;
use agentwright_domain::run::{
    NewEvent, NewRun, Next, Notice, Record, Run, RunState, RunStatus, StageRow,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// What matters of a locked run row; kept up to date while the group is worked out.
pub(super) struct Locked {
    pub(super) epoch: i64,
    pub(super) event_seq: i64,
}

/// The sets.
pub(super) struct Plan {
    pub(super) now_ms: i64,
    pub(super) runs: Vec<RunSet>,
    pub(super) touched: BTreeMap<Key, TouchSet>,
    pub(super) stages: Vec<StageSet>,
    pub(super) events: Vec<EventSet>,
    pub(super) unqueued: Vec<IdSet>,
    pub(super) queued: Vec<QueueSet>,
    pub(super) notices: Vec<NoticeSet>,
    pub(super) ended_executions: Vec<CurrentSet>,
    pub(super) records: Vec<(Key, u32, Record)>,
    pub(super) news: HashMap<RunId, News>,
    pub(super) audits: Vec<Said>,
}

#[derive(Serialize)]
pub(super) struct RunSet {
    o: String,
    r: String,
    epoch: i64,
    status: &'static str,
    stage: &'static str,
    attempt: u32,
    seq: i64,
    worked: i64,
    ended: Option<i64>,
    state: String,
}

#[derive(Serialize)]
pub(super) struct TouchSet {
    o: String,
    r: String,
    epoch: i64,
    seq: i64,
}

#[derive(Serialize)]
pub(super) struct StageSet {
    o: String,
    r: String,
    epoch: i64,
    stage: String,
    attempt: u32,
    status: String,
    started: i64,
    ended: i64,
    summary: String,
}

#[derive(Serialize)]
pub(super) struct EventSet {
    o: String,
    r: String,
    seq: i64,
    event: String,
    stage: String,
    message: String,
    data: Option<String>,
}

#[derive(Serialize)]
pub(super) struct IdSet {
    r: String,
}

#[derive(Serialize)]
pub(super) struct QueueSet {
    o: String,
    r: String,
    kind: &'static str,
    priority: i64,
    created: i64,
    not_before: i64,
}

#[derive(Serialize)]
pub(super) struct NoticeSet {
    o: String,
    r: String,
    id: String,
    topic: String,
    title: String,
    body: String,
}

#[derive(Serialize)]
pub(super) struct CurrentSet {
    o: String,
    r: String,
    name: String,
}

impl Plan {
    pub(super) fn new(now_ms: i64) -> Self {
        Self {
            now_ms,
            runs: Vec::new(),
            touched: BTreeMap::new(),
            stages: Vec::new(),
            events: Vec::new(),
            unqueued: Vec::new(),
            queued: Vec::new(),
            notices: Vec::new(),
            ended_executions: Vec::new(),
            records: Vec::new(),
            news: HashMap::new(),
            audits: Vec::new(),
        }
    }

    /// A run that was just inserted: its place in the queue and its first event.
    pub(super) fn submitted(&mut self, new: &NewRun, audit: Option<&Audit>) -> Result<(), Error> {
        let key = (new.organization.clone(), new.id.clone());
        self.queued.push(QueueSet {
            o: key.0.0.clone(),
            r: key.1.0.clone(),
            kind: new.state.kind().word(),
            priority: new.priority,
            created: self.now_ms,
            not_before: new.not_before_ms.unwrap_or(0),
        });
        let event = NewEvent::new("run.submitted", new.state.stage(), "submitted");
        self.event(&key, 1, &event);
        if let Some(audit) = audit {
            self.audit(&key, audit, (None, &new.state))?;
        }
        let (seq, settled) = (1, false);
        self.news.insert(key.1, News { seq, settled });
        Ok(())
    }

    /// One transition. The outer error is a fault of ours, the inner one the answer.
    pub(super) fn commit(
        &mut self,
        locked: &mut BTreeMap<Key, Locked>,
        commit: &Commit,
    ) -> Result<Result<Committed, CommitError>, Error> {
        let expected = commit.run.epoch;
        let key = (commit.run.organization.clone(), commit.run.id.clone());
        let Some(at) = locked.get_mut(&key) else {
            return Ok(Err(CommitError::Unknown));
        };
        if at.epoch != expected {
            return Ok(Err(CommitError::Stale { expected }));
        }
        at.epoch += 1;
        for event in &commit.to.events {
            at.event_seq += 1;
            self.event(&key, at.event_seq, event);
        }
        let run = self.moved(commit);
        self.runs.push(RunSet {
            o: key.0.0.clone(),
            r: key.1.0.clone(),
            epoch: expected,
            status: run.status.word(),
            stage: run.state.stage(),
            attempt: run.state.attempt(),
            seq: at.event_seq,
            worked: run.worked_ms,
            ended: run.ended_at_ms,
            state: json_text(&run.state)?,
        });
        self.touched.remove(&key);
        if let Some(stage) = &commit.to.stage {
            self.stage(&key, run.epoch, stage);
        }
        for (at, notice) in commit.to.notices.iter().enumerate() {
            self.notice(&key, run.epoch, at, notice);
        }
        let attempt = commit.run.state.attempt();
        for record in &commit.to.records {
            self.records.push((key.clone(), attempt, record.clone()));
        }
        if let Some(audit) = &commit.audit {
            self.audit(&key, audit, (Some(&commit.run.state), &run.state))?;
        }
        self.dispatch(&key, &run, commit);
        let event_seq = at.event_seq;
        let news = News {
            seq: event_seq,
            settled: run.status.ended() || run.status == RunStatus::Waiting,
        };
        self.news.insert(key.1, news);
        Ok(Ok(Committed { run, event_seq }))
    }

    /// What a commit makes of the run's place in the queue.
    fn dispatch(&mut self, key: &Key, run: &Run, commit: &Commit) {
        let not_before = match (commit.to.next, commit.writer) {
            (Next::Continue, Writer::Holder) => return,
            (Next::Continue, Writer::Outsider) => self.now_ms,
            (Next::Requeue { not_before_ms }, Writer::Holder | Writer::Outsider) => not_before_ms,
            (Next::Wait | Next::End { .. }, Writer::Holder | Writer::Outsider) => {
                self.unqueued.push(IdSet { r: key.1.0.clone() });
                if let (RunState::Execution(state), true) = (&run.state, run.status.ended()) {
                    self.ended_executions.push(CurrentSet {
                        o: key.0.0.clone(),
                        r: key.1.0.clone(),
                        name: state.deployment.as_str().to_owned(),
                    });
                }
                return;
            }
        };
        self.queued.push(QueueSet {
            o: key.0.0.clone(),
            r: key.1.0.clone(),
            kind: run.kind.word(),
            priority: run.priority,
            created: run.created_at_ms,
            not_before,
        });
    }

    /// The run as it is after the commit.
    fn moved(&self, commit: &Commit) -> Run {
        let from = &commit.run;
        let status = match (commit.to.next, commit.writer) {
            (Next::Continue, Writer::Holder) => RunStatus::Leased,
            (Next::Continue, Writer::Outsider) | (Next::Requeue { .. }, _) => RunStatus::Ready,
            (Next::Wait, _) => RunStatus::Waiting,
            (Next::End { status }, _) => status,
        };
        let worked = match from.status {
            // The worker ends an attempt at its limit, by a clock that nobody sets: what goes beyond
            // is a machine that slept or whose clock was set, and no work.
            RunStatus::Leased => {
                let most = from.time_limit().map_or(i64::MAX, |limit| limit.left_ms);
                (self.now_ms - from.attempt_started_at_ms).clamp(0, most.max(0))
            }
            RunStatus::Ready
            | RunStatus::Waiting
            | RunStatus::Completed
            | RunStatus::Failed
            | RunStatus::Cancelled => 0,
        };
        Run {
            status,
            state: commit.to.state.clone(),
            epoch: from.epoch + 1,
            claims: 0,
            worked_ms: from.worked_ms + worked,
            attempt_started_at_ms: self.now_ms,
            progress_at_ms: self.now_ms,
            ended_at_ms: status.ended().then_some(self.now_ms),
            ..from.clone()
        }
    }

    /// Rows and events of work that goes on.
    pub(super) fn report(
        &mut self,
        locked: &mut BTreeMap<Key, Locked>,
        run: &Run,
        report: &Report,
    ) -> Result<i64, CommitError> {
        let expected = run.epoch;
        let key = (run.organization.clone(), run.id.clone());
        let at = locked.get_mut(&key).ok_or(CommitError::Unknown)?;
        if at.epoch != expected {
            return Err(CommitError::Stale { expected });
        }
        for event in &report.events {
            at.event_seq += 1;
            self.event(&key, at.event_seq, event);
        }
        for record in &report.records {
            let attempt = run.state.attempt();
            self.records.push((key.clone(), attempt, record.clone()));
        }
        let touch = TouchSet {
            o: key.0.0.clone(),
            r: key.1.0.clone(),
            epoch: expected,
            seq: at.event_seq,
        };
        let news = News {
            seq: at.event_seq,
            settled: false,
        };
        self.news.insert(key.1.clone(), news);
        self.touched.insert(key, touch);
        Ok(at.event_seq)
    }

    fn event(&mut self, key: &Key, seq: i64, event: &NewEvent) {
        self.events.push(EventSet {
            o: key.0.0.clone(),
            r: key.1.0.clone(),
            seq,
            event: event.event.clone(),
            stage: event.stage.clone(),
            message: event.message.clone(),
            data: match &event.data {
                Value::Null => None,
                data => Some(data.to_string()),
            },
        });
    }

    /// The row about a change of a run.
    fn audit(
        &mut self,
        key: &Key,
        audit: &Audit,
        (before, after): (Option<&RunState>, &RunState),
    ) -> Result<(), Error> {
        self.audits.push(Said {
            organization: key.0.clone(),
            actor: audit.actor.clone(),
            change: Change {
                action: audit.action.clone(),
                target: key.1.0.clone(),
                before: before.map(digest).transpose()?,
                after: Some(digest(after)?),
            },
        });
        Ok(())
    }

    fn stage(&mut self, key: &Key, epoch: i64, row: &StageRow) {
        self.stages.push(StageSet {
            o: key.0.0.clone(),
            r: key.1.0.clone(),
            epoch,
            stage: row.stage.clone(),
            attempt: row.attempt,
            status: row.status.clone(),
            started: row.started_at_ms,
            ended: row.ended_at_ms,
            summary: row.summary.clone(),
        });
    }

    fn notice(&mut self, key: &Key, epoch: i64, at: usize, notice: &Notice) {
        self.notices.push(NoticeSet {
            o: key.0.0.clone(),
            r: key.1.0.clone(),
            // The same for every try to deliver it, different for every other notice.
            id: format!("{}-{epoch}-{at}", key.1),
            topic: notice.topic.clone(),
            title: notice.title.clone(),
            body: notice.body.clone(),
        });
    }
}

fn digest(state: &RunState) -> Result<String, Error> {
    let digest = agentwright_proof::of_json(state);
    digest
        .map(|it| it.to_string())
        .map_err(|error| Error::corrupt("state", &error))
}
