//! The ledger of model calls: what was set aside, what it took, and the budgets that bound it.
//!
//! Not here: what fits (`domain::spend`). A reservation reads and writes under the locks of its run and its
//! organization, so that two at once cannot both take the last of a budget.

use crate::Store;
use crate::db::{Arg, Conn, Row, json_text};
use crate::error::Error;
use crate::scope::OrgScope;
use agentwright_domain::ids::RunId;
use agentwright_domain::run::Run;
use agentwright_domain::spend::{
    Amount, Budget, BudgetScope, Exceeded, PlannedCall, SettledCall, fits,
};

/// A day.
pub const DAY_MS: i64 = 24 * 3_600_000;
/// The most lines of one answer of [`Store::costs`].
pub const COSTS_MAX: i64 = 1_000;

crate::db::statements! {
    LOCK_RUN = "locking the run that asks a model":
        "SELECT epoch FROM runs WHERE organization_id = $1 AND id = $2" lock " FOR UPDATE";
    LOCK_ORGANIZATION = "locking an organization's budgets":
        "SELECT id FROM organizations WHERE id = $1" lock " FOR UPDATE";
    SPENT_BY_RUN = "adding up what a build has spent":
        "SELECT count(*) AS calls, CAST(COALESCE(sum(tokens), 0) AS BIGINT) AS tokens,
           CAST(COALESCE(sum(micro_usd), 0) AS BIGINT) AS micro_usd,
           CAST(COALESCE(sum(wire_ms), 0) AS BIGINT) AS wire_ms
         FROM llm_calls WHERE organization_id = $1 AND run_id = $2
           AND (CAST($3 AS TEXT) IS NULL OR stage = CAST($3 AS TEXT))";
    SPENT_SINCE = "adding up what an organization has spent":
        "SELECT count(*) AS calls, CAST(COALESCE(sum(tokens), 0) AS BIGINT) AS tokens,
           CAST(COALESCE(sum(micro_usd), 0) AS BIGINT) AS micro_usd,
           CAST(COALESCE(sum(wire_ms), 0) AS BIGINT) AS wire_ms
         FROM llm_calls WHERE organization_id = $1 AND reserved_at_ms >= $2";
    RESERVE = "setting a call's most aside":
        "INSERT INTO llm_calls (organization_id, id, run_id, stage, attempt, role, provider, model,
           wire_attempt, reserved_at_ms, tokens, micro_usd, wire_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    SETTLE = "settling a call":
        "UPDATE llm_calls SET settled_at_ms = $3, tokens = COALESCE(CAST($4 AS BIGINT), tokens),
           micro_usd = COALESCE(CAST($5 AS BIGINT), micro_usd), wire_ms = $6, input_tokens = $7,
           output_tokens = $8, cache_read_tokens = $9, cache_write_tokens = $10,
           cost_micro_usd = CAST($5 AS BIGINT), price = $11, ended = $12, request_id = $13,
           first_ms = $14
         WHERE organization_id = $1 AND id = $2 AND settled_at_ms IS NULL";
    ACTIVITY = "reading what the models of a build are doing":
        "SELECT CAST(COALESCE(sum(CASE WHEN settled_at_ms IS NULL AND reserved_at_ms >= $3 THEN 1 ELSE 0 END), 0) AS BIGINT)
             AS open,
           CAST(COALESCE(sum(CASE WHEN settled_at_ms IS NULL THEN 0 ELSE tokens END), 0) AS BIGINT) AS tokens
         FROM llm_calls WHERE organization_id = $1 AND run_id = $2";
    BUDGETS = "reading budgets":
        "SELECT scope, subject, budget FROM budgets
         WHERE organization_id = $1 AND subject IN ('', CAST($2 AS TEXT))";
    SET_BUDGET = "setting a budget":
        "INSERT INTO budgets (organization_id, scope, subject, budget, changed_at_ms, changed_by)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (organization_id, scope, subject) DO UPDATE SET budget = excluded.budget,
           changed_at_ms = excluded.changed_at_ms, changed_by = excluded.changed_by";
    COSTS = "adding up costs":
        "SELECT CASE CAST($3 AS TEXT) WHEN 'build' THEN r.label WHEN 'role' THEN c.role
             WHEN 'model' THEN c.provider || ' ' || c.model
             ELSE CAST(c.reserved_at_ms / 86400000 AS TEXT) END AS key,
           count(*) AS calls,
           CAST(COALESCE(sum(c.input_tokens), 0) AS BIGINT) AS input_tokens,
           CAST(COALESCE(sum(c.output_tokens), 0) AS BIGINT) AS output_tokens,
           CAST(COALESCE(sum(c.cache_read_tokens), 0) AS BIGINT) AS cache_read_tokens,
           CAST(COALESCE(sum(c.cache_write_tokens), 0) AS BIGINT) AS cache_write_tokens,
           CAST(COALESCE(sum(c.cost_micro_usd), 0) AS BIGINT) AS micro_usd,
           CAST(COALESCE(sum(CASE WHEN c.cost_micro_usd IS NULL THEN 1 ELSE 0 END), 0) AS BIGINT) AS unpriced,
           CAST(COALESCE(sum(CASE WHEN c.settled_at_ms IS NULL THEN c.micro_usd ELSE 0 END), 0) AS BIGINT)
             AS reserved_micro_usd
         FROM llm_calls AS c JOIN runs AS r ON r.organization_id = c.organization_id AND r.id = c.run_id
         WHERE c.organization_id = $1 AND c.reserved_at_ms >= $2
           AND (CAST($4 AS TEXT) IS NULL OR c.run_id = CAST($4 AS TEXT))
         GROUP BY 1 ORDER BY 7 DESC, 1 LIMIT CAST($5 AS BIGINT)";
}

