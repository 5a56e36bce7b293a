//! What of the host an automation was verified with: the interpreter and the declared programs, by
//! digest. When it changes, the automation goes on and a person is asked for a new verify.
//!
//! Programs are looked for in fixed directories, not in anybody's `PATH`. Blocking.

use agentwright_domain::digest::Digest;
use agentwright_domain::spec::Spec;
use agentwright_proof::{NoJson, of_bytes, of_json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Where programs of the base system lie; the sandbox shows the same ones.
const SYSTEM: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/usr/sbin"];

/// What every automation may be written for.
const INTERPRETERS: [&str; 2] = ["python3", "sh"];

/// A declared program that this machine does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the program {program:?} is not installed here: looked in {looked_in}; install it and deploy again"
)]
pub struct NoProgram {
    /// Which.
    pub program: String,
    /// Where it was looked for.
    pub looked_in: String,
}

/// Finds programs and their digests. Cheap to clone; digests are kept as long as the file is the same.
#[derive(Clone)]
pub struct Programs {
    search: Vec<PathBuf>,
    known: Arc<Mutex<BTreeMap<Key, Digest>>>,
}

/// A file, unchanged: path, inode, size, modification and change time.
type Key = (PathBuf, u64, u64, i64, i64);

impl Programs {
    /// Looks in the system's directories and then in these, which come from the configuration
    /// (for example `~/.local/bin`).
    pub fn new(further: Vec<PathBuf>) -> Self {
        let system = SYSTEM.iter().map(PathBuf::from);
        Self {
            search: system.chain(further).collect(),
            known: Arc::default(),
        }
    }

    /// The real file behind a program's name.
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        if program.contains('/') || program.is_empty() {
            return None;
        }
        self.search
            .iter()
            .filter_map(|directory| fs::canonicalize(directory.join(program)).ok())
            .find(|path| {
                fs::metadata(path)
                    .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
            })
    }

    /// Declared programs that lie outside `/usr` and have to be shown to the sandbox: name → file.
    ///
    /// # Errors
    /// [`NoProgram`] for the first declared program that is not here.
    pub fn declared(&self, spec: &Spec) -> Result<BTreeMap<String, PathBuf>, NoProgram> {
        let mut outside = BTreeMap::new();
        for program in &spec.permissions.programs {
            let path = self.find(program).ok_or_else(|| NoProgram {
                program: program.clone(),
                looked_in: self
                    .search
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
            })?;
            if !path.starts_with("/usr") {
                outside.insert(program.clone(), path);
            }
        }
        Ok(outside)
    }

    /// As [`Self::declared`] without those that are missing: a test may bring its own.
    pub fn present(&self, spec: &Spec) -> BTreeMap<String, PathBuf> {
        let programs = spec.permissions.programs.iter();
        programs
            .filter_map(|program| Some((program.clone(), self.find(program)?)))
            .filter(|(_, path)| !path.starts_with("/usr"))
            .collect()
    }

    /// The digest over the interpreter and every declared program. Missing ones count as missing. What a script starts
    /// by itself without declaring it is not seen.
    ///
    /// # Errors
    /// Never in practice.
    pub fn environment(&self, spec: &Spec) -> Result<Digest, NoJson> {
        let digest = |name: &str| self.find(name).and_then(|path| self.digest(&path));
        let first = spec.command.first();
        let names = first.into_iter().chain(&spec.permissions.programs);
        let mut found: BTreeMap<&str, Option<Digest>> =
            names.map(|name| (name.as_str(), digest(name))).collect();
        for name in started_by(&spec.command) {
            if let Some(digest) = digest(name) {
                found.insert(name, Some(digest));
            }
        }
        of_json(&found)
    }

    fn digest(&self, path: &Path) -> Option<Digest> {
        let meta = fs::metadata(path).ok()?;
        let key = (
            path.to_owned(),
            meta.ino(),
            meta.size(),
            meta.mtime_nsec() ^ meta.mtime(),
            meta.ctime_nsec() ^ meta.ctime(),
        );
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = known().get(&key) {
            return Some(digest.clone());
        }
        let digest = of_bytes(&fs::read(path).ok()?);
        known().insert(key, digest.clone());
        Some(digest)
    }
}

/// Programs that a command names behind its first word (`sh -c "python3 …"`, `env python3`); for a file of the code that
/// is started by itself, the interpreters that it may name.
fn started_by(command: &[String]) -> Vec<&str> {
    let mut words = command.iter().flat_map(|word| word.split_whitespace());
    match words.next() {
        Some(first) if first.starts_with("/app/") => INTERPRETERS.to_vec(),
        Some(_) => words.collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(programs: &[&str]) -> Spec {
        serde_json::from_value(json!({
            "format": 1, "name": "x", "purpose": "p", "kind": "script",
            "command": ["sh", "/app/main.sh"], "trigger": {"type": "manual"},
            "permissions": {"programs": programs},
            "acceptance": {"smoke": {"name": "s", "steps": []}, "cases": []},
        }))
        .unwrap()
    }

    fn program(directory: &Path, name: &str, text: &str) {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_program_outside_usr_is_found_where_the_configuration_says() {
        let dir = tempfile::tempdir().unwrap();
        program(dir.path(), "claude", "#!/bin/sh\n");
        let programs = Programs::new(vec![dir.path().to_owned()]);
        let outside = programs.declared(&spec(&["claude", "sh"])).unwrap();
        assert_eq!(outside.keys().collect::<Vec<_>>(), ["claude"]);
    }

    #[test]
    fn a_missing_program_is_named_with_where_it_was_looked_for() {
        let error = Programs::new(Vec::new())
            .declared(&spec(&["no-such-program"]))
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("no-such-program") && text.contains("/usr/bin"),
            "{text}"
        );
    }

    #[test]
    fn a_file_that_cannot_be_executed_or_a_path_is_no_program() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("claude"), "x").unwrap();
        let programs = Programs::new(vec![dir.path().to_owned()]);
        assert_eq!(programs.find("claude"), None);
        assert_eq!(programs.find("../bin/sh"), None);
    }

    #[test]
    fn the_environment_holds_what_a_shell_or_the_codes_own_first_line_starts() {
        let command = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let shell = command(&["sh", "-c", "exec python3 /app/main.py"]);
        assert_eq!(
            started_by(&shell),
            ["-c", "exec", "python3", "/app/main.py"]
        );
        assert_eq!(started_by(&command(&["/app/run"])), INTERPRETERS);
        let dir = tempfile::tempdir().unwrap();
        program(dir.path(), "tool", "#!/bin/sh\necho 1\n");
        let programs = Programs::new(vec![dir.path().to_owned()]);
        let mut by_shell = spec(&[]);
        by_shell.command = command(&["sh", "-c", "tool --all"]);
        let before = programs.environment(&by_shell).unwrap();
        program(dir.path(), "tool", "#!/bin/sh\necho two\n");
        assert_ne!(before, programs.environment(&by_shell).unwrap());
    }

    #[test]
    fn the_environment_changes_when_a_program_changes_and_only_then() {
        let dir = tempfile::tempdir().unwrap();
        program(dir.path(), "claude", "#!/bin/sh\necho 1\n");
        let programs = Programs::new(vec![dir.path().to_owned()]);
        let before = programs.environment(&spec(&["claude"])).unwrap();
        assert_eq!(before, programs.environment(&spec(&["claude"])).unwrap());
        program(dir.path(), "claude", "#!/bin/sh\necho two\n");
        assert_ne!(before, programs.environment(&spec(&["claude"])).unwrap());
    }
}
