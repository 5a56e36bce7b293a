//! What an automation wants a person to know: lines of `/state/notices.jsonl`, each
//! `{"title": "…", "body": "…"}`. Data only, bounded, shown under the automation's own name.
//!
//! Each line is delivered once although a run may be killed and run again: what a run has read is
//! remembered with that run's name, and counts only for later runs. Blocking.

use crate::layout::Layout;
use crate::tree::replace_file;
use agentwright_domain::ids::Slug;
use agentwright_domain::run::Notice;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;

/// Most notices taken from one run; one more says how many were left out.
pub const NOTICES_MAX: usize = 20;
/// Longest title, in characters.
pub const TITLE_MAX: usize = 200;
/// Longest body, in characters.
pub const BODY_MAX: usize = 4_000;
/// Most bytes read after one run.
pub const READ_MAX: u64 = 1 << 20;

#[derive(Default, Serialize, Deserialize)]
struct Position {
    /// Delivered for sure: up to here, in bytes.
    offset: u64,
    /// Delivered by this run if it was recorded: run and attempt, and up to where.
    pending: Option<(String, u64)>,
}

#[derive(Deserialize)]
struct Line {
    title: String,
    #[serde(default)]
    body: String,
}

/// The notices written since the last run. `run` names the run and the attempt.
pub fn take(layout: &Layout, name: &Slug, run: &str) -> Vec<Notice> {
    let at = layout.deployment(name).join("notices.position");
    let mut position: Position = fs::read(&at)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    if let Some((_, offset)) = position.pending.take_if(|(by, _)| by.as_str() != run) {
        position.offset = offset;
    }
    let Some((text, end)) = read_from(layout, name, &mut position.offset) else {
        return Vec::new();
    };
    position.pending = Some((run.to_owned(), end));
    let kept = serde_json::to_vec(&position).map(|bytes| replace_file(&at, &bytes));
    if !matches!(kept, Ok(Ok(()))) {
        tracing::warn!(automation = %name, "cannot remember which notices were delivered");
    }
    parse(name, &text)
}

/// New whole lines and where they end. A file that was made smaller is read from its start.
fn read_from(layout: &Layout, name: &Slug, offset: &mut u64) -> Option<(String, u64)> {
    let path = layout.state(name).join("notices.jsonl");
    // The automation owns this file: never follow a link, never wait on a pipe.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)
        .ok()?;
    let meta = file.metadata().ok().filter(fs::Metadata::is_file)?;
    if meta.len() < *offset {
        *offset = 0;
    }
    file.seek(SeekFrom::Start(*offset)).ok()?;
    let mut bytes = Vec::new();
    file.take(READ_MAX).read_to_end(&mut bytes).ok()?;
    let whole = bytes
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    // A line longer than all that is read would block the rest for ever.
    let whole = if whole == 0 && bytes.len() as u64 == READ_MAX {
        bytes.len()
    } else {
        whole
    };
    let end = *offset + whole as u64;
    Some((String::from_utf8_lossy(&bytes[..whole]).into_owned(), end))
}

fn parse(name: &Slug, text: &str) -> Vec<Notice> {
    let lines: Vec<Line> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let more = lines.len().saturating_sub(NOTICES_MAX);
    let mut notices: Vec<Notice> = lines
        .into_iter()
        .take(NOTICES_MAX)
        .map(|line| Notice {
            topic: "automation.notice".to_owned(),
            title: format!("{name}: {}", plain(&line.title, TITLE_MAX)),
            body: plain(&line.body, BODY_MAX),
        })
        .collect();
    if more > 0 {
        notices.push(Notice {
            topic: "automation.notice".to_owned(),
            title: format!("{name}: {more} further notices were left out"),
            body: String::new(),
        });
    }
    notices
}

/// Without control characters other than line ends, and cut.
fn plain(text: &str, max: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .take(max)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn place() -> (tempfile::TempDir, Layout, Slug) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let name = Slug::parse("watch").unwrap();
        fs::create_dir_all(layout.state(&name)).unwrap();
        (dir, layout, name)
    }

    fn say(layout: &Layout, name: &Slug, text: &str) {
        let path = layout.state(name).join("notices.jsonl");
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn titles(notices: &[Notice]) -> Vec<&str> {
        notices.iter().map(|n| n.title.as_str()).collect()
    }

    #[test]
    fn each_line_is_delivered_once_and_again_only_to_the_run_that_was_killed() {
        let (_dir, layout, name) = place();
        say(
            &layout,
            &name,
            "{\"title\": \"one\", \"body\": \"b\"}\nnot json\n",
        );
        assert_eq!(titles(&take(&layout, &name, "run-1/1")), ["watch: one"]);
        assert_eq!(titles(&take(&layout, &name, "run-1/1")), ["watch: one"]);
        say(&layout, &name, "{\"title\": \"two\"}\n{\"title\": \"hal");
        assert_eq!(titles(&take(&layout, &name, "run-2/1")), ["watch: two"]);
        assert!(take(&layout, &name, "run-3/1").is_empty());
    }

    #[test]
    fn notices_are_bounded_in_number_and_length_and_hold_no_control_characters() {
        let (_dir, layout, name) = place();
        let long = format!("{{\"title\": \"\\u001b[31m{}\"}}\n", "x".repeat(1_000));
        say(&layout, &name, &long.repeat(NOTICES_MAX + 5));
        let notices = take(&layout, &name, "r/1");
        assert_eq!(notices.len(), NOTICES_MAX + 1);
        assert!(notices[0].title.len() <= TITLE_MAX + "watch: ".len());
        assert!(!notices[0].title.contains('\u{1b}'));
        assert!(notices[NOTICES_MAX].title.contains("5 further"));
    }

    #[test]
    fn a_link_in_place_of_the_file_is_not_followed() {
        let (dir, layout, name) = place();
        let secret = dir.path().join("secret");
        fs::write(&secret, "{\"title\": \"stolen\"}\n").unwrap();
        std::os::unix::fs::symlink(&secret, layout.state(&name).join("notices.jsonl")).unwrap();
        assert!(take(&layout, &name, "r/1").is_empty());
    }

    #[test]
    fn a_file_that_was_emptied_is_read_from_its_start() {
        let (_dir, layout, name) = place();
        say(&layout, &name, "{\"title\": \"a long first line\"}\n");
        take(&layout, &name, "r/1");
        take(&layout, &name, "r/2");
        fs::write(
            layout.state(&name).join("notices.jsonl"),
            "{\"title\": \"x\"}\n",
        )
        .unwrap();
        assert_eq!(titles(&take(&layout, &name, "r/3")), ["watch: x"]);
    }

    #[test]
    fn a_line_longer_than_what_is_read_does_not_block_later_ones() {
        let (_dir, layout, name) = place();
        say(
            &layout,
            &name,
            &"x".repeat(usize::try_from(READ_MAX).unwrap()),
        );
        say(&layout, &name, "\n{\"title\": \"after\"}\n");
        assert!(take(&layout, &name, "r/1").is_empty());
        assert_eq!(titles(&take(&layout, &name, "r/2")), ["watch: after"]);
    }
}
