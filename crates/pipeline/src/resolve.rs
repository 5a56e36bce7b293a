//! The places that a spec names, held against this machine: they must be there, be what they look
//! like, and be nothing that must stay out of a sandbox. Blocking; done when the build is made.

use agentwright_domain::spec::{Access, FolderPermission, Spec};
use agentwright_queue::risk::{Target, of_spec};
use agentwright_runtime::schedule::Schedule;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Places whose sockets, devices and processes reach beyond any sandbox.
const NEVER: [&str; 8] = [
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/run",
    "/boot",
    "/var/lib/docker",
    "/var/lib/containers",
];
/// Places that hold keys; a person must say yes to each.
const KEYS: [&str; 8] = [
    ".ssh",
    ".gnupg",
    ".aws",
    ".kube",
    ".docker",
    ".password-store",
    ".mozilla",
    ".config",
];

/// So many entries of a folder are looked into for such places.
const NEAR_MAX: usize = 1_000;

/// Everything about the spec that this machine does not fulfil, in words. Empty: it can be built.
pub(crate) fn problems(spec: &Spec, data: &Path) -> Vec<String> {
    let mut found: Vec<String> = spec
        .permissions
        .folders
        .iter()
        .filter_map(|folder| folder_problem(folder, data))
        .collect();
    if let agentwright_domain::spec::Trigger::Schedule { cron, zone, .. } = &spec.trigger
        && let Err(error) = Schedule::parse(cron, zone)
    {
        found.push(error.to_string());
    }
    found
}

/// What a person must say yes to, whatever the approval mode.
pub(crate) fn risks(spec: &Spec) -> Vec<String> {
    let private = spec
        .permissions
        .allow_private
        .iter()
        .map(|at| format!("it connects to the private address {at}"));
    let keys = spec.permissions.folders.iter().filter_map(|folder| {
        let part = Path::new(&folder.path).components().find_map(|part| {
            let part = part.as_os_str().to_str()?;
            KEYS.contains(&part).then_some(part)
        })?;
        let verb = match folder.access {
            Access::Read => "reads",
            Access::Write => "writes",
        };
        Some(format!(
            "it {verb} {}, where {part} holds keys or settings",
            folder.path
        ))
    });
    let above = spec.permissions.folders.iter().filter_map(holds_keys);
    let mut risks: Vec<String> = private.chain(keys).chain(above).collect();
    // Whether the target is production is the policy's to say, and a reason of its own.
    for risk in of_spec(spec, Target::Other) {
        if !risks.iter().any(|known| known.contains(&risk.because)) {
            risks.push(format!("it {risk}"));
        }
    }
    risks
}

/// A folder that has places of keys in it or in a folder directly below, such as somebody's home.
fn holds_keys(folder: &FolderPermission) -> Option<String> {
    let path = Path::new(&folder.path);
    let below = std::fs::read_dir(path).into_iter().flatten().flatten();
    let near = std::iter::once(path.to_owned())
        .chain(below.take(NEAR_MAX).map(|entry| entry.path()))
        .find_map(|place| {
            let part = KEYS.iter().find(|part| place.join(part).is_dir())?;
            Some(place.join(part))
        })?;
    let verb = match folder.access {
        Access::Read => "reads",
        Access::Write => "writes",
    };
    let path = path.display();
    Some(format!(
        "it {verb} {path}, and in it {}, which holds keys or settings",
        near.display()
    ))
}

fn folder_problem(folder: &FolderPermission, data: &Path) -> Option<String> {
    let path = Path::new(&folder.path);
    let shown = path.display();
    if path == Path::new("/") {
        return Some("the whole machine (/) cannot be given; name a folder".to_owned());
    }
    if let Some(never) = NEVER
        .iter()
        .find(|never| path.starts_with(never) || Path::new(never).starts_with(path))
    {
        return Some(format!(
            "the folder {shown} cannot be given: {never} reaches beyond any sandbox"
        ));
    }
    let data = std::fs::canonicalize(data).unwrap_or_else(|_| data.to_owned());
    if path.starts_with(&data) || data.starts_with(path) {
        return Some(format!(
            "the folder {shown} cannot be given: agentwright keeps its own data in {}; keep that elsewhere (--data)",
            data.display()
        ));
    }
    match existing(path) {
        Err(why) => Some(why),
        Ok(there) if there == path => {
            let empty = std::fs::read_dir(path).err();
            empty.map(|error| format!("the folder {shown} cannot be read: {error}"))
        }
        Ok(_) if folder.create && folder.access == Access::Write => None,
        Ok(_) => Some(format!(
            "the folder {shown} does not exist; make it or name another"
        )),
    }
}

