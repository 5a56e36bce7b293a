//! A person at a terminal: a pseudo-terminal of `script` (util-linux), its keys typed by the test.

use crate::home::{Home, README_WISH, eventually, finished};
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A command at a terminal, and what the terminal has shown so far.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    fn open(home: &Home, args: &str) -> Self {
        let ready = home.command(&[]);
        // `exec`: a shell that stays between would itself end by the terminal's SIGINT (dash: 130).
        let line = format!("exec {} {args}", env!("CARGO_BIN_EXE_agentwright"));
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .envs(
                ready
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .current_dir(home.work())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script, of util-linux");
        let keys = child.stdin.take().expect("its keys");
        let mut screen = child.stdout.take().expect("its screen");
        let shown = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut some) {
                let text = String::from_utf8_lossy(&some[..count]).into_owned();
                seen.lock().expect("the screen").push_str(&text);
            }
        });
        Self { child, keys, shown }
    }

    fn screen(&self) -> String {
        self.shown.lock().expect("the screen").clone()
    }

    /// Waits until this is on the screen.
    fn shows(&self, part: &str) {
        eventually(part, || self.screen().contains(part).then_some(()));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("a key");
        self.keys.flush().expect("a key");
    }

    /// Waits for the end; answers the exit code and the whole screen.
    fn end(self) -> (i32, String) {
        let Self { child, keys, shown } = self;
        let said = finished(child, &["at a terminal"]);
        drop(keys);
        let screen = shown.lock().expect("the screen").clone();
        (said.code, screen)
    }
}

fn wish() -> String {
    format!("build '{README_WISH}'")
}

#[test]
fn at_a_gate_the_person_is_asked_until_the_answer_is_yes_or_no() {
    let home = Home::with_notes();
    let mut terminal = Terminal::open(&home, &wish());
    terminal.shows("Go on? [y/n]");
    assert!(terminal.screen().contains("spec"), "progress was shown");
    terminal.press("perhaps\r");
    eventually("asked again", || {
        (terminal.screen().matches("Go on? [y/n]").count() > 1).then_some(())
    });
    terminal.press("yes\r");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("is deployed, version 1"), "{screen}");
}

#[test]
fn ctrl_c_at_a_question_leaves_the_build_waiting_and_says_how_to_go_on() {
    let home = Home::with_notes();
    let mut terminal = Terminal::open(&home, &wish());
    terminal.shows("Go on? [y/n]");
    terminal.press("\u{3}");
    let (code, screen) = terminal.end();
    assert_eq!(code, 3, "{screen}");
    assert!(screen.contains("agentwright approve"), "{screen}");
    let builds = home.json(0, &["list"]);
    assert_eq!(builds["items"][0]["status"], "waiting", "{builds}");
}

#[test]
fn a_no_at_the_gate_is_asked_for_its_reason_and_ends_the_build() {
    let home = Home::with_notes();
    let mut terminal = Terminal::open(&home, &wish());
    terminal.shows("Go on? [y/n]");
    terminal.press("n\r");
    terminal.shows("Why not?");
    terminal.press("not today\r");
    let (code, screen) = terminal.end();
    assert_eq!(code, 1, "{screen}");
    let shown = home.json(0, &["list"]).to_string();
    assert!(shown.contains("rejected"), "{shown}");
}
