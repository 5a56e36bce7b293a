//! The phrases of a foundation, read once when it is loaded: not what they mean (that is `matching`
//! and `fill`), only their parsed form. Start at [`Patterns::of`].

use crate::format::{Input, InputKind, Manifest};
use crate::lex::Token;
use crate::phrase::Phrase;
use crate::values;
use crate::vocabulary::{self, stem};
use std::collections::{BTreeMap, BTreeSet};

/// All phrases of one foundation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Patterns {
    pub(crate) never: Vec<Phrase>,
    pub(crate) ideas: BTreeMap<String, Vec<Phrase>>,
    pub(crate) words: Vec<Phrase>,
    /// By the input's name.
    inputs: BTreeMap<String, InputPatterns>,
    /// Every word in them, in lower case.
    pub(crate) whole: BTreeSet<String>,
    /// Stems of the words that express its ideas.
    idea_stems: BTreeSet<String>,
    /// Stems of the further words of its subject.
    word_stems: BTreeSet<String>,
    /// Stems of the words that speak of an input.
    pub(crate) about: BTreeSet<String>,
}

/// The phrases of one input.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct InputPatterns {
    /// With the place of the value.
    pub(crate) find: Vec<Phrase>,
    /// The same up to the value: what leads to it.
    pub(crate) leads: Vec<Phrase>,
    /// Of each choice.
    pub(crate) of: BTreeMap<String, Vec<Phrase>>,
    /// Of a flag.
    pub(crate) yes: Vec<Phrase>,
}

impl Patterns {
    /// Reads all phrases of a manifest.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let matching = &manifest.matching;
        let input_texts: Vec<String> = manifest.inputs.iter().flat_map(values::phrases).collect();
        let idea_texts: Vec<&String> = matching.ideas.values().flatten().collect();
        let whole = idea_texts
            .iter()
            .copied()
            .chain(&matching.never)
            .chain(&matching.words)
            .chain(&input_texts)
            .flat_map(|text| words(text))
            .collect();
        Self {
            never: all(&matching.never),
            ideas: matching
                .ideas
                .iter()
                .map(|(idea, texts)| (idea.clone(), all(texts)))
                .collect(),
            words: all(&matching.words),
            inputs: manifest
                .inputs
                .iter()
                .map(|input| (input.name.clone(), InputPatterns::of(input)))
                .collect(),
            whole,
            idea_stems: idea_texts
                .iter()
                .filter(|text| !text.contains('<'))
                .flat_map(|text| words(text))
                .map(|word| stem(&word))
                .collect(),
            word_stems: matching.words.iter().map(|word| stem(word)).collect(),
            about: input_texts
                .iter()
                .flat_map(|text| text.split([' ', '-']).map(stem))
                .collect(),
        }
    }

    /// Whether a word belongs to how such a request is put, rather than naming something in it.
    pub(crate) fn speaks_of_request(&self, token: &Token) -> bool {
        self.idea_stems.contains(&token.stem) || vocabulary::is_plain(token)
    }

    /// Whether a word says more than that something is to be done with this foundation.
    pub(crate) fn tells_more(&self, token: &Token) -> bool {
        !(self.word_stems.contains(&token.stem)
            || vocabulary::is_plain(token)
            || vocabulary::is_vague(token))
    }

    /// The phrases of an input.
    pub(crate) fn input(&self, input: &Input) -> &InputPatterns {
        static NONE: InputPatterns = InputPatterns {
            find: Vec::new(),
            leads: Vec::new(),
            of: BTreeMap::new(),
            yes: Vec::new(),
        };
        self.inputs.get(&input.name).unwrap_or(&NONE)
    }
}

impl InputPatterns {
    fn of(input: &Input) -> Self {
        let (of, yes) = match &input.kind {
            InputKind::Choice { of } | InputKind::Choices { of } => {
                let choices = of.iter().map(|(value, texts)| (value.clone(), all(texts)));
                (choices.collect(), Vec::new())
            }
            InputKind::Flag { yes } => (BTreeMap::new(), all(yes)),
            _ => Default::default(),
        };
        let find = input.find.phrases.iter();
        Self {
            find: find
                .clone()
                .filter_map(|text| Phrase::parse(text).or_else(|| (text == "#").then(Phrase::any)))
                .collect(),
            leads: find
                .filter_map(|text| Phrase::parse(text.trim_end_matches('#').trim()))
                .collect(),
            of,
            yes,
        }
    }
}

fn all(texts: &[String]) -> Vec<Phrase> {
    texts
        .iter()
        .filter_map(|text| Phrase::parse(text))
        .collect()
}

/// The words of a phrase, without signs and numbers.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|word| !word.is_empty() && !word.bytes().any(|b| b.is_ascii_digit()))
        .map(str::to_lowercase)
}
