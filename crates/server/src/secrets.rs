//! The one resolver of references: keys of models, secrets of notices and of deployed automations, addresses of connected
//! databases. It blocks: a file is read, Vault is asked.

use agentwright_domain::secret::{FORMS, Reference};
use agentwright_vault::Vault;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// The largest secret, in bytes.
const SECRET_MAX: u64 = 64 * 1024;
/// Others may neither read nor write a file with a secret, its group may read it.
const FORBIDDEN: u32 = 0o026;
/// Where container engines put secrets, readable by everybody inside.
const OF_CONTAINERS: &str = "/run/secrets";

/// Turns a reference into its value, or says in words why there is none, without it.
pub(crate) type Resolve = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// By the daemon's environment, files and, where one is configured, Vault.
pub(crate) fn resolver(
    variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    vault: Option<Vault>,
) -> Resolve {
    Arc::new(move |text| {
        let reference: Reference = text.parse().map_err(|_| format!("expected {FORMS}"))?;
        let value = match reference {
            Reference::Env(name) => variable(&name)
                .ok_or_else(|| format!("the daemon was started without the variable {name}"))?,
            Reference::File(path) => file(&path)?,
            Reference::Vault(path) => {
                let vault = vault.as_ref().ok_or(
                    "no Vault is configured: give its address in [vault] of the configuration",
                )?;
                let secret = vault.read(&path).map_err(|fault| fault.to_string())?;
                secret.expose().to_owned()
            }
        };
        if value.is_empty() {
            Err("it is empty".to_owned())
        } else if value.contains('\0') {
            Err("it contains a NUL character".to_owned())
        } else {
            Ok(value)
        }
    })
}

fn file(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    // A pipe would be waited for.
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & FORBIDDEN != 0 && !path.starts_with(OF_CONTAINERS) {
        return Err(format!(
            "its mode is {mode:o}, so others may use it: chmod {:o} it",
            mode & !FORBIDDEN
        ));
    }
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(SECRET_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > SECRET_MAX {
        return Err(format!("it is larger than {SECRET_MAX} bytes"));
    }
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(reference: &str) -> Result<String, String> {
        let variable = |name: &str| match name {
            "TOKEN" => Some("s3cret-token".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        resolver(variable, None)(reference)
    }

    fn of(path: &Path) -> String {
        format!("file:{}", path.display())
    }

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn variables_and_files_are_read_and_a_files_last_line_break_is_none_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "line-one\nline-two\n").unwrap();
        mode(&path, 0o640);
        assert_eq!(resolve("env:TOKEN").unwrap(), "s3cret-token");
        assert_eq!(resolve(&of(&path)).unwrap(), "line-one\nline-two");
    }

    #[test]
    fn what_cannot_be_read_says_why_and_never_the_value() {
        let dir = tempfile::tempdir().unwrap();
        let (open, big, pipe) = (
            dir.path().join("open"),
            dir.path().join("big"),
            dir.path().join("pipe"),
        );
        std::fs::write(&open, "s3cret").unwrap();
        mode(&open, 0o644);
        std::fs::write(&big, vec![b'x'; usize::try_from(SECRET_MAX).unwrap() + 1]).unwrap();
        mode(&big, 0o600);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        for (reference, why) in [
            ("env:NOPE".to_owned(), "without the variable NOPE"),
            ("env:EMPTY".to_owned(), "empty"),
            ("file:/does/not/exist".to_owned(), "No such file"),
            ("s3cret".to_owned(), "expected env:NAME"),
            ("vault:secret/a#b".to_owned(), "no Vault is configured"),
            (
                of(&open),
                "its mode is 644, so others may use it: chmod 640 it",
            ),
            (of(&big), "larger"),
            (of(&pipe), "not a file"),
        ] {
            let said = resolve(&reference).unwrap_err();
            assert!(
                said.contains(why) && !said.contains("s3cret"),
                "{reference}: {said}"
            );
        }
    }
}
