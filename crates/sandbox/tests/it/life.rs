//! Beginnings and ends: what is left behind, cancellation, services, and the death of the supervisor.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use agentwright_sandbox::{Ending, Error, Limits, Policy, Publish, Running};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::support::{alive, folder, python, run, sandbox, sh, until, writes};

/// A word for a command line that no other test uses.
fn word(name: &str) -> String {
    format!("{}{name}", std::process::id())
}

#[tokio::test]
async fn a_daemon_that_detaches_is_counted_killed_and_does_not_hold_the_run() {
    let seconds = word("1");
    let begun = Instant::now();
    let report = run(Policy::default(), python(&format!("import os\nif os.fork()==0:\n  os.setsid()\n  if os.fork()==0: os.execvp('sleep',['sleep','{seconds}'])\n  os._exit(0)\nos.wait()\nprint('gone')"))).await;
    assert_eq!(
        (report.ending, report.left_over_processes),
        (Ending::Exited(0), 1)
    );
    assert_eq!(report.stdout.text(), "gone\n");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "it held standard output open"
    );
    assert_eq!(alive(&seconds), 0);
}

#[tokio::test]
async fn a_process_that_forks_and_exits_for_ever_is_caught() {
    let limits = Limits {
        wall_ms: Some(1000),
        ..Limits::default()
    };
    let mark = word("2");
    let report = run(Policy { limits, ..Policy::default() }, python(&format!("import os,sys\nsys.argv=['{mark}']\nif os.fork(): os._exit(0)\nwhile True:\n  if os.fork(): os._exit(0)"))).await;
    assert!(report.left_over_processes >= 1);
    assert_eq!(report.ending, Ending::Exited(0));
}

#[tokio::test]
async fn processes_that_end_with_the_command_are_not_called_left_over() {
    let report = run(Policy::default(), sh("sleep 0.01 & sleep 0.01 & exit 0")).await;
    assert_eq!(
        (report.ending, report.left_over_processes),
        (Ending::Exited(0), 0)
    );
}

#[tokio::test]
async fn cancelling_kills_at_once_and_dropping_the_handle_too() {
    let seconds = word("3");
    let cancel = CancellationToken::new();
    let (box_, token) = (sandbox(), cancel.clone());
    let script = format!("echo up; sleep {seconds} & sleep {seconds}");
    let command = sh(&script);
    let task = tokio::spawn(async move { box_.run(Policy::default(), command, token).await });
    until("the command runs", || alive(&seconds) >= 2).await;
    cancel.cancel();
    let report = task.await.unwrap().unwrap();
    assert_eq!(
        (report.ending, report.stdout.text().as_str()),
        (Ending::Cancelled, "up\n")
    );
    assert_eq!(alive(&seconds), 0);
    let running = sandbox()
        .start(Policy::default(), sh(&script))
        .await
        .unwrap();
    until("the command runs", || alive(&seconds) >= 2).await;
    drop(running);
    until("the dropped sandbox ends", || alive(&seconds) == 0).await;
}

async fn service(script: &str, publish: Option<Publish>) -> Running {
    let limits = Limits {
        wall_ms: None,
        ..Limits::default()
    };
    sandbox()
        .start(
            Policy {
                limits,
                publish,
                ..Policy::default()
            },
            python(script),
        )
        .await
        .unwrap()
}

const ECHO: &str = "import socketserver\nclass H(socketserver.StreamRequestHandler):\n  def handle(self):\n    for l in self.rfile: self.wfile.write(b'echo '+l)\nsocketserver.ThreadingTCPServer.allow_reuse_address=True\ns=socketserver.ThreadingTCPServer(('127.0.0.1',8080),H)\nprint('ready',flush=True)\ns.serve_forever()";

