//! The command line of bubblewrap: which namespaces, and what the file system inside looks like.
//!
//! An allow-list: nothing of the host is visible but `/usr`, a few files of `/etc`, and what the policy
//! declares. The root itself is read-only at the end. Start at [`arguments`].

use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::policy::{Access, Policy};
use crate::wire::memory_file;

/// The identity inside, the same everywhere.
const INSIDE_ID: &str = "1000";
/// Size of `/dev/shm`.
pub(crate) const SHM_BYTES: u64 = 64 * 1024 * 1024;
/// Parts of `/etc` that programs need and that hold no secret.
const ETC: &[&str] = &[
    "ld.so.cache",
    "alternatives",
    "ssl/certs",
    "ssl/openssl.cnf",
    "ca-certificates",
    "python3",
    "mime.types",
    "services",
    "protocols",
    "postgresql-common",
    "perl",
];
const PASSWD: &str = "root:x:0:0:root:/:/usr/sbin/nologin\nuser:x:1000:1000:user:/state:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n";
const NSSWITCH: &str =
    "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n";

/// What bubblewrap binds: where from, where to.
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    pub(crate) inside: PathBuf,
    pub(crate) access: Access,
}

/// The arguments, and the memory files that they name and the child must inherit.
pub(crate) struct Profile {
    pub(crate) arguments: Vec<OsString>,
    pub(crate) inherited: Vec<OwnedFd>,
}

/// Builds the profile for one sandbox.
///
/// # Errors
/// [`Error::Io`] when a memory file cannot be made.
pub(crate) fn arguments(policy: &Policy, binds: &[Bind], hosts: &str) -> Result<Profile, Error> {
    let mut profile = Profile {
        arguments: Vec::with_capacity(128),
        inherited: Vec::new(),
    };
    profile.namespaces();
    profile.base();
    profile.file(Path::new("/etc/passwd"), PASSWD.as_bytes(), 0o644)?;
    profile.file(Path::new("/etc/group"), GROUP.as_bytes(), 0o644)?;
    profile.file(Path::new("/etc/nsswitch.conf"), NSSWITCH.as_bytes(), 0o644)?;
    profile.file(Path::new("/etc/hosts"), hosts.as_bytes(), 0o644)?;
    profile.memory(Path::new("/tmp"), policy.limits.scratch_bytes, "1777");
    profile.memory(Path::new("/dev/shm"), SHM_BYTES, "1777");
    if !mounts_at(policy, "/state") {
        profile.memory(Path::new("/state"), policy.limits.scratch_bytes, "0755");
    }
    if !mounts_at(policy, "/app") {
        profile.add(["--dir", "/app"]);
    }
    profile.add(["--dir", "/data", "--dir", "/run/bin"]);
    let mut binds: Vec<&Bind> = binds.iter().collect();
    binds.sort_by(|a, b| a.inside.cmp(&b.inside));
    for bind in binds {
        let option = if bind.access == Access::Read {
            "--ro-bind"
        } else {
            "--bind"
        };
        profile
            .arguments
            .extend([option.into(), (&bind.source).into(), (&bind.inside).into()]);
    }
    for file in &policy.files {
        profile.file(&file.inside, &file.content, file.mode)?;
    }
    profile.add(["--remount-ro", "/", "--chdir", "/", "--as-pid-1", "--"]);
    Ok(profile)
}

/// Whether a folder is mounted exactly there.
pub(crate) fn mounts_at(policy: &Policy, inside: &str) -> bool {
    policy.mounts.iter().any(|m| m.inside == Path::new(inside))
}

impl Profile {
    fn add<const N: usize>(&mut self, words: [&str; N]) {
        self.arguments.extend(words.map(OsString::from));
    }

    fn add_paths(&mut self, option: &str, from: &Path, to: &Path) {
        self.arguments
            .extend([option.into(), from.into(), to.into()]);
    }

    fn namespaces(&mut self) {
        self.add([
            "--unshare-user",
            "--unshare-ipc",
            "--unshare-pid",
            "--unshare-net",
            "--unshare-uts",
        ]);
        self.add([
            "--unshare-cgroup-try",
            "--uid",
            INSIDE_ID,
            "--gid",
            INSIDE_ID,
            "--hostname",
            "sandbox",
        ]);
        self.add([
            "--die-with-parent",
            "--new-session",
            "--clearenv",
            "--cap-drop",
            "ALL",
        ]);
    }

    fn base(&mut self) {
        self.add(["--ro-bind", "/usr", "/usr"]);
        for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
            let path = Path::new("/").join(name);
            match std::fs::read_link(&path) {
                Ok(target) => self.add_paths("--symlink", &target, &path),
                Err(_) if path.is_dir() => self.add_paths("--ro-bind", &path, &path),
                Err(_) => {}
            }
        }
        self.add(["--proc", "/proc", "--dev", "/dev"]);
        for name in ETC {
            let path = Path::new("/etc").join(name);
            if path.exists() {
                self.arguments
                    .extend(["--ro-bind".into(), (&path).into(), (&path).into()]);
            }
        }
    }

    fn memory(&mut self, inside: &Path, bytes: u64, mode: &str) {
        self.add(["--perms", mode, "--size", &bytes.to_string(), "--tmpfs"]);
        self.arguments.push(inside.into());
    }

    /// A file of the read-only root; over a bound directory it becomes a mount of its own.
    fn file(&mut self, inside: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
        let fd = memory_file("file", content)
            .map_err(|e| Error::io(format!("hold {} in memory", inside.display()), e))?;
        let bound = ETC
            .iter()
            .any(|name| inside.starts_with(Path::new("/etc").join(name)));
        let option = if bound { "--ro-bind-data" } else { "--file" };
        self.add([
            "--perms",
            &format!("{:04o}", mode & 0o777),
            option,
            &fd.as_raw_fd().to_string(),
        ]);
        self.arguments.push(inside.into());
        self.inherited.push(fd);
        Ok(())
    }
}
