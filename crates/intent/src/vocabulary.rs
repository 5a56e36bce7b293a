//! Words: stems, number words, the words that explain themselves in any request, typing errors.
//!
//! Start at [`Vocabulary::of`].

use crate::foundation::Foundation;
use crate::lex::Token;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Extensions that make a word with a dot a file.
pub(crate) const EXTENSIONS: &[&str] = &[
    "csv", "tsv", "json", "jsonl", "ndjson", "md", "markdown", "html", "htm", "txt", "log", "db",
    "sqlite", "sqlite3", "db3", "zip", "tar", "gz", "tgz", "bz2", "xz", "7z", "pdf", "xlsx", "xls",
    "docx", "doc", "xml", "yaml", "yml", "toml", "ini", "conf", "sql", "sh", "py", "js", "rs",
    "jpg", "jpeg", "png", "gif", "mp3", "mp4", "tmp", "bak", "out", "dat", "rss", "atom", "opml",
    "ics", "eml", "iso", "exe", "dmg", "deb",
];
/// Last parts that make a word with a dot a host.
pub(crate) const DOMAINS: &[&str] = &[
    "com", "org", "net", "io", "dev", "de", "co\\.uk", "uk", "edu", "gov", "ai", "app", "info",
    "eu", "fr", "ch", "at", "nl", "us", "ca", "au", "jp", "me", "blog", "news", "shop", "tech",
    "example", "test", "xyz", "online", "site", "cloud", "page", "tv", "co", "se", "no", "it",
    "es", "pl", "in", "local", "internal", "lan", "invalid",
];
/// Folders of a home directory that go by their name alone.
pub(crate) const HOME_FOLDERS: [&str; 6] = [
    "Downloads",
    "Documents",
    "Desktop",
    "Pictures",
    "Music",
    "Videos",
];

/// Words without content of their own: grammar, politeness, and the words of asking for software.
const PLAIN: &str = "a an the this that these those it its they them their there here i me my mine we us our you \
 your he she his her who which what where when while if then than so as at by for from in into of off on onto out \
 over per to under up upon via with within without about across after again all also always and any anyone anything \
 are aren't be been being both but can can't cannot could do does doesn't doing don't each either else ever every \
 everything few get gets getting give gives given go goes going got had has have having how however i'd i'll i'm \
 i've is isn't it'd it'll it's just keep keeps kept let lets like likes lot lots made make makes making many may \
 maybe might more most much must need needs needed needing never new no none not nothing now of off ok okay once one \
 only or other others ought own please pls plz kindly put puts really same see sees several shall she should since \
 some somebody somehow someone something somewhere soon still such sure take takes taken taking tell tells thank \
 thanks thanx that's them themselves thing things through time times too try tries trying until up use used uses \
 using very via want wants wanted wanting wanna gonna was way well were what's whatever when whenever wherever \
 whether which who whole why will wish wishes won't would yes yet you'd you're hi hello hey dear cheers etc eg ie \
 create creates creating build builds building write develop code set sets setup setting script scripts program \
 programs tool tools automation automations automate automated automatically automatic agent job jobs task tasks \
 bot cron cronjob workflow process routine utility app application software command little small simple simply \
 nice good great best easy quick quickly basic tiny lightweight plain run runs running ran start starts started \
 work works working happen happens able ability ask asking asks look looks looking looked day days daily hour hours \
 hourly night nights nightly week weeks weekly month months monthly year years yearly morning evening afternoon \
 minute minutes second seconds today folder folders directory directories dir dirs file files path paths place \
 called named name names following certain particular given specific regular regularly periodically basis based \
 possible possibly would'nt able everyday always every else first last next latest previous current currently \
 remember think know love hate hope basically actually literally kind sort type of stuff end ends ending way \
 ones whose including include includes included contain contains containing content contents inside outside \
 there's let's id im ive gotta id'd dont doesnt cant wont whats thats its isnt oh well um uh btw fyi asap \
 machine computer laptop disk drive server system local locally location store stored stores storing save saves \
 saved saving put output result results resulting produce produces produced generate generates generated generating \
 instead replace show shows showing display list lists provide provides default option options mode instance \
 able around along away back down during between before behind beside besides beyond except toward towards among \
 against till run exactly roughly approximately least less fine done nothing full complete completely entire \
 entirely total whole important main own old older oldest newer newest recent recently different separate single \
 multiple various extra additional another okay project team company office boss colleague colleagues customer \
 customers client clients user users people person friend family wife husband work home business internal personal \
 private public account department production staging dev prod development plenty enough appreciate mind care sense curious thx u forget yesterday \
 online typical glad happy grateful wonder wondering advance regards cheers greetings sorry lazy busy anymore target destination always honestly \
 actually finally btw pretty quite rather whole properly correctly safely nicely";

