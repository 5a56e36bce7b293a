//! Putting a version's code in place, taking it away, and leaving with it (`export`). Files only;
//! whether it may is decided elsewhere. Blocking.
//!
//! A version is installed under its final name in one step (`rename`), so a version directory is
//! either absent or whole. Doing it again with the same code changes nothing.

use crate::crontab;
use crate::layout::Layout;
use crate::tree::{self, TreeError, io_error, write_file};
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::spec::{SecretForm, SecretPermission, Spec, Trigger};
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Names at the top of a build's repository that are not code.
pub const NOT_CODE: [&str; 3] = [".git", "spec.md", "spec.json"];
/// The file in a version's directory that names the build that made it.
const BUILD_FILE: &str = "build";

/// Why nothing was installed or exported.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Reading or writing the files failed.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// What lies on disk is not what was to be installed.
    #[error(
        "the code in {} is {found}, not {expected}: somebody changed it after it was verified; build it again",
        path.display(), found = found.short(), expected = expected.short()
    )]
    Changed {
        /// Where.
        path: PathBuf,
        /// What was approved.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
    /// The place to export to is taken.
    #[error("{} already exists and is not empty; name another directory", .0.display())]
    Occupied(PathBuf),
    /// A digest could not be taken.
    #[error(transparent)]
    NoJson(#[from] agentwright_proof::NoJson),
}

/// An installed version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Its number.
    pub version: u32,
    /// Its code.
    pub app: PathBuf,
}

/// The digest of the code in a directory, without what is not code.
///
/// # Errors
/// As [`tree::read`].
pub fn code_digest(directory: &Path) -> Result<Digest, InstallError> {
    Ok(tree::read(directory, &NOT_CODE)?.digest()?)
}

/// Installs a build's code as a version. `taken` are the versions that are recorded; the build's own
/// number is used again when it already has one on disk.
///
/// # Errors
/// [`InstallError::Changed`] when the code is not `code`.
pub fn install(
    layout: &Layout,
    name: &Slug,
    build: &RunId,
    from: &Path,
    code: &Digest,
    taken: &[(u32, RunId)],
) -> Result<Installed, InstallError> {
    expect_code(from, code)?;
    private_directory(&layout.deployment(name))?;
    private_directory(&layout.state(name))?;
    let versions = layout.versions(name);
    fs::create_dir_all(&versions).map_err(io_error("make the directory", &versions))?;
    let version = number(layout, name, build, taken);
    let target = layout.version(name, version);
    let installed = Installed {
        version,
        app: layout.app(name, version),
    };
    if code_digest(&installed.app).is_ok_and(|found| found == *code)
        && made_by(&target) == Some(build.clone())
    {
        return Ok(installed);
    }
    let staging = staging(layout, name, build);
    tree::remove_all(&staging)?;
    tree::copy(from, &NOT_CODE, &staging.join("app"))?;
    write_file(&staging.join(BUILD_FILE), build.as_str().as_bytes(), false)?;
    tree::sync(&staging)?;
    expect_code(&staging.join("app"), code)?;
    tree::remove_all(&target)?;
    fs::rename(&staging, &target).map_err(io_error("put in place", &target))?;
    tree::sync(&versions)?;
    Ok(installed)
}

/// # Errors
/// [`InstallError::Changed`] when the code in `path` is not `expected`.
pub(crate) fn expect_code(path: &Path, expected: &Digest) -> Result<(), InstallError> {
    let found = code_digest(path)?;
    if found == *expected {
        return Ok(());
    }
    Err(InstallError::Changed {
        path: path.to_owned(),
        expected: expected.clone(),
        found,
    })
}

/// Only the daemon's own user may look inside.
fn private_directory(path: &Path) -> Result<(), TreeError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io_error("make the directory", path))
}

/// The number of this build's version: its own where it has one, else the next free one. A directory
/// that another build left unrecorded is not touched; gaps do no harm.
fn number(layout: &Layout, name: &Slug, build: &RunId, taken: &[(u32, RunId)]) -> u32 {
    if let Some((version, _)) = taken.iter().find(|(_, by)| by == build) {
        return *version;
    }
    let mut version = taken.iter().map(|(version, _)| *version).max().unwrap_or(0) + 1;
    while made_by(&layout.version(name, version)).is_some_and(|by| by != *build) {
        version += 1;
    }
    version
}

