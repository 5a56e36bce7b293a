//! Secrets: references become values here, at the edge, just before a run; and their values are taken
//! out of everything that is kept afterwards.

use agentwright_domain::spec::{Permissions, SecretPermission};
use agentwright_sandbox::{Policy, spec_policy};
use std::sync::Arc;

/// Turns a reference (`env:NAME`, `file:/PATH`, `vault:MOUNT/PATH#FIELD`) into its value, or says in words why there is
/// none, without it. Handed in by the one place that may read them; may block.
pub type Resolve = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

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
    values: Vec<(SecretPermission, String)>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.values.iter().map(|(secret, _)| &secret.variable);
        f.debug_set().entries(names).finish()
    }
}

impl Secrets {
    /// Resolves every declared secret. Blocking.
    ///
    /// # Errors
    /// [`NoSecret`] for the first that cannot be read.
    pub fn resolve(permissions: &Permissions, resolve: &Resolve) -> Result<Self, NoSecret> {
        let mut values = Vec::new();
        for secret in &permissions.secrets {
            let value = resolve(&secret.reference).map_err(|why| NoSecret {
                variable: secret.variable.clone(),
                reference: secret.reference.clone(),
                why,
            })?;
            values.push((secret.clone(), value));
        }
        Ok(Self { values })
    }

    /// Hands each to the sandbox as it was declared, and to nobody else.
    pub fn hand_in(&self, policy: &mut Policy) {
        for (secret, value) in &self.values {
            spec_policy::add_secret(policy, secret, value);
        }
    }

    /// The text without the secrets, also where one is written over several lines.
    pub fn redact(&self, text: &str) -> String {
        let mut parts: Vec<(&str, &str)> = Vec::new();
        for (secret, value) in &self.values {
            let whole = std::iter::once(value.as_str());
            let lines = whole.chain(value.lines()).map(str::trim);
            let long = lines.filter(|part| part.len() >= REDACT_MIN);
            parts.extend(long.map(|part| (part, secret.variable.as_str())));
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

#[cfg(test)]
mod tests {
    use super::*;
    use agentwright_domain::spec::SecretForm;

    fn permissions(references: &[(&str, String)]) -> Permissions {
        Permissions {
            secrets: references
                .iter()
                .map(|(variable, reference)| SecretPermission {
                    variable: (*variable).to_owned(),
                    reference: reference.clone(),
                    form: SecretForm::Variable,
                })
                .collect(),
            ..Permissions::default()
        }
    }

    fn resolve() -> Resolve {
        Arc::new(|reference| match reference {
            "env:TOKEN" => Ok("s3cret-token".to_owned()),
            "file:/lines" => Ok("line-one\nline-two".to_owned()),
            "env:LONGER" => Ok("s3cret-token-and-more".to_owned()),
            _ => Err("it is not there".to_owned()),
        })
    }

    #[test]
    fn references_are_resolved_and_redacted_and_never_debugged() {
        let declared = permissions(&[("A", "env:TOKEN".into()), ("B", "file:/lines".into())]);
        let secrets = Secrets::resolve(&declared, &resolve()).unwrap();
        let mut policy = Policy::default();
        secrets.hand_in(&mut policy);
        assert_eq!(policy.env["A"], "s3cret-token");
        let text = secrets.redact("got s3cret-token and line-two here");
        assert_eq!(text, "got [A] and [B] here");
        assert!(!format!("{secrets:?}").contains("s3cret"));
    }

    #[test]
    fn a_secret_that_begins_like_another_leaves_nothing_of_it() {
        let declared = permissions(&[("A", "env:TOKEN".into()), ("B", "env:LONGER".into())]);
        let secrets = Secrets::resolve(&declared, &resolve()).unwrap();
        let text = secrets.redact("s3cret-token-and-more, s3cret-token");
        assert_eq!(text, "[B], [A]");
    }

    #[test]
    fn what_cannot_be_read_names_variable_and_reference_but_no_value() {
        let declared = permissions(&[("KEY", "vault:secret/x#y".to_owned())]);
        let error = Secrets::resolve(&declared, &resolve()).unwrap_err();
        let said = error.to_string();
        for part in ["KEY", "vault:secret/x#y", "it is not there"] {
            assert!(said.contains(part), "{said}");
        }
    }
}