/// Words that say nothing about what is wanted.
const VAGUE: &str = "better best improve improves improved optimise optimize something anything stuff things thing \
 data help fix work nice cool awesome smart handle handles manage manages deal organise organize life magic useful \
 productive productivity efficient efficiently business files file computer system code project whatever somehow \
 everything automate automation faster easier good clever amazing task tasks job";

/// Other common words: known, so that they are not taken for typing errors of known ones.
const OTHERS: &str = "nearly rarely barely clearly early weather whether wife life lives lose loose losing product products \
 produce inspection inspect precious previous decision decide mining rain rains brain mask masks masking baking waking \
 moon soon cook hook wool school mood food boat coat goat road toad cats care core bore tore wore hire wire tired wired rented \
 rental mental metal medal modal moral rural plural plane planet plant plants planter printer painter pointer winter writer \
 waiter water butter batter mother brother farmer forest honest modest rest nest guest quest bread dream cream steam \
 seam sugar pepper copper proper cooper beach peach teach reach coach house horse mouse nurse purse curse course heart \
 hearts heater weight height fight right sight tight might flight slight bright country countries county company \
 campaign passport patient patients parent parents present prison season lesson kitchen chicken garden golden wooden \
 hidden holiday holidays birthday vacation education election collection connection correction direction protection";

/// Numbers in words.
const NUMBERS: [(&str, f64); 28] = [
    ("zero", 0.0),
    ("one", 1.0),
    ("two", 2.0),
    ("three", 3.0),
    ("four", 4.0),
    ("five", 5.0),
    ("six", 6.0),
    ("seven", 7.0),
    ("eight", 8.0),
    ("nine", 9.0),
    ("ten", 10.0),
    ("eleven", 11.0),
    ("twelve", 12.0),
    ("thirteen", 13.0),
    ("fourteen", 14.0),
    ("fifteen", 15.0),
    ("sixteen", 16.0),
    ("eighteen", 18.0),
    ("twenty", 20.0),
    ("thirty", 30.0),
    ("forty", 40.0),
    ("fifty", 50.0),
    ("sixty", 60.0),
    ("ninety", 90.0),
    ("hundred", 100.0),
    ("thousand", 1000.0),
    ("dozen", 12.0),
    ("fortnight", 14.0),
];

/// Irregular forms → their base.
const IRREGULAR: [(&str, &str); 34] = [
    ("kept", "keep"),
    ("made", "make"),
    ("sent", "send"),
    ("written", "write"),
    ("wrote", "write"),
    ("ran", "run"),
    ("took", "take"),
    ("taken", "take"),
    ("thrown", "throw"),
    ("threw", "throw"),
    ("gone", "go"),
    ("went", "go"),
    ("told", "tell"),
    ("said", "say"),
    ("found", "find"),
    ("built", "build"),
    ("got", "get"),
    ("children", "child"),
    ("people", "person"),
    ("indices", "index"),
    ("mice", "mouse"),
    ("data", "data"),
    ("news", "news"),
    ("analyse", "analyz"),
    ("analyze", "analyz"),
    ("analysis", "analyz"),
    ("analyses", "analyz"),
    ("summarise", "summariz"),
    ("summaries", "summary"),
    ("series", "series"),
    ("movies", "movie"),
    ("organise", "organiz"),
    ("categorise", "categoriz"),
    ("broken", "break"),
];

/// The stem by which words are compared: `zipped`, `zips` and `zip` are one.
pub(crate) fn stem(word: &str) -> String {
    if let Some((_, base)) = IRREGULAR.iter().find(|(form, _)| *form == word) {
        return drop_e(base);
    }
    let word = word.strip_suffix("'s").unwrap_or(word);
    if word.len() <= 3 || !word.is_ascii() {
        return word.to_owned();
    }
    let mut base = word.to_owned();
    if let Some(cut) = word.strip_suffix("ies").filter(|cut| cut.len() > 1) {
        base = format!("{cut}y");
    } else if let Some(cut) = word.strip_suffix("ied").filter(|cut| cut.len() > 1) {
        base = format!("{cut}y");
    } else if let Some(cut) = word
        .strip_suffix("es")
        .filter(|cut| cut.ends_with(['s', 'x', 'z']) || cut.ends_with("ch") || cut.ends_with("sh"))
    {
        base = cut.to_owned();
    } else if word.ends_with('s')
        && !word.ends_with("ss")
        && !word.ends_with("us")
        && !word.ends_with("is")
    {
        base.pop();
    }
    for ending in ["ing", "ed"] {
        let vowel = |cut: &&str| cut.len() >= 2 && cut.contains(['a', 'e', 'i', 'o', 'u', 'y']);
        let exempt = base.ends_with("eed")
            || base.ends_with("thing")
            || base.ends_with("ring") && base.len() < 6;
        if let Some(cut) = base.strip_suffix(ending).filter(vowel)
            && !exempt
        {
            base = undouble(cut);
            break;
        }
    }
    let base = base.strip_suffix("ise").map_or(base.clone(), |cut| {
        if base.len() > 6 {
            format!("{cut}iz")
        } else {
            base.clone()
        }
    });
    drop_e(&base)
}

