//! What a spec's SQL may say to our own SQLite: nothing that reaches another file or changes the engine.
//!
//! A spec may come from a model. `ATTACH` and `VACUUM INTO` write wherever we may, so statements with such words
//! are refused before they are run. Words in texts, quoted names and comments do not count.

/// Words that reach beyond the database.
const REFUSED: &[&str] = &["ATTACH", "DETACH", "VACUUM", "PRAGMA", "LOAD_EXTENSION"];

/// The error names the word.
pub(crate) fn check(statement: &str) -> Result<(), String> {
    match words(statement).find(|word| {
        REFUSED
            .iter()
            .any(|refused| word.eq_ignore_ascii_case(refused))
    }) {
        None => Ok(()),
        Some(word) => Err(format!(
            "{word} is not allowed in SQL of an acceptance (quote it where it is a name): it reaches beyond the database"
        )),
    }
}

/// Unquoted words, in order.
fn words(statement: &str) -> impl Iterator<Item = &str> {
    let mut rest = statement;
    std::iter::from_fn(move || {
        loop {
            let first = rest.chars().next()?;
            let (length, is_word) = token(rest, first);
            let (taken, left) = rest.split_at(length);
            rest = left;
            if is_word {
                return Some(taken);
            }
        }
    })
}

/// The length in bytes of the token that a text begins with, and whether it is a word.
fn token(text: &str, first: char) -> (usize, bool) {
    let upto = |end: &str, from: usize| {
        text[from..]
            .find(end)
            .map_or(text.len(), |at| from + at + end.len())
    };
    match first {
        // A doubled quote inside is the end of one token and the start of the next: the same to us.
        '\'' | '"' | '`' => (upto(&first.to_string(), 1), false),
        '[' => (upto("]", 1), false),
        '-' if text.starts_with("--") => (upto("\n", 2), false),
        '/' if text.starts_with("/*") => (upto("*/", 2), false),
        c if is_part(c) => (text.find(|c| !is_part(c)).unwrap_or(text.len()), true),
        c => (c.len_utf8(), false),
    }
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_reach_beyond_the_database_are_refused() {
        for statement in [
            "ATTACH DATABASE '/etc/x' AS y",
            "SELECT 1; attach '/x' as y",
            "SELECT 'a''b'; VACUUM INTO '/tmp/x'",
            "/* a */ Pragma writable_schema = 1",
            "SELECT \"x\" -- y\n; ATTACH '/x' AS z",
            "SELECT load_extension('x')",
            "SELECT '--'; ATTACH '/x' AS z",
            "SELECT '/*'; ATTACH '/x' AS z -- */",
        ] {
            assert!(check(statement).is_err(), "{statement}");
        }
    }

    #[test]
    fn the_same_words_as_texts_names_and_comments_are_fine() {
        for statement in [
            "INSERT INTO t VALUES ('attach it''s vacuum')",
            "SELECT \"attach\", [vacuum], `pragma` FROM t -- attach",
            "/* attach */ SELECT attachment, vacuum_cleaner FROM t",
            "SELECT 'unterminated attach",
            "SELECT 'é' AS ü",
            "",
        ] {
            assert_eq!(check(statement), Ok(()), "{statement}");
        }
    }
}
