//! Our side of a visit: what is kept of a row, what it means that a row says something else, how its build is submitted.

use super::rows::{Hold, Known, NAME, Said};
use super::table::{Stop, VISIT_MAX, known, open, rows_of};
use crate::app::App;
use crate::auth::Trail;
use crate::error::ApiError;
use crate::extract::Who;
use crate::{planned, submit};
use agentwright_api::{CreateBuild, PlanRequest, PlanVerdict, code};
use agentwright_backlog::{BuilderStatus, Fault, Row};
use agentwright_domain::build::{ApprovalMode, BacklogRow};
use agentwright_domain::ids::Slug;
use agentwright_domain::principal::{KeyKind, Principal, Role};
use agentwright_domain::run::{Run, RunInput, Signal};
use agentwright_engine::SignalError;
use agentwright_store::{Actor, Audit, BacklogSource, KnownRow, OrgScope};
use std::collections::{HashMap, HashSet};

/// Who submits: a program, which can approve nothing.
const SUBMITS: &str = "a connected table";

/// What a visit works with.
pub(super) struct Desk<'a> {
    pub(super) app: &'a App,
    pub(super) scope: &'a OrgScope,
    pub(super) source: &'a BacklogSource,
}

impl Desk<'_> {
    /// Keeps what is known of a row; `false` when somebody else was first.
    pub(super) async fn keep(&self, row: &mut KnownRow, known: &Known) -> Result<bool, Stop> {
        row.open = known.open();
        row.known = serde_json::to_value(known).unwrap_or_default();
        let kept = self.app.store().put_backlog_row(self.scope, row).await?;
        row.revision += 1;
        Ok(kept)
    }

    /// A row of ours that may say something else than it did. Edited, its build ends and it is built anew; changed by
    /// somebody else in what is ours to write, or gone, it is left to them.
    pub(super) async fn compare(
        &self,
        row: &mut KnownRow,
        known: &mut Known,
        found: Option<&Row>,
        run: Option<&Run>,
    ) -> Result<(), Stop> {
        let table = &self.source.ideas_table;
        let why = match found {
            None => {
                known.hold = Hold::Left;
                format!("its row {} of {table} is gone", row.id)
            }
            Some(found) if found.builder_status != known.stands.word() => {
                known.hold = Hold::Left;
                format!(
                    "somebody else set builder_status of its row {} of {table} to {:?}",
                    row.id, found.builder_status
                )
            }
            Some(found) => {
                let edited = known.said.edited(found);
                if edited.is_empty() || !counts(known.stands) {
                    return Ok(());
                }
                known.anew = true;
                format!(
                    "its row {} of {table} was edited while it was built ({}): it is built anew as it reads now",
                    row.id,
                    edited.join(", ")
                )
            }
        };
        // What is built anew is kept before its build ends, what is left after it: a crash in between is made good by
        // the next look.
        if known.anew && !self.keep(row, known).await? {
            return Ok(());
        }
        if let Some(run) = run.filter(|run| !run.status.ended()) {
            let signal = Signal::Cancel {
                by: NAME.to_owned(),
                reason: why,
            };
            let audit = Audit {
                actor: Actor {
                    name: NAME.to_owned(),
                    principal: "table".to_owned(),
                },
                action: "table.cancel".to_owned(),
            };
            let engine = self.app.engine();
            match engine
                .signal(self.scope, &run.id, signal, Some(audit))
                .await
            {
                Ok(_) | Err(SignalError::Refused(_) | SignalError::Unknown) => {}
                Err(error @ (SignalError::Busy | SignalError::Store(_))) => {
                    return Err(Stop::Ours(error.into()));
                }
            }
        }
        if known.hold == Hold::Left {
            self.keep(row, known).await?;
        }
        Ok(())
    }

    /// Keeps the rows that wait, in their order, and forgets those that no longer do.
    pub(super) async fn seen(&self, ready: &[Row]) -> Result<Vec<KnownRow>, Stop> {
        let all = self.app.store().backlog_rows(self.scope).await?;
        let mut labels: HashSet<Slug> = all.iter().map(|row| row.label.clone()).collect();
        let mut before: HashMap<i64, KnownRow> = all
            .into_iter()
            .filter(|row| row.source == self.source.name)
            .map(|row| (row.id, row))
            .collect();
        let mut rows = Vec::new();
        for found in ready {
            let row = match before.remove(&found.id) {
                // Written and not yet heard of, or begun by another process.
                Some(row) if row.open => continue,
                Some(mut row) => {
                    let old = known(&row)?;
                    let mut new = Known::seen(found);
                    if old.hold == Hold::Seen {
                        (new.releases, new.not_before_ms) = (old.releases, old.not_before_ms);
                    }
                    if old.said != new.said {
                        // Edited: the faults of the old one are none of the new one.
                        (new.releases, new.not_before_ms) = (0, 0);
                    }
                    row.run = None;
                    if new != old && !self.keep(&mut row, &new).await? {
                        continue;
                    }
                    row
                }
                None => {
                    let mut row = KnownRow {
                        source: self.source.name.clone(),
                        id: found.id,
                        label: label(&self.source.name, found, &labels),
                        run: None,
                        open: false,
                        known: serde_json::Value::Null,
                        revision: 0,
                    };
                    if !self.keep(&mut row, &Known::seen(found)).await? {
                        continue;
                    }
                    row
                }
            };
            labels.insert(row.label.clone());
            rows.push(row);
        }
        for row in before.values() {
            if known(row)?.hold == Hold::Seen && !row.open {
                self.app.store().drop_backlog_row(self.scope, row).await?;
            }
        }
        Ok(rows)
    }

    /// Submits the build of a row, under the id that was kept when it was claimed: doing it again changes nothing.
    pub(super) async fn submit(&self, row: &KnownRow, said: &Said) -> Result<(), Stop> {
        let who = Who {
            name: SUBMITS.to_owned(),
            scope: self.scope.clone(),
            role: Role::Operator,
            principal: Principal::Key {
                id: "table".to_owned(),
                kind: KeyKind::Agent,
            },
            trail: Trail::named("table.start"),
        };
        let Some(id) = row.run.clone() else {
            return Ok(());
        };
        let plan = |intent| PlanRequest {
            intent,
            base_dir: self.source.base_dir.clone(),
            zone: self.source.zone.clone(),
            ..PlanRequest::default()
        };
        // What a foundation covers is said in its own words.
        let covered = planned::plan(self.app, &who, plan(said.sentence())).await;
        let covered = covered.is_ok_and(|plan| plan.verdict == PlanVerdict::Ready);
        let intent = if covered {
            said.sentence()
        } else {
            said.intent()
        };
        let request = CreateBuild {
            label: Some(row.label.clone()),
            mode: match self.app.config().settings.queue.mode {
                ApprovalMode::Checkpoints => ApprovalMode::Checkpoints,
                // Nothing of a row is deployed without a yes (requirements A8).
                ApprovalMode::Auto | ApprovalMode::Final => ApprovalMode::Final,
            },
            repairs: Some(0),
            ..CreateBuild::of(plan(intent))
        };
        let of = said.of_build(&self.source.name, row.id);
        submit::of_row(self.app, &who, id, request, of).await?;
        tracing::info!(label = %row.label, row = row.id, source = %self.source.name, "a row is built");
        Ok(())
    }
}

