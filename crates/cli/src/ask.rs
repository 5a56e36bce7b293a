//! Questions to the person at the terminal. Only asked where [`crate::output::can_ask`].
//!
//! A question can be left with Ctrl-C or the end of input: then nothing is decided.

use std::io::{BufRead as _, Read as _, Write as _};

use crate::output::safe;

/// The longest answer that is read, in bytes.
const ANSWER_MAX_BYTES: u64 = 64 * 1024;

/// An answer to a question of yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Go on.
    Yes,
    /// Do not.
    No,
    /// Not now: left, or the input ended.
    Later,
}

/// Asks until the answer is yes or no; an empty answer counts as `default`.
pub(crate) async fn yes_or_no(question: &str, default: Answer) -> Answer {
    let choices = match default {
        Answer::Yes => "[Y/n]",
        Answer::No => "[y/N]",
        Answer::Later => "[y/n]",
    };
    loop {
        let Some(answer) = text(&format!("{question} {choices}")).await else {
            return Answer::Later;
        };
        match answer.to_ascii_lowercase().as_str() {
            "y" | "yes" => return Answer::Yes,
            "n" | "no" => return Answer::No,
            "" if default != Answer::Later => return default,
            _ => {}
        }
    }
}

/// Asks for a line; `None` when the question was left.
pub(crate) async fn text(question: &str) -> Option<String> {
    let _ = write!(anstream::stderr(), "{question} ").and_then(|()| anstream::stderr().flush());
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        match std::io::stdin()
            .lock()
            .take(ANSWER_MAX_BYTES)
            .read_line(&mut line)
        {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim().to_owned()),
        }
    });
    tokio::select! {
        answer = read => answer.ok().flatten().map(|line| safe(&line)),
        _ = tokio::signal::ctrl_c() => {
            let _ = writeln!(anstream::stderr());
            None
        }
    }
}
