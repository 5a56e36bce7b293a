//! What reaches the terminal: results on standard output, everything said meanwhile on standard error.
//!
//! Invariant: text that comes from automations, models, files or the network goes through [`safe`] before
//! it is written, so that it cannot move the cursor or colour the screen. Colours and their removal
//! (`NO_COLOR`, not a terminal) are anstream's.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use owo_colors::OwoColorize as _;
use serde::Serialize;
use std::cell::Cell;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use crate::fault::Fault;

/// Lines are broken at this width where the terminal does not tell its own.
const WIDTH_DEFAULT: u16 = 100;
/// What is shown of an id, in characters.
const ID_SHOWN: usize = 13;

/// Where a command writes.
pub(crate) struct Out {
    json: bool,
    failure: Cell<Option<io::Error>>,
}

impl Out {
    /// For people, or as JSON for scripts.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            failure: Cell::new(None),
        }
    }

    /// Whether scripts read it.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// A line of the result; nothing in JSON. The text may hold our own colours.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            self.write(text.as_ref());
        }
    }

    /// A line on standard error, in JSON too.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        // Nobody is there to be told when standard error is closed.
        let _ = writeln!(anstream::stderr(), "{}", text.as_ref());
    }

    /// The result as one JSON document on one line; nothing for people.
    pub(crate) fn json(&self, value: &impl Serialize) {
        if self.json {
            match serde_json::to_string(value) {
                Ok(text) => self.write(&text),
                Err(error) => self.failure.set(Some(error.into())),
            }
        }
    }

    /// A document that is JSON for people too, such as a schema.
    pub(crate) fn document(&self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.write(&text),
            Err(error) => self.failure.set(Some(error.into())),
        }
    }

    /// Text as it is, such as a completion script.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        let mut stdout = io::stdout().lock();
        self.remember(stdout.write_all(bytes).and_then(|()| stdout.flush()));
    }

    /// The error met while writing, if any. A reader that went away (`| head`) is none.
    pub(crate) fn finish(&self) -> Result<(), Fault> {
        match self.failure.take() {
            None => Ok(()),
            Some(error) => Err(Fault::caused("write to standard output", &error)),
        }
    }

    fn write(&self, text: &str) {
        let mut stdout = anstream::stdout().lock();
        self.remember(writeln!(stdout, "{text}").and_then(|()| stdout.flush()));
    }

    fn remember(&self, written: io::Result<()>) {
        if let Err(error) = written
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            self.failure.set(Some(error));
        }
    }
}

/// Whether somebody can be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Text from elsewhere, with everything that a terminal would obey made visible. Line ends and tabs stay.
pub(crate) fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let obeyed = match c {
            '\n' | '\t' => false,
            // Marks that reorder or hide what stands beside them.
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}' => true,
            _ => c.is_control(),
        };
        if obeyed {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// The same on one line.
pub(crate) fn safe_line(text: &str) -> String {
    safe(text).replace('\n', "\\n").replace('\t', " ")
}

/// A word or more for a shell, quoted where it needs it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c));
    if plain {
        word.to_owned()
    } else {
        format!("'{}'", safe_line(word).replace('\'', r"'\''"))
    }
}

/// The beginning of an id: the milliseconds of its making, which is enough to name it.
pub(crate) fn short_id(id: &str) -> String {
    safe_line(id).chars().take(ID_SHOWN).collect()
}

/// A table with a head and without frames, as wide as the terminal; only the last column is broken over
/// lines. Cells must be [`safe_line`].
pub(crate) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width());
    table.set_header(head.iter().map(|word| word.to_uppercase()));
    table.add_rows(rows);
    for column in table.column_iter_mut().take(head.len().saturating_sub(1)) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    let mut lines = lines.into_iter();
    let first = lines.next().unwrap_or_default();
    let mut text = first.dimmed().to_string();
    for line in lines {
        text.push('\n');
        text.push_str(&line);
    }
    text
}

