//! What this machine has: configuration, then `ANTHROPIC_API_KEY`, then `OPENAI_API_KEY`, then Ollama; in this order,
//! and every step is told. Where the configuration names providers only those are used.

use crate::Secret;
use crate::config::Env;
use crate::{
    Caller, Callers, KeyRef, Keys, Kind, LlmError, Meter, Prices, Provider, ProviderConfig,
    Recorder, Role, RoleConfig, Wire,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where Ollama is looked for.
pub const OLLAMA_URL: &str = "http://localhost:11434";
/// How long Ollama may take to be found.
const LOOK: Duration = Duration::from_secs(2);

/// The model of a provider where none is named.
pub fn default_model(wire: Wire) -> &'static str {
    match wire {
        Wire::OllamaGenerate | Wire::OllamaChat => "llama3.1:8b",
        Wire::Anthropic => "claude-sonnet-4-5-20250929",
        Wire::OpenaiChat | Wire::OpenaiResponses => "gpt-4o-mini",
    }
}

/// What a person configured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelsConfig {
    /// In the order of preference.
    pub providers: Vec<ProviderConfig>,
    /// What roles use; the first provider's default where absent.
    pub roles: BTreeMap<Role, RoleConfig>,
}

/// What will be used, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Detected {
    /// In the order of preference.
    pub providers: Vec<ProviderConfig>,
    /// What each role uses; empty when there is no provider.
    pub roles: BTreeMap<Role, RoleConfig>,
    /// For people: what was looked for and found, then what each role uses.
    pub lines: Vec<String>,
    /// Who resolves the references of keys.
    pub keys: Keys,
}

/// What all callers share.
#[derive(Clone)]
pub struct Parts {
    /// Who counts.
    pub meter: Arc<dyn Meter>,
    /// What it costs.
    pub prices: Arc<Prices>,
    /// Who keeps it.
    pub recorder: Option<Arc<dyn Recorder>>,
    /// Who listens while it comes.
    pub listener: Option<crate::caller::Listener>,
    /// The time.
    pub now: crate::caller::Now,
}

/// Looks. Asks Ollama for its models (two seconds at most); nothing else leaves the machine.
pub async fn detect(config: &ModelsConfig, env: Env<'_>, ollama_url: &str) -> Detected {
    let mut lines = Vec::new();
    let mut found = Vec::new();
    lines.push(match config.providers.as_slice() {
        [] => "configuration: names no provider".to_owned(),
        some => {
            let names: Vec<&str> = some.iter().map(|p| p.name.as_str()).collect();
            format!("configuration: {}", names.join(", "))
        }
    });
    for (variable, name, wire) in [
        ("ANTHROPIC_API_KEY", "anthropic", Wire::Anthropic),
        ("OPENAI_API_KEY", "openai", Wire::OpenaiChat),
    ] {
        if env(variable).is_some_and(|key| !key.trim().is_empty()) {
            lines.push(format!("{variable}: set"));
            found.push((
                ProviderConfig {
                    key: Some(KeyRef::Env(variable.to_owned())),
                    ..ProviderConfig::new(name, wire)
                },
                default_model(wire).to_owned(),
            ));
        } else {
            lines.push(format!("{variable}: not set"));
        }
    }
    let ollama = look(ollama_url, env).await;
    lines.push(ollama.line);
    let spare = ollama.models;
    if let Some(model) = ollama.model {
        let provider = ProviderConfig {
            base_url: Some(ollama_url.to_owned()),
            ..ProviderConfig::new("ollama", Wire::OllamaGenerate)
        };
        found.push((provider, model));
    }
    if !config.providers.is_empty() {
        if !found.is_empty() {
            lines.push("only what the configuration names is used".to_owned());
        }
        let model = |p: &ProviderConfig| default_model(p.wire).to_owned();
        found = config
            .providers
            .iter()
            .map(|p| (p.clone(), model(p)))
            .collect();
    }
    let roles = assign(config, &found, &spare);
    explain(&roles, &mut lines);
    let providers = found.into_iter().map(|(provider, _)| provider).collect();
    Detected {
        providers,
        roles,
        lines,
        keys: Keys::default(),
    }
}

/// What Ollama said.
struct Ollama {
    model: Option<String>,
    models: Vec<String>,
    line: String,
}

async fn look(url: &str, env: Env<'_>) -> Ollama {
    let none = |line: String| Ollama {
        model: None,
        models: Vec::new(),
        line,
    };
    let config = ProviderConfig {
        base_url: Some(url.to_owned()),
        ..ProviderConfig::new("ollama", Wire::OllamaGenerate)
    };
    let provider = match config.provider(env) {
        Ok(provider) => provider,
        Err(error) => return none(format!("Ollama: {error}")),
    };
    let Ok(Ok(models)) = tokio::time::timeout(LOOK, provider.models()).await else {
        return none(format!("Ollama at {url}: does not answer"));
    };
    let usual = default_model(Wire::OllamaGenerate);
    let usable: Vec<String> = models
        .into_iter()
        .filter(|m| !m.contains("embed"))
        .collect();
    let model = match usable.iter().find(|model| *model == usual) {
        Some(model) => model.clone(),
        None => match usable.first() {
            Some(first) => first.clone(),
            None => {
                return none(format!(
                    "Ollama at {url}: has no models; run `ollama pull {usual}`"
                ));
            }
        },
    };
    Ollama {
        line: format!("Ollama at {url}: {} models, {model} is used", usable.len()),
        model: Some(model),
        models: usable,
    }
}

