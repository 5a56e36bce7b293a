//! `kill -9` of the real daemon at random moments of real builds. The moments are the same in every run; each
//! build is killed once and must go on by itself.

use crate::home::{Home, README_WISH, alive, eventually, kill, mounts_in, processes_in};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many kills; the number.
const KILLS: u32 = 50;
/// Homes that share them, so that one test's list of builds stays short.
const HOMES: u32 = 5;
/// A build takes about this long, ms: a kill falls anywhere in it, or just after.
const SPREAD_MS: u64 = 1_600;
/// Makes the moments the same in every run.
const SEED: u64 = 20_261_121;

fn killed_builds(nth: u32) {
    let mut random = StdRng::seed_from_u64(SEED + u64::from(nth));
    let home = Home::with_notes();
    for round in 0..KILLS / HOMES {
        home.done(&["daemon", "start"]);
        let pid = home.daemon().expect("a daemon");
        let label = format!("round-{round}");
        let args = ["build", "--yes", "--detach", "--label", &label, README_WISH];
        home.done(&args);
        let wait = Duration::from_millis(random.random_range(0..SPREAD_MS));
        // The moment is the point of this test.
        std::thread::sleep(wait);
        kill(pid);
        eventually("the killed daemon is gone", || (!alive(pid)).then_some(()));
        eventually("its sandboxes are gone with it", || {
            processes_in(&home.data()).is_empty().then_some(())
        });
        let end = home.json(0, &["watch", &label]);
        each_stage_once(&end, wait);
    }
    assert!(mounts_in(&home.data()).is_empty());
    scratch_is_empty(&home);
}

/// Every stage was recorded as done exactly once, in order.
fn each_stage_once(end: &Value, killed_after: Duration) {
    let mut done: BTreeMap<&str, usize> = BTreeMap::new();
    for stage in end["build"]["stages"].as_array().expect("stages") {
        if stage["status"] == "done" {
            *done
                .entry(stage["stage"].as_str().expect("a name"))
                .or_default() += 1;
        }
    }
    let stages = [
        "spec", "package", "generate", "review", "verify", "preview", "deploy", "register",
    ];
    for stage in stages {
        assert_eq!(
            done.get(stage),
            Some(&1),
            "{stage}, killed after {killed_after:?}: {end:#}"
        );
    }
    let levels = end["build"]["levels"].as_array().expect("levels");
    assert_eq!(levels.len(), 4, "killed after {killed_after:?}: {end:#}");
}

/// No build leaves anything in its scratch directory.
fn scratch_is_empty(home: &Home) {
    let builds = std::fs::read_dir(home.data().join("builds")).expect("builds");
    for build in builds.filter_map(Result::ok) {
        let scratch = build.path().join("scratch");
        let left = std::fs::read_dir(&scratch).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{}", scratch.display());
    }
}

#[test]
fn killed_at_ten_moments_builds_go_on_first_ten() {
    killed_builds(0);
}

#[test]
fn killed_at_ten_moments_builds_go_on_second_ten() {
    killed_builds(1);
}

#[test]
fn killed_at_ten_moments_builds_go_on_third_ten() {
    killed_builds(2);
}

#[test]
fn killed_at_ten_moments_builds_go_on_fourth_ten() {
    killed_builds(3);
}

#[test]
fn killed_at_ten_moments_builds_go_on_fifth_ten() {
    killed_builds(4);
}
