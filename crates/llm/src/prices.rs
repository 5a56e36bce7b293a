//! What tokens cost: the embedded table, with a person's own rows over it. Whole numbers throughout.

use crate::Usage;
use globset::{Glob, GlobMatcher};
use serde::Deserialize;

/// The table that comes with the program.
const EMBEDDED: &str = include_str!("../prices.toml");
/// Tokens that a rate is for.
const PER: i128 = 1_000_000;
/// Millionths in a dollar, as decimal places.
const PLACES: usize = 6;

/// Why a price table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    /// It is not TOML of this form.
    #[error("the price table cannot be read: {0}")]
    Form(String),
    /// A row is wrong.
    #[error("the price table's row {id}: {detail}")]
    Row {
        /// Which.
        id: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// All prices.
#[derive(Debug)]
pub struct Prices(Vec<Row>);

/// One row: rates in millionths of a dollar for a million tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The row's name; stored with every call.
    pub id: String,
    /// Input, not from a cache.
    pub input: Option<i64>,
    /// Output.
    pub output: Option<i64>,
    /// Input from a cache.
    pub cache_read: Option<i64>,
    /// Input into a cache of five minutes.
    pub cache_write_5m: Option<i64>,
    /// Input into a cache of an hour.
    pub cache_write_1h: Option<i64>,
}

#[derive(Debug)]
struct Row {
    provider: String,
    pattern: String,
    matcher: GlobMatcher,
    from: jiff::civil::Date,
    own: bool,
    price: Price,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    price: Vec<Written>,
}

/// Rates are text, so that no binary fraction comes between a table and its sum.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    provider: String,
    model: String,
    effective_from: String,
    input: Option<String>,
    output: Option<String>,
    cache_read: Option<String>,
    cache_write_5m: Option<String>,
    cache_write_1h: Option<String>,
}

impl Prices {
    /// The embedded table.
    ///
    /// # Panics
    /// Never: a test reads it.
    #[expect(clippy::expect_used, reason = "embedded text")]
    pub fn embedded() -> Self {
        // Invariant: the embedded table can be read (the test below).
        Self::load(None).expect("the embedded price table")
    }

    /// The embedded table with a person's own rows (the text of a file of the same form) over it.
    pub fn load(own: Option<&str>) -> Result<Self, PricesError> {
        let mut rows = read(EMBEDDED, false)?;
        if let Some(own) = own {
            rows.extend(read(own, true)?);
        }
        Ok(Self(rows))
    }

    /// The row for a model at a time (ms since 1970). A person's own row wins, then the longest
    /// pattern, then the latest date that has come.
    pub fn find(&self, provider_kind: &str, model: &str, now_ms: i64) -> Option<&Price> {
        let today = jiff::Timestamp::from_millisecond(now_ms)
            .ok()?
            .to_zoned(jiff::tz::TimeZone::UTC)
            .date();
        self.0
            .iter()
            .filter(|row| row.provider == provider_kind && row.from <= today)
            .filter(|row| row.matcher.is_match(model))
            .max_by_key(|row| (row.own, row.pattern.len(), row.from))
            .map(|row| &row.price)
    }
}

impl Price {
    /// What a call cost, in millionths of a dollar, rounded up. `None` when input or output is
    /// unknown, or when tokens were used whose rate is.
    pub fn cost(&self, usage: &Usage) -> Option<i64> {
        let known = [
            (Some(usage.input?), self.input),
            (Some(usage.output?), self.output),
            (usage.cache_read, self.cache_read),
            (usage.cache_write_5m, self.cache_write_5m),
            (usage.cache_write_1h, self.cache_write_1h),
        ];
        let mut sum: i128 = 0;
        for (tokens, rate) in known {
            sum = sum.checked_add(part(tokens.unwrap_or(0), rate)?)?;
        }
        whole(sum)
    }

    /// The most that a call may cost: all its input at the dearest input rate that is known.
    pub fn most(&self, input: u64, output: u64) -> Option<i64> {
        let dearest = [self.cache_write_5m, self.cache_write_1h]
            .into_iter()
            .flatten()
            .fold(self.input?, i64::max);
        let sum = part(input, Some(dearest))?.checked_add(part(output, self.output)?)?;
        whole(sum)
    }
}

fn part(tokens: u64, rate: Option<i64>) -> Option<i128> {
    if tokens == 0 {
        return Some(0);
    }
    i128::from(tokens).checked_mul(i128::from(rate?))
}

fn whole(sum: i128) -> Option<i64> {
    i64::try_from(sum.checked_add(PER - 1)? / PER).ok()
}

fn read(text: &str, own: bool) -> Result<Vec<Row>, PricesError> {
    let file: File = toml::from_str(text).map_err(|e| PricesError::Form(e.to_string()))?;
    file.price.into_iter().map(|row| row.check(own)).collect()
}

