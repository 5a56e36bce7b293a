//! cgroup v2, where this process may write it: exact limits for a whole sandbox, and one kill for all of it.
//!
//! Version 1, hybrid hierarchies without the controllers, read-only mounts and cgroups shared with other
//! processes are left alone; then the init's watchdog does the work. Start at [`Cgroups::find`].

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::policy::Limits;

/// Directories of ours begin with this, followed by the daemon's process id.
const PREFIX: &str = "agentwright-";
/// Controllers without which a cgroup is of no use here.
const CONTROLLERS: &[&str] = &["memory", "pids"];
/// Weight beside the daemon's own 100, so that a sandbox cannot starve it.
const CPU_WEIGHT: &str = "50";
/// The kernel needs a moment before an emptied cgroup can be removed.
const REMOVAL: Duration = Duration::from_millis(500);

/// The directory under which each sandbox gets a leaf.
#[derive(Debug)]
pub(crate) struct Cgroups {
    base: PathBuf,
    next: AtomicU64,
}

/// The cgroup of one sandbox; removed when dropped.
#[derive(Debug)]
pub(crate) struct Leaf {
    path: PathBuf,
}

/// What a cgroup counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) peak_bytes: u64,
    pub(crate) cpu_ms: u64,
    pub(crate) oom_kills: u64,
}

impl Cgroups {
    /// Finds a place where leaves with memory and process limits really can be made, by making one.
    ///
    /// # Errors
    /// Why there is none, in words for the operator.
    pub(crate) fn find(root: bool) -> Result<Self, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mount = mount_point(&mounts).ok_or("no cgroup v2 is mounted")?;
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .unwrap_or_default();
        let own = mount.join(own);
        Self::at(&own, root).or_else(|why| {
            if root {
                Self::at(&mount, root)
            } else {
                Err(why)
            }
        })
    }

    /// Tries one directory. `alone` processes in it (only ours) are moved aside first, because a cgroup with
    /// processes cannot have limited children.
    pub(crate) fn at(dir: &Path, may_be_root: bool) -> Result<Self, String> {
        let cannot = |what: &str, e: io::Error| format!("{}: cannot {what}: {e}", dir.display());
        let offered = fs::read_to_string(dir.join("cgroup.controllers"))
            .map_err(|e| cannot("read controllers", e))?;
        for controller in CONTROLLERS {
            if !offered.split_whitespace().any(|c| c == *controller) {
                return Err(format!(
                    "{}: no {controller} controller (cgroup v1 or hybrid?)",
                    dir.display()
                ));
            }
        }
        sweep(dir);
        let base = dir.join(format!("{PREFIX}{}", std::process::id()));
        let is_hierarchy_root = may_be_root && !dir.join("cgroup.type").exists();
        if !is_hierarchy_root {
            step_aside(dir).map_err(|e| {
                cannot(
                    "move the daemon aside (start it in a cgroup of its own: systemd Delegate=yes)",
                    e,
                )
            })?;
        }
        let enable = CONTROLLERS
            .iter()
            .map(|c| format!("+{c}"))
            .collect::<Vec<_>>()
            .join(" ");
        fs::write(dir.join("cgroup.subtree_control"), &enable)
            .map_err(|e| cannot("enable controllers", e))?;
        let _ = fs::write(dir.join("cgroup.subtree_control"), "+cpu");
        make_dir(&base).map_err(|e| cannot("make a cgroup", e))?;
        fs::write(base.join("cgroup.subtree_control"), &enable)
            .map_err(|e| cannot("enable controllers", e))?;
        let _ = fs::write(base.join("cgroup.subtree_control"), "+cpu");
        let found = Self {
            base,
            next: AtomicU64::new(0),
        };
        found
            .leaf(&Limits::default())
            .map_err(|e| cannot("limit a cgroup", e))?;
        Ok(found)
    }

    /// Makes the cgroup of one sandbox.
    pub(crate) fn leaf(&self, limits: &Limits) -> io::Result<Leaf> {
        let leaf = Leaf {
            path: self
                .base
                .join(self.next.fetch_add(1, Ordering::Relaxed).to_string()),
        };
        make_dir(&leaf.path)?;
        fs::write(
            leaf.path.join("memory.max"),
            limits.memory_bytes.to_string(),
        )?;
        // Bubblewrap and the init are two more.
        fs::write(
            leaf.path.join("pids.max"),
            (limits.processes + 2).to_string(),
        )?;
        let cores = cpu_max(limits.cores);
        for (file, value) in [
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("cpu.weight", CPU_WEIGHT),
            ("cpu.max", &cores),
        ] {
            let _ = fs::write(leaf.path.join(file), value);
        }
        Ok(leaf)
    }
}

/// So many cores as `cpu.max` says it: microseconds in each period of a tenth of a second.
fn cpu_max(cores: u64) -> String {
    format!("{} 100000", cores.max(1).saturating_mul(100_000))
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.base);
    }
}