/// Whether an edit of the row still counts: what a person said yes to is deployed as it was shown.
pub(super) fn counts(stands: BuilderStatus) -> bool {
    match stands {
        BuilderStatus::NotStarted
        | BuilderStatus::Queued
        | BuilderStatus::Building
        | BuilderStatus::AwaitingApproval => true,
        BuilderStatus::Failed | BuilderStatus::Approved | BuilderStatus::Deployed => false,
    }
}

/// `agent-{id}-{slug}` (requirements A6), with the table's name where that is taken.
fn label(source: &Slug, row: &Row, taken: &HashSet<Slug>) -> Slug {
    let first = Slug::from_words(&format!("agent {} {}", row.id, row.name));
    let second = || Slug::from_words(&format!("{source} {} {}", row.id, row.name));
    first
        .filter(|slug| !taken.contains(slug))
        .or_else(second)
        .unwrap_or_else(|| source.clone())
}

/// Refuses a yes to a build of a row that says something else by now, or of which nobody can say so.
///
/// # Errors
/// 409 when it was edited, 503 when its database is away.
pub(crate) async fn unedited(app: &App, scope: &OrgScope, run: &Run) -> Result<(), ApiError> {
    let RunInput::Build(request) = &run.input else {
        return Ok(());
    };
    let Some(BacklogRow { source, id, .. }) = &request.row else {
        return Ok(());
    };
    let sources = app.store().backlog_sources(scope).await?;
    let rows = rows_of(app, scope, source).await?;
    let of = rows
        .iter()
        .find(|row| row.id == *id && row.run.as_ref() == Some(&run.id));
    let (Some(source), Some(row)) = (sources.iter().find(|one| one.name == *source), of) else {
        let said = format!("{}: its table is no longer connected: reject it", run.label);
        return Err(ApiError::Conflict(code::STALE, said));
    };
    let known = known(row)?;
    let read = async {
        let mut backlog = open(app, source).await?;
        let found = backlog.row(*id).await;
        backlog.close().await;
        found
    };
    let late = || Err(Fault::Away("it took too long".to_owned()));
    let found = tokio::time::timeout(VISIT_MAX, read).await;
    let found = found.unwrap_or_else(|_| late()).map_err(|fault| {
        let said = format!(
            "{}: whether its row {id} of {} was edited cannot be seen ({fault}): say yes when the database is back",
            run.label, source.ideas_table
        );
        ApiError::Unavailable(code::TABLE_AWAY, said)
    })?;
    let why = match found {
        None => "is gone".to_owned(),
        Some(found) if !ours(&found) => {
            format!(
                "has the builder_status {:?}, which somebody else set",
                found.builder_status
            )
        }
        Some(found) => match known.said.edited(&found) {
            edited if edited.is_empty() => return Ok(()),
            edited => format!("was edited since ({})", edited.join(", ")),
        },
    };
    // The next visit ends the build.
    app.heart().look_soon();
    let said = format!(
        "{}: its row {id} of {} {why}: what was built is no longer what is asked for",
        run.label, source.ideas_table
    );
    Err(ApiError::Conflict(code::STALE, said))
}

/// Whether what stands there may be what we wrote before a gate.
fn ours(row: &Row) -> bool {
    use BuilderStatus::{AwaitingApproval, Building, Queued};
    [Queued, Building, AwaitingApproval]
        .iter()
        .any(|one| one.word() == row.builder_status)
}