fn made_by(version: &Path) -> Option<RunId> {
    fs::read_to_string(version.join(BUILD_FILE))
        .ok()
        .map(RunId::new)
}

/// Whether a version of it lies on disk, or is about to.
pub(crate) fn any_version(layout: &Layout, name: &Slug) -> bool {
    fs::read_dir(layout.versions(name)).is_ok_and(|mut entries| entries.next().is_some())
}

/// Removes the versions that a build put in place, but for the recorded ones, and what it was still putting there. A
/// version goes from its name in one step, so that one that is half removed is never taken for a whole one.
pub(crate) fn discard(
    layout: &Layout,
    name: &Slug,
    build: &RunId,
    recorded: &[u32],
) -> Result<(), TreeError> {
    let versions = layout.versions(name);
    let staging = staging(layout, name, build);
    tree::remove_all(&staging)?;
    let entries = match fs::read_dir(&versions) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error("read", &versions)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(io_error("read", &versions))?;
        let number: Option<u32> = entry.file_name().to_str().and_then(|it| it.parse().ok());
        let lost = number.is_some_and(|number| !recorded.contains(&number));
        if lost && made_by(&entry.path()).as_ref() == Some(build) {
            fs::rename(entry.path(), &staging).map_err(io_error("remove", &entry.path()))?;
            tree::remove_all(&staging)?;
        }
    }
    Ok(())
}

/// Where a build puts a version together, and where one of it goes on its way out.
fn staging(layout: &Layout, name: &Slug, build: &RunId) -> PathBuf {
    layout.versions(name).join(format!(".{}", build.as_str()))
}

/// Removes everything of a deployment that lies on disk. Declared folders are the person's and stay.
///
/// # Errors
/// [`TreeError::Io`].
pub fn remove(layout: &Layout, name: &Slug) -> Result<(), TreeError> {
    let directory = layout.deployment(name);
    let going = layout
        .data()
        .join("deployments")
        .join(format!(".removing-{name}"));
    tree::remove_all(&going)?;
    match fs::rename(&directory, &going) {
        Ok(()) => tree::remove_all(&going),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("remove", &directory)(error)),
    }
}

/// Writes a version as a standalone directory: the code, an empty `state`, a `run` script that needs
/// nothing of agentwright, a README and a crontab line.
///
/// # Errors
/// [`InstallError::Occupied`] when `to` is not empty.
pub fn export(app: &Path, spec: &Spec, to: &Path) -> Result<(), InstallError> {
    let occupied = fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some());
    if occupied || to.is_file() {
        return Err(InstallError::Occupied(to.to_owned()));
    }
    tree::copy(app, &[], &to.join("app"))?;
    let state = to.join("state");
    fs::create_dir_all(&state).map_err(io_error("make the directory", &state))?;
    write_file(&to.join("run"), run_script(spec).as_bytes(), true)?;
    write_file(&to.join("README.md"), readme(spec, to).as_bytes(), false)?;
    let json = serde_json::to_vec_pretty(spec).map_err(agentwright_proof::NoJson::from)?;
    write_file(&to.join("spec.json"), &json, false)?;
    if let Some(line) = crontab_line(spec, to) {
        write_file(&to.join("crontab"), line.as_bytes(), false)?;
    }
    Ok(())
}

/// The line for `crontab -e`, where it runs at times that a crontab can say.
pub fn crontab_line(spec: &Spec, directory: &Path) -> Option<String> {
    let run = shell_quote(&directory.join("run").to_string_lossy());
    let log = shell_quote(&directory.join("state/cron.log").to_string_lossy());
    match &spec.trigger {
        Trigger::Schedule { cron, zone, .. } => {
            let plain = crontab::plain(cron, zone)?;
            let only_if = plain
                .only_if
                .map_or_else(String::new, |is| format!("{is} && "));
            Some(format!(
                "CRON_TZ={zone}\n{} {only_if}{} >>{} 2>&1\n",
                plain.fields,
                // `%` ends the command in a crontab.
                run.replace('%', "\\%"),
                log.replace('%', "\\%"),
            ))
        }
        Trigger::Service { .. } => Some(format!("@reboot {run} >>{log} 2>&1\n")),
        Trigger::Once | Trigger::Manual => None,
    }
}

