//! Text from elsewhere made fit for a receiver: no control characters, within its length, and nothing that
//! its markup would read as a command. Pure.

/// What is put where a text was cut.
const CUT: char = '…';

/// Without control characters (a line break and a tab stay) and without the marks that turn the direction of
/// writing around.
pub(crate) fn plain(text: &str) -> String {
    let kept = |c: &char| {
        let turning = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        (!c.is_control() || matches!(c, '\n' | '\t')) && !turning
    };
    text.chars().filter(kept).collect()
}

/// The same in one line.
pub(crate) fn line(text: &str) -> String {
    let words = plain(text);
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Cut so that `size` of it, added up over its characters, is at most `max`.
fn clip(text: &str, max: usize, size: fn(char) -> usize) -> String {
    if text.chars().map(size).sum::<usize>() <= max {
        return text.to_owned();
    }
    let mut room = max.saturating_sub(size(CUT));
    let mut kept = String::new();
    for c in text.chars() {
        if size(c) > room {
            break;
        }
        room -= size(c);
        kept.push(c);
    }
    if size(CUT) <= max {
        kept.push(CUT);
    }
    kept
}

/// At most so many bytes of UTF-8.
pub(crate) fn clip_bytes(text: &str, max: usize) -> String {
    clip(text, max, char::len_utf8)
}

/// At most so many units of UTF-16: what services written in JavaScript or Elixir count is never more.
pub(crate) fn clip_utf16(text: &str, max: usize) -> String {
    clip(text, max, char::len_utf16)
}

/// For Slack: the three characters that begin its links, mentions and entities
/// (docs.slack.dev, "Formatting message text"). `<!channel>` then is five words, and no call.
pub(crate) fn slack(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            c => safe.push(c),
        }
    }
    safe
}

/// For Discord: every character of its Markdown behind a backslash, and `@` torn from the word after it, so
/// that `@everyone` calls nobody, also where a client ignores `allowed_mentions`.
pub(crate) fn discord(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in plain(text).chars() {
        let marks = matches!(
            c,
            '\\' | '*'
                | '_'
                | '~'
                | '`'
                | '|'
                | '>'
                | '<'
                | '#'
                | '['
                | ']'
                | '('
                | ')'
                | '-'
                | ':'
        );
        if marks {
            safe.push('\\');
        }
        safe.push(c);
        if c == '@' {
            safe.push('\u{200b}');
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_turned_writing_are_taken_out() {
        assert_eq!(plain("a\u{1b}[31mb\u{0}\r\n\tc\u{202e}d"), "a[31mb\n\tcd");
        assert_eq!(line("a\r\nBcc: x\tb"), "a Bcc: x b");
    }

    #[test]
    fn a_cut_text_is_never_longer_than_allowed_and_says_that_it_was_cut() {
        assert_eq!(clip_bytes("short", 5), "short");
        assert_eq!(clip_bytes("longer", 5), "lo…");
        assert_eq!(clip_bytes("äöüß", 6), "ä…");
        assert_eq!(clip_bytes("longer", 2), "");
        assert_eq!(clip_utf16("👋👋👋", 4), "👋…");
        for max in 0..40 {
            let text = "aä👋…bcä👋👋xyz";
            assert!(clip_bytes(text, max).len() <= max);
            assert!(clip_utf16(text, max).encode_utf16().count() <= max);
        }
    }

    #[test]
    fn nobody_is_called_through_the_text_of_a_notice() {
        assert_eq!(
            slack("<!channel> & <@U1>"),
            "&lt;!channel&gt; &amp; &lt;@U1&gt;"
        );
        assert_eq!(discord("@everyone"), "@\u{200b}everyone");
        assert_eq!(
            discord("<@&1> [x](y) **b**"),
            "\\<@\u{200b}&1\\> \\[x\\]\\(y\\) \\*\\*b\\*\\*"
        );
    }
}
