//! Verdicts on a labelled set of traces: how many stalls are found, how many are false alarms, how late they are told.
//!
//! The traces are ours, made after incidents that users of other builders reported; they are no recordings.

use agentwright_queue::stall::{Doing, Sample, Verdict, judge};

const MINUTE: i64 = 60_000;
const LOOK: i64 = MINUTE;

/// What a trace does from minute to minute.
#[derive(Clone, Copy)]
enum Does {
    /// A model answers, so many bytes a minute.
    Streams(u64),
    /// A model is asked and sends nothing.
    Silent,
    /// Processor time, per mille; no output.
    Computes(i64),
    /// Reads or writes slowly, without processor time.
    Transfers,
    /// Logs a line now and then.
    Logs,
    /// Acts: the number is the action's digest; each changes a file.
    Builds(u64),
    /// Acts and changes nothing: rounds of these digests.
    Repeats(&'static [u64]),
    /// Different actions that change nothing.
    Wanders,
    /// Nothing at all.
    Idles,
    /// Nothing, in a step that said so many minutes ago that it takes so long.
    Sleeps(i64),
    /// Its result is there, and nothing more comes.
    Finished,
    /// Its result is there, and it tidies up.
    Tidies,
    /// Waits for a person.
    Gate,
    /// Waits for its turn.
    Queue,
    /// Waits for a quota, so many minutes from its begin on.
    Parked(i64),
    /// Waits for a budget.
    Broke,
    /// Reports progress.
    Reports,
}

struct Trace {
    name: &'static str,
    stalls: bool,
    steps: Vec<(i64, Does)>,
}

fn trace(name: &'static str, stalls: bool, steps: &[(i64, Does)]) -> Trace {
    Trace {
        name,
        stalls,
        steps: steps.to_vec(),
    }
}

fn play(trace: &Trace) -> Vec<Sample> {
    let mut at = Sample {
        at_ms: 1_000_000_000,
        doing: Doing::Working {
            step_until_ms: None,
        },
        call_open: false,
        model_bytes: 0,
        cpu_ms: 0,
        io_bytes: 0,
        log_bytes: 0,
        progress: 0,
        tree: 1,
        actions: Vec::new(),
        result_at_ms: None,
    };
    let mut samples = vec![at.clone()];
    let mut n = 0_u64;
    for (minutes, does) in &trace.steps {
        let begin_ms = at.at_ms;
        for minute in 0..*minutes {
            n += 1;
            at.at_ms += LOOK;
            at.doing = Doing::Working {
                step_until_ms: None,
            };
            at.actions = Vec::new();
            at.call_open = false;
            // What every process uses for its timers.
            at.cpu_ms += 20;
            match *does {
                Does::Streams(bytes) => {
                    at.call_open = true;
                    at.model_bytes += bytes;
                    at.io_bytes += bytes;
                }
                Does::Silent => at.call_open = true,
                Does::Computes(permille) => at.cpu_ms += LOOK * permille / 1_000,
                Does::Transfers => at.io_bytes += 4_096,
                Does::Logs => at.log_bytes += u64::from(minute % 7 == 0) * 40,
                Does::Builds(action) => {
                    at.actions = vec![action + n];
                    at.tree += 1;
                    at.cpu_ms += 900;
                }
                Does::Repeats(round) => {
                    let index = usize::try_from(minute).unwrap() % round.len();
                    at.actions = vec![round[index]];
                    at.cpu_ms += 900;
                    at.io_bytes += 100;
                    at.log_bytes += 20;
                    at.model_bytes += 300;
                }
                Does::Wanders => {
                    at.actions = vec![n * 7, n * 7 + 1];
                    at.model_bytes += 300;
                    at.cpu_ms += 900;
                }
                Does::Idles => {}
                Does::Sleeps(takes) => {
                    at.doing = Doing::Working {
                        step_until_ms: Some(begin_ms + takes * MINUTE),
                    };
                }
                Does::Finished => at.result_at_ms = at.result_at_ms.or(Some(begin_ms)),
                Does::Tidies => {
                    at.result_at_ms = at.result_at_ms.or(Some(begin_ms));
                    at.cpu_ms += 5_000;
                    at.io_bytes += 50_000;
                }
                Does::Gate => at.doing = Doing::Gate,
                Does::Queue => at.doing = Doing::Queued,
                Does::Parked(takes) => {
                    at.doing = Doing::Parked {
                        until_ms: Some(begin_ms + takes * MINUTE),
                    };
                }
                Does::Broke => at.doing = Doing::Parked { until_ms: None },
                Does::Reports => {
                    at.progress += 1;
                    at.cpu_ms += 100;
                }
            }
            samples.push(at.clone());
        }
    }
    samples
}

fn traces() -> Vec<Trace> {
    use Does::{
        Broke, Builds, Computes, Finished, Gate, Idles, Logs, Parked, Queue, Repeats, Reports,
        Silent, Sleeps, Streams, Tidies, Transfers, Wanders,
    };
    vec![
        // At work, or waiting for what will come.
        trace(
            "an ordinary build",
            false,
            &[
                (5, Streams(900)),
                (10, Builds(1)),
                (3, Reports),
                (5, Streams(900)),
            ],
        ),
        trace(
            "a slow compile, an hour without a word",
            false,
            &[(3, Streams(900)), (60, Computes(900))],
        ),
        trace(
            "a compile of three hours",
            false,
            &[(2, Builds(1)), (180, Computes(990))],
        ),
        trace(
            "a compile on a starved machine",
            false,
            &[(2, Builds(1)), (90, Computes(15))],
        ),
        trace(
            "a long download at a crawl",
            false,
            &[(2, Builds(1)), (110, Transfers)],
        ),
        trace(
            "a test that logs now and then",
            false,
            &[(2, Builds(1)), (90, Logs)],
        ),
        trace(
            "a model that pauses for 405 seconds",
            false,
            &[(5, Streams(900)), (7, Silent), (5, Streams(900))],
        ),
        trace(
            "nine such pauses in a row",
            false,
            &[
                (1, Streams(9)),
                (7, Silent),
                (1, Streams(9)),
                (7, Silent),
                (1, Streams(9)),
                (7, Silent),
                (1, Streams(9)),
                (7, Silent),
                (1, Streams(9)),
            ],
        ),
        trace(
            "a model that drips a byte a minute",
            false,
            &[(120, Streams(1))],
        ),
        trace(
            "a model that thinks for nine minutes first",
            false,
            &[(9, Silent), (5, Streams(900))],
        ),
        trace(
            "a tool that computes between two questions",
            false,
            &[(3, Streams(900)), (25, Computes(400)), (3, Streams(900))],
        ),
        trace(
            "a gate over a weekend",
            false,
            &[(5, Builds(1)), (3_000, Gate)],
        ),
        trace("a queue for a day", false, &[(1_440, Queue)]),
        trace(
            "a quota for five hours",
            false,
            &[(5, Streams(900)), (299, Parked(300)), (5, Streams(900))],
        ),
        trace(
            "a quota that ends a little late",
            false,
            &[(5, Streams(900)), (306, Parked(300)), (5, Streams(900))],
        ),
        trace(
            "a budget that is spent",
            false,
            &[(5, Streams(900)), (2_000, Broke)],
        ),
        trace(
            "a test that waits an hour by its own timer",
            false,
            &[(2, Builds(1)), (60, Sleeps(60)), (3, Builds(9))],
        ),
        trace(
            "a service watched for two hours",
            false,
            &[(2, Builds(1)), (120, Sleeps(125))],
        ),
        trace(
            "a wait for a resource, then work",
            false,
            &[(2, Builds(1)), (19, Idles), (10, Builds(5))],
        ),
        trace(
            "short waits between work",
            false,
            &[
                (15, Idles),
                (1, Builds(1)),
                (15, Idles),
                (1, Builds(1)),
                (15, Idles),
                (1, Builds(1)),
            ],
        ),
        trace(
            "the same test after each change",
            false,
            &[
                (1, Builds(1)),
                (1, Repeats(&[7])),
                (1, Builds(1)),
                (1, Repeats(&[7])),
                (1, Builds(1)),
                (1, Repeats(&[7])),
                (1, Builds(1)),
                (1, Repeats(&[7])),
                (1, Builds(1)),
                (1, Repeats(&[7])),
                (1, Builds(1)),
                (1, Repeats(&[7])),
            ],
        ),
        trace(
            "five polls of one job",
            false,
            &[(2, Builds(1)), (5, Repeats(&[7])), (2, Builds(1))],
        ),
        trace(
            "two files read in turn, four times",
            false,
            &[(8, Repeats(&[3, 4])), (2, Builds(1))],
        ),
        trace(
            "much reading before the first change",
            false,
            &[(25, Wanders), (5, Builds(1))],
        ),
        trace(
            "a result, then tidying up",
            false,
            &[(5, Builds(1)), (12, Tidies)],
        ),
        trace(
            "a result and an end soon after",
            false,
            &[(5, Builds(1)), (3, Finished)],
        ),
        trace(
            "work after a restart",
            false,
            &[(30, Queue), (1, Idles), (10, Builds(1))],
        ),
        trace(
            "work after a gate of a day",
            false,
            &[(5, Builds(1)), (1_440, Gate), (2, Idles), (3, Builds(1))],
        ),
        trace(
            "progress without output",
            false,
            &[
                (1, Reports),
                (18, Idles),
                (1, Reports),
                (18, Idles),
                (1, Reports),
            ],
        ),
        trace("nothing yet", false, &[(1, Idles)]),
        // Stalled.
        trace(
            "a stream that stops in the middle",
            true,
            &[(5, Streams(900)), (30, Silent)],
        ),
        trace("a model that never begins", true, &[(25, Silent)]),
        trace(
            "a stream that stops after a long build",
            true,
            &[(60, Builds(1)), (3, Streams(500)), (20, Silent)],
        ),
        trace(
            "a result, and the program stays",
            true,
            &[(5, Builds(1)), (40, Finished)],
        ),
        trace(
            "a result at once, and the program stays",
            true,
            &[(30, Finished)],
        ),
        trace(
            "tidying up that never ends quietly",
            true,
            &[(5, Builds(1)), (5, Tidies), (30, Finished)],
        ),
        trace(
            "a deadlock without a word",
            true,
            &[(5, Builds(1)), (60, Idles)],
        ),
        trace(
            "a program that waits for input",
            true,
            &[(2, Builds(1)), (3, Logs), (45, Idles)],
        ),
        trace(
            "a connection that was lost",
            true,
            &[(2, Builds(1)), (10, Transfers), (40, Idles)],
        ),
        trace("nothing from the start", true, &[(45, Idles)]),
        trace(
            "a step that is long over",
            true,
            &[(2, Builds(1)), (60, Sleeps(20))],
        ),
        trace(
            "a quota that is over and nobody goes on",
            true,
            &[(5, Streams(900)), (60, Parked(20))],
        ),
        trace(
            "81 successes of one kind",
            true,
            &[(3, Builds(1)), (81, Repeats(&[7]))],
        ),
        trace(
            "a tight loop from the start",
            true,
            &[(1, Idles), (20, Repeats(&[9]))],
        ),
        trace(
            "to and fro between two",
            true,
            &[(3, Builds(1)), (30, Repeats(&[3, 4]))],
        ),
        trace(
            "round in a circle of three",
            true,
            &[(3, Builds(1)), (40, Repeats(&[3, 4, 5]))],
        ),
        trace(
            "round in a circle of four",
            true,
            &[(3, Builds(1)), (60, Repeats(&[3, 4, 5, 6]))],
        ),
        trace(
            "wandering about without a change",
            true,
            &[(3, Builds(1)), (80, Wanders)],
        ),
        trace(
            "an endless loop of a program",
            true,
            &[(3, Builds(1)), (300, Computes(990))],
        ),
        trace(
            "a deadlock after a gate",
            true,
            &[(5, Builds(1)), (600, Gate), (40, Idles)],
        ),
        trace(
            "a loop after much good work",
            true,
            &[(120, Builds(1)), (25, Repeats(&[8]))],
        ),
        trace(
            "a stream that stops after pauses",
            true,
            &[
                (1, Streams(9)),
                (7, Silent),
                (1, Streams(9)),
                (7, Silent),
                (1, Streams(9)),
                (30, Silent),
            ],
        ),
    ]
}

#[test]
fn stalls_are_found_and_nothing_that_works_or_waits_is_called_one() {
    let traces = traces();
    let (mut missed, mut alarms, mut latest) = (Vec::new(), Vec::new(), 0);
    let (mut stalled, mut looks) = (0, 0);
    for trace in &traces {
        let samples = play(trace);
        let told = (1..=samples.len()).find(|seen| judge(&samples[..*seen]).is_stall());
        if trace.stalls {
            stalled += 1;
            match told {
                Some(at) => latest = latest.max(at),
                None => missed.push(trace.name),
            }
        } else {
            looks += samples.len();
            if let Some(at) = told {
                alarms.push(format!(
                    "{} at minute {at}: {:?}",
                    trace.name,
                    judge(&samples[..at])
                ));
            }
        }
    }
    let recall = f64::from(stalled - u32::try_from(missed.len()).unwrap()) / f64::from(stalled);
    let healthy = traces.iter().filter(|trace| !trace.stalls).count();
    let rate = alarms.len() as f64 / healthy as f64;
    println!(
        "{} traces: recall {recall:.3} of {stalled}, false alarms {rate:.3} of {healthy} ({looks} looks)",
        traces.len()
    );
    assert!(traces.len() >= 40);
    assert!(recall >= 0.98, "missed: {missed:?}");
    assert!(rate <= 0.01, "false alarms: {alarms:#?}");
}

#[test]
fn each_kind_of_stall_is_told_by_what_it_is() {
    let verdict = |name: &str| {
        let trace = traces()
            .into_iter()
            .find(|trace| trace.name == name)
            .unwrap();
        judge(&play(&trace))
    };
    for (name, says) in [
        (
            "a stream that stops in the middle",
            "model has sent nothing",
        ),
        ("a result, and the program stays", "gave its result"),
        ("a deadlock without a word", "nothing of it has moved"),
        ("a step that is long over", "long over"),
        ("a quota that is over and nobody goes on", "wait is over"),
    ] {
        assert!(
            matches!(verdict(name), Verdict::Hung(why) if why.contains(says)),
            "{name}"
        );
    }
    for (name, says) in [
        ("81 successes of one kind", "the same"),
        ("to and fro between two", "2 steps"),
        ("round in a circle of three", "3 steps"),
        ("wandering about without a change", "changed nothing"),
        ("an endless loop of a program", "nothing has come of it"),
    ] {
        assert!(
            matches!(verdict(name), Verdict::Looping(why) if why.contains(says)),
            "{name}: {:?}",
            verdict(name)
        );
    }
    assert_eq!(verdict("a gate over a weekend"), Verdict::Waiting);
    assert_eq!(verdict("a compile of three hours"), Verdict::Working);
    assert_eq!(judge(&[]), Verdict::Working);
}