/// Inside the sandbox the places have fixed names; outside, the script puts the real ones into the
/// command and asks for a private mount of them where that is possible without rights.
fn run_script(spec: &Spec) -> String {
    let mut lines = vec![
        "#!/bin/sh".to_owned(),
        format!("# {}", one_line(&spec.purpose)),
        "# Runs without agentwright. With bubblewrap (bwrap) it gets the same view of the machine as there;".to_owned(),
        "# the network is not narrowed.".to_owned(),
        "set -eu".to_owned(),
        "here=$(CDPATH= cd -- \"$(dirname -- \"$0\")\" && pwd)".to_owned(),
        "command -v bwrap >/dev/null 2>&1 || { echo \"this needs bubblewrap: apt install bubblewrap\" >&2; exit 69; }".to_owned(),
    ];
    for (name, value) in &spec.permissions.environment {
        lines.push(format!("export {name}={}", shell_quote(value)));
    }
    let (files, variables): (Vec<_>, Vec<_>) = spec
        .permissions
        .secrets
        .iter()
        .partition(|secret| secret.form == SecretForm::File);
    for secret in &variables {
        let (variable, value) = (&secret.variable, shell_value(secret));
        lines.push(format!("{variable}=\"{value}\"; export {variable}"));
    }
    lines.extend(open_secrets(&files));
    let mut bwrap = vec![
        "exec bwrap --die-with-parent --unshare-user --unshare-pid --unshare-ipc --ro-bind /usr /usr --ro-bind /etc /etc".to_owned(),
        "  --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/sbin /sbin".to_owned(),
        "  --proc /proc --dev /dev --tmpfs /tmp".to_owned(),
        "  --ro-bind \"$here/app\" /app --bind \"$here/state\" /state".to_owned(),
    ];
    for folder in &spec.permissions.folders {
        let how = match folder.access {
            agentwright_domain::spec::Access::Read => "--ro-bind",
            agentwright_domain::spec::Access::Write => "--bind",
        };
        bwrap.push(format!(
            "  {how} {} /data/{}",
            shell_quote(&folder.path),
            folder.name
        ));
    }
    let set: Vec<String> = variables.iter().map(|secret| secret.is_set_as()).collect();
    for (i, secret) in files.iter().enumerate() {
        let path = secret.file().unwrap_or_default();
        let (descriptor, pointer) = (FIRST_DESCRIPTOR + i, secret.is_set_as());
        bwrap.push(format!(
            "  --perms 0400 --file {descriptor} {path} --setenv {pointer} {path}"
        ));
        // Whoever starts it has it in a variable; inside it is a file only.
        let source = match secret.reference.split_once(':') {
            Some(("file", _)) => continue,
            Some(("env", name)) => name,
            Some(_) | None => &secret.variable,
        };
        let meant = spec.permissions.environment.contains_key(source);
        if !meant && !set.iter().any(|name| name == source) {
            bwrap.push(format!("  --unsetenv {source}"));
        }
    }
    let command: Vec<String> = spec.command.iter().map(|word| shell_quote(word)).collect();
    bwrap.push(format!(
        "  --setenv HOME /state --chdir /state -- {} \"$@\"",
        command.join(" ")
    ));
    lines.push(bwrap.join(" \\\n"));
    lines.join("\n") + "\n"
}

/// The first descriptor by which an exported script hands over a file.
const FIRST_DESCRIPTOR: usize = 3;

/// What the shell reads as the secret's value, between double quotes.
fn shell_value(secret: &SecretPermission) -> String {
    let variable = &secret.variable;
    match secret.reference.split_once(':') {
        Some(("file", path)) => format!("$(cat {})", shell_quote(path)),
        Some(("env", name)) => format!("${{{name}?set {name} first}}"),
        // Nobody here asks Vault: whoever starts it hands the value in.
        Some(_) | None => format!("${{{variable}?set {variable} first}}"),
    }
}

