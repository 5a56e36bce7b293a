//! Secrets: references become values here, at the edge, just before a run; and their values are taken
//! out of everything that is kept afterwards.

use agentwright_domain::spec::Permissions;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

/// How the daemon's own environment is read; handed in by the one place that may.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The largest secret, in bytes.
pub const SECRET_MAX: u64 = 64 * 1024;
/// Shorter values are not redacted: they would tear holes into ordinary words.
const REDACT_MIN: usize = 4;

/// A reference that yields nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the secret {variable} from {reference}: {why}")]
pub struct NoSecret {
    /// The variable that it is for.
    pub variable: String,
    /// Where it should be.
    pub reference: String,
    /// Why it is not.
    pub why: String,
}

/// Resolved secrets of one run. Its `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Secrets {
    /// Resolves every declared secret. Blocking: files are read.
    ///
    /// # Errors
    /// [`NoSecret`] for the first that cannot be read or is empty.
    pub fn resolve(permissions: &Permissions, variables: &Variables) -> Result<Self, NoSecret> {
        let mut values = BTreeMap::new();
        for secret in &permissions.secrets {
            let value = value(&secret.reference, variables).map_err(|why| NoSecret {
                variable: secret.variable.clone(),
                reference: secret.reference.clone(),
                why,
            })?;
            values.insert(secret.variable.clone(), value);
        }
        Ok(Self { values })
    }

    /// Variable → value, for the sandbox only.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// The text without the secrets, also where one is written over several lines.
    pub fn redact(&self, text: &str) -> String {
        let mut parts: Vec<(&str, &str)> = Vec::new();
        for (variable, value) in &self.values {
            let whole = std::iter::once(value.as_str());
            let lines = whole.chain(value.lines()).map(str::trim);
            let long = lines.filter(|part| part.len() >= REDACT_MIN);
            parts.extend(long.map(|part| (part, variable.as_str())));
        }
        // The longest first: a secret inside another one must not leave the rest of it standing.
        parts.sort_by_key(|(part, _)| std::cmp::Reverse(part.len()));
        parts
            .iter()
            .fold(text.to_owned(), |text, (part, variable)| {
                text.replace(part, &format!("[{variable}]"))
            })
    }
}

/// The value that a reference (`env:NAME`, `file:/PATH`) names. Blocking: a file is read.
///
/// # Errors
/// Why there is none, in words, without the value.
pub fn value(reference: &str, variables: &Variables) -> Result<String, String> {
    let value = match reference.split_once(':') {
        Some(("env", name)) => variables(name)
            .ok_or_else(|| format!("the daemon was started without the variable {name}"))?,
        Some(("file", path)) => {
            let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
            let mut text = String::new();
            file.take(SECRET_MAX + 1)
                .read_to_string(&mut text)
                .map_err(|error| error.to_string())?;
            if text.len() as u64 > SECRET_MAX {
                return Err(format!("it is larger than {SECRET_MAX} bytes"));
            }
            text.trim_end_matches(['\n', '\r']).to_owned()
        }
        _ => return Err("expected env:NAME or file:/PATH".to_owned()),
    };
    if value.is_empty() {
        Err("it is empty".to_owned())
    } else if value.contains('\0') {
        Err("it contains a NUL character".to_owned())
    } else {
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentwright_domain::spec::SecretPermission;

    fn permissions(references: &[(&str, String)]) -> Permissions {
        Permissions {
            secrets: references
                .iter()
                .map(|(variable, reference)| SecretPermission {
                    variable: (*variable).to_owned(),
                    reference: reference.clone(),
                })
                .collect(),
            ..Permissions::default()
        }
    }

    fn variables() -> Variables {
        Arc::new(|name| match name {
            "TOKEN" => Some("s3cret-token".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn references_are_resolved_and_redacted_and_never_debugged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "line-one\nline-two\n").unwrap();
        let declared = permissions(&[
            ("A", "env:TOKEN".into()),
            ("B", format!("file:{}", path.display())),
        ]);
        let secrets = Secrets::resolve(&declared, &variables()).unwrap();
        assert_eq!(secrets.values()["A"], "s3cret-token");
        assert_eq!(secrets.values()["B"], "line-one\nline-two");
        let text = secrets.redact("got s3cret-token and line-two here");
        assert_eq!(text, "got [A] and [B] here");
        assert!(!format!("{secrets:?}").contains("s3cret"));
    }

    #[test]
    fn a_secret_that_begins_like_another_leaves_nothing_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "s3cret-token-and-more").unwrap();
        let declared = permissions(&[
            ("A", "env:TOKEN".into()),
            ("B", format!("file:{}", path.display())),
        ]);
        let secrets = Secrets::resolve(&declared, &variables()).unwrap();
        let text = secrets.redact("s3cret-token-and-more, s3cret-token");
        assert_eq!(text, "[B], [A]");
    }

    #[test]
    fn what_cannot_be_read_names_variable_and_reference_but_no_value() {
        for (reference, why) in [
            ("env:NOPE", "NOPE"),
            ("env:EMPTY", "empty"),
            ("file:/does/not/exist", "No such file"),
            ("vault:x", "expected env:NAME"),
        ] {
            let declared = permissions(&[("KEY", reference.to_owned())]);
            let error = Secrets::resolve(&declared, &variables())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("KEY") && error.contains(reference) && error.contains(why),
                "{error}"
            );
        }
    }

    #[test]
    fn a_secret_beyond_the_limit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        std::fs::write(&path, vec![b'x'; usize::try_from(SECRET_MAX).unwrap() + 1]).unwrap();
        let declared = permissions(&[("BIG", format!("file:{}", path.display()))]);
        assert!(
            Secrets::resolve(&declared, &variables())
                .unwrap_err()
                .why
                .contains("larger")
        );
    }
}
