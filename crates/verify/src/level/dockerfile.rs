//! Dockerfiles, parsed without an engine: known instructions, and a `FROM` before anything that needs one.

/// The instructions of a Dockerfile.
const INSTRUCTIONS: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// The error names the line.
pub(crate) fn parse(text: &str) -> Result<(), String> {
    let mut from = false;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let number = number + 1;
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let word = word.to_ascii_uppercase();
        if !INSTRUCTIONS.contains(&word.as_str()) {
            return Err(format!("line {number}: {word:?} is no instruction"));
        }
        if rest.trim().is_empty() {
            return Err(format!("line {number}: {word} needs an argument"));
        }
        if !from && !matches!(word.as_str(), "FROM" | "ARG") {
            return Err(format!("line {number}: {word} comes before FROM"));
        }
        from |= word == "FROM";
        skip_continued(line, &mut lines);
        skip_here_document(rest, number, &mut lines)?;
    }
    if from {
        Ok(())
    } else {
        Err("there is no FROM".into())
    }
}

fn skip_continued<'a>(first: &'a str, lines: &mut impl Iterator<Item = (usize, &'a str)>) {
    let mut line = first;
    while line.trim_end().ends_with('\\') || line.trim_start().starts_with('#') {
        match lines.next() {
            Some((_, next)) => line = next,
            None => return,
        }
    }
}

fn skip_here_document<'a>(
    rest: &str,
    number: usize,
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
) -> Result<(), String> {
    let Some((_, after)) = rest.split_once("<<") else {
        return Ok(());
    };
    let end: String = after
        .trim_start_matches(['-', '"', '\''])
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    if end.is_empty() || lines.any(|(_, line)| line.trim_start_matches('\t') == end) {
        Ok(())
    } else {
        Err(format!(
            "line {number}: the here-document has no end {end:?}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensible_dockerfile_parses() {
        let text = "# syntax=docker/dockerfile:1\nARG V=3\nFROM python:$V AS b\nRUN a \\\n  # note\n  && b\n\
                    COPY <<EOF /x\nnot an instruction\nEOF\nCMD [\"x\"]\n";
        assert_eq!(parse(text), Ok(()));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, why) in [
            ("", "no FROM"),
            ("RUN x", "line 1: RUN comes before FROM"),
            ("FROM x\nRUNN y", "line 2: \"RUNN\""),
            ("FROM", "needs an argument"),
            ("FROM x\nCOPY <<E /x\n", "has no end"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