/// Configured roles as they are; the others use the first provider, and review another one, or another model, where
/// there is one.
fn assign(
    config: &ModelsConfig,
    found: &[(ProviderConfig, String)],
    ollama_models: &[String],
) -> BTreeMap<Role, RoleConfig> {
    let mut roles = config.roles.clone();
    for role in roles.values_mut() {
        let wire = found.iter().find(|(p, _)| p.name == role.provider);
        if let (None, Some((_, model))) = (&role.model, wire) {
            role.model = Some(model.clone());
        }
    }
    let Some((first, model)) = found.first() else {
        return roles;
    };
    let usual = RoleConfig::new(&first.name, model);
    for role in [Role::Spec, Role::Code, Role::Repair, Role::Chat] {
        roles.entry(role).or_insert_with(|| usual.clone());
    }
    let coder = roles[&Role::Code].clone();
    roles.entry(Role::Review).or_insert_with(|| {
        let other = found.iter().find(|(p, _)| p.name != coder.provider);
        let other_model = || {
            let of_ollama = found
                .iter()
                .any(|(p, _)| p.name == coder.provider && p.wire.is_ollama());
            let mut others = ollama_models.iter().filter(|_| of_ollama);
            others.find(|m| Some(*m) != coder.model.as_ref())
        };
        match (other, other_model()) {
            (Some((provider, model)), _) => RoleConfig::new(&provider.name, model),
            (None, Some(model)) => RoleConfig::new(&coder.provider, model),
            (None, None) => {
                RoleConfig::new(&coder.provider, coder.model.clone().unwrap_or_default())
            }
        }
    });
    roles
}

fn explain(roles: &BTreeMap<Role, RoleConfig>, lines: &mut Vec<String>) {
    let Some(coder) = roles.get(&Role::Code) else {
        return;
    };
    for (role, used) in roles {
        let model = used.model.as_deref().unwrap_or("its default model");
        let note = match role {
            Role::Review if used.provider != coder.provider => {
                " (another provider than the coder's)"
            }
            Role::Review if used.model != coder.model => " (another model than the coder's)",
            Role::Review => " (the coder's own: there is no other)",
            Role::Spec | Role::Code | Role::Repair | Role::Chat => "",
        };
        let next: Vec<&str> = used.fallbacks.iter().map(|f| f.provider.as_str()).collect();
        let next = if next.is_empty() {
            String::new()
        } else {
            format!(", then {}", next.join(", "))
        };
        lines.push(format!("{role}: {} {model}{next}{note}", used.provider));
    }
}

impl Detected {
    /// Five lines for a machine that has nothing.
    pub fn help() -> [&'static str; 5] {
        [
            "No model is configured; foundations work without one. For everything else, one of these is enough:",
            "  Anthropic:  export ANTHROPIC_API_KEY=…   (uses claude-sonnet-4-5-20250929)",
            "  OpenAI:     export OPENAI_API_KEY=…      (uses gpt-4o-mini)",
            "  Ollama:     ollama serve, then ollama pull llama3.1:8b   (nothing leaves this machine)",
            "  other:      a [[models.providers]] entry with name, wire, base_url and key in the configuration",
        ]
    }

    /// Everything secret of all providers, for what is recorded and shown. A key that cannot be read is none.
    pub fn secrets(&self, env: Env<'_>) -> Vec<Secret> {
        let made = self.providers.iter();
        let made = made.filter_map(|p| p.provider_with(env, &self.keys).ok());
        made.flat_map(|provider| provider.secrets().to_vec())
            .collect()
    }

    /// Who is asked for a role, in order. Fails with [`Kind::NotConfigured`] when there is nobody, or when
    /// the first has no key; a fallback without its key is left out.
    pub fn callers(&self, role: Role, env: Env<'_>, parts: &Parts) -> Result<Callers, LlmError> {
        let Some(config) = self.roles.get(&role) else {
            return Err(LlmError::new(
                Kind::NotConfigured,
                "",
                Self::help().join("\n"),
            ));
        };
        let first = self.caller(role, &config.provider, config.model.as_deref(), env, parts)?;
        let others = config.fallbacks.iter().filter_map(|other| {
            let made = self.caller(role, &other.provider, other.model.as_deref(), env, parts);
            made.inspect_err(|error| tracing::warn!(%error, "a fallback is left out"))
                .ok()
        });
        let all = std::iter::once(first).chain(others);
        Ok(Callers(
            all.map(|caller| Caller {
                limits: config.limits(),
                retry: config.retry(),
                ..caller
            })
            .collect(),
        ))
    }

    fn caller(
        &self,
        role: Role,
        name: &str,
        model: Option<&str>,
        env: Env<'_>,
        parts: &Parts,
    ) -> Result<Caller, LlmError> {
        let Some(config) = self.providers.iter().find(|p| p.name == name) else {
            let message =
                format!("the role {role} uses the provider {name}, which is not configured");
            return Err(LlmError::new(Kind::NotConfigured, name, message));
        };
        let provider: Arc<dyn Provider> = Arc::new(config.provider_with(env, &self.keys)?);
        let model = model.unwrap_or(default_model(config.wire));
        let meter = Arc::clone(&parts.meter);
        Ok(Caller {
            prices: Arc::clone(&parts.prices),
            recorder: parts.recorder.clone(),
            listener: parts.listener.clone(),
            ..Caller::new(role, provider, model, meter, Arc::clone(&parts.now))
        })
    }
}

#[cfg(test)]
mod tests;
