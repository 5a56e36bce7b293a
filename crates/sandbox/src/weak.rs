//! Tier `process`: the same init and the same protocol, but no namespaces. Landlock, seccomp and limits only.
//!
//! The command sees the host's own paths, so words of the command that name a path inside are translated; what
//! needs a private view is refused. Start at [`launch`].

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use crate::conversation::Input;
use crate::disk::Watched;
use crate::error::Error;
use crate::launch::{self, Ends, Held, Launched, Machine};
use crate::policy::{Access, Command, Network, Policy};
use crate::scratch::Scratch;
use crate::seccomp::Sockets;
use crate::stage::{Identity, Pool};
use crate::start::{self, Ritual};
use crate::wire::InitConfig;

/// Starts the command without namespaces.
///
/// # Errors
/// [`Error::Refused`] for what needs a private view: network, published ports, given files.
pub(crate) fn launch(
    machine: &Machine,
    policy: &Policy,
    command: &Command,
    input: Input,
    scratch_root: &Path,
) -> Result<Launched, Error> {
    refuse_views(policy)?;
    let opened = launch::open_all(policy)?;
    let Owner {
        identity,
        become_id,
    } = match &machine.pool {
        Some(pool) => owner_of_all(pool, policy, &opened)?,
        None => Owner {
            identity: None,
            become_id: None,
        },
    };
    let scratch = Scratch::make(scratch_root, become_id)
        .map_err(|e| Error::io("make a scratch directory", e))?;
    let uid = become_id.map(|(uid, _)| uid);
    let ends = Ends::make(&command.stdin, input, uid).map_err(launch::pipes)?;
    let config = launch::config_file(&init_config(policy, command, &ends, &opened, &scratch)?)?;
    let [program, arguments @ ..] = launch::inner_command(machine, &ends, &config);
    let ritual = Ritual {
        become_id,
        own_session: true,
        ..Ritual::new(launch::inherited(machine, &ends, &config))
    };
    let process = start::spawn(Path::new(&program), &arguments.map(Into::into), ritual)?;
    let scratch_dir = std::fs::File::open(scratch.path());
    let mut roots = launch::writable(policy, opened);
    roots.push(
        scratch_dir
            .map_err(|e| Error::io("open the scratch directory", e))?
            .into(),
    );
    let watched = Watched { roots };
    let held = Held {
        _identity: identity,
        _scratch: Some(scratch),
    };
    Ok(Launched {
        process,
        control: ends.control.0,
        stdin: ends.stdin.1,
        stdout: ends.stdout.0,
        stderr: ends.stderr.0,
        watched,
        leaf: None,
        held,
    })
}

fn init_config(
    policy: &Policy,
    command: &Command,
    ends: &Ends,
    opened: &[OwnedFd],
    scratch: &Scratch,
) -> Result<InitConfig, Error> {
    let outside = Outside { policy, scratch };
    let writable = policy
        .mounts
        .iter()
        .filter(|m| m.access == Access::Write)
        .map(|m| m.host.clone());
    let env = launch::environment(policy, &[])
        .into_iter()
        .map(|(k, v)| (k, outside.word(&v)));
    Ok(InitConfig {
        argv: command.argv.iter().map(|word| outside.word(word)).collect(),
        env: env.collect(),
        workdir: outside.word(&policy.workdir.to_string_lossy()).into(),
        limits: policy.limits.clone(),
        identities: launch::identities(policy, opened, |m| m.host.clone())?,
        writable: writable.chain([scratch.path().to_owned()]).collect(),
        memory_dirs: Vec::new(),
        listeners: Vec::new(),
        stdin: ends.stdin.0.as_ref().map(AsRawFd::as_raw_fd),
        stdout: ends.stdout.1.as_raw_fd(),
        stderr: ends.stderr.1.as_raw_fd(),
        sockets: Sockets::None,
        namespaced: false,
    })
}

fn refuse_views(policy: &Policy) -> Result<(), Error> {
    let needs = [
        (policy.network != Network::Off, "network"),
        (policy.publish.is_some(), "a published port"),
        (!policy.files.is_empty(), "given files"),
    ];
    match needs.iter().find(|(needed, _)| *needed) {
        Some((_, what)) => Err(Error::refused(
            what,
            "sandbox tier process has no private view of the machine",
            "install bubblewrap so that tier full is possible",
        )),
        None => Ok(()),
    }
}

/// Who the command will be: a spare identity, or the owner of what it writes.
struct Owner {
    identity: Option<Identity>,
    become_id: Option<(u32, u32)>,
}

/// Without a private view a root daemon can only become the one owner of everything that is written.
fn owner_of_all(pool: &Arc<Pool>, policy: &Policy, opened: &[OwnedFd]) -> Result<Owner, Error> {
    let mut owner = None;
    for (mount, fd) in policy
        .mounts
        .iter()
        .zip(opened)
        .filter(|(m, _)| m.access == Access::Write)
    {
        let meta = rustix::fs::fstat(fd)
            .map_err(|e| Error::io(format!("look at {}", mount.host.display()), e))?;
        if meta.st_uid == 0 || owner.is_some_and(|(uid, _)| uid != meta.st_uid) {
            return Err(Error::refused(
                mount.host.display(),
                "in sandbox tier process nothing runs as root, and one command has one identity",
                "run agentwright as an ordinary user, or give the folder to one",
            ));
        }
        owner = Some((meta.st_uid, meta.st_gid));
    }
    match owner {
        Some(owner) => Ok(Owner {
            identity: None,
            become_id: Some(owner),
        }),
        None => {
            let identity = pool.take()?;
            let id = identity.id;
            Ok(Owner {
                identity: Some(identity),
                become_id: Some((id, id)),
            })
        }
    }
}

/// Says a word of the inside in the host's paths.
struct Outside<'a> {
    policy: &'a Policy,
    scratch: &'a Scratch,
}

impl Outside<'_> {
    fn word(&self, word: &str) -> String {
        let path = Path::new(word);
        let mounted = self
            .policy
            .mounts
            .iter()
            .map(|m| (m.inside.clone(), m.host.clone()));
        let private = [("/state", "state"), ("/tmp", "tmp")]
            .map(|(inside, name)| (inside.into(), self.scratch.path().join(name)));
        for (inside, host) in mounted.chain(private) {
            if let Ok(rest) = path.strip_prefix(&inside) {
                let whole = if rest.as_os_str().is_empty() {
                    host
                } else {
                    host.join(rest)
                };
                return whole.to_string_lossy().into_owned();
            }
        }
        word.to_owned()
    }
}
