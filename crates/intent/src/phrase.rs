//! Phrases: lists of stems, gaps and kinds, and where they stand in a sentence.

use crate::format::Shape;
use crate::lex::{Kind, Token};
use crate::paths;
use crate::sentence::Sentence;
use crate::vocabulary::stem;

/// The most words that `_` stands for.
const GAP: usize = 3;

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Stem(String),
    Gap,
    /// A sign such as `:`.
    Sign(String),
    Evidence(String),
    Value,
}

impl Part {
    fn is_stem_of(&self, token: &Token) -> bool {
        let word = matches!(token.kind, Kind::Word | Kind::Number { .. } | Kind::Glob);
        matches!(self, Self::Stem(stem) if word && token.stem == *stem)
    }
}

/// One phrase.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phrase(Vec<Part>);

/// Where a phrase stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place<V = ()> {
    /// The tokens of its own words (gaps not among them).
    pub(crate) tokens: Vec<usize>,
    /// What stood for `#`.
    pub(crate) value: Option<V>,
}

/// Reads a value at a token: the value and how many tokens it takes.
pub(crate) type Reader<'a, V> = &'a dyn Fn(usize) -> Option<(V, usize)>;

impl Phrase {
    /// Reads a phrase; `None` when it has no word.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<Part> = text
            .split([' ', '-'])
            .flat_map(|word| match word.strip_suffix(':') {
                Some(stem) => [stem, ":"],
                None => [word, ""],
            })
            .filter(|word| !word.is_empty())
            .map(|word| match word {
                ":" | "/" | "," => Part::Sign(word.to_owned()),
                "_" => Part::Gap,
                "#" => Part::Value,
                _ if word.starts_with('<') => {
                    Part::Evidence(word.trim_matches(['<', '>']).to_owned())
                }
                _ => Part::Stem(stem(&word.to_lowercase())),
            })
            .collect();
        let empty = parts
            .iter()
            .all(|part| matches!(part, Part::Gap | Part::Value | Part::Sign(_)));
        (!empty).then_some(Self(parts))
    }

    /// Any value, wherever it stands.
    pub(crate) fn any() -> Self {
        Self(vec![Part::Value])
    }

    /// Whether the value comes before all of its words.
    pub(crate) fn begins_with_value(&self) -> bool {
        self.0.len() > 1 && self.0.first() == Some(&Part::Value)
    }

    /// How many words it has.
    pub(crate) fn words(&self) -> usize {
        self.0
            .iter()
            .filter(|part| matches!(part, Part::Stem(_) | Part::Evidence(_)))
            .count()
    }

    /// Every place where it stands.
    pub(crate) fn places(&self, sentence: &Sentence) -> Vec<Place> {
        let none: Reader<'_, ()> = &|_| None;
        (0..sentence.tokens.len())
            .filter_map(|at| self.at(sentence, at, none))
            .collect()
    }

    /// Whether it stands anywhere.
    pub(crate) fn stands(&self, sentence: &Sentence) -> bool {
        let none: Reader<'_, ()> = &|_| None;
        (0..sentence.tokens.len()).any(|at| self.at(sentence, at, none).is_some())
    }

    /// The first place where it stands with a value.
    pub(crate) fn value<V>(&self, sentence: &Sentence, read: Reader<'_, V>) -> Option<Place<V>> {
        (0..sentence.tokens.len()).find_map(|at| self.at(sentence, at, read))
    }

    fn at<V>(&self, sentence: &Sentence, at: usize, read: Reader<'_, V>) -> Option<Place<V>> {
        let mut place = Place {
            tokens: Vec::new(),
            value: None,
        };
        walk(&self.0, sentence, at, read, &mut place).then_some(place)
    }
}

