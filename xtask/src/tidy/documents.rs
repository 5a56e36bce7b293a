//! One Markdown page: its links lead somewhere, and the places that ARCHITECTURE.md names exist.

/// How a path of the repository begins where a page names one.
const PLACES: &[&str] = &[
    "crates/",
    "docs/",
    "xtask/",
    "bench/",
    "foundations/",
    "scripts/",
];

/// Complaints about the page at `path`. `leads` tells whether a link, relative to the page's folder,
/// leads to something; `exists` the same of a path from the top of the repository.
pub(crate) fn check(
    path: &str,
    text: &str,
    leads: &dyn Fn(&str) -> bool,
    exists: &dyn Fn(&str) -> bool,
) -> Vec<String> {
    let mut complaints = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let at = format!("{path}:{}", i + 1);
        for link in links(line) {
            if !leads(link) {
                complaints.push(format!("{at}: the link to {link} leads nowhere"));
            }
        }
        if path == "ARCHITECTURE.md" {
            for place in places(line).filter(|place| !exists(place)) {
                complaints.push(format!("{at}: there is no {place}"));
            }
        }
    }
    complaints
}

/// Targets of `[text](target)` inside the repository, without their `#anchor`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://"))
}

fn places(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| c.is_whitespace() || "`()[],;|#".contains(c))
        .filter(|word| PLACES.iter().any(|start| word.starts_with(start)))
        .filter(|word| !word.contains(['*', '<', '{', '…']))
        .map(|word| word.split("::").next().unwrap_or(word))
        .map(|word| word.trim_end_matches(['.', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_places_that_are_not_there_are_named() {
        let page = "See [the map](docs/map.md#top), [web](https://example.org) and `crates/a/src/b.rs`.\n\
                    crates/a/src/c.rs   a line of a drawing\n";
        let found = check(
            "ARCHITECTURE.md",
            page,
            &|link| link != "docs/map.md",
            &|place| place == "crates/a/src/b.rs" || place == "docs/map.md",
        );
        assert_eq!(
            found,
            [
                "ARCHITECTURE.md:1: the link to docs/map.md leads nowhere",
                "ARCHITECTURE.md:2: there is no crates/a/src/c.rs",
            ]
        );
    }

    #[test]
    fn other_pages_may_name_places_that_are_not_here() {
        let found = check("docs/x.md", "`crates/gone`", &|_| true, &|_| false);
        assert!(found.is_empty());
    }
}
