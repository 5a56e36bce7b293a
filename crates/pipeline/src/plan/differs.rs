//! Where the next version of an automation differs from the deployed one.

use agentwright_domain::spec::Spec;
use serde_json::Value;
use std::collections::BTreeMap;

/// One line of what a change changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// JSON pointer into the spec.
    pub at: String,
    /// What the deployed version has.
    pub before: Option<Value>,
    /// What the next version would have.
    pub after: Option<Value>,
}

/// Where two specs differ, leaf by leaf. The acceptance counts as one.
pub(super) fn differences(before: &Spec, after: &Spec) -> Vec<Difference> {
    let leaves = |spec: &Spec| {
        let mut leaves = BTreeMap::new();
        let value = serde_json::to_value(spec).unwrap_or_default();
        collect("", &value, &mut leaves);
        leaves
    };
    let (before, after) = (leaves(before), leaves(after));
    let mut places: Vec<&String> = before.keys().chain(after.keys()).collect();
    places.sort();
    places.dedup();
    places
        .into_iter()
        .filter(|at| before.get(*at) != after.get(*at))
        .map(|at| Difference {
            at: at.clone(),
            before: before.get(at).cloned(),
            after: after.get(at).cloned(),
        })
        .collect()
}

fn collect(at: &str, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if at != "/acceptance" => {
            for (name, value) in fields {
                collect(&format!("{at}/{name}"), value, leaves);
            }
        }
        _ => {
            leaves.insert(at.to_owned(), value.clone());
        }
    }
}
