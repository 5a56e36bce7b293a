//! What an agent is allowed when it asks: work inside the workspace, yes; anything else, no, with the reason. Pure.
//!
//! The walls hold whatever is answered here. A clear no saves turns and tells the agent what to do instead.

use std::path::{Component, Path, PathBuf};

use crate::protected::Protected;
use crate::walls::INSIDE;

/// What an agent wants to do to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Read,
    Write,
}

/// `Err` is the reason, in words for the agent.
pub(crate) fn decide(deed: Deed, path: &str, protected: &Protected) -> Result<PathBuf, String> {
    let inside = within(path).ok_or_else(|| {
        format!("{INSIDE} is the workspace; nothing outside of it may be read or written")
    })?;
    if deed == Deed::Write && protected.covers(&inside) {
        return Err(format!(
            "{} is protected; it cannot be changed",
            inside.display()
        ));
    }
    Ok(inside)
}

/// The path relative to the workspace, without following anything.
fn within(path: &str) -> Option<PathBuf> {
    if path.contains('\0') {
        return None;
    }
    let whole = Path::new(INSIDE).join(path);
    let mut plain = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                if !plain.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::CurDir => {}
            Component::Prefix(_) => return None,
        }
    }
    let base = INSIDE.trim_start_matches('/');
    plain.strip_prefix(base).ok().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_yes_outside_and_protected_no() {
        let protected = Protected::new(["spec.json", "acceptance"]);
        for path in [
            "main.py",
            "/app/main.py",
            "/app/./a/../main.py",
            "/app",
            "a/b",
        ] {
            assert!(decide(Deed::Write, path, &protected).is_ok(), "{path}");
        }
        for path in [
            "/etc/passwd",
            "../x",
            "/app/../etc/x",
            "/application/x",
            "/",
            "/app/../../x",
            "a\0b",
        ] {
            assert!(decide(Deed::Read, path, &protected).is_err(), "{path}");
        }
        for path in ["spec.json", "/app/spec.json", "/app/a/../acceptance/x"] {
            assert!(decide(Deed::Write, path, &protected).is_err(), "{path}");
            assert!(decide(Deed::Read, path, &protected).is_ok(), "{path}");
        }
    }
}
