//! Colours for code: comments, texts, numbers and keywords, so that a diff can be read at a glance.
//!
//! Not a parser: one pass over the characters with what the languages of automations share. What it does
//! not know stays plain. Bounded by the caller (`diff.rs`).

/// What a piece of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    Plain,
    Keyword,
    Text,
    Number,
    Comment,
}

impl Ink {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Keyword => "k",
            Self::Text => "s",
            Self::Number => "n",
            Self::Comment => "c",
        }
    }
}

/// A piece of a line: what it is and how many bytes it has.
pub(crate) type Piece = (Ink, usize);

struct Language {
    line_comment: &'static [&'static str],
    block_comment: Option<(&'static str, &'static str)>,
    quotes: &'static [&'static str],
    keywords: &'static [&'static str],
}

const PYTHON: Language = Language {
    line_comment: &["#"],
    block_comment: None,
    quotes: &["\"\"\"", "'''", "\"", "'"],
    keywords: &[
        "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
        "elif", "else", "except", "False", "finally", "for", "from", "global", "if", "import",
        "in", "is", "lambda", "None", "nonlocal", "not", "or", "pass", "raise", "return", "True",
        "try", "while", "with", "yield", "match", "case", "self",
    ],
};
const SCRIPT: Language = Language {
    line_comment: &["//"],
    block_comment: Some(("/*", "*/")),
    quotes: &["\"", "'", "`"],
    keywords: &[
        "async",
        "await",
        "break",
        "case",
        "catch",
        "class",
        "const",
        "continue",
        "default",
        "else",
        "export",
        "extends",
        "false",
        "finally",
        "fn",
        "for",
        "from",
        "function",
        "if",
        "impl",
        "import",
        "in",
        "let",
        "match",
        "mod",
        "mut",
        "new",
        "null",
        "of",
        "pub",
        "return",
        "static",
        "struct",
        "switch",
        "this",
        "throw",
        "true",
        "try",
        "type",
        "undefined",
        "use",
        "var",
        "while",
        "yield",
    ],
};
const SHELL: Language = Language {
    line_comment: &["#"],
    block_comment: None,
    quotes: &["\"", "'"],
    keywords: &[
        "case", "do", "done", "elif", "else", "esac", "exec", "exit", "export", "fi", "for",
        "function", "if", "in", "local", "return", "set", "then", "until", "while", "true",
        "false", "null",
    ],
};
const SQL: Language = Language {
    line_comment: &["--"],
    block_comment: Some(("/*", "*/")),
    quotes: &["'", "\""],
    keywords: &[
        "SELECT", "FROM", "WHERE", "AND", "OR", "NOT", "NULL", "INSERT", "INTO", "VALUES",
        "UPDATE", "SET", "DELETE", "CREATE", "TABLE", "JOIN", "LEFT", "ON", "ORDER", "GROUP", "BY",
        "LIMIT", "AS", "DISTINCT", "select", "from", "where", "and", "or", "not", "null", "insert",
        "into", "values", "update", "set", "delete", "create", "table", "join", "left", "on",
        "order", "group", "by", "limit", "as", "distinct",
    ],
};
const JSON: Language = Language {
    line_comment: &[],
    block_comment: None,
    quotes: &["\""],
    keywords: &["true", "false", "null"],
};
const PLAIN: Language = Language {
    line_comment: &[],
    block_comment: None,
    quotes: &[],
    keywords: &[],
};

fn language(path: &str) -> &'static Language {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit('.').next() {
        Some("py") => &PYTHON,
        Some("js" | "mjs" | "ts" | "rs" | "go" | "c" | "java" | "css") => &SCRIPT,
        Some("sh" | "bash" | "toml" | "yaml" | "yml" | "ini" | "cfg") => &SHELL,
        Some("sql") => &SQL,
        Some("json") => &JSON,
        Some(_) | None => &PLAIN,
    }
}

/// The pieces of each line of a file; a line's pieces have as many bytes as the line, without its end.
pub(crate) fn pieces(path: &str, text: &str) -> Vec<Vec<Piece>> {
    let mut reader = Reader {
        language: language(path),
        open: None,
    };
    text.lines().map(|line| reader.line(line)).collect()
}

/// What goes on over the end of a line.
#[derive(Clone, Copy)]
struct Open {
    until: &'static str,
    ink: Ink,
}

