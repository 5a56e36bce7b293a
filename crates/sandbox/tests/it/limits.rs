//! Every limit stops what passes it, and is named in the ending.

use std::time::{Duration, Instant};

use agentwright_sandbox::{Ending, Limit, Limits, OUTPUT_DRAIN_FACTOR, Policy};

use crate::support::{folder, output, python, run, sh, writes};

const MIB: u64 = 1024 * 1024;

fn limited(limits: Limits) -> Policy {
    Policy {
        limits,
        ..Policy::default()
    }
}

#[tokio::test]
async fn wall_time_ends_a_command_that_ignores_every_signal_and_still_accounts_for_it() {
    let limits = Limits {
        wall_ms: Some(1500),
        ..Limits::default()
    };
    let begun = Instant::now();
    let report = run(limited(limits), python("import signal,time\nfor s in range(1,65):\n  try: signal.signal(s,signal.SIG_IGN)\n  except Exception: pass\nprint('deaf')\nwhile time.process_time()<0.2: pass\ntime.sleep(60)")).await;
    assert_eq!(report.ending, Ending::Stopped(Limit::Wall));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(report.stdout.text(), "deaf\n");
    assert!(
        report.usage.cpu_ms >= 100 && report.usage.wall_ms >= 1500,
        "{:?}",
        report.usage
    );
}

#[tokio::test]
async fn cpu_time_is_counted_over_all_processes() {
    let limits = Limits {
        cpu_ms: Some(500),
        ..Limits::default()
    };
    let report = run(
        limited(limits),
        sh("for i in 1 2 3; do (while :; do :; done) & done; wait"),
    )
    .await;
    assert_eq!(report.ending, Ending::Stopped(Limit::Cpu));
    assert!(
        (500..2000).contains(&report.usage.cpu_ms),
        "{:?}",
        report.usage
    );
}

#[tokio::test]
async fn memory_is_counted_over_all_processes_and_over_shared_mappings() {
    let limits = Limits {
        memory_bytes: 200 * MIB,
        ..Limits::default()
    };
    let bombs = [
        "b=[]\nwhile True: b.append(bytearray(8<<20))",
        "import os,time\nfor i in range(20):\n  if os.fork()==0:\n    b=bytearray(60<<20)\n    time.sleep(60)\ntime.sleep(60)",
        "import mmap,time\nb=[]\nwhile True:\n  m=mmap.mmap(-1,8<<20); m.write(b'x'*(8<<20)); b.append(m)",
    ];
    for bomb in bombs {
        let begun = Instant::now();
        let report = run(limited(limits.clone()), python(bomb)).await;
        assert_eq!(
            report.ending,
            Ending::Stopped(Limit::Memory),
            "{bomb} {}",
            report.stderr.text()
        );
        assert!(
            begun.elapsed() < Duration::from_secs(10) && report.usage.max_rss_bytes < 1200 * MIB,
            "{:?}",
            report.usage
        );
    }
    let shared = "import os,time\nb=bytearray(100<<20)\nfor i in range(6):\n  if os.fork()==0:\n    time.sleep(0.6); os._exit(0)\nfor i in range(6): os.wait()\nprint('fine')";
    assert_eq!(
        output(limited(limits), python(shared)).await,
        "fine\n",
        "copies that were never written count once"
    );
}

#[tokio::test]
async fn files_in_memory_count_as_memory_and_are_bounded() {
    let limits = Limits {
        memory_bytes: 100 * MIB,
        ..Limits::default()
    };
    let report = run(
        limited(limits),
        sh("head -c 200M /dev/zero > /tmp/x; sleep 10"),
    )
    .await;
    assert_eq!(report.ending, Ending::Stopped(Limit::Memory));
    let limits = Limits {
        scratch_bytes: 4 * MIB,
        ..Limits::default()
    };
    let text = output(limited(limits), sh("head -c 8M /dev/zero > /tmp/x || echo full; head -c 8M /dev/zero > /state/x || echo full")).await;
    assert_eq!(text, "full\nfull\n");
}

#[tokio::test]
async fn a_fork_bomb_runs_into_its_own_limit_only() {
    let limits = Limits {
        processes: 40,
        wall_ms: Some(3000),
        ..Limits::default()
    };
    let count = "import os,time\nn=0\ntry:\n  while True:\n    if os.fork()==0: time.sleep(30)\n    n+=1\nexcept BlockingIOError: print(n, flush=True)\n";
    let report = run(limited(limits.clone()), python(count)).await;
    let forks: u32 = report.stdout.text().trim().parse().unwrap();
    assert!((20..=40).contains(&forks), "{forks}");
    assert_eq!(report.left_over_processes, forks);
    let report = run(limited(limits), sh(":(){ :|:& };:; sleep 60")).await;
    assert!(report.usage.max_processes <= 41, "{:?}", report.usage);
}

