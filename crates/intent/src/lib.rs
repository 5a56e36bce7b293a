//! What a sentence asks for: which foundation, with which inputs, when, under which name.
//!
//! Pure: foundations come in as bytes ([`FoundationSource`]), paths are made absolute by reading
//! alone, nothing is looked up. Start at [`understand`]; [`spec`] turns a [`Plan`] into a spec,
//! [`amend`] changes what exists, [`Foundation::files`] renders the code. The formats are in
//! `docs/formats.md`.

mod amend;
mod beyond;
mod demands;
mod entity;
mod fill;
mod format;
mod foundation;
mod lex;
mod matching;
mod paths;
mod patterns;
mod phrase;
mod plan;
mod record;
mod render;
mod residue;
mod schedule;
mod sentence;
mod spec;
mod values;
mod vocabulary;
mod withdrawn;

pub use amend::amend;
pub use demands::{Demand, demands};
pub use format::*;
pub use foundation::{Foundation, FoundationSource, Problem};
pub use plan::{Context, INTENT_MAX, Plan, Possible, Question, Refusal, free_name};
pub use schedule::describe;
pub use spec::spec;

/// Understands a sentence: the plan of what would be built, or why nothing is.
///
/// The plan may hold questions ([`Plan::missing`]); nothing is built before they are answered,
/// through [`Context::given`] or in a better sentence.
///
/// # Errors
/// Why nothing can be built from it, with what is possible.
pub fn understand(
    intent: &str,
    context: &Context,
    foundations: &[Foundation],
) -> Result<Plan, Refusal> {
    let example = foundations
        .first()
        .and_then(|f| f.manifest.examples.first())
        .cloned()
        .unwrap_or_default();
    sentence::guard(intent, &example)?;
    let vocabulary = vocabulary::Vocabulary::of(foundations);
    let sentence = sentence::Sentence::read(intent, &vocabulary, &context.zone)?;
    let candidate = matching::choose(&sentence, context, foundations)?;
    spec::plan(&candidate, &sentence, context)
}

/// The plan for a foundation that the caller names, with the inputs it gives: no sentence needed.
///
/// # Errors
/// When an input is unknown.
pub fn plan_for(foundation: &Foundation, context: &Context) -> Result<Plan, Refusal> {
    spec::plan_given(foundation, context)
}
