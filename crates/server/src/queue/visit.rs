//! One visit to a connected table: what is known is made sure of, what is behind is written, what waits gets its answer.

use super::desk::{Desk, counts};
use super::rows::{Hold, Known, Pending, Said, change, wanted};
use super::table::{Stop, answer, known, open, rows_of, run_of, told};
use super::{around, beat};
use crate::app::App;
use agentwright_backlog::{Backlog, BuilderStatus, Change, Settled, Writing};
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::run::{Notice, Run};
use agentwright_queue::Item;
use agentwright_queue::start::{
    Assessment, Candidate, Decision, Reason, Running, Standing, Started, World, decide_start,
};
use agentwright_store::{Answer, BacklogSource, KnownRow, OrgScope, Told};
use std::collections::HashMap;

/// A visit under way.
struct Visit<'a> {
    desk: Desk<'a>,
    backlog: Backlog,
}

/// One visit: what is known is made sure of, what is behind is written, and with `look` every row that waits gets its
/// answer. Answers when a row wants the next look, ms.
pub(super) async fn visit(
    app: &App,
    scope: &OrgScope,
    source: &BacklogSource,
    look: bool,
) -> Result<Option<i64>, Stop> {
    let backlog = open(app, source).await?;
    let desk = Desk { app, scope, source };
    let mut visit = Visit { desk, backlog };
    let mut room = false;
    for mut row in rows_of(app, scope, &source.name).await? {
        if row.open {
            visit.settle(&mut row).await?;
            room |= visit.follow(&mut row, look).await?;
        }
    }
    if room {
        // What waits in the queue may start, too.
        app.heart().look_soon();
    }
    // Whoever waited for room is next.
    let next_ms = if look || room {
        visit.look().await?
    } else {
        None
    };
    visit.backlog.close().await;
    Ok(next_ms)
}