/// The deepest part of a path that is there. Only plain directories are walked through.
fn existing(path: &Path) -> Result<PathBuf, String> {
    let mut there = PathBuf::new();
    for part in path.components() {
        let next = there.join(part);
        match std::fs::symlink_metadata(&next) {
            Ok(meta) if meta.is_symlink() => {
                let real = std::fs::canonicalize(path)
                    .unwrap_or_else(|_| PathBuf::from("the real folder"));
                return Err(format!(
                    "{} in {} is a symbolic link; name {} instead",
                    next.display(),
                    path.display(),
                    real.display()
                ));
            }
            Ok(meta) if meta.is_dir() => there = next,
            Ok(_) => return Err(format!("{} is not a folder", next.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(there),
            Err(error) => return Err(format!("{} cannot be looked at: {error}", next.display())),
        }
    }
    Ok(there)
}

/// Makes the folders that are to be made. Each new directory belongs to whom the one above it
/// belongs to. Repeating it changes nothing.
///
/// # Errors
/// What could not be made, for people.
pub(crate) fn make_folders(spec: &Spec) -> Result<(), String> {
    for folder in spec
        .permissions
        .folders
        .iter()
        .filter(|folder| folder.create)
    {
        let path = Path::new(&folder.path);
        let mut there = existing(path)?;
        for part in path
            .strip_prefix(&there)
            .unwrap_or(Path::new(""))
            .components()
        {
            let next = there.join(part);
            let failed = |error: std::io::Error| {
                format!("cannot make the folder {}: {error}", next.display())
            };
            match std::fs::create_dir(&next) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(failed(error));
                }
                _ => {}
            }
            same_owner(&there, &next).map_err(failed)?;
            there = next;
        }
    }
    Ok(())
}