fn undouble(word: &str) -> String {
    let bytes = word.as_bytes();
    let n = bytes.len();
    let double = n > 3
        && bytes[n - 1] == bytes[n - 2]
        && !matches!(bytes[n - 1], b'l' | b's' | b'z' | b'f' | b'e' | b'o');
    if double {
        word[..n - 1].to_owned()
    } else if word.ends_with('s') && word.ends_with("is") && n > 6 {
        format!("{}z", &word[..n - 1])
    } else {
        word.to_owned()
    }
}

fn drop_e(word: &str) -> String {
    // A note is not "not".
    if word.len() > 3 && word != "note" {
        word.strip_suffix('e').unwrap_or(word).to_owned()
    } else {
        word.to_owned()
    }
}

/// The value of a number word.
pub(crate) fn number_word(word: &str) -> Option<f64> {
    // "one", "second" and "a" are too often something else.
    NUMBERS
        .iter()
        .find(|(name, _)| *name == word && *name != "one" && *name != "fortnight")
        .map(|(_, value)| *value)
}

static PLAIN_STEMS: LazyLock<BTreeSet<String>> =
    LazyLock::new(|| PLAIN.split_whitespace().map(stem).collect());
static VAGUE_STEMS: LazyLock<BTreeSet<String>> =
    LazyLock::new(|| VAGUE.split_whitespace().map(stem).collect());

/// Whether the word needs no explanation in any request.
pub(crate) fn is_plain(token: &Token) -> bool {
    PLAIN_STEMS.contains(&token.stem) || PLAIN_STEMS.contains(&token.lower)
}

/// Whether the word says nothing about what is wanted.
pub(crate) fn is_vague(token: &Token) -> bool {
    is_plain(token) || VAGUE_STEMS.contains(&token.stem)
}

/// All words that something here understands.
#[derive(Clone, Debug)]
pub(crate) struct Vocabulary {
    /// Whole words by first letter, for typing errors.
    known: BTreeMap<char, Vec<String>>,
    whole: BTreeSet<String>,
    stems: BTreeSet<String>,
}

/// The words of times, of demands and of any request.
static COMMON: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let numbers = NUMBERS.iter().map(|(name, _)| *name);
    let demands = crate::demands::demands().flat_map(|demand| demand.phrases.iter().copied());
    [crate::schedule::WORDS, PLAIN, VAGUE, OTHERS]
        .into_iter()
        .flat_map(str::split_whitespace)
        .chain(numbers)
        .chain(demands)
        .flat_map(crate::patterns::words)
        .collect()
});

