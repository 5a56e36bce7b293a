//! `costs` and `budget`.

use agentwright_api::{BudgetNow, BudgetQuery, CostQuery, CostsBy, Page, SetBudget};
use agentwright_domain::spend::{Amount, Budget, BudgetScope, usd};

use super::App;
use crate::args::{BudgetCommand, BudgetSet, By, Costs, Scope};
use crate::fault::{Exit, Fault};
use crate::output::{safe_line, table};

const MINUTE_MS: i64 = 60_000;

/// `costs`.
pub(super) async fn costs(app: &App, args: Costs) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let (by, head) = match args.by {
        By::Build => (CostsBy::Build, "build"),
        By::Day => (CostsBy::Day, "day"),
        By::Role => (CostsBy::Role, "role"),
        By::Model => (CostsBy::Model, "model"),
    };
    let query = CostQuery {
        by,
        days: args.days,
        build: args.build,
    };
    let page = client.costs(&query).await?;
    app.out.json(&page);
    if page.items.is_empty() {
        app.out.line("no model was asked yet; nothing was spent");
        return Ok(Exit::Done);
    }
    let rows = page
        .items
        .iter()
        .map(|it| {
            let unknown = match (it.unpriced, it.reserved_micro_usd) {
                (0, 0) => String::new(),
                (0, reserved) => format!("{} set aside", usd(reserved)),
                (calls, 0) => format!("{calls} calls"),
                (calls, reserved) => format!("{calls} calls, {} set aside", usd(reserved)),
            };
            vec![
                safe_line(&it.key),
                it.calls.to_string(),
                (it.input_tokens + it.cache_read_tokens + it.cache_write_tokens).to_string(),
                it.output_tokens.to_string(),
                usd(it.micro_usd),
                unknown,
            ]
        })
        .collect();
    let head = [
        head,
        "calls",
        "tokens in",
        "tokens out",
        "cost",
        "not known",
    ];
    app.out.line(table(&head, rows));
    let total = page.items.iter().map(|it| it.micro_usd).sum();
    app.out.line(format!("together {}", usd(total)));
    Ok(Exit::Done)
}

/// `budget`.
pub(super) async fn budget(app: &App, command: BudgetCommand) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let page = match command {
        BudgetCommand::Show { of } => client.budgets(&BudgetQuery { build: of }).await?,
        BudgetCommand::Set(args) => {
            let (scope, request) = asked(args)?;
            client.set_budget(scope, &request).await?
        }
    };
    shown(app, &page);
    Ok(Exit::Done)
}

fn asked(args: BudgetSet) -> Result<(BudgetScope, SetBudget), Fault> {
    let scope = match args.scope {
        Scope::Organization => BudgetScope::Organization,
        Scope::Day => BudgetScope::Day,
        Scope::Build => BudgetScope::Build,
        Scope::Stage => BudgetScope::Stage,
    };
    let budget = Budget {
        calls: args.calls,
        tokens: args.tokens,
        micro_usd: args.usd,
        wire_ms: args.minutes.map(|minutes| minutes * MINUTE_MS),
    };
    if budget == Budget::default() && !args.unlimited {
        return Err(Fault::usage(
            "give at least one of --usd, --calls, --tokens, --minutes, or --unlimited",
        ));
    }
    let of_all = matches!(scope, BudgetScope::Organization | BudgetScope::Day);
    if of_all && args.of.is_some() {
        return Err(Fault::usage(
            "--of goes with the budgets build and stage only",
        ));
    }
    let request = SetBudget {
        build: args.of,
        budget,
    };
    Ok((scope, request))
}

fn shown(app: &App, page: &Page<BudgetNow>) {
    app.out.json(page);
    let rows = page
        .items
        .iter()
        .map(|it| {
            let each = match it.scope {
                BudgetScope::Organization => "everything",
                BudgetScope::Day => "a day (UTC)",
                BudgetScope::Build => "a build",
                BudgetScope::Stage => "a stage",
            };
            vec![
                each.to_owned(),
                limits(&it.budget),
                it.spent.as_ref().map_or_else(String::new, amount),
            ]
        })
        .collect();
    app.out
        .line(table(&["of", "at most", "used or set aside"], rows));
}

fn limits(budget: &Budget) -> String {
    let mut parts = Vec::new();
    parts.extend(budget.micro_usd.map(usd));
    parts.extend(budget.calls.map(|n| format!("{n} calls")));
    parts.extend(budget.tokens.map(|n| format!("{n} tokens")));
    parts.extend(
        budget
            .wire_ms
            .map(|ms| format!("{} min on the wire", ms / MINUTE_MS)),
    );
    if parts.is_empty() {
        return "no limit".to_owned();
    }
    parts.join(", ")
}

fn amount(spent: &Amount) -> String {
    format!(
        "{}, {} calls, {} tokens",
        usd(spent.micro_usd),
        spent.calls,
        spent.tokens
    )
}
