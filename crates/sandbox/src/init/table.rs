//! What `/proc` says about the processes of a sandbox. Reading only, but for signals to descendants.
//!
//! Hand-read rather than through a crate: this runs every few milliseconds and needs four numbers.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal};

use crate::report::Process;

/// Longest argument list reported for a process.
const MAX_ARGV_BYTES: usize = 4096;
/// Most processes reported.
const MAX_REPORTED: usize = 512;
/// `/proc` counts CPU time in hundredths of a second on every Linux of today.
const MS_PER_CLOCK_TICK: u64 = 10;

/// One look at the table.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) pids: Vec<u32>,
    pub(super) processes: u32,
    pub(super) rss_bytes: u64,
    /// Of living processes and of the children they have reaped.
    pub(super) cpu_ms: u64,
}

/// One line of `/proc/PID/stat`.
struct Stat {
    state: char,
    parent: u32,
    cpu_ms: u64,
    rss_pages: u64,
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so fields are counted from its last parenthesis.
    let text =
        String::from_utf8_lossy(&text[text.iter().rposition(|b| *b == b')')? + 1..]).into_owned();
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let number = |index: usize| {
        fields
            .get(index)
            .and_then(|f| f.parse::<u64>().ok())
            .unwrap_or(0)
    };
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        cpu_ms: (11..=14).map(number).sum::<u64>() * MS_PER_CLOCK_TICK,
        rss_pages: number(21),
    })
}

/// The pids that belong to the sandbox: all but the init, or its descendants.
fn members(own: u32, namespaced: bool) -> Vec<(u32, Stat)> {
    let mut all: Vec<(u32, Stat)> = pids()
        .into_iter()
        .filter(|pid| *pid != own)
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect();
    if !namespaced {
        let mut family = vec![own];
        let mut known = 0;
        while known < family.len() {
            let parent = family[known];
            family.extend(
                all.iter()
                    .filter(|(_, s)| s.parent == parent)
                    .map(|(pid, _)| *pid),
            );
            known += 1;
        }
        all.retain(|(pid, _)| family.contains(pid));
    }
    all
}

/// How many processes this user has on the whole machine.
pub(super) fn processes_of_user() -> u64 {
    let own = rustix::process::getuid().as_raw();
    let is_own =
        |pid: &u32| rustix::fs::stat(format!("/proc/{pid}")).is_ok_and(|meta| meta.st_uid == own);
    pids().iter().filter(|pid| is_own(pid)).count() as u64
}

pub(super) fn scan(own: u32, namespaced: bool) -> Seen {
    let page = rustix::param::page_size() as u64;
    let mut seen = Seen::default();
    for (pid, stat) in members(own, namespaced) {
        seen.cpu_ms += stat.cpu_ms;
        if matches!(stat.state, 'Z' | 'X') {
            continue;
        }
        seen.pids.push(pid);
        seen.processes += 1;
        seen.rss_bytes += stat.rss_pages * page;
    }
    seen
}

/// Memory that cannot be dropped, shared pages divided among their users. What cannot be read counts in full.
pub(super) fn proportional(pids: &[u32]) -> u64 {
    let of_process = |pid: &u32| match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Ok(text) if text.contains("Pss_Anon:") => text
            .lines()
            .filter_map(|l| kilobytes(l, "Pss_Anon:").or_else(|| kilobytes(l, "Pss_Shmem:")))
            .sum::<u64>(),
        _ => stat(*pid).map_or(0, |s| s.rss_pages * rustix::param::page_size() as u64),
    };
    pids.iter().map(of_process).sum()
}

fn kilobytes(line: &str, key: &str) -> Option<u64> {
    let number = line.strip_prefix(key)?.trim().strip_suffix(" kB")?;
    Some(number.parse::<u64>().ok()? * 1024)
}

/// What lies in file systems that live in memory.
#[derive(Default)]
pub(super) struct MemoryFiles {
    pub(super) bytes: u64,
    pub(super) inodes: u64,
}

pub(super) fn memory_files(dirs: &[PathBuf]) -> MemoryFiles {
    let mut sum = MemoryFiles::default();
    for stat in dirs.iter().filter_map(|dir| rustix::fs::statvfs(dir).ok()) {
        sum.bytes += stat.f_blocks.saturating_sub(stat.f_bfree) * stat.f_frsize;
        sum.inodes += stat.f_files.saturating_sub(stat.f_ffree);
    }
    sum
}

/// What the reaped processes used.
pub(super) struct Reaped {
    pub(super) cpu_ms: u64,
    pub(super) max_rss_bytes: u64,
}

pub(super) fn reaped() -> Reaped {
    // SAFETY: rusage is plain data and the call fills it.
    #[expect(unsafe_code, reason = "getrusage has no safe wrapper here")]
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let ms = |t: libc::timeval| (t.tv_sec * 1000 + t.tv_usec / 1000).cast_unsigned();
    Reaped {
        cpu_ms: ms(usage.ru_utime) + ms(usage.ru_stime),
        max_rss_bytes: usage.ru_maxrss.cast_unsigned() * 1024,
    }
}

pub(super) fn reaped_cpu_ms() -> u64 {
    reaped().cpu_ms
}

pub(super) fn describe(own: u32) -> Vec<Process> {
    let page = rustix::param::page_size() as u64;
    let describe = |(pid, stat): (u32, Stat)| {
        let mut line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.truncate(MAX_ARGV_BYTES);
        let line = String::from_utf8_lossy(&line).into_owned();
        Process {
            pid_inside: pid,
            argv: line
                .trim_end_matches('\0')
                .split('\0')
                .map(str::to_owned)
                .collect(),
            state: stat.state,
            rss_bytes: stat.rss_pages * page,
        }
    };
    members(own, own == 1)
        .into_iter()
        .take(MAX_REPORTED)
        .map(describe)
        .collect()
}

/// Signals all descendants, for the tier without a process namespace; what is born meanwhile is met next time.
pub(super) fn signal_descendants(own: u32, signal: Signal) {
    for (pid, _) in members(own, false) {
        if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}