async fn ready(running: &Running) {
    for _ in 0..400 {
        if running.connect(8080).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the service does not listen");
}

async fn say(stream: &mut tokio::net::TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = vec![0; text.len() + 5];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_service_is_published_reached_looked_at_and_stopped() {
    let publish = Publish {
        inside_port: 8080,
        host: "127.0.0.1:0".parse().unwrap(),
    };
    let running = service(ECHO, Some(publish)).await;
    ready(&running).await;
    let address = running.published().unwrap();
    assert!(address.ip().is_loopback() && address.port() != 0);
    let mut outside = tokio::net::TcpStream::connect(address).await.unwrap();
    assert_eq!(say(&mut outside, "hello\n").await, "echo hello\n");
    let mut direct = running.connect(8080).await.unwrap();
    assert_eq!(say(&mut direct, "again\n").await, "echo again\n");
    assert!(
        matches!(running.connect(9).await, Err(Error::Io { .. })),
        "nothing listens there"
    );
    let processes = running.processes().await.unwrap();
    assert_eq!(processes.len(), 1);
    assert_eq!(
        (processes[0].argv[0].as_str(), processes[0].pid_inside),
        ("python3", 2)
    );
    assert!(processes[0].rss_bytes > 1 << 20);
    let taken = Publish {
        inside_port: 8080,
        host: address,
    };
    let again = sandbox()
        .start(
            Policy {
                publish: Some(taken),
                ..Policy::default()
            },
            python(ECHO),
        )
        .await;
    assert!(matches!(again, Err(Error::AddressInUse(a)) if a == address));
    running.stop(Duration::from_secs(2)).await;
    assert_eq!(running.wait().await.unwrap().ending, Ending::Signalled(15));
    // A neighbour that is being started holds a copy of every descriptor until its exec.
    until("the port is free again", || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
    assert!(matches!(running.connect(8080).await, Err(Error::Ended)));
    assert!(matches!(running.processes().await, Err(Error::Ended)));
}

#[tokio::test]
async fn stopping_waits_for_the_grace_and_then_kills() {
    let running = service("import signal,sys\nsignal.signal(15,lambda *a:(print('bye'),sys.exit(3)))\nprint('up',flush=True)\nsignal.pause()", None).await;
    first_line(&running).await;
    running.stop(Duration::from_secs(5)).await;
    let report = running.wait().await.unwrap();
    assert_eq!(
        (report.ending, report.stdout.text().as_str()),
        (Ending::Exited(3), "up\nbye\n")
    );
    let deaf = service("import signal\nsignal.signal(15,signal.SIG_IGN)\nprint('up',flush=True)\nwhile True: signal.pause()", None).await;
    first_line(&deaf).await;
    let begun = Instant::now();
    deaf.stop(Duration::from_millis(200)).await;
    assert_eq!(deaf.wait().await.unwrap().ending, Ending::Signalled(9));
    assert!(
        begun.elapsed() >= Duration::from_millis(200) && begun.elapsed() < Duration::from_secs(4)
    );
}

async fn first_line(running: &Running) {
    for _ in 0..400 {
        let waiting = running.processes().await.unwrap();
        if waiting
            .iter()
            .any(|p| p.state == 'S' && p.rss_bytes > 5 << 20)
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

#[tokio::test]
async fn live_lines_arrive_while_the_command_runs() {
    let running = sandbox()
        .start(
            Policy::default(),
            sh("echo one; echo two >&2; sleep 0.2; printf three; sleep 0.2"),
        )
        .await
        .unwrap();
    let mut lines = running.subscribe_output();
    let mut seen = Vec::new();
    while let Ok(line) = lines.recv().await {
        seen.push(line.text);
        if seen.len() == 3 {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, ["one", "three", "two"]);
    assert_eq!(running.wait().await.unwrap().ending, Ending::Exited(0));
}

/// Not a test of its own: the supervisor that the next test kills. It does nothing unless it is asked to.
#[tokio::test]
async fn a_supervisor_to_be_killed() {
    let Some(request) = std::env::var_os("AW_TEST_HOLD") else {
        return;
    };
    let request = request.into_string().unwrap();
    let (dir, seconds) = request.split_once(' ').unwrap();
    let policy = Policy {
        mounts: vec![writes(dir.as_ref(), "/data/d")],
        limits: Limits {
            wall_ms: None,
            ..Limits::default()
        },
        ..Policy::default()
    };
    let script = format!("trap '' HUP TERM INT; (setsid sleep {seconds} &) ; sleep {seconds}");
    let running = sandbox().start(policy, sh(&script)).await.unwrap();
    println!("HOLDING");
    running.wait().await.unwrap();
}

#[tokio::test]
async fn killing_the_supervisor_leaves_no_process_mount_or_directory() {
    let (data, seconds) = (folder(), word("4"));
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let mut supervisor = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "life::a_supervisor_to_be_killed", "--nocapture"])
        .env(
            "AW_TEST_HOLD",
            format!("{} {seconds}", data.path().display()),
        )
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(supervisor.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("HOLDING")));
    until("both sleepers run", || alive(&seconds) >= 2).await;
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    until("nothing is left", || alive(&seconds) == 0).await;
    assert_eq!(mounts(), before);
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn many_sandboxes_run_side_by_side() {
    let sandbox = sandbox();
    let runs = (0..12).map(|n| {
        let sandbox = sandbox.clone();
        tokio::spawn(async move {
            sandbox
                .run(
                    Policy::default(),
                    sh(&format!("echo {n}; id -u")),
                    CancellationToken::new(),
                )
                .await
                .unwrap()
        })
    });
    for (n, run) in runs.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(run.await.unwrap().stdout.text(), format!("{n}\n1000\n"));
    }
    sandbox.drained().await;
}

/// The process ids of bubblewraps that this test has started.
fn bubblewraps() -> Vec<i32> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .nth(1);
        stat.contains("(bwrap)") && parent == Some(own.as_str())
    };
    pids.filter(ours).collect()
}

/// Not a test of its own: kills the walls of its own sandbox. It has a process of its own, because others have theirs.
#[tokio::test]
async fn a_sandbox_whose_walls_are_killed() {
    let Some(seconds) = std::env::var_os("AW_TEST_BREAK").map(|s| s.into_string().unwrap()) else {
        return;
    };
    let limits = Limits {
        wall_ms: None,
        ..Limits::default()
    };
    let running = sandbox()
        .start(
            Policy {
                limits,
                ..Policy::default()
            },
            sh(&format!("sleep {seconds} & sleep {seconds}")),
        )
        .await
        .unwrap();
    until("the command runs", || alive(&seconds) >= 2).await;
    for pid in bubblewraps() {
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(pid).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
    }
    let error = running.wait().await.unwrap_err().to_string();
    assert!(error.contains("without an account"), "{error}");
    until("nothing is left", || alive(&seconds) == 0).await;
    assert!(bubblewraps().is_empty());
    println!("BROKEN AND CLEAN");
}

#[test]
fn killing_bubblewrap_alone_is_reported_and_leaves_nothing() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "life::a_sandbox_whose_walls_are_killed",
            "--nocapture",
        ])
        .env("AW_TEST_BREAK", word("5"))
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("BROKEN AND CLEAN"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Not a test of its own: starts sandboxes without end, for the next test to kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_that_never_rests() {
    if std::env::var_os("AW_TEST_CHURN").is_none() {
        return;
    }
    let sandbox = sandbox();
    sandbox.probe().await;
    println!("HOLDING");
    loop {
        let runs = (0..3).map(|_| {
            sandbox.run(
                Policy::default(),
                sh("sleep 0.002"),
                CancellationToken::new(),
            )
        });
        for run in runs.map(Box::pin).collect::<Vec<_>>() {
            run.await.unwrap();
        }
    }
}

/// Processes of sandboxes that this supervisor has started.
fn sandboxes_of(supervisor: u32) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines
        .filter(|line| line.contains("__sandbox-init") && line.contains(&format!(" {supervisor} ")))
        .collect()
}

#[tokio::test]
async fn a_supervisor_killed_at_any_moment_of_a_start_leaves_nothing() {
    for round in 0..40_u64 {
        let mut supervisor = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "life::a_supervisor_that_never_rests",
                "--nocapture",
            ])
            .env("AW_TEST_CHURN", "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(supervisor.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("HOLDING")));
        tokio::time::sleep(Duration::from_micros(round * 331 % 9000)).await;
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        until("nothing is left", || {
            sandboxes_of(supervisor.id()).is_empty()
        })
        .await;
    }
}

#[test]
fn what_a_dead_daemon_left_is_killed_by_the_next_one() {
    let mut left = std::process::Command::new("sh")
        .args([
            "-c",
            "read x",
            "bwrap",
            "__sandbox-init",
            "5",
            "6",
            "999999999",
        ])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut other = std::process::Command::new("sh")
        .args([
            "-c",
            "read x",
            "bwrap",
            "__sandbox-init",
            "5",
            "6",
            &std::process::id().to_string(),
        ])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    sandbox();
    assert!(!left.wait().unwrap().success());
    assert!(
        other.try_wait().unwrap().is_none(),
        "a living daemon's sandboxes are not touched"
    );
    other.kill().unwrap();
    other.wait().unwrap();
}