/// Opens each secret that comes as a file, and leaves no file of it behind.
fn open_secrets(files: &[&SecretPermission]) -> Vec<String> {
    if files.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![
        "newline='\n'".to_owned(),
        "mask=$(umask); umask 077".to_owned(),
        "secrets=$(mktemp -d \"${XDG_RUNTIME_DIR:-/dev/shm}/secrets.XXXXXX\")".to_owned(),
        "trap 'rm -rf \"$secrets\"' EXIT; trap 'exit 130' HUP INT TERM".to_owned(),
    ];
    for (i, secret) in files.iter().enumerate() {
        let value = shell_value(secret);
        let (name, descriptor) = (&secret.variable, FIRST_DESCRIPTOR + i);
        // On a line of its own, for a command that fails inside of another one's argument stops nothing. A text of
        // several lines ends with one, as it does where agentwright hands it in.
        lines.push(format!("value=\"{value}\""));
        lines.push("case $value in *\"$newline\"*) value=$value$newline ;; esac".to_owned());
        lines.push(format!(
            "printf %s \"$value\" >\"$secrets/{name}\"; exec {descriptor}<\"$secrets/{name}\""
        ));
    }
    // The open descriptors keep what is in them.
    lines.push(
        "rm -rf \"$secrets\"; trap - EXIT HUP INT TERM; unset value; umask \"$mask\"".to_owned(),
    );
    lines
}

