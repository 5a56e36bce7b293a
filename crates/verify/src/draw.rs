//! Values drawn at random from a seed: the same seed gives the same values.
//!
//! The seed is drawn by the caller after the code was committed and is kept as evidence, so nothing can
//! be special-cased and every result can be repeated. Start at [`draw_all`].

use agentwright_domain::acceptance::Draw;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The longest drawn word, in letters.
pub(crate) const WORD_MAX: u32 = 200;
/// The most words in a drawn text.
pub(crate) const WORDS_MAX: u32 = 10_000;
/// The most rows in a drawn list.
pub(crate) const ROWS_MAX: u32 = 10_000;
/// How deep lists may be nested.
const DEPTH_MAX: u32 = 4;
/// Lengths of the words of a text.
const TEXT_WORD: std::ops::RangeInclusive<u32> = 3..=9;

/// Draws every value, in the order of their names.
///
/// # Errors
/// The name and what is wrong with how it is to be drawn.
pub fn draw_all(draws: &BTreeMap<String, Draw>, seed: [u8; 32]) -> Result<Value, (String, String)> {
    let mut rng = StdRng::from_seed(seed);
    let mut drawn = Map::new();
    for (name, how) in draws {
        let value = draw(how, &mut rng, 0).map_err(|why| (name.clone(), why))?;
        drawn.insert(name.clone(), value);
    }
    Ok(Value::Object(drawn))
}

fn draw(how: &Draw, rng: &mut StdRng, depth: u32) -> Result<Value, String> {
    match how {
        Draw::Word { length } if *length == 0 || *length > WORD_MAX => {
            Err(format!("length must be from 1 to {WORD_MAX}"))
        }
        Draw::Word { length } => Ok(Value::String(word(*length, rng))),
        Draw::Int { min, max } if min > max => Err("min is greater than max".into()),
        Draw::Int { min, max } => Ok(Value::from(rng.random_range(*min..=*max))),
        Draw::Choice { of } if of.is_empty() => Err("there is nothing to choose from".into()),
        Draw::Choice { of } => Ok(of[rng.random_range(0..of.len())].clone()),
        Draw::Text { words } if *words == 0 || *words > WORDS_MAX => {
            Err(format!("words must be from 1 to {WORDS_MAX}"))
        }
        Draw::Text { words } => {
            let words: Vec<String> = (0..*words)
                .map(|_| {
                    let length = rng.random_range(TEXT_WORD);
                    word(length, rng)
                })
                .collect();
            Ok(Value::String(words.join(" ")))
        }
        Draw::Rows { min, max, .. } if min > max || *max > ROWS_MAX => {
            Err(format!("needs min ≤ max ≤ {ROWS_MAX}"))
        }
        Draw::Rows { .. } if depth >= DEPTH_MAX => {
            Err(format!("rows are nested deeper than {DEPTH_MAX}"))
        }
        Draw::Rows { min, max, columns } => {
            let count = rng.random_range(*min..=*max);
            let mut rows = Vec::new();
            for _ in 0..count {
                let mut row = Map::new();
                for (name, how) in columns {
                    let value =
                        draw(how, rng, depth + 1).map_err(|why| format!("{name}: {why}"))?;
                    row.insert(name.clone(), value);
                }
                rows.push(Value::Object(row));
            }
            Ok(Value::Array(rows))
        }
    }
}

fn word(length: u32, rng: &mut StdRng) -> String {
    (0..length)
        .map(|_| char::from(rng.random_range(b'a'..=b'z')))
        .collect()
}

/// The seed as it stands in the evidence.
pub fn seed_text(seed: [u8; 32]) -> String {
    agentwright_domain::digest::Digest::from_sha256(seed)
        .hex()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> BTreeMap<String, Draw> {
        serde_json::from_value(serde_json::json!({
            "word": {"type": "word", "length": 8},
            "count": {"type": "int", "min": -3, "max": 9},
            "pick": {"type": "choice", "of": ["a", 2, null]},
            "note": {"type": "text", "words": 4},
            "rows": {"type": "rows", "min": 2, "max": 5, "columns": {
                "city": {"type": "word", "length": 5},
                "tags": {"type": "rows", "min": 0, "max": 2, "columns": {"t": {"type": "word", "length": 2}}}
            }}
        }))
        .unwrap()
    }

    #[test]
    fn the_same_seed_draws_the_same_values() {
        assert_eq!(draw_all(&table(), [7; 32]), draw_all(&table(), [7; 32]));
    }

    #[test]
    fn another_seed_draws_other_values() {
        let one = draw_all(&table(), [1; 32]).unwrap();
        let two = draw_all(&table(), [2; 32]).unwrap();
        assert_ne!(one["word"], two["word"]);
        assert_ne!(one["note"], two["note"]);
    }

    #[test]
    fn drawn_values_keep_to_their_bounds() {
        for seed in 0..50 {
            let drawn = draw_all(&table(), [seed; 32]).unwrap();
            assert_eq!(drawn["word"].as_str().unwrap().len(), 8);
            assert!((-3..=9).contains(&drawn["count"].as_i64().unwrap()));
            assert_eq!(drawn["note"].as_str().unwrap().split(' ').count(), 4);
            assert!((2..=5).contains(&drawn["rows"].as_array().unwrap().len()));
        }
    }

    #[test]
    fn impossible_draws_are_named() {
        for (how, why) in [
            (Draw::Word { length: 0 }, "length must be"),
            (
                Draw::Word {
                    length: WORD_MAX + 1,
                },
                "length must be",
            ),
            (Draw::Int { min: 2, max: 1 }, "min is greater"),
            (Draw::Choice { of: vec![] }, "nothing to choose"),
            (
                Draw::Text {
                    words: WORDS_MAX + 1,
                },
                "words must be",
            ),
            (
                Draw::Rows {
                    min: 0,
                    max: ROWS_MAX + 1,
                    columns: BTreeMap::new(),
                },
                "needs min",
            ),
        ] {
            let (name, found) =
                draw_all(&BTreeMap::from([("x".to_owned(), how)]), [0; 32]).unwrap_err();
            assert_eq!(name, "x");
            assert!(found.contains(why), "{found}");
        }
    }

    #[test]
    fn rows_are_not_nested_without_end() {
        let mut how = Draw::Word { length: 1 };
        for _ in 0..=DEPTH_MAX {
            how = Draw::Rows {
                min: 1,
                max: 1,
                columns: BTreeMap::from([("in".to_owned(), how)]),
            };
        }
        let (_, why) = draw_all(&BTreeMap::from([("x".to_owned(), how)]), [0; 32]).unwrap_err();
        assert!(why.contains("nested deeper"), "{why}");
    }
}
