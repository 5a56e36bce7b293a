//! A build's progress as it happens: live lines on a terminal, plain lines elsewhere, nothing for scripts.
//!
//! Feed it a [`BuildDetail`] as often as you like: it says what is new since the last one.

use agentwright_api::{BuildDetail, BuildStatus, Event};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::OwoColorize as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use crate::describe;
use crate::output::{Out, safe_line};

/// How often the spinner turns.
const TURN: Duration = Duration::from_millis(100);
/// The most lines of a preview that are shown; `show` has them all.
const PREVIEW_SHOWN: usize = 12;

/// What was said of a build so far; kept while a person is asked at a gate.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The last event.
    pub(crate) event: i64,
    stages: usize,
    levels: usize,
    preview: bool,
    status: Option<BuildStatus>,
}

impl Seen {
    /// All that the build shows now.
    pub(crate) fn all_of(build: &BuildDetail) -> Self {
        Self {
            event: build.seq,
            stages: build.stages.len(),
            levels: build.levels.len(),
            preview: !build.preview.is_empty(),
            status: None,
        }
    }
}

/// Says what was not said yet.
pub(crate) struct Progress<'a> {
    out: &'a Out,
    spinner: Option<ProgressBar>,
    seen: &'a mut Seen,
}

impl<'a> Progress<'a> {
    /// Goes on after what was seen.
    pub(crate) fn new(out: &'a Out, seen: &'a mut Seen) -> Self {
        let live = !out.is_json() && std::io::stderr().is_terminal();
        let spinner = live.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // Invariant: the template is a constant that indicatif can read; a test reads it.
            if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TURN);
            bar
        });
        Self { out, spinner, seen }
    }

    /// The last event that was seen.
    pub(crate) fn seen_event(&self) -> i64 {
        self.seen.event
    }

    /// Says what is new.
    pub(crate) fn show(&mut self, build: &BuildDetail) {
        for stage in build.stages.iter().skip(self.seen.stages) {
            if stage.stage == "verify" {
                self.levels(build, |attempt| attempt <= stage.attempt);
            }
            self.say(&describe::stage(stage));
            if stage.stage == "preview" && !self.seen.preview && !build.preview.is_empty() {
                self.seen.preview = true;
                for line in preview(&build.preview) {
                    self.say(&line);
                }
            }
        }
        self.seen.stages = self.seen.stages.max(build.stages.len());
        // Those of a verify that still works.
        self.levels(build, |_| true);
        let status = build.build.status();
        if self.seen.status != Some(status) {
            self.seen.status = Some(status);
            match status {
                BuildStatus::Queued if build.stages.is_empty() => self.now("waits for its turn"),
                BuildStatus::Resuming => self.say("– its worker is gone; it goes on by itself"),
                BuildStatus::Queued
                | BuildStatus::Running
                | BuildStatus::Waiting
                | BuildStatus::Completed
                | BuildStatus::Failed
                | BuildStatus::Rejected
                | BuildStatus::Cancelled => {}
            }
        }
        if status == BuildStatus::Running {
            self.now(&build.build.stage);
        }
    }

    /// Says what the stage does at the moment.
    pub(crate) fn event(&mut self, event: &Event) {
        self.seen.event = event.seq;
        if event.event == "progress" {
            let percent = event
                .data
                .get("percent")
                .and_then(serde_json::Value::as_u64);
            let percent = percent.map_or_else(String::new, |number| format!(" {number} %"));
            self.now(&format!("{}{percent}: {}", event.stage, event.message));
        }
    }

    /// The levels that were not said yet, as far as their attempt is meant.
    fn levels(&mut self, build: &BuildDetail, meant: impl Fn(u32) -> bool) {
        while let Some(level) = build.levels.get(self.seen.levels) {
            if !meant(level.attempt) {
                return;
            }
            self.say(&describe::level(level));
            self.seen.levels += 1;
        }
    }

    /// A line that stays.
    pub(crate) fn say(&self, line: &str) {
        if self.out.is_json() {
            return;
        }
        match &self.spinner {
            Some(bar) => bar.suspend(|| self.out.note(line)),
            None => self.out.note(line),
        }
    }

    /// What is going on; shown on a terminal only, until the next one.
    fn now(&self, text: &str) {
        if let Some(bar) = &self.spinner {
            bar.set_message(safe_line(text));
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.spinner {
            bar.finish_and_clear();
        }
    }
}

const TEMPLATE: &str = "{spinner} {wide_msg} {elapsed:>4}";

/// A preview's lines, indented, with a word about those left out.
pub(crate) fn preview(lines: &[String]) -> Vec<String> {
    let mut shown: Vec<String> = lines
        .iter()
        .take(PREVIEW_SHOWN)
        .map(|line| format!("    {}", safe_line(line)))
        .collect();
    if lines.len() > PREVIEW_SHOWN {
        let more = lines.len() - PREVIEW_SHOWN;
        shown.push(format!("    … and {more} more lines").dimmed().to_string());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_one_that_indicatif_reads() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn a_long_preview_is_cut_and_says_so() {
        let lines = vec!["would create\u{7} 1 zip".to_owned(); PREVIEW_SHOWN + 3];
        let shown = preview(&lines);
        assert_eq!(shown.len(), PREVIEW_SHOWN + 1);
        assert!(shown[0].contains("\\u{7}"));
        assert!(shown[PREVIEW_SHOWN].contains("3 more"));
    }
}