impl Leaf {
    /// The file into which the child writes `0` to enter.
    pub(crate) fn entrance(&self) -> io::Result<OwnedFd> {
        Ok(fs::OpenOptions::new()
            .write(true)
            .open(self.path.join("cgroup.procs"))?
            .into())
    }

    /// Kills everything in it at once.
    pub(crate) fn kill(&self) {
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
    }

    pub(crate) fn counted(&self) -> Counted {
        let read = |file: &str| fs::read_to_string(self.path.join(file)).unwrap_or_default();
        Counted {
            peak_bytes: read("memory.peak").trim().parse().unwrap_or(0),
            cpu_ms: keyed(&read("cpu.stat"), "usage_usec") / 1000,
            oom_kills: keyed(&read("memory.events"), "oom_kill"),
        }
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        self.kill();
        let until = Instant::now() + REMOVAL;
        while fs::remove_dir(&self.path).is_err_and(|e| e.kind() == io::ErrorKind::ResourceBusy)
            && Instant::now() < until
        {
            std::thread::yield_now();
        }
    }
}

fn keyed(text: &str, key: &str) -> u64 {
    let of_line = |line: &str| {
        line.strip_prefix(key)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    };
    text.lines().find_map(of_line).unwrap_or(0)
}

fn make_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Where the unified hierarchy is mounted (proc_pid_mountinfo(5)).
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        (right.split(' ').next()? == "cgroup2")
            .then(|| PathBuf::from(left.split(' ').nth(4).unwrap_or("/")))
    })
}

/// Moves this process into a child cgroup, when it is alone.
fn step_aside(dir: &Path) -> io::Result<()> {
    let own = std::process::id().to_string();
    let members = fs::read_to_string(dir.join("cgroup.procs"))?;
    if members.lines().any(|pid| pid != own) {
        return Err(io::Error::other(
            "it shares its cgroup with other processes",
        ));
    }
    if members.trim().is_empty() {
        return Ok(());
    }
    let aside = dir.join("daemon");
    make_dir(&aside)?;
    fs::write(aside.join("cgroup.procs"), own)
}

/// Removes what daemons that are gone left behind.
fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name
            .strip_prefix(PREFIX)
            .and_then(|pid| pid.parse::<u32>().ok())
        else {
            continue;
        };
        if Path::new("/proc").join(pid.to_string()).exists() {
            continue;
        }
        for leaf in fs::read_dir(entry.path())
            .into_iter()
            .flatten()
            .flatten()
            .filter(|l| l.path().is_dir())
        {
            drop(Leaf { path: leaf.path() });
        }
        let _ = fs::remove_dir(entry.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_mount_is_found_among_version_1_mounts() {
        let text = "30 20 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n31 20 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            mount_point(text),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
        assert_eq!(
            mount_point("30 20 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"),
            None
        );
    }

    #[test]
    fn a_directory_without_the_controllers_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            Cgroups::at(dir.path(), false)
                .unwrap_err()
                .contains("cannot read controllers")
        );
        fs::write(dir.path().join("cgroup.controllers"), "hugetlb\n").unwrap();
        assert!(
            Cgroups::at(dir.path(), false)
                .unwrap_err()
                .contains("no memory controller")
        );
        fs::write(dir.path().join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        fs::write(dir.path().join("cgroup.procs"), "1\n2\n").unwrap();
        assert!(
            Cgroups::at(dir.path(), false)
                .unwrap_err()
                .contains("shares its cgroup")
        );
    }

    #[test]
    fn a_leaf_gets_its_limits_and_its_counts_are_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        fs::write(
            dir.path().join("cgroup.procs"),
            format!("{}\n", std::process::id()),
        )
        .unwrap();
        let cgroups = Cgroups::at(dir.path(), false).unwrap();
        let leaf = cgroups
            .leaf(&Limits {
                memory_bytes: 4096,
                processes: 7,
                ..Limits::default()
            })
            .unwrap();
        assert_eq!(
            fs::read_to_string(leaf.path.join("memory.max")).unwrap(),
            "4096"
        );
        assert_eq!(fs::read_to_string(leaf.path.join("pids.max")).unwrap(), "9");
        let cores = fs::read_to_string(leaf.path.join("cpu.max")).unwrap();
        assert_eq!(cores, "200000 100000");
        fs::write(leaf.path.join("memory.peak"), "123\n").unwrap();
        fs::write(leaf.path.join("cpu.stat"), "usage_usec 5000\nuser_usec 1\n").unwrap();
        fs::write(
            leaf.path.join("memory.events"),
            "low 0\noom 1\noom_kill 2\n",
        )
        .unwrap();
        assert_eq!(
            leaf.counted(),
            Counted {
                peak_bytes: 123,
                cpu_ms: 5,
                oom_kills: 2
            }
        );
        leaf.kill();
        assert_eq!(
            fs::read_to_string(leaf.path.join("cgroup.kill")).unwrap(),
            "1"
        );
    }
}