/// Columns of the terminal.
pub(crate) fn width() -> u16 {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col >= 40 => size.ws_col,
        Ok(_) | Err(_) => WIDTH_DEFAULT,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "only for showing how long ago something was; nothing is decided by it"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// A moment in the person's time zone and how far away it is: `2026-11-22 00:00 (in 5 h 12 min)`.
pub(crate) fn moment(ms: i64) -> String {
    let Ok(at) = Timestamp::from_millisecond(ms) else {
        return "unknown".to_owned();
    };
    let local = at.to_zoned(TimeZone::system());
    let away_ms = ms.saturating_sub(now().as_millisecond());
    let distance = duration(Duration::from_millis(away_ms.unsigned_abs()));
    let distance = if away_ms >= 0 {
        format!("in {distance}")
    } else {
        format!("{distance} ago")
    };
    format!("{} ({distance})", local.strftime("%a %Y-%m-%d %H:%M"))
}

/// How long ago, short: `3 min`.
pub(crate) fn age(ms: i64) -> String {
    let away = now().as_millisecond().saturating_sub(ms).max(0);
    duration(Duration::from_millis(away.unsigned_abs()))
}

/// The time of day in the person's zone, for logs.
pub(crate) fn clock(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(
        |_| "--:--:--".to_owned(),
        |at| {
            at.to_zoned(TimeZone::system())
                .strftime("%H:%M:%S")
                .to_string()
        },
    )
}

/// The person's time zone, as an IANA name.
pub(crate) fn zone() -> String {
    TimeZone::system()
        .iana_name()
        .filter(|name| TimeZone::get(name).is_ok())
        .unwrap_or("UTC")
        .to_owned()
}

/// A span, with its two largest units.
pub(crate) fn duration(span: Duration) -> String {
    let ms = span.as_millis();
    let s = span.as_secs();
    match s {
        0 => format!("{ms} ms"),
        1..=9 => format!("{}.{} s", s, (ms % 1000) / 100),
        10..=59 => format!("{s} s"),
        60..=3_599 => two(s / 60, "min", s % 60, "s", 10),
        3_600..=86_399 => two(s / 3_600, "h", (s % 3_600) / 60, "min", 24),
        _ => two(s / 86_400, "d", (s % 86_400) / 3_600, "h", 14),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str, rough_from: u64) -> String {
    if small == 0 || large >= rough_from {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

/// A size, in the unit that fits.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut tenths = u128::from(count) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(safe("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(safe("a\rb\u{7}\u{9b}31m"), "a\\u{d}b\\u{7}\\u{9b}31m");
        assert_eq!(safe("evil\u{202e}txt.exe"), "evil\\u{202e}txt.exe");
        assert_eq!(safe("zwei\n\tZeilen äöü 漢字"), "zwei\n\tZeilen äöü 漢字");
        assert_eq!(safe_line("a\nb"), "a\\nb");
    }

    #[test]
    fn shell_words_are_quoted_where_needed() {
        assert_eq!(quoted("./notes"), "./notes");
        assert_eq!(quoted("my notes"), "'my notes'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn spans_have_at_most_two_units() {
        for (ms, text) in [
            (12, "12 ms"),
            (1_250, "1.2 s"),
            (42_000, "42 s"),
            (61_000, "1 min 1 s"),
            (18_720_000, "5 h 12 min"),
            (90_000_000, "1 d 1 h"),
            (30 * 86_400_000, "30 d"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        assert_eq!(bytes(12), "12 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(10 << 20), "10.0 MiB");
        assert_eq!(bytes(3 << 40), "3.0 TiB");
    }

    #[test]
    fn a_table_has_a_head_and_no_blanks_at_line_ends() {
        let text = table(&["name", "is"], vec![vec!["a".into(), "well".into()]]);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert!(
            plain.contains("NAME") && plain.contains("a     well"),
            "{plain:?}"
        );
        assert!(plain.lines().all(|line| !line.ends_with(' ')), "{plain:?}");
    }
}
