//! How a workspace looks inside the sandbox: `/app` is the code, what is protected lies read-only over it.
//!
//! Start at [`policy`].

use std::path::{Path, PathBuf};

use agentwright_sandbox::{Access, Limits, Mount, Policy, Tier};

use crate::coder::Workspace;
use crate::error::CoderError;

/// Where the workspace is inside.
pub(crate) const INSIDE: &str = "/app";

/// A policy with the workspace, its protected names and what is beside it; no network.
///
/// # Errors
/// [`CoderError::BadOutput`] when a protected name has become a link or a device.
pub(crate) fn policy(work: &Workspace, limits: Limits) -> Result<Policy, CoderError> {
    let mut mounts = vec![Mount {
        host: work.dir.clone(),
        inside: PathBuf::from(INSIDE),
        access: Access::Write,
    }];
    for name in work.protected.names() {
        let host = work.dir.join(name);
        let Ok(meta) = std::fs::symlink_metadata(&host) else {
            continue;
        };
        if !meta.is_dir() && !meta.is_file() {
            return Err(CoderError::BadOutput(format!(
                "{name} is neither a file nor a directory"
            )));
        }
        mounts.push(Mount {
            host,
            inside: Path::new(INSIDE).join(name),
            access: Access::Read,
        });
    }
    mounts.extend(work.beside.iter().cloned());
    Ok(Policy {
        mounts,
        workdir: PathBuf::from(INSIDE),
        limits,
        minimum: Tier::Full,
        ..Policy::default()
    })
}
