//! Arguments of the commands about money.

use clap::{Args, Subcommand, ValueEnum};

pub(super) const COSTS_HELP: &str = "Only what a provider says was used, at the prices of the table, counts as cost. Calls whose cost nobody knows
are counted apart, never as nothing.

Examples:
  agentwright costs
  agentwright costs --by model --days 7
  agentwright costs --build folder-backup --by role --json";

pub(super) const BUDGET_HELP: &str = "Every call to a model sets the most that it can take aside before it is made; without room in every budget it is not
made, and the build waits. Raise the budget, then 'agentwright resume BUILD'.

Examples:
  agentwright budget show
  agentwright budget set day --usd 10
  agentwright budget set build --usd 2 --calls 100
  agentwright budget set build --of folder-backup --usd 8";

/// `costs`.
#[derive(Debug, Args)]
pub(crate) struct Costs {
    /// What they are added up by
    #[arg(long, value_enum, default_value_t = By::Build)]
    pub(crate) by: By,
    /// Only the last so many days
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3660))]
    pub(crate) days: Option<u32>,
    /// Only one build: its label or id
    #[arg(long, value_name = "BUILD")]
    pub(crate) build: Option<String>,
}

/// What costs are added up by.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum By {
    /// Each build
    Build,
    /// Each day, UTC
    Day,
    /// What the model was asked for: spec, code, review, repair, chat
    Role,
    /// Each provider and model
    Model,
}

/// `budget`.
#[derive(Debug, Subcommand)]
pub(crate) enum BudgetCommand {
    /// Show all budgets, and what is used of them
    Show {
        /// As they hold for one build: its label or id
        #[arg(long, value_name = "BUILD")]
        of: Option<String>,
    },
    /// Set all limits of one budget; a limit that is not given is none
    Set(BudgetSet),
}

/// `budget set`.
#[derive(Debug, Args)]
pub(crate) struct BudgetSet {
    /// What it is for
    #[arg(value_enum)]
    pub(crate) scope: Scope,
    /// Only for one build: its label or id
    #[arg(long, value_name = "BUILD")]
    pub(crate) of: Option<String>,
    /// US dollars, for example 2.50
    #[arg(long, value_name = "AMOUNT", value_parser = micro_usd)]
    pub(crate) usd: Option<i64>,
    /// Calls on the wire
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) calls: Option<i64>,
    /// Tokens, read and written
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) tokens: Option<i64>,
    /// Minutes on the wire
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=5_000_000))]
    pub(crate) minutes: Option<i64>,
    /// No limit at all
    #[arg(long, conflicts_with_all = ["usd", "calls", "tokens", "minutes"])]
    pub(crate) unlimited: bool,
}

/// What a budget is for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Scope {
    /// Everything, for good
    Organization,
    /// Each day, UTC
    Day,
    /// Each build
    Build,
    /// Each stage of a build
    Stage,
}

/// Dollars with up to six digits after the point, exactly.
fn micro_usd(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no amount: give dollars such as 2.50");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 9 || part.len() > 6 || !digits(whole) || !digits(part) {
        return Err(wrong());
    }
    format!("{whole}{part:0<6}").parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::micro_usd;

    #[test]
    fn dollars_are_read_exactly_or_refused() {
        for (text, micro) in [
            ("2.50", 2_500_000),
            ("0", 0),
            ("0.000001", 1),
            ("12", 12_000_000),
        ] {
            assert_eq!(micro_usd(text), Ok(micro), "{text}");
        }
        for text in [
            "",
            ".5",
            "-1",
            "1e3",
            "1.0000001",
            "1,5",
            "9999999999",
            "NaN",
        ] {
            assert!(micro_usd(text).is_err(), "{text}");
        }
    }
}