impl Written {
    fn check(self, own: bool) -> Result<Row, PricesError> {
        let bad = |detail: String| PricesError::Row {
            id: self.id.clone(),
            detail,
        };
        let matcher = Glob::new(&self.model)
            .map_err(|_| bad("model is no pattern".to_owned()))?
            .compile_matcher();
        let from = self
            .effective_from
            .parse()
            .map_err(|_| bad("effective_from is no date like 2026-01-31".to_owned()))?;
        let rate = |name: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => micros(text).map(Some).ok_or_else(|| {
                bad(format!(
                    "{name} is no amount like \"0.15\" (dollars for a million tokens)"
                ))
            }),
        };
        let price = Price {
            input: rate("input", &self.input)?,
            output: rate("output", &self.output)?,
            cache_read: rate("cache_read", &self.cache_read)?,
            cache_write_5m: rate("cache_write_5m", &self.cache_write_5m)?,
            cache_write_1h: rate("cache_write_1h", &self.cache_write_1h)?,
            id: self.id.clone(),
        };
        Ok(Row {
            provider: self.provider.clone(),
            pattern: self.model.clone(),
            matcher,
            from,
            own,
            price,
        })
    }
}

/// Dollars as decimal text to millionths.
fn micros(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > PLACES {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<PLACES$}").parse().ok()?;
    whole
        .parse::<i64>()
        .ok()?
        .checked_mul(1_000_000)?
        .checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-06-01.
    const NOW: i64 = 1_780_272_000_000;

    fn usage(input: u64, output: u64) -> Usage {
        Usage {
            input: Some(input),
            output: Some(output),
            ..Usage::default()
        }
    }

    #[test]
    fn a_call_with_caches_costs_what_its_parts_cost() {
        let prices = Prices::embedded();
        let price = prices
            .find("anthropic", "claude-sonnet-4-5-20250929", NOW)
            .unwrap();
        let usage = Usage {
            cache_read: Some(1_000),
            cache_write_5m: Some(60),
            cache_write_1h: Some(40),
            ..usage(100, 20)
        };
        // 300 + 300 + 300 + 225 + 240 millionths.
        assert_eq!(price.cost(&usage), Some(1_365));
        assert_eq!(price.most(1_000, 100), Some(6_000 + 1_500));
    }

    #[test]
    fn unknown_usage_or_an_unknown_price_is_no_cost_and_never_nothing() {
        let prices = Prices::embedded();
        let mini = prices.find("openai", "gpt-4o-mini", NOW).unwrap();
        assert_eq!(mini.cost(&Usage::default()), None);
        assert_eq!(
            mini.cost(&Usage {
                output: None,
                ..usage(5, 5)
            }),
            None
        );
        assert_eq!(mini.cost(&usage(1, 0)), Some(1), "rounded up");
        assert_eq!(mini.cost(&usage(2_000_000, 0)), Some(300_000));
        assert!(prices.find("openai", "gpt-9", NOW).is_none());
        assert!(prices.find("gpu1", "gpt-4o-mini", NOW).is_none());
        let half = "[[price]]\nid=\"x\"\nprovider=\"p\"\nmodel=\"*\"\neffective_from=\"2025-01-01\"\ninput=\"1\"\noutput=\"1\"\n";
        let prices = Prices::load(Some(half)).unwrap();
        let price = prices.find("p", "m", NOW).unwrap();
        let cached = Usage {
            cache_read: Some(1),
            ..usage(1, 1)
        };
        assert_eq!(price.cost(&cached), None, "a rate that is needed is absent");
    }

    #[test]
    fn ollama_costs_nothing_and_says_so() {
        let prices = Prices::embedded();
        let price = prices.find("ollama", "llama3.1:8b", NOW).unwrap();
        assert_eq!(price.cost(&usage(9_000_000, 1)), Some(0));
        assert_eq!(price.cost(&Usage::default()), None);
    }

    #[test]
    fn own_rows_win_then_long_patterns_then_late_dates_that_have_come() {
        let row = |id: &str, model: &str, from: &str| {
            format!(
                "[[price]]\nid=\"{id}\"\nprovider=\"openai\"\nmodel=\"{model}\"\neffective_from=\"{from}\"\ninput=\"1\"\noutput=\"2\"\n"
            )
        };
        let own = row("any", "gpt-*", "2020-01-01")
            + &row("old", "gpt-x*", "2020-01-01")
            + &row("new", "gpt-x*", "2026-01-01")
            + &row("future", "gpt-x*", "2099-01-01");
        let prices = Prices::load(Some(&own)).unwrap();
        let id = |model: &str| prices.find("openai", model, NOW).unwrap().id.clone();
        assert_eq!(id("gpt-x-mini"), "new");
        assert_eq!(id("gpt-4o-mini"), "any");
        assert_eq!(
            prices
                .find("openai", "gpt-x", 1_600_000_000_000)
                .unwrap()
                .id,
            "old"
        );
    }

    #[test]
    fn wrong_rows_are_named() {
        for (text, part) in [
            ("x = 1", "cannot be read"),
            (
                "[[price]]\nid=\"r\"\nprovider=\"p\"\nmodel=\"*\"\neffective_from=\"soon\"",
                "row r: effective_from",
            ),
            (
                "[[price]]\nid=\"r\"\nprovider=\"p\"\nmodel=\"*\"\neffective_from=\"2025-01-01\"\ninput=\"-1\"",
                "row r: input is no amount",
            ),
        ] {
            let said = Prices::load(Some(text)).unwrap_err().to_string();
            assert!(said.contains(part), "{said}");
        }
    }
}
