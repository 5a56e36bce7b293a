//! What models cost, and the budgets that bound it.

use agentwright_domain::spend::{Amount, Budget, BudgetScope};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest time that costs are added up over, days.
pub const COST_DAYS_MAX: u32 = 3_660;

/// What costs are added up by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CostsBy {
    /// Each build.
    #[default]
    Build,
    /// Each day, UTC.
    Day,
    /// Each role: spec, code, review, repair, chat.
    Role,
    /// Each provider and model.
    Model,
}

/// The query of `GET /costs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CostQuery {
    /// What they are added up by.
    #[garde(skip)]
    pub by: CostsBy,
    /// Only the last so many days; everything when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1, max = COST_DAYS_MAX)))]
    #[schemars(range(min = 1, max = COST_DAYS_MAX))]
    pub days: Option<u32>,
    /// Only one build: its id, the beginning of it, or its label.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, max = 200)))]
    #[schemars(length(max = 200))]
    pub build: Option<String>,
}

/// One line of costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// A label, a date, a role, or a provider and a model.
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
    /// Calls whose cost nobody knows: no price, or the provider did not say what was used.
    pub unpriced: i64,
    /// Set aside for calls that are not settled: under way, or lost in a crash.
    pub reserved_micro_usd: i64,
}

/// A budget and what is used of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetNow {
    /// What it is for.
    pub scope: BudgetScope,
    /// Its limits.
    pub budget: Budget,
    /// What is used or set aside; absent where it is of each build, and no build was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<Amount>,
}

/// The query of `GET /budgets` and the body of `POST /budgets/{scope}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetQuery {
    /// As they hold for one build: its id, the beginning of it, or its label.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, max = 200)))]
    #[schemars(length(max = 200))]
    pub build: Option<String>,
}

/// The body of `POST /budgets/{scope}`: all limits of that scope; what is absent is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SetBudget {
    /// Only for one build: its id, the beginning of it, or its label.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, max = 200)))]
    #[schemars(length(max = 200))]
    pub build: Option<String>,
    /// The limits.
    #[garde(custom(not_negative))]
    pub budget: Budget,
}

fn not_negative(budget: &Budget, _: &()) -> garde::Result {
    let all = [
        budget.calls,
        budget.tokens,
        budget.micro_usd,
        budget.wire_ms,
    ];
    if all.iter().flatten().any(|limit| *limit < 0) {
        return Err(garde::Error::new("a limit must not be negative"));
    }
    Ok(())
}