fn walk<V>(
    parts: &[Part],
    s: &Sentence,
    at: usize,
    read: Reader<'_, V>,
    place: &mut Place<V>,
) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return true;
    };
    if let Part::Gap = part {
        return (0..=GAP).any(|skip| {
            let clear = s
                .tokens
                .get(at..at + skip)
                .is_some_and(|gap| !gap.iter().any(|t| t.punct(".;!?")));
            clear && attempt(rest, s, at + skip, read, place)
        });
    }
    let Some(token) = s.tokens.get(at) else {
        return false;
    };
    if token.punct("-") && !place.tokens.is_empty() {
        return walk(parts, s, at + 1, read, place);
    }
    // "tell me every hour how many": a time may stand within a phrase.
    let begun = place.tokens.last().is_some_and(|k| !s.timed.contains(k));
    let within = begun && s.timed.contains(&at);
    if within && !matches!(part, Part::Evidence(_) | Part::Value) && !part.is_stem_of(token) {
        return walk(parts, s, at + 1, read, place);
    }
    match part {
        Part::Gap => false,
        // "table: animals"
        Part::Value if token.punct(":=") && !place.tokens.is_empty() => {
            walk(parts, s, at + 1, read, place)
        }
        Part::Value => {
            let Some((value, length)) = read(at) else {
                return false;
            };
            place.value = Some(value);
            place.tokens.extend(at..at + length);
            walk(rest, s, at + length, read, place)
        }
        Part::Stem(_) => {
            let same = part.is_stem_of(token);
            if same {
                place.tokens.push(at);
            }
            same && walk(rest, s, at + 1, read, place)
        }
        Part::Sign(sign) => token.punct(sign) && walk(rest, s, at + 1, read, place),
        Part::Evidence(kind) => {
            let there = evidence(kind, s, at, token);
            if there {
                place.tokens.push(at);
            }
            there && walk(rest, s, at + 1, read, place)
        }
    }
}

fn attempt<V>(
    parts: &[Part],
    s: &Sentence,
    at: usize,
    read: Reader<'_, V>,
    place: &mut Place<V>,
) -> bool {
    let kept = place.tokens.len();
    let found = walk(parts, s, at, read, place);
    if !found {
        place.tokens.truncate(kept);
    }
    found
}

fn evidence(kind: &str, s: &Sentence, at: usize, token: &Token) -> bool {
    match kind {
        "url" => token.kind == Kind::Url && !token.lower.starts_with("postgres"),
        "postgres" => token.kind == Kind::Url && token.lower.starts_with("postgres"),
        "feed_url" => {
            let speaks = |word| token.lower.contains(word);
            token.kind == Kind::Url
                && (["feed", "rss", "atom"].into_iter().any(speaks)
                    || token.lower.ends_with(".xml"))
        }
        "path" => token.kind == Kind::Path,
        "folder" => token.kind == Kind::Path && paths::extension(&token.text).is_none(),
        "file" => token.kind == Kind::Path && paths::extension(&token.text).is_some(),
        "log_path" => token.kind == Kind::Path && token.lower.contains("log"),
        "glob" => token.kind == Kind::Glob,
        "quoted" => token.kind == Kind::Quoted,
        "email" => token.kind == Kind::Email,
        "secret" => token.kind == Kind::Secret,
        "schedule" => s.timed.contains(&at),
        "entity" => s
            .entity
            .as_ref()
            .is_some_and(|entity| entity.tokens.first() == Some(&at)),
        "sql" => s
            .sql
            .as_ref()
            .is_some_and(|sql| sql.tokens.first() == Some(&at)),
        _ => kind.strip_prefix("file:").is_some_and(|wanted| {
            matches!(token.kind, Kind::Path | Kind::Glob)
                && paths::extension(&token.text)
                    .is_some_and(|found| wanted.split('|').any(|w| w == found))
        }),
    }
}

/// The ideas that a shape uses.
pub(crate) fn ideas_in_use(shape: &Shape) -> impl Iterator<Item = &str> {
    shape.all.iter().map(String::as_str)
}
