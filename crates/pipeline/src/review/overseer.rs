//! The overseer: one call to an independent model about one tree of code.
//!
//! Its verdict names the digest that it saw. Anything but PASS or FAIL is a FAIL that cannot be read; no answer is no
//! verdict, and a person decides. It never mends anything.

use super::File;
use agentwright_domain::spec::Spec;
use agentwright_llm::{CallCx, Callers, Message, Request};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// What it is told; under 500 tokens (requirements A5).
pub(crate) const INSTRUCTIONS: &str = include_str!("../prompts/overseer.md");
/// So much of the purpose is its summary (requirements A5).
const SUMMARY_CHARS: usize = 200;
/// The longest answer, in tokens.
const OUTPUT_TOKENS: u32 = 400;
/// The longest reason that is kept, in characters.
const REASON_CHARS: usize = 400;

/// What it said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It may go on.
    Pass(String),
    /// It ends here.
    Fail(String),
}

/// Why there is no verdict.
#[derive(Debug)]
pub(crate) enum NoVerdict {
    /// More code than it is shown.
    TooLarge { bytes: usize, max: usize },
    /// The model did not answer, or may not be asked.
    Model(agentwright_llm::LlmError),
}

/// Asks once. `callers` must not try again by themselves.
pub(crate) async fn ask(
    callers: &Callers,
    spec: &Spec,
    files: &[File],
    max: usize,
    cancel: &CancellationToken,
) -> Result<Verdict, NoVerdict> {
    let bytes = files.iter().map(|file| file.bytes.len()).sum();
    if bytes > max {
        return Err(NoVerdict::TooLarge { bytes, max });
    }
    let request = Request {
        system: Some(INSTRUCTIONS.to_owned()),
        messages: vec![Message::user(shown(spec, files))],
        max_output_tokens: OUTPUT_TOKENS,
        ..Request::default()
    };
    let cx = CallCx {
        cancel: cancel.clone(),
        ..CallCx::default()
    };
    let reply = callers.complete(request, cx, |_| ()).await;
    reply
        .map(|reply| read(&reply.text))
        .map_err(NoVerdict::Model)
}

fn shown(spec: &Spec, files: &[File]) -> String {
    let summary: String = spec.purpose.trim().chars().take(SUMMARY_CHARS).collect();
    let mut text = format!("Summary: {}: {summary}\n", spec.name);
    for file in files {
        let content = String::from_utf8_lossy(&file.bytes);
        // A fence longer than any inside, so that no file can end its own.
        let fence = "`".repeat(longest_run(&content).max(2) + 1);
        text.push_str(&format!("\n{}\n{fence}\n{content}\n{fence}\n", file.path));
    }
    text
}

fn longest_run(text: &str) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

/// The first word decides: JSON with a verdict, or a line that begins with PASS or FAIL.
fn read(text: &str) -> Verdict {
    let text = text.trim();
    let from_json = serde_json::from_str::<serde_json::Value>(text).ok();
    let line = match &from_json {
        Some(json) => {
            let field = |name: &str| json.get(name).and_then(serde_json::Value::as_str);
            let verdict = field("verdict")
                .or_else(|| field("result"))
                .unwrap_or_default();
            format!("{verdict}: {}", field("reason").unwrap_or_default())
        }
        None => text
            .trim_start_matches(['*', '#', '`', ' ', '"'])
            .to_owned(),
    };
    let reason = |rest: &str| -> String {
        let rest = rest.trim_start_matches(|c: char| !c.is_alphanumeric());
        let first = rest.lines().next().unwrap_or_default().trim();
        let kept: String = first.chars().take(REASON_CHARS).collect();
        if kept.is_empty() {
            "it gave no reason".to_owned()
        } else {
            kept
        }
    };
    let word = |word: &str| {
        let rest = line.strip_prefix(word)?;
        let ends = rest.chars().next().is_none_or(|c| !c.is_alphanumeric());
        ends.then(|| reason(rest))
    };
    // A line that says both has not decided.
    match (word("PASS"), word("FAIL")) {
        (Some(why), _) if !line.contains("FAIL") => Verdict::Pass(why),
        (_, Some(why)) => Verdict::Fail(why),
        (Some(_) | None, None) => {
            let said: String = text.chars().take(120).collect();
            Verdict::Fail(format!("unparsable: {said:?} is neither PASS nor FAIL"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_pass_passes() {
        for (text, pass) in [
            ("PASS: it does what it says", true),
            ("  **PASS** - fine", true),
            ("PASS", true),
            (r#"{"verdict": "PASS", "reason": "good"}"#, true),
            ("FAIL: a key in main.py", false),
            (r#"{"verdict": "FAIL", "reason": "a key"}"#, false),
            ("PASSABLE: maybe", false),
            ("PASS or FAIL, hard to say", false),
            ("I think this should PASS", false),
            ("pass", false),
            ("", false),
            ("PASS: …\nbut actually FAIL", false),
        ] {
            let verdict = read(text);
            assert_eq!(
                matches!(verdict, Verdict::Pass(_)),
                pass,
                "{text:?}: {verdict:?}"
            );
        }
        assert_eq!(
            read("FAIL: the key sk-… is in main.py\nmore"),
            Verdict::Fail("the key sk-… is in main.py".to_owned())
        );
        assert!(matches!(read("well"), Verdict::Fail(why) if why.starts_with("unparsable")));
    }

    #[test]
    fn the_instructions_stay_under_five_hundred_tokens() {
        // Models split English into about 1.3 tokens a word; two a word and every sign counted is an upper bound.
        let words = INSTRUCTIONS.split_whitespace().count();
        assert!(words * 2 < 500, "{words} words");
    }

    #[test]
    fn a_file_cannot_end_its_own_fence() {
        assert_eq!(longest_run("a ```` b `"), 4);
        assert_eq!(longest_run(""), 0);
    }
}