fn readme(spec: &Spec, directory: &Path) -> String {
    let mut text = format!("# {}\n\n{}\n\n", spec.name, one_line(&spec.purpose));
    text.push_str("- `run`: runs it once (needs bubblewrap)\n- `app/`: the code\n- `state/`: what it remembers\n");
    text.push_str("- `spec.json`: what it was built and verified against\n");
    if !spec.permissions.folders.is_empty() {
        text.push_str("\nIt uses these folders:\n\n");
        for folder in &spec.permissions.folders {
            let how = match folder.access {
                agentwright_domain::spec::Access::Read => "read",
                agentwright_domain::spec::Access::Write => "written",
            };
            text.push_str(&format!("- `{}` ({how})\n", folder.path));
        }
    }
    if let Some(line) = crontab_line(spec, directory) {
        text.push_str(&format!(
            "\nFor `crontab -e` (also in the file `crontab`):\n\n```\n{line}```\n"
        ));
    } else if matches!(spec.trigger, Trigger::Schedule { .. }) {
        text.push_str(
            "\nNo line of a crontab can say these times: start `run` by something else.\n",
        );
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shell_quote(text: &str) -> String {
    let plain = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"/._-:=@%+,".contains(&b));
    if plain {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn repo() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        write_file(&dir.path().join("main.py"), b"print(1)\n", true).unwrap();
        write_file(&dir.path().join("spec.json"), b"{}", false).unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        dir
    }

    fn name() -> Slug {
        Slug::parse("backup").unwrap()
    }

    fn spec(trigger: &serde_json::Value, folder: &Path) -> Spec {
        serde_json::from_value(json!({
            "format": 1, "name": "backup", "purpose": "keeps\na 'copy'", "kind": "script",
            "command": ["sh", "/app/main.sh", "it's"], "trigger": trigger,
            "permissions": {"folders": [{"name": "out", "path": folder, "access": "write"}],
                "environment": {"A": "x y"}, "secrets": [{"variable": "T", "reference": "env:TOKEN"}]},
            "acceptance": {"smoke": {"name": "s", "steps": []}, "cases": []},
        }))
        .unwrap()
    }

    #[test]
    fn installing_twice_is_installing_once() {
        let (repo, data) = (repo(), tempfile::tempdir().unwrap());
        let layout = Layout::new(data.path());
        let code = code_digest(repo.path()).unwrap();
        let build = RunId::new("b1");
        let one = install(&layout, &name(), &build, repo.path(), &code, &[]).unwrap();
        fs::write(layout.state(&name()).join("kept"), "1").unwrap();
        let two = install(&layout, &name(), &build, repo.path(), &code, &[]).unwrap();
        let recorded = install(
            &layout,
            &name(),
            &build,
            repo.path(),
            &code,
            &[(1, build.clone())],
        )
        .unwrap();
        assert_eq!(one, two);
        assert_eq!(one, recorded);
        assert_eq!(one.version, 1);
        assert!(!one.app.join("spec.json").exists());
        assert!(layout.state(&name()).join("kept").exists());
        assert_eq!(fs::read_dir(layout.versions(&name())).unwrap().count(), 1);
    }

    #[test]
    fn what_a_build_lost_is_taken_away_and_nothing_of_others_or_recorded() {
        let (repo, data) = (repo(), tempfile::tempdir().unwrap());
        let layout = Layout::new(data.path());
        let code = code_digest(repo.path()).unwrap();
        let builds = ["b1", "b2"].map(RunId::new);
        let [won, lost] = builds
            .each_ref()
            .map(|build| install(&layout, &name(), build, repo.path(), &code, &[]).unwrap());
        assert_eq!((won.version, lost.version), (1, 2));
        // A kill in the middle of an earlier one left this.
        fs::create_dir_all(layout.versions(&name()).join(".b2/app")).unwrap();
        for _ in 0..2 {
            discard(&layout, &name(), &builds[1], &[1]).unwrap();
            assert_eq!(fs::read_dir(layout.versions(&name())).unwrap().count(), 1);
        }
        discard(&layout, &name(), &builds[0], &[1]).unwrap();
        assert!(won.app.join("main.py").exists(), "it is recorded");
        discard(&layout, &name(), &builds[0], &[]).unwrap();
        assert!(!any_version(&layout, &name()));
        discard(&layout, &Slug::parse("never").unwrap(), &builds[0], &[]).unwrap();
    }

    #[test]
    fn what_a_killed_install_left_is_replaced_and_another_builds_directory_is_not() {
        let (repo, data) = (repo(), tempfile::tempdir().unwrap());
        let layout = Layout::new(data.path());
        let code = code_digest(repo.path()).unwrap();
        let build = RunId::new("b1");
        fs::create_dir_all(layout.versions(&name()).join(".b1/app")).unwrap();
        fs::write(layout.versions(&name()).join(".b1/app/half"), "x").unwrap();
        let one = install(&layout, &name(), &build, repo.path(), &code, &[]).unwrap();
        assert!(!one.app.join("half").exists());
        let other = install(&layout, &name(), &RunId::new("b2"), repo.path(), &code, &[]).unwrap();
        assert_eq!(other.version, 2);
        assert!(one.app.join("main.py").exists());
    }

    #[test]
    fn code_that_changed_after_it_was_verified_is_not_installed() {
        let (repo, data) = (repo(), tempfile::tempdir().unwrap());
        let layout = Layout::new(data.path());
        let code = code_digest(repo.path()).unwrap();
        fs::write(repo.path().join("main.py"), "evil").unwrap();
        let error =
            install(&layout, &name(), &RunId::new("b1"), repo.path(), &code, &[]).unwrap_err();
        assert!(error.to_string().contains("somebody changed it"), "{error}");
        assert!(!layout.deployment(&name()).exists());
    }

    #[test]
    fn removing_leaves_nothing_and_may_be_repeated() {
        let (repo, data) = (repo(), tempfile::tempdir().unwrap());
        let layout = Layout::new(data.path());
        let code = code_digest(repo.path()).unwrap();
        install(&layout, &name(), &RunId::new("b1"), repo.path(), &code, &[]).unwrap();
        remove(&layout, &name()).unwrap();
        remove(&layout, &name()).unwrap();
        assert_eq!(
            fs::read_dir(data.path().join("deployments"))
                .unwrap()
                .count(),
            0
        );
    }

    #[test]
    fn an_export_stands_alone_and_carries_its_crontab_line() {
        let (repo, out) = (repo(), tempfile::tempdir().unwrap());
        let to = out.path().join("my export");
        let trigger = json!({"type": "schedule", "cron": "0 2 * * *", "zone": "Europe/Berlin"});
        export(repo.path(), &spec(&trigger, out.path()), &to).unwrap();
        let crontab = fs::read_to_string(to.join("crontab")).unwrap();
        assert!(
            crontab.starts_with("CRON_TZ=Europe/Berlin\n0 2 * * * '"),
            "{crontab}"
        );
        let run = fs::read_to_string(to.join("run")).unwrap();
        assert!(run.contains("export A='x y'"));
        assert!(run.contains("T=\"${TOKEN?set TOKEN first}\""));
        assert!(run.contains(r"sh /app/main.sh 'it'\''s'"));
        assert!(run.contains("--bind"));
        assert!(to.join("app/main.py").exists() && to.join("state").is_dir());
        assert!(matches!(
            export(
                repo.path(),
                &spec(&json!({"type": "manual"}), out.path()),
                &to
            ),
            Err(InstallError::Occupied(_))
        ));
    }

    #[test]
    fn an_export_hands_in_files_of_secrets_and_leaves_none() {
        let (repo, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (to, memory) = (out.path().join("x"), out.path().join("memory"));
        fs::create_dir(&memory).unwrap();
        fs::write(out.path().join("b"), "of a file\n").unwrap();
        fs::write(
            repo.path().join("main.sh"),
            "for f in \"$ONE_FILE\" \"$TWO_FILE\"; do echo \"$(cat \"$f\")\"; done; ls /run/secrets; cat\n\
             echo \"${ONE-none} $(umask) $(wc -c <\"$ONE_FILE\")\"\n",
        )
        .unwrap();
        let mut spec = spec(&json!({"type": "manual"}), out.path());
        let file = format!("file:{}", out.path().join("b").display());
        spec.permissions.secrets = serde_json::from_value(json!([
            {"variable": "ONE", "reference": "vault:secret/a#b", "as": "file"},
            {"variable": "TWO", "reference": file, "as": "file"},
        ]))
        .unwrap();
        export(repo.path(), &spec, &to).unwrap();
        #[expect(clippy::disallowed_methods, reason = "what a person does with it")]
        let run = |given: Option<&str>| {
            let mut command = std::process::Command::new(to.join("run"));
            command.env("XDG_RUNTIME_DIR", &memory).env_remove("ONE");
            command.envs(given.map(|value| ("ONE", value)));
            command.stdin(std::process::Stdio::null());
            command.output().unwrap()
        };
        #[expect(clippy::disallowed_methods, reason = "what it is outside")]
        let mask = std::process::Command::new("sh")
            .args(["-c", "umask"])
            .output();
        let mask = String::from_utf8(mask.unwrap().stdout).unwrap();
        let mask = mask.trim();
        let done = run(Some("with \"quotes\" $HOME `id`"));
        assert!(done.status.success(), "{done:?}");
        assert_eq!(
            String::from_utf8_lossy(&done.stdout),
            format!("with \"quotes\" $HOME `id`\nof a file\nONE\nTWO\nnone {mask} 24\n")
        );
        // What has lines ends with one, as programs want their keys.
        let lines = run(Some("-----BEGIN\nEND"));
        let said = String::from_utf8_lossy(&lines.stdout).into_owned();
        assert!(said.ends_with(&format!("none {mask} 15\n")), "{said}");
        let refused = run(None);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("set ONE first"));
        fs::remove_file(out.path().join("b")).unwrap();
        let missing = run(Some("x"));
        assert!(
            !missing.status.success() && missing.stdout.is_empty(),
            "{missing:?}"
        );
        assert_eq!(fs::read_dir(&memory).unwrap().count(), 0);
    }

    #[test]
    fn only_what_runs_by_itself_has_a_crontab_line() {
        let at = Path::new("/srv/x");
        assert_eq!(
            crontab_line(&spec(&json!({"type": "manual"}), at), at),
            None
        );
        let service = json!({"type": "service", "port": 1, "publish": 0, "health_path": "/"});
        assert!(
            crontab_line(&spec(&service, at), at)
                .unwrap()
                .starts_with("@reboot /srv/x/run")
        );
        let odd = crontab_line(
            &spec(
                &json!({"type": "schedule", "cron": "1 2 * * *", "zone": "UTC"}),
                at,
            ),
            Path::new("/srv/50%"),
        )
        .unwrap();
        assert!(odd.contains("/srv/50\\%/run"), "{odd}");
    }
}
