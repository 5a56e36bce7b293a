//! What models may cost: amounts, limits, and whether one more call fits.
//!
//! Money is bounded before it is spent: every attempt on the wire sets aside the most that it may take, and
//! counts as that until it is settled. Pure; the rows are the store's, the numbers the ledger's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What calls took, or may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Amount {
    /// Attempts on the wire.
    pub calls: i64,
    /// Tokens, read and written.
    pub tokens: i64,
    /// Millionths of a US dollar; only what has a price.
    pub micro_usd: i64,
    /// Time on the wire, ms.
    pub wire_ms: i64,
}

/// The most that calls may take; what is absent is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Attempts on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<i64>,
    /// Tokens, read and written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<i64>,
    /// Millionths of a US dollar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_usd: Option<i64>,
    /// Time on the wire, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire_ms: Option<i64>,
}

/// What a budget is for. A call must fit into every one of them.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum BudgetScope {
    /// All of an organization, for good.
    Organization,
    /// An organization in one day, UTC.
    Day,
    /// One build.
    Build,
    /// One stage of a build, all its tries together.
    Stage,
}

impl BudgetScope {
    /// From the widest.
    pub const ALL: [Self; 4] = [Self::Organization, Self::Day, Self::Build, Self::Stage];

    /// As stored and sent.
    pub fn word(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Day => "day",
            Self::Build => "build",
            Self::Stage => "stage",
        }
    }

    /// The inverse of [`Self::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.word() == word)
    }

    /// What holds where nobody has said anything: a sum that nobody regrets.
    pub fn default_budget(self) -> Budget {
        let of = |calls, tokens, usd: i64| Budget {
            calls: Some(calls),
            tokens: Some(tokens),
            micro_usd: Some(usd * 1_000_000),
            wire_ms: None,
        };
        match self {
            Self::Organization => Budget::default(),
            Self::Day => of(2_000, 20_000_000, 20),
            Self::Build => of(300, 4_000_000, 5),
            Self::Stage => of(200, 3_000_000, 4),
        }
    }
}

/// A budget that has no room for a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {scope} budget of {limit} is spent: {spent} used or set aside, {wanted} more wanted", scope = self.scope.word())]
pub struct Exceeded {
    /// Which.
    pub scope: BudgetScope,
    /// Its limit, in words.
    pub limit: String,
    /// What is used or set aside, in words.
    pub spent: String,
    /// What was wanted, in words.
    pub wanted: String,
}

