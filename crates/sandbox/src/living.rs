//! What the living process trees of a named sandbox use, as the kernel shows it: evidence of work for whoever watches
//! from outside. Not here: limits and the final account (`cgroup`, `report`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Roots that are remembered; older ones go first. Far more than run at once.
const ROOTS_MAX: usize = 4_096;

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Living {
    /// Its number.
    pub pid: u32,
    /// When it started, in ticks since the machine did: with the number it tells one process from another.
    pub started: u64,
    /// Processor time so far, with that of its children that have ended, ms.
    pub cpu_ms: u64,
    /// Bytes read and written so far; 0 where the kernel does not say.
    pub io_bytes: u64,
}

/// The first processes of named sandboxes.
#[derive(Default)]
pub(crate) struct Roots {
    known: Mutex<Vec<(Arc<str>, u32, u64)>>,
}

impl Roots {
    /// Remembers the first process of a sandbox.
    pub(crate) fn add(&self, name: &Arc<str>, pid: u32) {
        let Some(started) = stat(pid).map(|stat| stat.started) else {
            return;
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, pid, started)| stat(*pid).is_some_and(|stat| stat.started == *started));
        if known.len() >= ROOTS_MAX {
            known.remove(0);
        }
        known.push((Arc::clone(name), pid, started));
    }

    /// Every process of the sandboxes of that name.
    pub(crate) fn living(&self, name: &str) -> Vec<Living> {
        let roots: Vec<(u32, u64)> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let named = known.iter().filter(|(known, ..)| &**known == name);
            named.map(|(_, pid, started)| (*pid, *started)).collect()
        };
        if roots.is_empty() {
            return Vec::new();
        }
        let all = processes();
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for (pid, stat) in &all {
            children.entry(stat.parent).or_default().push(*pid);
        }
        let is_same =
            |(pid, started): &(u32, u64)| all.get(pid).is_some_and(|stat| stat.started == *started);
        let mut next: Vec<u32> = roots
            .into_iter()
            .filter(is_same)
            .map(|(pid, _)| pid)
            .collect();
        let mut living = Vec::new();
        while let Some(pid) = next.pop() {
            let Some(stat) = all.get(&pid) else { continue };
            living.push(Living {
                pid,
                started: stat.started,
                cpu_ms: stat.cpu_ms,
                io_bytes: io(pid),
            });
            next.extend(children.remove(&pid).unwrap_or_default());
        }
        living
    }
}

struct Stat {
    parent: u32,
    started: u64,
    cpu_ms: u64,
}

fn processes() -> HashMap<u32, Stat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

fn stat(pid: u32) -> Option<Stat> {
    parsed(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// proc_pid_stat(5): the name in brackets may hold anything, so counting begins behind the last one.
fn parsed(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // utime, stime and those of waited-for children: fields 14 to 17.
    let ticks: u64 = (11..15).map(|at| number(at).unwrap_or(0)).sum();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        started: number(19)?,
        cpu_ms: ticks.saturating_mul(1_000) / rustix::param::clock_ticks_per_second().max(1),
    })
}

/// proc_pid_io(5): what went through read and write, cached or not.
fn io(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<u64>().ok()
    };
    of("rchar:")
        .unwrap_or(0)
        .saturating_add(of("wchar:").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name_is() {
        let text = "7 (a) b) (c) S 3 7 7 0 -1 4194560 1 2 3 4 100 50 20 30 20 0 1 0 987654 1 2";
        let stat = parsed(text).unwrap();
        assert_eq!((stat.parent, stat.started), (3, 987_654));
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(stat.cpu_ms, 200_000 / ticks);
        assert!(parsed("nonsense").is_none());
        assert!(parsed("7 (x) S 3").is_none());
    }

    #[test]
    fn the_tree_below_a_root_is_its_own_and_a_number_that_another_process_has_is_not_it() {
        let roots = Roots::default();
        let (me, name) = (std::process::id(), Arc::from("mine"));
        roots.add(&name, me);
        let living = roots.living("mine");
        assert!(living.iter().any(|one| one.pid == me && one.io_bytes > 0));
        assert_eq!(roots.living("other"), []);
        let started = living.iter().find(|one| one.pid == me).unwrap().started;
        roots.known.lock().unwrap()[0].2 = started + 1;
        assert_eq!(roots.living("mine"), []);
    }
}
