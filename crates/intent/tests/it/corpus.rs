//! How often sentences are understood: wrong confident matches and recall, on both halves of the corpus.

use super::{ALL, context};
use agentwright_intent::{Foundation, understand};
use std::collections::BTreeMap;

type Half = BTreeMap<String, Vec<String>>;

struct Score {
    sentences: usize,
    /// Sentences that ask for a foundation and got it.
    right: usize,
    asked: usize,
    /// Sentences that got a foundation that they did not ask for.
    wrong: Vec<String>,
    missed: Vec<String>,
}

fn score(half: &Half, all: &[Foundation]) -> Score {
    let mut score = Score {
        sentences: 0,
        right: 0,
        asked: 0,
        wrong: Vec::new(),
        missed: Vec::new(),
    };
    for (label, sentences) in half {
        for sentence in sentences {
            score.sentences += 1;
            score.asked += usize::from(label != "refuse");
            match understand(sentence, &context(), all) {
                Ok(plan) if plan.foundation == *label => score.right += 1,
                Ok(plan) => score.wrong.push(format!(
                    "{sentence:?} is {label}, taken for {} ({:.2})",
                    plan.foundation, plan.confidence
                )),
                Err(_) if label == "refuse" => {}
                Err(why) => score.missed.push(format!(
                    "{sentence:?} is {label}: {}",
                    why.to_string()
                        .lines()
                        .next()
                        .unwrap_or_default()
                        .chars()
                        .take(170)
                        .collect::<String>()
                )),
            }
        }
    }
    score
}

fn halves() -> BTreeMap<String, Half> {
    toml::from_str(include_str!("../corpus.toml")).unwrap()
}

fn check(name: &str) {
    let all = &*ALL;
    let score = score(&halves()[name], all);
    let (wrong, recall) = (
        score.wrong.len() as f64 / score.sentences as f64,
        score.right as f64 / score.asked as f64,
    );
    println!(
        "{name}: {} sentences, wrong confident matches {:.1} %, recall {:.1} %",
        score.sentences,
        wrong * 100.0,
        recall * 100.0
    );
    // The held-out half only shows its figures: nobody may tune on it.
    if name == "dev" {
        score
            .wrong
            .iter()
            .chain(&score.missed)
            .for_each(|line| println!("  {line}"));
    }
    assert!(wrong <= 0.01, "{wrong}");
    assert!(recall >= 0.90, "{recall}");
}

#[test]
fn the_development_half_is_understood() {
    check("dev");
}

#[test]
fn the_held_out_half_is_understood() {
    check("held");
}