/// Whether `more` fits beside what is `spent`.
pub fn fits(
    scope: BudgetScope,
    budget: &Budget,
    spent: &Amount,
    more: &Amount,
) -> Result<(), Exceeded> {
    let unit = |n: i64, words: &str| format!("{n} {words}");
    let checks = [
        (budget.calls, spent.calls, more.calls, "calls"),
        (budget.tokens, spent.tokens, more.tokens, "tokens"),
        (
            budget.wire_ms,
            spent.wire_ms,
            more.wire_ms,
            "ms on the wire",
        ),
    ];
    for (limit, spent, more, words) in checks {
        if let Some(limit) = limit.filter(|limit| spent.saturating_add(more) > *limit) {
            return Err(Exceeded {
                scope,
                limit: unit(limit, words),
                spent: spent.to_string(),
                wanted: more.to_string(),
            });
        }
    }
    let money = spent.micro_usd.saturating_add(more.micro_usd);
    match budget.micro_usd {
        Some(limit) if money > limit => Err(Exceeded {
            scope,
            limit: usd(limit),
            spent: usd(spent.micro_usd),
            wanted: usd(more.micro_usd),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Millionths of a US dollar, for people: `1.25 USD`, `0.0003 USD`.
pub fn usd(micro: i64) -> String {
    let sign = if micro < 0 { "-" } else { "" };
    let (whole, part) = (
        micro.unsigned_abs() / 1_000_000,
        micro.unsigned_abs() % 1_000_000,
    );
    let mut digits = format!("{part:06}");
    while digits.len() > 2 && digits.ends_with('0') {
        digits.pop();
    }
    format!("{sign}{whole}.{digits} USD")
}

/// One attempt on the wire that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedCall {
    /// `spec`, `code`, `review`, `repair`, `chat`.
    pub role: String,
    /// The provider's name.
    pub provider: String,
    /// The model.
    pub model: String,
    /// Which attempt of the same question, from 1.
    pub wire_attempt: u32,
    /// The most that it may take.
    pub most: Amount,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettledCall {
    /// Tokens read, cache not counted; `None` when unknown.
    pub input: Option<i64>,
    /// Tokens written.
    pub output: Option<i64>,
    /// Tokens read from the cache.
    pub cache_read: Option<i64>,
    /// Tokens written to the cache.
    pub cache_write: Option<i64>,
    /// What it cost; `None` when unknown, never 0 instead.
    pub micro_usd: Option<i64>,
    /// The row of the price table.
    pub price: Option<String>,
    /// Why it ended, or what failed.
    pub ended: String,
    /// The provider's name for the exchange.
    pub request_id: Option<String>,
    /// From asking to the end, ms.
    pub latency_ms: i64,
    /// To the first event, ms.
    pub first_ms: Option<i64>,
}

impl SettledCall {
    /// All tokens, where anything is known of them.
    pub fn tokens(&self) -> Option<i64> {
        let parts = [self.input, self.output, self.cache_read, self.cache_write];
        parts
            .iter()
            .any(Option::is_some)
            .then(|| parts.iter().flatten().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_fits_up_to_the_limit_and_not_one_beyond() {
        let budget = Budget {
            calls: Some(3),
            tokens: Some(100),
            micro_usd: Some(50),
            wire_ms: Some(10),
        };
        let spent = Amount {
            calls: 2,
            tokens: 60,
            micro_usd: 40,
            wire_ms: 5,
        };
        let more = Amount {
            calls: 1,
            tokens: 40,
            micro_usd: 10,
            wire_ms: 5,
        };
        assert_eq!(fits(BudgetScope::Build, &budget, &spent, &more), Ok(()));
        for (more, words) in [
            (Amount { calls: 2, ..more }, "3 calls"),
            (Amount { tokens: 41, ..more }, "100 tokens"),
            (
                Amount {
                    micro_usd: 11,
                    ..more
                },
                "0.00005 USD",
            ),
            (Amount { wire_ms: 6, ..more }, "10 ms"),
            (
                Amount {
                    tokens: i64::MAX,
                    ..more
                },
                "100 tokens",
            ),
        ] {
            let no = fits(BudgetScope::Build, &budget, &spent, &more).unwrap_err();
            assert!(no.to_string().contains(words), "{no}");
            assert_eq!(
                fits(BudgetScope::Day, &Budget::default(), &spent, &more),
                Ok(())
            );
        }
    }

    #[test]
    fn money_is_said_in_dollars() {
        for (micro, words) in [
            (0, "0.00 USD"),
            (1_250_000, "1.25 USD"),
            (300, "0.0003 USD"),
            (-20_000, "-0.02 USD"),
            (5_000_000, "5.00 USD"),
        ] {
            assert_eq!(usd(micro), words);
        }
    }

    #[test]
    fn a_safe_default_bounds_a_day_a_build_and_a_stage() {
        for scope in [BudgetScope::Day, BudgetScope::Build, BudgetScope::Stage] {
            let budget = scope.default_budget();
            assert!(
                budget.calls.is_some() && budget.tokens.is_some() && budget.micro_usd.is_some()
            );
            assert_eq!(BudgetScope::from_word(scope.word()), Some(scope));
        }
        assert_eq!(BudgetScope::from_word("week"), None);
    }

    #[test]
    fn unknown_tokens_are_unknown_and_not_nothing() {
        assert_eq!(SettledCall::default().tokens(), None);
        let some = SettledCall {
            output: Some(7),
            cache_read: Some(2),
            ..SettledCall::default()
        };
        assert_eq!(some.tokens(), Some(9));
    }
}