/// What a reservation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The call may be made; its id is for [`Store::settle`].
    Yes(String),
    /// A budget has no room for it.
    No(Exceeded),
    /// The run is no longer the caller's to work on.
    Stale,
}

/// What costs are added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostsBy {
    /// Each build.
    Build,
    /// Each day, UTC; the key is the number of days since 1970.
    Day,
    /// Each role.
    Role,
    /// Each provider and model.
    Model,
}

impl CostsBy {
    fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Day => "day",
            Self::Role => "role",
            Self::Model => "model",
        }
    }
}

/// A line of costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostRow {
    /// A label, day, role, or provider and model.
    pub key: String,
    /// Attempts on the wire.
    pub calls: i64,
    /// Tokens read, cache not counted.
    pub input_tokens: i64,
    /// Tokens written.
    pub output_tokens: i64,
    /// Tokens read from the cache.
    pub cache_read_tokens: i64,
    /// Tokens written to the cache.
    pub cache_write_tokens: i64,
    /// What is known of the cost, in millionths of a US dollar.
    pub micro_usd: i64,
    /// Calls whose cost is not known.
    pub unpriced: i64,
    /// Set aside for calls that are not settled: under way, or lost in a crash.
    pub reserved_micro_usd: i64,
}

/// Limits of all scopes, as they hold for one build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// In the order of [`BudgetScope::ALL`].
    of: [Budget; 4],
}

impl Budgets {
    /// The limit of a scope.
    pub fn get(&self, scope: BudgetScope) -> &Budget {
        &self.of[scope as usize]
    }
}

