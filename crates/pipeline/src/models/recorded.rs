//! Who is asked in a replay: the record of those that were asked then. Needs no key, and no provider that is there.

use agentwright_llm::{
    Caller, Callers, Cassette, Parts, ReplayProvider, Retry, Role, RoleConfig, Secret, Unmetered,
};
use std::sync::Arc;
use std::time::Duration;

/// Named where the record holds nobody's answers.
const NOBODY: &str = "the record";

/// The callers of a role, from what was recorded; limits as they are configured.
pub(super) fn callers(
    cassette: &Cassette,
    role: Role,
    config: Option<&RoleConfig>,
    parts: &Parts,
    secrets: &[Secret],
) -> Callers {
    let mut asked: Vec<(&str, &str)> = Vec::new();
    for entry in cassette.entries.iter().filter(|entry| entry.role == role) {
        let model = entry.request.get("model").and_then(|model| model.as_str());
        let who = (entry.provider.as_str(), model.unwrap_or_default());
        if !asked.contains(&who) {
            asked.push(who);
        }
    }
    if asked.is_empty() {
        asked.push((NOBODY, ""));
    }
    let caller = |(provider, model): (&str, &str)| {
        let answers = ReplayProvider::new(cassette, provider, secrets.to_vec());
        let now = Arc::clone(&parts.now);
        let plain = Caller::new(role, Arc::new(answers), model, Arc::new(Unmetered), now);
        let retry = config.map(RoleConfig::retry).unwrap_or_default();
        Caller {
            limits: config.map(RoleConfig::limits).unwrap_or_default(),
            prices: Arc::clone(&parts.prices),
            recorder: parts.recorder.clone(),
            // A recorded failure is followed by what was recorded after it, without the wait between them.
            retry: Retry {
                base: Duration::ZERO,
                cap: Duration::ZERO,
                ..retry
            },
            ..plain
        }
    };
    Callers(asked.into_iter().map(caller).collect())
}
