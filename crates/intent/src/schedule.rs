//! When: the times in a sentence become a five-field cron expression and a zone.
//!
//! A time that cron cannot say exactly (`every 45 minutes`) or that does not exist (`at 25:00`) is
//! asked back, never rounded. Cron numbers days of the week from 0 (Sunday). Start at [`find`].

mod compose;
mod readers;

use crate::lex::{Kind, Token};
use crate::plan::Question;
use agentwright_domain::spec::{Missed, Trigger};
use regex::{Captures, Regex};
use std::collections::BTreeSet;

use readers::READERS;

pub use compose::describe;

/// The words of times, for the vocabulary.
pub(crate) const WORDS: &str = "every each hourly daily nightly weekly monthly quarterly yearly annually weekday \
 weekdays weekend weekends monday mondays tuesday tuesdays wednesday wednesdays thursday thursdays friday fridays \
 saturday saturdays sunday sundays morning mornings evening evenings afternoon afternoons night nights noon midday \
 midnight lunchtime o'clock half quarter past hour hours minute minutes day days week weeks month months once twice \
 thrice times second third first last fortnight fortnightly biweekly utc gmt business working office hours tomorrow \
 tonight january february march april june july august september october november december between until through \
 except excluding sharp dawn during manually demand request year years";

/// What a sentence says about time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum When {
    /// Nothing.
    Silent,
    /// This.
    Said(Trigger),
    /// Something that must be asked back.
    Ask(Question),
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Every {
    Minutes(u32),
    Hours(u32),
    Days(u32),
    Weeks(u32),
    Months(u32),
    /// So many times a day.
    PerDay(u32),
    /// So many times in something else.
    PerOther,
}

/// A part of the day without a clock time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum DayPart {
    Morning,
    Noon,
    Afternoon,
    Evening,
    Night,
    EndOfDay,
}

/// Everything found, before it is put together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    every: Option<Every>,
    weekdays: BTreeSet<u8>,
    except: BTreeSet<u8>,
    days: BTreeSet<u32>,
    last_day: bool,
    /// `1` to `4`, or 5 for the last; and the weekday.
    nth: Option<(u32, u8)>,
    months: BTreeSet<u32>,
    /// Minute of the day, and whether am or pm is settled.
    times: Vec<(u32, bool)>,
    part: Option<DayPart>,
    window: Option<(u32, u32)>,
    zone: Option<String>,
    /// What cannot be said in cron, in the sentence's words.
    trouble: Option<(String, &'static str)>,
    cron: Option<String>,
    manual: bool,
    once: bool,
}

/// What is said about time, and which tokens say it.
pub(crate) fn find(tokens: &[Token], zone: &str) -> (When, BTreeSet<usize>) {
    let mut text = Text::of(tokens);
    let mut parts = Parts::default();
    for (i, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Cron => {
                parts.cron = Some(token.text.clone());
                text.used.insert(i);
            }
            Kind::Zone => {
                parts.zone = Some(token.text.clone());
                text.used.insert(i);
            }
            _ => {}
        }
    }
    for (pattern, read) in READERS.iter() {
        text.each(pattern, |captures| read(captures, &mut parts));
    }
    let when = compose::trigger(&parts, zone);
    if when == When::Silent {
        return (when, BTreeSet::new());
    }
    (when, text.used)
}

/// A question about the schedule.
pub(crate) fn question(text: String) -> Question {
    Question {
        input: "schedule".to_owned(),
        question: text,
        examples: [
            "every night at 2",
            "every 15 minutes",
            "every weekday at 7",
            "on the first of the month at 6:30",
        ]
        .map(str::to_owned)
        .to_vec(),
    }
}

pub(crate) fn scheduled(cron: String, zone: &str) -> Trigger {
    Trigger::Schedule {
        cron,
        zone: zone.to_owned(),
        missed: Missed::RunOnce,
    }
}

/// Whether a number before this word counts things: in "at 4, 6 tarballs" 6 is no time.
fn counted(token: &Token) -> bool {
    let timely = |word: &str| WORDS.split_whitespace().any(|known| known == word);
    let unit = crate::values::span_unit(&token.lower).is_some();
    token.is_word()
        && token.lower.len() > 3
        && token.lower.ends_with('s')
        && !unit
        && !timely(&token.lower)
}

/// The tokens as one line in lower case; what was read is blotted out.
struct Text {
    line: String,
    /// Byte range of each token in the line.
    places: Vec<(usize, usize)>,
    used: BTreeSet<usize>,
}

impl Text {
    fn of(tokens: &[Token]) -> Self {
        let mut line = String::from(" ");
        let mut places = Vec::new();
        for (i, token) in tokens.iter().enumerate() {
            let start = line.len();
            match &token.kind {
                Kind::Word => line.push_str(&token.lower),
                Kind::Number { .. } if tokens.get(i + 1).is_some_and(counted) => line.push('§'),
                Kind::Number { value, unit } => line.push_str(&format!("{value}{unit}")),
                Kind::Time { minute, settled } => {
                    line.push_str(&format!("t{minute:04}{}", if *settled { 's' } else { 'a' }));
                }
                Kind::Punct => line.push_str(&token.text),
                _ => line.push('§'),
            }
            places.push((start, line.len()));
            line.push(' ');
        }
        Self {
            line,
            places,
            used: BTreeSet::new(),
        }
    }

    fn each(&mut self, pattern: &Regex, mut read: impl FnMut(&Captures<'_>) -> bool) {
        // Bounded: each round blots out at least one token, or moves on.
        let mut from = 0;
        while let Some(captures) = pattern.captures_at(&self.line.clone(), from) {
            let Some(whole) = captures.get(0).filter(|m| !m.is_empty()) else {
                return;
            };
            from = whole.start() + 1;
            while !self.line.is_char_boundary(from) {
                from += 1;
            }
            if !read(&captures) {
                continue;
            }
            let (start, end) = (whole.start(), whole.end());
            for (i, place) in self.places.iter().enumerate() {
                if place.0 >= start && place.1 <= end {
                    self.used.insert(i);
                }
            }
            let blot: String = self.line[start..end]
                .chars()
                .flat_map(|c| std::iter::repeat_n(if c == ' ' { ' ' } else { '~' }, c.len_utf8()))
                .collect();
            self.line.replace_range(start..end, &blot);
        }
    }
}