struct Reader {
    language: &'static Language,
    open: Option<Open>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut rest = line;
        while !rest.is_empty() {
            let (ink, length) = self.next(rest);
            match pieces.last_mut() {
                Some((last, bytes)) if *last == ink => *bytes += length,
                Some(_) | None => pieces.push((ink, length)),
            }
            rest = &rest[length..];
        }
        pieces
    }

    /// The piece that a rest begins with; never empty, always whole characters.
    fn next(&mut self, rest: &str) -> Piece {
        if let Some(open) = self.open {
            return self.until(rest, 0, open);
        }
        let it = self.language;
        if it.line_comment.iter().any(|mark| rest.starts_with(mark)) {
            return (Ink::Comment, rest.len());
        }
        if let Some((begin, until)) = it
            .block_comment
            .filter(|(begin, _)| rest.starts_with(begin))
        {
            let open = Open {
                until,
                ink: Ink::Comment,
            };
            return self.until(rest, begin.len(), open);
        }
        if let Some(quote) = it.quotes.iter().find(|quote| rest.starts_with(**quote)) {
            let open = Open {
                until: quote,
                ink: Ink::Text,
            };
            return self.until(rest, quote.len(), open);
        }
        let word = word_length(rest);
        if word > 0 {
            let text = &rest[..word];
            let ink = if it.keywords.contains(&text) {
                Ink::Keyword
            } else if text.starts_with(|c: char| c.is_ascii_digit()) && !it.quotes.is_empty() {
                Ink::Number
            } else {
                Ink::Plain
            };
            return (ink, word);
        }
        (Ink::Plain, rest.chars().next().map_or(1, char::len_utf8))
    }

    /// Up to the end mark; a short quote ends with its line, the others go on.
    fn until(&mut self, rest: &str, from: usize, open: Open) -> Piece {
        let mut at = from;
        while at < rest.len() {
            let here = &rest[at..];
            if here.starts_with(open.until) {
                self.open = None;
                return (open.ink, at + open.until.len());
            }
            let mut characters = here.chars();
            at += match (open.ink, characters.next()) {
                (Ink::Text, Some('\\')) => 1 + characters.next().map_or(0, char::len_utf8),
                (_, Some(c)) => c.len_utf8(),
                (_, None) => 1,
            };
        }
        let goes_on = open.until.len() > 1 || open.until == "`";
        self.open = goes_on.then_some(open);
        (open.ink, rest.len())
    }
}

fn word_length(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, text: &str) -> Vec<Vec<(Ink, String)>> {
        let lines: Vec<&str> = text.lines().collect();
        pieces(path, text)
            .into_iter()
            .zip(lines)
            .map(|(pieces, line)| {
                let mut at = 0;
                let words = pieces.into_iter().map(|(ink, length)| {
                    let word = line[at..at + length].to_owned();
                    at += length;
                    (ink, word)
                });
                words.collect()
            })
            .collect()
    }

    #[test]
    fn a_line_of_python_shows_keywords_texts_numbers_and_comments() {
        let lines = told("main.py", "def a(b=12): # why\n    return \"it's \\\" é\"");
        let find = |ink: Ink| -> Vec<String> {
            let all = lines.iter().flatten().filter(|(is, _)| *is == ink);
            all.map(|(_, word)| word.clone()).collect()
        };
        assert_eq!(find(Ink::Keyword), ["def", "return"]);
        assert_eq!(find(Ink::Number), ["12"]);
        assert_eq!(find(Ink::Comment), ["# why"]);
        assert_eq!(find(Ink::Text), ["\"it's \\\" é\""]);
    }

    #[test]
    fn a_long_text_goes_on_over_lines_and_ends() {
        let lines = told("a.py", "x = '''one\nimport two\n''' + y");
        assert_eq!(lines[1], [(Ink::Text, "import two".to_owned())]);
        assert_eq!(lines[2][0], (Ink::Text, "'''".to_owned()));
        let lines = told("a.js", "/* a\nreturn */ let b");
        assert_eq!(lines[1][0], (Ink::Comment, "return */".to_owned()));
    }

    #[test]
    fn every_byte_of_any_text_is_in_exactly_one_piece() {
        for path in [
            "a.py", "a.json", "a.sh", "a.sql", "a.js", "README", "x/y.md",
        ] {
            for text in [
                "",
                "\"open",
                "é\\",
                "'\\",
                "```",
                "-- x",
                "0x1f_é",
                "\u{1f600}#",
            ] {
                let lines = pieces(path, text);
                let bytes: usize = lines.iter().flatten().map(|(_, length)| length).sum();
                assert_eq!(
                    bytes,
                    text.lines().map(str::len).sum::<usize>(),
                    "{path} {text}"
                );
            }
        }
    }
}