impl Visit<'_> {
    /// Finds out what became of a write whose end was not heard of.
    async fn settle(&mut self, row: &mut KnownRow) -> Result<(), Stop> {
        let mut known = known(row)?;
        let Some(pending) = known.pending.clone() else {
            return Ok(());
        };
        let done = match self.backlog.settled(pending.ticket).await? {
            Settled::Open => return Ok(()),
            Settled::Done => true,
            Settled::Undone => false,
            Settled::Forgotten => {
                let stands = self.backlog.row(row.id).await?;
                stands.is_some_and(|found| found.builder_status == pending.stands.word())
            }
        };
        if done {
            known.done(self.desk.app.now_ms());
        } else {
            known.pending = None;
        }
        if known.hold == Hold::Seen {
            row.run = None;
        }
        self.desk.keep(row, &known).await.map(|_| ())
    }

    /// Brings a row of ours to where its build is; whether another one may have room now: a build that ended, or waits
    /// for a person, holds nobody up.
    async fn follow(&mut self, row: &mut KnownRow, look: bool) -> Result<bool, Stop> {
        let mut known = known(row)?;
        if known.pending.is_some() || known.hold != Hold::Mine {
            return Ok(false);
        }
        if !known.submitted {
            return self.begin(row, &mut known).await.map(|()| false);
        }
        let run = run_of(self.desk.app, self.desk.scope, row).await?;
        let wanted = wanted(run.as_ref(), known.anew);
        let results = match &row.run {
            Some(run) => {
                self.desk
                    .app
                    .store()
                    .test_results(self.desk.scope, run)
                    .await?
            }
            None => Vec::new(),
        };
        let Some(change) = change(row.id, &known, &wanted, &results) else {
            if look {
                let found = self.backlog.row(row.id).await?;
                self.desk
                    .compare(row, &mut known, found.as_ref(), run.as_ref())
                    .await?;
            }
            return Ok(false);
        };
        let then = Pending {
            ticket: 0,
            hold: wanted.hold,
            stands: wanted.status,
            lines: known.lines + change.lines.len(),
        };
        self.write(row, &mut known, &change, then, run.as_ref())
            .await?;
        Ok(known.stands == wanted.status && wanted.status != BuilderStatus::Building)
    }

    /// A claimed row: `building` is written first, then its build is submitted.
    async fn begin(&mut self, row: &mut KnownRow, known: &mut Known) -> Result<(), Stop> {
        if known.stands == BuilderStatus::Queued {
            let change = Change {
                id: row.id,
                from: BuilderStatus::Queued,
                to: vec![BuilderStatus::Building],
                lines: Vec::new(),
            };
            let then = Pending {
                ticket: 0,
                hold: Hold::Mine,
                stands: BuilderStatus::Building,
                lines: 0,
            };
            self.write(row, known, &change, then, None).await?;
        }
        if known.hold != Hold::Mine || known.stands != BuilderStatus::Building {
            return Ok(());
        }
        self.desk.submit(row, &known.said).await?;
        known.submitted = true;
        self.desk.keep(row, known).await.map(|_| ())
    }

    /// Writes a change: kept with its ticket, committed, struck out.
    async fn write(
        &mut self,
        row: &mut KnownRow,
        known: &mut Known,
        change: &Change,
        then: Pending,
        run: Option<&Run>,
    ) -> Result<(), Stop> {
        let write = match self.backlog.write(change).await? {
            Writing::Ready(write) => write,
            // The next visit finds it free.
            Writing::Locked => return Ok(()),
            Writing::Other(found) => return self.desk.compare(row, known, Some(&found), run).await,
            Writing::Gone => return self.desk.compare(row, known, None, run).await,
        };
        let edited = !known.said.edited(write.row()).is_empty();
        if edited && !known.submitted {
            // Nothing was made of it yet.
            known.said = Said::of(write.row());
        } else if edited && then.hold == Hold::Mine && counts(then.stands) {
            let found = write.row().clone();
            write.undo().await;
            return self.desk.compare(row, known, Some(&found), run).await;
        }
        let pending = Pending {
            ticket: write.ticket(),
            ..then
        };
        known.pending = Some(pending);
        row.open = true;
        row.known = serde_json::to_value(&*known).unwrap_or_default();
        if !self
            .desk
            .app
            .store()
            .put_backlog_row(self.desk.scope, row)
            .await?
        {
            write.undo().await;
            // Another process has it in hand; what it kept is read at the next visit.
            known.pending = None;
            return Ok(());
        }
        row.revision += 1;
        write.commit().await?;
        known.done(self.desk.app.now_ms());
        if known.hold == Hold::Seen {
            row.run = None;
        }
        self.desk.keep(row, known).await.map(|_| ())
    }

    /// Gives every row that waits its answer, and starts what may start.
    async fn look(&mut self) -> Result<Option<i64>, Stop> {
        let ready = self.backlog.ready().await?;
        let rows = self.desk.seen(&ready).await?;
        let running = beat::running_now(self.desk.app, self.desk.scope).await?;
        let around = around::look(self.desk.app, self.desk.scope).await?;
        let mut world = beat::world(self.desk.app, &around, running, HashMap::new());
        let (mut answers, mut started) = (Vec::new(), 0);
        for mut row in rows {
            let mut decision = decide(&row.label, &known(&row)?, &world, self.desk.app.now_ms());
            if decision == Decision::Start {
                match self.claim(&mut row).await? {
                    Some(reason) => decision = Decision::Hold(reason),
                    None => {
                        started += 1;
                        world.running.push(Running {
                            label: row.label.clone(),
                            touches: Vec::new(),
                            started: Started::ByItself,
                        });
                    }
                }
            }
            answers.push(answer(&row.label, &decision));
        }
        told(self.desk.app, self.desk.scope, &answers, started).await?;
        Ok(answers.iter().filter_map(next_ms).min())
    }

    /// Claims a row and begins its build; why not, where it does not.
    async fn claim(&mut self, row: &mut KnownRow) -> Result<Option<Reason>, Stop> {
        let mut known = known(row)?;
        let change = Change {
            id: row.id,
            from: BuilderStatus::NotStarted,
            to: vec![BuilderStatus::Queued],
            lines: Vec::new(),
        };
        let write = match self.backlog.write(&change).await? {
            Writing::Ready(write) => write,
            Writing::Locked => return Ok(Some(Reason::Locked)),
            Writing::Gone => return Ok(Some(Reason::Taken)),
            Writing::Other(found) => {
                let told = taken(&row.label, &found);
                let store = self.desk.app.store();
                store.tell(self.desk.scope, &told).await?;
                return Ok(Some(Reason::Taken));
            }
        };
        // As it reads under the lock.
        known.said = Said::of(write.row());
        known.pending = Some(Pending {
            ticket: write.ticket(),
            hold: Hold::Mine,
            stands: BuilderStatus::Queued,
            lines: 0,
        });
        row.run = Some(RunId::new(self.desk.app.store().new_id()));
        row.open = true;
        row.known = serde_json::to_value(&known).unwrap_or_default();
        if !self
            .desk
            .app
            .store()
            .put_backlog_row(self.desk.scope, row)
            .await?
        {
            write.undo().await;
            return Ok(Some(Reason::Taken));
        }
        row.revision += 1;
        write.commit().await?;
        known.done(self.desk.app.now_ms());
        if self.desk.keep(row, &known).await? {
            self.begin(row, &mut known).await?;
        }
        Ok(None)
    }
}

/// That somebody else was first, in the manner of requirements A11. Of one row it is told once.
fn taken(label: &Slug, found: &agentwright_backlog::Row) -> Told {
    let agentwright_backlog::Row { id, name, kind, .. } = found;
    let stands = &found.builder_status;
    Told {
        id: format!("taken-{label}"),
        run: None,
        notice: Notice {
            topic: "queue.taken".to_owned(),
            title: format!(
                "[Agent Builder] CLAIMED — {name} is claimed by another builder (id={id}, type={kind})"
            ),
            body: format!(
                "builder_status is {stands}; nothing is built here of it. See it: agentwright why {label}"
            ),
        },
    }
}

/// A row starts by the table's own order alone: neither window nor priority nor vague words hold it (requirements E1).
fn decide(label: &Slug, known: &Known, world: &World<'_>, now_ms: i64) -> Decision {
    if known.not_before_ms > now_ms {
        return Decision::Hold(Reason::Retry {
            at_ms: known.not_before_ms,
            failures: known.releases,
        });
    }
    let item = Item::new(label.clone(), known.said.name.clone());
    let candidate = Candidate {
        item: &item,
        standing: Standing::Queued,
        approved_by: None,
        assessment: &Assessment {
            asks_a_model: true,
            ..Assessment::default()
        },
    };
    decide_start(&candidate, world, now_ms)
}

fn next_ms(answer: &Answer) -> Option<i64> {
    match serde_json::from_value(answer.detail.clone()).ok()? {
        Decision::Hold(
            Reason::Retry { at_ms, .. }
            | Reason::NotBefore { at_ms }
            | Reason::Calendar { until_ms: at_ms }
            | Reason::Quota { until_ms: at_ms },
        ) => Some(at_ms),
        Decision::Start | Decision::Hold(_) => None,
    }
}
