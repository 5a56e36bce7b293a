//! Sentences of many people with the inputs and times that must come out of them: what is understood, and what is refused.

use super::{ALL, context};
use agentwright_domain::spec::Trigger;
use agentwright_intent::{Plan, understand};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The file: one half was worked on, the other only counts.
#[derive(Deserialize)]
struct Halves {
    tune: Vec<Case>,
    held: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    /// The foundation, or `refuse`.
    is: String,
    say: String,
    /// The cron expression that must come out.
    when: Option<String>,
    /// Inputs that must come out; others are not looked at.
    #[serde(default)]
    with: Map<String, Value>,
}

enum Outcome {
    /// As meant: built with the right inputs, or not built at all.
    Right,
    /// Not built, or asked back, though everything was said.
    Missed(String),
    /// The right foundation with other inputs or another time than was said.
    Differs(String),
    /// Another foundation than was meant, or one where none was.
    Wrong(String),
}

fn outcome(case: &Case) -> Outcome {
    let plan = match understand(&case.say, &context(), &ALL) {
        Ok(plan) => plan,
        Err(_) if case.is == "refuse" => return Outcome::Right,
        Err(why) => {
            let why = why.to_string();
            let why: String = why.lines().next().unwrap_or_default().chars().collect();
            return Outcome::Missed(why.chars().take(170).collect());
        }
    };
    if case.is == "refuse" && !plan.missing.is_empty() {
        return Outcome::Right;
    }
    if plan.foundation != case.is {
        return Outcome::Wrong(format!(
            "taken for {} ({:.2}) {:?}",
            plan.foundation, plan.confidence, plan.purpose
        ));
    }
    if !plan.missing.is_empty() {
        return Outcome::Missed(format!("asked back: {:?}", plan.missing));
    }
    let differences = differences(case, &plan);
    if differences.is_empty() {
        Outcome::Right
    } else {
        Outcome::Differs(differences.join("; "))
    }
}

fn differences(case: &Case, plan: &Plan) -> Vec<String> {
    let mut differences = Vec::new();
    for (input, meant) in &case.with {
        let found = match plan.inputs.get(input) {
            Some(entity) if input == "entity" => json!(entity_line(entity, meant)),
            Some(value) => value.clone(),
            None => Value::Null,
        };
        if found != *meant {
            differences.push(format!("{input}: {found}, not {meant}"));
        }
    }
    if let Some(meant) = &case.when {
        match &plan.trigger {
            Trigger::Schedule { cron, .. } if cron == meant => {}
            Trigger::Schedule { cron, .. } => {
                differences.push(format!("when: {cron}, not {meant}"));
            }
            other => differences.push(format!("when: {other:?}, not {meant}")),
        }
    }
    differences
}

/// The record as `plural:field,field`; the plural only where it matters.
fn entity_line(entity: &Value, meant: &Value) -> String {
    let fields: Vec<&str> = entity["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["name"].as_str().unwrap())
        .collect();
    let plural = if meant.as_str().unwrap().starts_with(':') {
        ""
    } else {
        entity["plural"].as_str().unwrap()
    };
    format!("{plural}:{}", fields.join(","))
}

/// Sentences that should be built, and those of them that were; the same for refusals.
#[derive(Default)]
struct Rates {
    asked: usize,
    built: usize,
    differ: usize,
    wrong: usize,
    to_refuse: usize,
    refused: usize,
}

/// `least`: the shares of sentences that must be built as meant, and refused.
fn check(name: &str, cases: &[Case], least: (f64, f64)) {
    let mut rates = Rates::default();
    for case in cases {
        let outcome = outcome(case);
        if case.is == "refuse" {
            rates.to_refuse += 1;
            rates.refused += usize::from(matches!(outcome, Outcome::Right));
        } else {
            rates.asked += 1;
            rates.built += usize::from(matches!(outcome, Outcome::Right));
            rates.differ += usize::from(matches!(outcome, Outcome::Differs(_)));
            rates.wrong += usize::from(matches!(outcome, Outcome::Wrong(_)));
        }
        // The held-out half only shows its figures: nobody may tune on it.
        if name == "tune" {
            match outcome {
                Outcome::Right => {}
                Outcome::Missed(why) => println!("  missed {:?} ({}): {why}", case.say, case.is),
                Outcome::Differs(why) => println!("  differs {:?} ({}): {why}", case.say, case.is),
                Outcome::Wrong(why) => println!("  wrong {:?} ({}): {why}", case.say, case.is),
            }
        }
    }
    let recall = rates.built as f64 / rates.asked as f64;
    let refusals = rates.refused as f64 / rates.to_refuse as f64;
    println!(
        "{name}: built as meant {}/{} ({:.1} %), with other inputs {}, wrong foundation {}, refused {}/{} ({:.1} %)",
        rates.built,
        rates.asked,
        recall * 100.0,
        rates.differ,
        rates.wrong,
        rates.refused,
        rates.to_refuse,
        refusals * 100.0
    );
    assert_eq!(rates.wrong, 0);
    assert!(recall >= least.0, "{recall}");
    assert!(refusals >= least.1, "{refusals}");
}

fn halves() -> Halves {
    toml::from_str(include_str!("../people.toml")).unwrap()
}

#[test]
fn the_sentences_that_were_worked_on_are_built_as_meant() {
    check("tune", &halves().tune, (0.98, 0.98));
}

#[test]
fn the_sentences_that_were_held_out_are_built_as_meant() {
    check("held", &halves().held, (0.85, 0.90));
}
