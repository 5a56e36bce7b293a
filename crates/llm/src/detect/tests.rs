use super::*;
use crate::Unmetered;
use agentwright_testkit::ModelServer;

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

fn with(names: &'static [&'static str]) -> impl Fn(&str) -> Option<String> + Sync {
    move |name| names.contains(&name).then(|| "key-of-a-test".to_owned())
}

fn parts() -> Parts {
    Parts {
        meter: Arc::new(Unmetered),
        prices: Arc::new(Prices::embedded()),
        recorder: None,
        listener: None,
        now: Arc::new(|| 0),
    }
}

fn uses(found: &Detected, role: Role) -> (String, String) {
    let used = &found.roles[&role];
    (
        used.provider.clone(),
        used.model.clone().unwrap_or_default(),
    )
}

#[tokio::test]
async fn nothing_is_found_where_nothing_is_and_five_lines_say_what_to_do() {
    let found = detect(&ModelsConfig::default(), &|_| None, NOWHERE).await;
    assert!(found.providers.is_empty() && found.roles.is_empty());
    assert_eq!(
        found.lines,
        [
            "configuration: names no provider",
            "ANTHROPIC_API_KEY: not set",
            "OPENAI_API_KEY: not set",
            "Ollama at http://127.0.0.1:1: does not answer",
        ]
    );
    let error = found
        .callers(Role::Code, &|_| None, &parts())
        .err()
        .unwrap();
    assert_eq!(error.kind, Kind::NotConfigured);
    assert_eq!(error.to_string().lines().count(), 5);
}

#[tokio::test]
async fn the_order_is_fixed_and_review_goes_to_another_provider() {
    let server = ModelServer::playing([]).await;
    server.set_models(["nomic-embed-text", "llama3.1:8b", "a-first:1b"]);
    let env = with(&["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]);
    let found = detect(&ModelsConfig::default(), &env, &server.url()).await;
    let names: Vec<&str> = found.providers.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["anthropic", "openai", "ollama"]);
    let claude = (
        "anthropic".to_owned(),
        "claude-sonnet-4-5-20250929".to_owned(),
    );
    for role in [Role::Spec, Role::Code, Role::Repair, Role::Chat] {
        assert_eq!(uses(&found, role), claude);
    }
    let review = ("openai".to_owned(), "gpt-4o-mini".to_owned());
    assert_eq!(uses(&found, Role::Review), review);
    let told = found.lines.join("\n");
    assert!(
        told.contains("review: openai gpt-4o-mini (another provider than the coder's)"),
        "{told}"
    );
    assert!(!told.contains("key-of-a-test"));
    let callers = found.callers(Role::Review, &env, &parts()).unwrap();
    assert_eq!(callers.0[0].provider.id(), "openai");
    assert_eq!(callers.0[0].model, "gpt-4o-mini");
    let key = crate::Secret::new("key-of-a-test");
    assert_eq!(found.secrets(&env), [key.clone(), key]);
}

#[tokio::test]
async fn ollama_alone_is_used_with_a_model_that_it_has() {
    let server = ModelServer::playing([]).await;
    server.set_models(["nomic-embed-text", "llama3.1:8b", "a-first:1b"]);
    let found = detect(&ModelsConfig::default(), &|_| None, &server.url()).await;
    let of = |model: &str| ("ollama".to_owned(), model.to_owned());
    assert_eq!(uses(&found, Role::Code), of("llama3.1:8b"));
    assert_eq!(uses(&found, Role::Review), of("a-first:1b"));
    server.set_models(["qwen:7b"]);
    let found = detect(&ModelsConfig::default(), &|_| None, &server.url()).await;
    assert_eq!(uses(&found, Role::Code), of("qwen:7b"));
    assert!(
        found
            .lines
            .join("\n")
            .contains("the coder's own: there is no other")
    );
    server.set_models(["nomic-embed-text"]);
    let found = detect(&ModelsConfig::default(), &|_| None, &server.url()).await;
    assert!(
        found.lines[3].contains("ollama pull llama3.1:8b"),
        "{:?}",
        found.lines
    );
    assert!(found.providers.is_empty());
}

#[tokio::test]
async fn where_the_configuration_names_providers_only_those_are_used() {
    let mut config = ModelsConfig {
        providers: vec![ProviderConfig {
            base_url: Some(NOWHERE.to_owned()),
            ..ProviderConfig::new("mine", Wire::OpenaiChat)
        }],
        roles: BTreeMap::new(),
    };
    let mut chat = RoleConfig::new("mine", "big");
    chat.fallbacks.push(crate::Fallback {
        provider: "gone".to_owned(),
        model: None,
    });
    config.roles.insert(Role::Chat, chat);
    let env = with(&["ANTHROPIC_API_KEY"]);
    let found = detect(&config, &env, NOWHERE).await;
    assert_eq!(found.providers, config.providers);
    assert_eq!(
        uses(&found, Role::Code),
        ("mine".to_owned(), "gpt-4o-mini".to_owned())
    );
    assert_eq!(
        uses(&found, Role::Chat),
        ("mine".to_owned(), "big".to_owned())
    );
    assert!(
        found
            .lines
            .contains(&"only what the configuration names is used".to_owned())
    );
    let callers = found.callers(Role::Chat, &env, &parts()).unwrap();
    assert_eq!(
        callers.0.len(),
        1,
        "a fallback that is not there is left out"
    );
    config
        .roles
        .insert(Role::Spec, RoleConfig::new("other", "x"));
    let found = detect(&config, &env, NOWHERE).await;
    let error = found.callers(Role::Spec, &env, &parts()).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("the provider other, which is not configured")
    );
}