impl Vocabulary {
    /// The words of these foundations, of times, and of any request.
    pub(crate) fn of<'a>(foundations: impl IntoIterator<Item = &'a Foundation>) -> Self {
        let mut whole = COMMON.clone();
        for foundation in foundations {
            whole.extend(foundation.patterns.whole.iter().cloned());
        }
        let mut known: BTreeMap<char, Vec<String>> = BTreeMap::new();
        let others: BTreeSet<&str> = OTHERS.split_whitespace().collect();
        for word in whole.iter().filter(|word| !others.contains(word.as_str())) {
            if let Some(first) = word.chars().next().filter(|_| word.len() >= 4) {
                known.entry(first).or_default().push(word.clone());
            }
        }
        Self {
            stems: whole.iter().map(|word| stem(word)).collect(),
            known,
            whole,
        }
    }

    /// Whether the word can be the name of a folder beside the word "folder".
    pub(crate) fn may_name(&self, token: &Token) -> bool {
        const NOT: &str = "the a an my our your this that these those each every any some whole entire same other \
         another new local target destination source output input shared given following called named current parent \
         sub of in on to from into and or with for is are it its all both one two separate different existing \
         specified specific certain single temporary watched old empty monitored whatever which where as at by \
         every nightly daily hourly weekly monthly remote network home root main working zip zipped up archive \
         contents content please folder directory dir but then than so if when once has have big large full \
         destination's i you we under inside outside out over be will should must can could would after before \
         back-up tidy keep clean backup sort sorted sorting";
        let lower = token.lower.as_str();
        !NOT.split_whitespace().any(|word| word == lower) && number_word(lower).is_none()
    }

    /// Whether the word is the name of a format, a kind or part of a set phrase with a slash.
    pub(crate) fn format_word(&self, lower: &str) -> bool {
        const FORMATS: &str = "csv json html md markdown rss atom zip tar tgz text txt and or he she his her on off am pm \
         in out read write get post put delete yes no up down change down warn warning error errors warnings info \
         days hours day hour week month name title author date id tcp ip xml yaml pdf sum avg count total totals";
        FORMATS.split_whitespace().any(|word| word == lower) || PLAIN_STEMS.contains(lower)
    }

    /// The word, or the known word that it is a typing error of.
    pub(crate) fn corrected(&self, lower: &str) -> String {
        let length = lower.chars().count();
        if length < 4 || self.whole.contains(lower) {
            return lower.to_owned();
        }
        if self.stems.contains(&stem(lower)) {
            // "minuts" has a known stem, but times are read by the letter.
            let mut times = crate::schedule::WORDS.split_whitespace();
            let meant = times.find(|word| {
                stem(word) == stem(lower)
                    && distance(lower, word, 1) == 1
                    && !plural_of(lower, word)
            });
            return meant.unwrap_or(lower).to_owned();
        }
        let allowed = if length >= 9 { 2 } else { 1 };
        let Some(candidates) = lower
            .chars()
            .next()
            .and_then(|first| self.known.get(&first))
        else {
            return lower.to_owned();
        };
        let mut best: Option<(usize, &String)> = None;
        let mut doubtful = false;
        for candidate in candidates {
            // A short word one letter away is more often another word than a typing error.
            let dropped = candidate.chars().count() == length + 1 && candidate.len() > 4;
            let short = length < 5 && !dropped && !swapped(lower, candidate);
            let distance = distance(lower, candidate, allowed);
            // Two slips in one word are believed where its end is right: "transcript" is no "transcribe".
            let slip = if distance > 1 {
                lower.chars().next_back() == candidate.chars().next_back()
            } else {
                slipped(lower, candidate)
            };
            if short || distance > allowed || plural_of(lower, candidate) || !slip {
                continue;
            }
            match best {
                Some((d, _)) if d < distance => {}
                Some((d, other)) if d == distance && stem(other) != stem(candidate) => {
                    // Letters are dropped more often than added: the longer word was meant.
                    match candidate.len().cmp(&other.len()) {
                        Ordering::Less => {}
                        Ordering::Equal => doubtful = true,
                        Ordering::Greater => {
                            (best, doubtful) = (Some((distance, candidate)), false);
                        }
                    }
                }
                _ => (best, doubtful) = (Some((distance, candidate)), false),
            }
        }
        match best {
            Some((_, word)) if !doubtful => word.clone(),
            _ => lower.to_owned(),
        }
    }
}

/// Whether one letter taken for another is a slip: of a finger to the next key, or of one vowel for another. A word
/// with any other letter is another word ("products", "produces").
fn slipped(a: &str, b: &str) -> bool {
    const ROWS: [&str; 3] = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];
    let place = |c: char| {
        let found = ROWS.iter().enumerate();
        found
            .filter_map(|(row, keys)| Some((row, keys.find(c)?)))
            .next()
    };
    let near = |x: char, y: char| match (place(x), place(y)) {
        (Some((r, k)), Some((s, l))) => r.abs_diff(s) <= 1 && k.abs_diff(l) <= 1,
        _ => false,
    };
    if a.chars().count() != b.chars().count() {
        return true;
    }
    let vowel = |c: char| "aeiouy".contains(c);
    let differ: Vec<(char, char)> = a.chars().zip(b.chars()).filter(|(x, y)| x != y).collect();
    match differ.as_slice() {
        [(x, y)] => near(*x, *y) || (vowel(*x) && vowel(*y)),
        _ => true,
    }
}

fn plural_of(a: &str, b: &str) -> bool {
    a.strip_suffix('s') == Some(b) || b.strip_suffix('s') == Some(a)
}

fn swapped(a: &str, b: &str) -> bool {
    let (mut x, mut y): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    x.sort_unstable();
    y.sort_unstable();
    x == y
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one word to the
/// other (optimal string alignment); anything above `limit` is `limit + 1`.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    if a.len().abs_diff(b.len()) > limit * 4 {
        return limit + 1;
    }
    strsim::osa_distance(a, b).min(limit + 1)
}