impl Store {
    /// Sets the most of a call aside, if every budget has room for it. Fenced: a run that was taken over or
    /// cancelled reserves nothing. Durable when it returns. Each call is a reservation of its own, also when the
    /// same question is asked again.
    pub async fn reserve(&self, run: &Run, call: &PlannedCall) -> Result<Reserved, Error> {
        let scope = OrgScope::for_run(run);
        let (id, now_ms) = (self.new_id(), self.now_ms().await?);
        let stage = run.state.stage();
        self.within(async |conn| {
            let of_run = [scope.arg(), Arg::Text(run.id.as_str())];
            let locked = conn.fetch(&LOCK_RUN, &of_run).await?;
            match locked.first() {
                Some(row) if row.int("epoch")? == run.epoch => {}
                Some(_) | None => return Ok(Reserved::Stale),
            }
            conn.fetch(&LOCK_ORGANIZATION, &[scope.arg()]).await?;
            let budgets = budgets(conn, &scope, run.id.as_str()).await?;
            for of in BudgetScope::ALL {
                let budget = budgets.get(of);
                if *budget == Budget::default() {
                    continue;
                }
                let spent = spent(conn, &scope, of, Some(&run.id), stage, now_ms).await?;
                if let Err(exceeded) = fits(of, budget, &spent, &call.most) {
                    return Ok(Reserved::No(exceeded));
                }
            }
            let args = [
                scope.arg(),
                Arg::Text(&id),
                Arg::Text(run.id.as_str()),
                Arg::Text(stage),
                Arg::Int(i64::from(run.state.attempt())),
                Arg::Text(&call.role),
                Arg::Text(&call.provider),
                Arg::Text(&call.model),
                Arg::Int(i64::from(call.wire_attempt)),
                Arg::Int(now_ms),
                Arg::Int(call.most.tokens),
                Arg::Int(call.most.micro_usd),
                Arg::Int(call.most.wire_ms),
            ];
            conn.execute(&RESERVE, &args).await?;
            Ok(Reserved::Yes(id.clone()))
        })
        .await
    }

    /// Says what a reserved call took. What the provider did not say stays as it was set aside. Not fenced: money that is
    /// gone is written down whoever holds the run now. A second time changes nothing.
    pub async fn settle(
        &self,
        scope: &OrgScope,
        id: &str,
        call: &SettledCall,
    ) -> Result<(), Error> {
        let now_ms = self.now_ms().await?;
        self.within_of(scope, async |conn| {
            let args = [
                scope.arg(),
                Arg::Text(id),
                Arg::Int(now_ms),
                Arg::OptInt(call.tokens()),
                Arg::OptInt(call.micro_usd),
                Arg::Int(call.latency_ms),
                Arg::OptInt(call.input),
                Arg::OptInt(call.output),
                Arg::OptInt(call.cache_read),
                Arg::OptInt(call.cache_write),
                Arg::OptText(call.price.as_deref()),
                Arg::Text(&call.ended),
                Arg::OptText(call.request_id.as_deref()),
                Arg::OptInt(call.first_ms),
            ];
            conn.execute(&SETTLE, &args).await.map(|_| ())
        })
        .await
    }

