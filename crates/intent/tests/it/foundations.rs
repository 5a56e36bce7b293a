//! Every built-in foundation is well formed, and its own examples ask for it.

use super::{ALL, context};
use agentwright_intent::{spec, understand};

#[test]
fn every_example_is_understood_as_its_own_foundation_and_gives_a_spec_without_problems() {
    let all = &*ALL;
    for foundation in all {
        for example in &foundation.manifest.examples {
            let plan = understand(example, &context(), all)
                .unwrap_or_else(|why| panic!("{example}: {why}"));
            assert_eq!(plan.foundation, foundation.name(), "{example}");
            assert!(plan.missing.is_empty(), "{example}: {:?}", plan.missing);
            let spec = spec(&plan, foundation).unwrap_or_else(|why| panic!("{example}: {why:?}"));
            let files = foundation.files(&spec.inputs, plan.name.as_str()).unwrap();
            assert!(!files.is_empty());
        }
    }
}