#[tokio::test]
async fn a_file_larger_than_the_limit_is_cut() {
    let limits = Limits {
        file_size_bytes: MIB,
        ..Limits::default()
    };
    let said = output(limited(limits), python("import signal\nsignal.signal(signal.SIGXFSZ,signal.SIG_IGN)\ntry: open('/state/f','wb').write(b'x'*(2<<20))\nexcept OSError as e: print(e.errno)")).await;
    assert_eq!(said, "27\n");
}

#[tokio::test]
async fn filling_a_declared_folder_is_stopped_near_the_limit() {
    let data = folder();
    let limits = Limits {
        disk_bytes: 40 * MIB,
        ..Limits::default()
    };
    let policy = Policy {
        mounts: vec![writes(data.path(), "/data/d")],
        limits,
        ..Policy::default()
    };
    let report = run(
        policy,
        sh("i=0; while :; do i=$((i+1)); head -c 1M /dev/zero > /data/d/$i; done"),
    )
    .await;
    assert_eq!(report.ending, Ending::Stopped(Limit::Disk));
    assert!(
        (40 * MIB..200 * MIB).contains(&report.usage.disk_bytes),
        "{:?}",
        report.usage
    );
}

#[tokio::test]
async fn a_folder_that_was_large_before_is_not_held_against_the_command() {
    let data = folder();
    std::fs::write(data.path().join("old"), vec![1; 8 << 20]).unwrap();
    let limits = Limits {
        disk_bytes: 4 * MIB,
        ..Limits::default()
    };
    let policy = Policy {
        mounts: vec![writes(data.path(), "/data/d")],
        limits,
        ..Policy::default()
    };
    let report = run(policy, sh("head -c 1M /dev/zero > /data/d/new; sleep 0.3")).await;
    assert_eq!(report.ending, Ending::Exited(0));
    assert!(
        (MIB..2 * MIB).contains(&report.usage.disk_bytes),
        "{:?}",
        report.usage
    );
}

#[tokio::test]
async fn a_flood_of_files_is_stopped_in_folders_and_in_memory_even_behind_closed_directories() {
    let data = folder();
    let limits = Limits {
        inodes: 2000,
        ..Limits::default()
    };
    let policy = Policy {
        mounts: vec![writes(data.path(), "/data/d")],
        limits: limits.clone(),
        ..Policy::default()
    };
    let flood = |dir: &str| {
        format!(
            "import os\nos.makedirs('{dir}',exist_ok=True)\nos.chdir('{dir}')\nos.chmod('.',0o300)\ni=0\nwhile True:\n  os.close(os.open(str(i),os.O_CREAT|os.O_WRONLY)); i+=1"
        )
    };
    let report = run(policy, python(&flood("/data/d/closed"))).await;
    assert_eq!(
        report.ending,
        Ending::Stopped(Limit::Inodes),
        "{}",
        report.stderr.text()
    );
    let report = run(limited(limits), python(&flood("/tmp/x"))).await;
    assert_eq!(
        report.ending,
        Ending::Stopped(Limit::Inodes),
        "{}",
        report.stderr.text()
    );
}

#[tokio::test]
async fn output_keeps_head_and_tail_and_a_flood_is_stopped() {
    let limits = Limits {
        output_bytes: 1000,
        ..Limits::default()
    };
    let report = run(
        limited(limits.clone()),
        sh("printf start; head -c 4000 /dev/zero | tr '\\0' x; printf end"),
    )
    .await;
    assert_eq!(report.ending, Ending::Exited(0));
    assert_eq!(report.stdout.bytes.len(), 1000);
    assert_eq!(report.stdout.truncated_bytes, 3008);
    assert!(report.stdout.text().starts_with("startx") && report.stdout.text().ends_with("xend"));
    let report = run(limited(limits.clone()), sh("yes")).await;
    assert_eq!(report.ending, Ending::Stopped(Limit::Output));
    let service = Limits {
        wall_ms: None,
        ..limits
    };
    let flood = 1000 * OUTPUT_DRAIN_FACTOR * 4;
    let report = run(
        limited(service),
        sh(&format!("head -c {flood} /dev/zero >&2; echo alive")),
    )
    .await;
    assert_eq!(
        (report.ending, report.stdout.text().as_str()),
        (Ending::Exited(0), "alive\n"),
        "a service is not ended for talking"
    );
}

#[tokio::test]
async fn a_zip_bomb_is_stopped_by_the_disk_limit() {
    let data = folder();
    let limits = Limits {
        disk_bytes: 20 * MIB,
        ..Limits::default()
    };
    let policy = Policy {
        mounts: vec![writes(data.path(), "/data/d")],
        limits,
        ..Policy::default()
    };
    let bomb = "import zipfile,time\nz=zipfile.ZipFile('/tmp/b.zip','w',zipfile.ZIP_DEFLATED)\nfor i in range(6): z.writestr(str(i),b'\\0'*(20<<20))\nz.close()\nzipfile.ZipFile('/tmp/b.zip').extractall('/data/d')\ntime.sleep(20)";
    let report = run(policy, python(bomb)).await;
    assert_eq!(
        report.ending,
        Ending::Stopped(Limit::Disk),
        "{}",
        report.stderr.text()
    );
}