    /// Whether a model is being asked for a build since that time, and how many tokens have come of all its calls: what
    /// is evidence of work. A call that a dead worker left open counts until its successor begins.
    pub async fn model_activity(
        &self,
        scope: &OrgScope,
        run: &RunId,
        since_ms: i64,
    ) -> Result<(bool, i64), Error> {
        let args = [scope.arg(), Arg::Text(run.as_str()), Arg::Int(since_ms)];
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&ACTIVITY, &args).await?;
        rows.first().map_or(Ok((false, 0)), |row| {
            Ok((row.int("open")? > 0, row.int("tokens")?))
        })
    }

    /// The limits as they hold for a build, or, without one, for any new build.
    pub async fn budgets(&self, scope: &OrgScope, run: Option<&RunId>) -> Result<Budgets, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        budgets(&mut held.conn(), scope, run.map_or("", RunId::as_str)).await
    }

    /// What counts against a scope now: used, or set aside. Without a run, nothing is of a build or a stage.
    pub async fn spent(
        &self,
        scope: &OrgScope,
        of: BudgetScope,
        run: Option<&RunId>,
        stage: &str,
    ) -> Result<Amount, Error> {
        let now_ms = self.now_ms().await?;
        let mut held = self.inner.db.reader_of(scope).await?;
        spent(&mut held.conn(), scope, of, run, stage, now_ms).await
    }

    /// Sets a scope's limit, for all builds or for one. What it does not name is not limited.
    pub async fn set_budget(
        &self,
        scope: &OrgScope,
        of: BudgetScope,
        run: Option<&RunId>,
        budget: &Budget,
        by: &str,
    ) -> Result<(), Error> {
        let now_ms = self.now_ms().await?;
        let text = json_text(budget)?;
        self.within_of(scope, async |conn| {
            let args = [
                scope.arg(),
                Arg::Text(of.word()),
                Arg::Text(run.map_or("", RunId::as_str)),
                Arg::Text(&text),
                Arg::Int(now_ms),
                Arg::Text(by),
            ];
            conn.execute(&SET_BUDGET, &args).await.map(|_| ())
        })
        .await
    }

    /// What calls since `from_ms` took, added up; dearest first, at most [`COSTS_MAX`] lines.
    pub async fn costs(
        &self,
        scope: &OrgScope,
        by: CostsBy,
        from_ms: i64,
        run: Option<&RunId>,
    ) -> Result<Vec<CostRow>, Error> {
        let args = [
            scope.arg(),
            Arg::Int(from_ms),
            Arg::Text(by.word()),
            Arg::OptText(run.map(RunId::as_str)),
            Arg::Int(COSTS_MAX),
        ];
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&COSTS, &args).await?;
        rows.iter()
            .map(|row| {
                Ok(CostRow {
                    key: row.text("key")?,
                    calls: row.int("calls")?,
                    input_tokens: row.int("input_tokens")?,
                    output_tokens: row.int("output_tokens")?,
                    cache_read_tokens: row.int("cache_read_tokens")?,
                    cache_write_tokens: row.int("cache_write_tokens")?,
                    micro_usd: row.int("micro_usd")?,
                    unpriced: row.int("unpriced")?,
                    reserved_micro_usd: row.int("reserved_micro_usd")?,
                })
            })
            .collect()
    }
}

async fn budgets(conn: &mut Conn<'_>, scope: &OrgScope, run: &str) -> Result<Budgets, Error> {
    let mut of = BudgetScope::ALL.map(BudgetScope::default_budget);
    let rows = conn.fetch(&BUDGETS, &[scope.arg(), Arg::Text(run)]).await?;
    // A build's own limit stands over the one for all builds.
    for own in [false, true] {
        for row in &rows {
            if row.text("subject")?.is_empty() == own {
                continue;
            }
            let which = row.parse("scope", BudgetScope::from_word)?;
            of[which as usize] = row.json("budget")?;
        }
    }
    Ok(Budgets { of })
}

async fn spent(
    conn: &mut Conn<'_>,
    scope: &OrgScope,
    of: BudgetScope,
    run: Option<&RunId>,
    stage: &str,
    now_ms: i64,
) -> Result<Amount, Error> {
    let rows = match of {
        BudgetScope::Organization | BudgetScope::Day => {
            let since = match of {
                BudgetScope::Day => now_ms - now_ms.rem_euclid(DAY_MS),
                BudgetScope::Organization | BudgetScope::Build | BudgetScope::Stage => 0,
            };
            conn.fetch(&SPENT_SINCE, &[scope.arg(), Arg::Int(since)])
                .await?
        }
        BudgetScope::Build | BudgetScope::Stage => {
            let stage = (of == BudgetScope::Stage).then_some(stage);
            let args = [
                scope.arg(),
                Arg::Text(run.map_or("", RunId::as_str)),
                Arg::OptText(stage),
            ];
            conn.fetch(&SPENT_BY_RUN, &args).await?
        }
    };
    rows.first().map_or_else(|| Ok(Amount::default()), amount)
}

fn amount(row: &Row) -> Result<Amount, Error> {
    Ok(Amount {
        calls: row.int("calls")?,
        tokens: row.int("tokens")?,
        micro_usd: row.int("micro_usd")?,
        wire_ms: row.int("wire_ms")?,
    })
}
