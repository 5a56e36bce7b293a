//! Demands that a sentence can make beside its main wish. A foundation lists those that it meets;
//! any other one in the sentence is refused by name, because half of a wish is not the wish.

mod telling;
mod working;

use crate::phrase::Phrase;
use std::sync::LazyLock;

/// One kind of demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The name used in `match.can`.
    pub id: &'static str,
    /// What it is, for people.
    pub says: &'static str,
    /// Phrases that express it; `_` is up to three words.
    pub phrases: &'static [&'static str],
}

const fn demand(id: &'static str, says: &'static str, phrases: &'static [&'static str]) -> Demand {
    Demand { id, says, phrases }
}

/// All of them with their phrases, read once.
pub(crate) static PARSED: LazyLock<Vec<(&'static Demand, Vec<Phrase>)>> = LazyLock::new(|| {
    demands()
        .map(|demand| {
            let phrases = demand.phrases.iter();
            (
                demand,
                phrases.filter_map(|text| Phrase::parse(text)).collect(),
            )
        })
        .collect()
});

/// All of them.
pub fn demands() -> impl Iterator<Item = &'static Demand> {
    telling::DEMANDS.iter().chain(working::DEMANDS)
}