fn same_owner(parent: &Path, child: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let (above, below) = (std::fs::metadata(parent)?, std::fs::metadata(child)?);
    if (above.uid(), above.gid()) == (below.uid(), below.gid())
        || !rustix::process::geteuid().is_root()
    {
        return Ok(());
    }
    std::os::unix::fs::lchown(child, Some(above.uid()), Some(above.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentwright_domain::ids::Slug;
    use serde_json::json;

    fn folder(path: &Path, access: Access, create: bool) -> FolderPermission {
        FolderPermission {
            name: Slug::parse("x").unwrap(),
            path: path.to_string_lossy().into_owned(),
            access,
            create,
        }
    }

    fn why(path: &Path, access: Access, create: bool) -> Option<String> {
        folder_problem(
            &folder(path, access, create),
            Path::new("/var/lib/agentwright-nowhere"),
        )
    }

    fn spec(folders: &[FolderPermission]) -> Spec {
        serde_json::from_value(json!({
            "format": 1, "name": "x", "purpose": "p", "kind": "script", "command": ["sh"],
            "trigger": {"type": "schedule", "cron": "0 2 * * *", "zone": "UTC"},
            "permissions": {"folders": folders, "allow_private": ["10.0.0.5:80"]},
            "acceptance": {"smoke": {"name": "s", "steps": []}, "cases": []},
        }))
        .unwrap()
    }

    #[test]
    fn a_folder_that_is_there_is_fine_and_one_that_is_not_must_be_made_on_purpose() {
        let dir = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(dir.path()).unwrap();
        assert_eq!(why(&real, Access::Read, false), None);
        let gone = real.join("gone/deep");
        assert!(
            why(&gone, Access::Read, false)
                .unwrap()
                .contains("does not exist")
        );
        assert!(
            why(&gone, Access::Write, false)
                .unwrap()
                .contains("does not exist")
        );
        assert_eq!(why(&gone, Access::Write, true), None);
    }

    #[test]
    fn links_files_and_the_machines_own_places_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir(real.join("a")).unwrap();
        std::os::unix::fs::symlink(real.join("a"), real.join("link")).unwrap();
        std::fs::write(real.join("file"), "x").unwrap();
        let link = why(&real.join("link"), Access::Read, false).unwrap();
        assert!(
            link.contains("symbolic link") && link.contains("/a instead"),
            "{link}"
        );
        assert!(
            why(&real.join("file"), Access::Read, false)
                .unwrap()
                .contains("not a folder")
        );
        for never in ["/", "/proc", "/run/user", "/dev/shm", "/var"] {
            assert!(
                why(Path::new(never), Access::Read, false).is_some(),
                "{never}"
            );
        }
    }

    #[test]
    fn agentwrights_own_data_is_never_given_from_inside_or_above() {
        let dir = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir_all(real.join("data/builds")).unwrap();
        for place in ["data", "data/builds", "."] {
            let place = real.join(place).components().collect::<PathBuf>();
            let why =
                folder_problem(&folder(&place, Access::Read, false), &real.join("data")).unwrap();
            assert!(why.contains("its own data"), "{why}");
        }
    }

    #[test]
    fn private_addresses_and_places_of_keys_are_risks() {
        let risks = risks(&spec(&[folder(
            Path::new("/home/u/.ssh"),
            Access::Read,
            false,
        )]));
        assert_eq!(risks.len(), 2);
        assert!(risks[0].contains("10.0.0.5:80"));
        assert!(risks[1].contains("/home/u/.ssh"));
    }

    #[test]
    fn whom_a_spec_reaches_and_what_it_runs_are_risks_of_its_own() {
        let mut spec = spec(&[]);
        let plain = risks(&spec).len();
        spec.permissions.network = serde_json::from_value(serde_json::json!([
            "hooks.slack.com:443",
            "example.org:443"
        ]))
        .unwrap();
        spec.permissions.programs = vec!["sudo".to_owned()];
        let found = risks(&spec);
        assert_eq!(found.len(), plain + 2, "{found:?}");
        let said = found.join("; ");
        assert!(
            said.contains("it sends messages to others: hooks.slack.com:443"),
            "{said}"
        );
        assert!(
            said.contains("it changes who may do what: the program sudo"),
            "{said}"
        );
    }

    #[test]
    fn a_folder_above_places_of_keys_is_a_risk_and_one_beside_them_is_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("u/.ssh")).unwrap();
        std::fs::create_dir_all(dir.path().join("u/notes")).unwrap();
        for (place, expected) in [("u", 1), ("", 1), ("u/notes", 0)] {
            let spec = spec(&[folder(&dir.path().join(place), Access::Read, false)]);
            let risks: Vec<String> = risks(&spec).into_iter().skip(1).collect();
            assert_eq!(risks.len(), expected, "{place}: {risks:?}");
            assert!(
                risks.iter().all(|risk| risk.contains("u/.ssh")),
                "{risks:?}"
            );
        }
    }

    #[test]
    fn making_folders_twice_is_making_them_once() {
        let dir = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(dir.path()).unwrap();
        let spec = spec(&[folder(&real.join("a/b"), Access::Write, true)]);
        make_folders(&spec).unwrap();
        make_folders(&spec).unwrap();
        assert!(real.join("a/b").is_dir());
        assert!(problems(&spec, Path::new("/nowhere")).is_empty());
    }

    #[test]
    fn a_schedule_that_never_fires_is_a_problem() {
        let mut spec = spec(&[]);
        spec.trigger = agentwright_domain::spec::Trigger::Schedule {
            cron: "0 0 30 2 *".into(),
            zone: "UTC".into(),
            missed: Default::default(),
        };
        assert!(problems(&spec, Path::new("/nowhere"))[0].contains("never fires"));
    }
}
