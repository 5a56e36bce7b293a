use super::*;
use crate::Provider;

fn env(name: &str) -> Option<String> {
    (name == "SET").then(|| "a-long-enough-key\n".to_owned())
}

fn parse(text: &str) -> Result<ProviderConfig, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn a_provider_is_read_from_toml_and_written_back() {
    let text = "name = \"gpu1\"\nwire = \"openai_chat\"\nbase_url = \"http://gpu1:8000/v1\"\nkey = \"env:SET\"\nauth = \"header:api-key\"\nmax_tokens_field = \"max_tokens\"\nwithout = [\"stream_options\"]\n\n[headers]\nx-team = \"file:/run/team\"\n\n[body]\ntop_k = 4\n";
    let config = parse(text).unwrap();
    assert_eq!(config.auth, Some(Auth::Header("api-key".to_owned())));
    assert_eq!(config.key, Some(KeyRef::Env("SET".to_owned())));
    let written = toml::to_string(&config).unwrap();
    assert_eq!(parse(&written).unwrap(), config);
    let role: RoleConfig = toml::from_str(
        "provider = \"gpu1\"\nmodel = \"m\"\nmax_output_tokens = 900\n[[fallbacks]]\nprovider = \"openai\"\n",
    )
    .unwrap();
    assert_eq!(role.limits().max_output_tokens, 900);
    let cx = RoleConfig {
        idle_s: Some(7),
        ..role.clone()
    }
    .cx(CancellationToken::new());
    assert_eq!((cx.deadline.as_secs(), cx.idle.as_secs()), (120, 7));
    assert_eq!(role.fallbacks[0].provider, "openai");
}

#[test]
fn wrong_configuration_is_named_and_a_key_in_it_is_not_repeated() {
    for (more, part) in [
        (
            "key = \"sk-live-0123456789\"",
            "env:NAME, file:PATH or vault:MOUNT/PATH#FIELD",
        ),
        ("auth = \"basic\"", "x-api-key, bearer"),
        ("wires = 1", "unknown field `wires`"),
        ("wire = \"carrier-pigeon\"", "unknown variant"),
    ] {
        let wire = if more.starts_with("wire =") {
            ""
        } else {
            "wire = \"anthropic\"\n"
        };
        let error = parse(&format!("name = \"a\"\n{wire}{more}\n")).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    let said = "sk-live-0123456789".parse::<KeyRef>().unwrap_err();
    assert!(!said.contains("sk-live"));
}

#[test]
fn a_provider_that_cannot_be_used_says_what_is_missing() {
    let with = |change: &dyn Fn(&mut ProviderConfig)| {
        let mut config = ProviderConfig::new("p", Wire::Anthropic);
        change(&mut config);
        match config.provider(&env) {
            Ok(_) => panic!("it cannot be used"),
            Err(error) => {
                assert_eq!(error.kind, Kind::NotConfigured);
                error.to_string()
            }
        }
    };
    let said = with(&|c| c.key = Some(KeyRef::Env("UNSET".to_owned())));
    assert_eq!(said, "the provider p cannot be used: UNSET is not set");
    let said = with(&|c| c.key = Some(KeyRef::File("/nowhere/key".into())));
    assert!(said.contains("/nowhere/key cannot be read"), "{said}");
    let said = with(&|c| c.base_url = Some("localhost:11434".to_owned()));
    assert!(said.contains("http:// or https://"), "{said}");
    let said = with(&|c| {
        c.headers.insert("a b".to_owned(), "x".to_owned());
    });
    assert!(said.contains("no header's name"), "{said}");
    let said = with(&|c| {
        c.base_url = Some("https://far.example".to_owned());
        c.proxy = Some("::not a proxy".to_owned());
    });
    assert!(said.contains("its proxy is no address"), "{said}");
}

#[test]
fn a_key_from_a_file_loses_its_line_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, "k-123456\n").unwrap();
    assert_eq!(
        KeyRef::File(path.clone()).resolve(&env).unwrap().expose(),
        "k-123456"
    );
    std::fs::write(&path, " \n").unwrap();
    assert!(
        KeyRef::File(path)
            .resolve(&env)
            .unwrap_err()
            .contains("is empty")
    );
    let key = KeyRef::Env("SET".to_owned()).resolve(&env).unwrap();
    assert_eq!(key.expose(), "a-long-enough-key");
    assert_eq!(format!("{key:?}"), "Secret(…)");
}

#[test]
fn prices_follow_the_address_and_not_the_form() {
    for (wire, base, own, kind) in [
        (Wire::Anthropic, None, None, "anthropic"),
        (Wire::OpenaiResponses, None, None, "openai"),
        (Wire::OpenaiChat, Some("http://gpu1/v1"), None, "p"),
        (
            Wire::OpenaiChat,
            Some("http://gpu1/v1"),
            Some("openai"),
            "openai",
        ),
        (Wire::OllamaChat, Some("http://gpu1"), None, "ollama"),
    ] {
        let config = ProviderConfig {
            base_url: base.map(str::to_owned),
            prices: own.map(str::to_owned),
            ..ProviderConfig::new("p", wire)
        };
        assert_eq!(config.provider(&env).unwrap().kind(), kind);
    }
}

#[test]
fn an_address_with_the_version_already_in_it_is_understood() {
    for (wire, given, base) in [
        (Wire::Anthropic, "http://h/v1/", "http://h/"),
        (Wire::Anthropic, "http://h/proxy/v1", "http://h/proxy"),
        (Wire::OllamaChat, "http://h:1/v1", "http://h:1/"),
        (Wire::OpenaiChat, "http://h/v1", "http://h/v1"),
    ] {
        let config = ProviderConfig {
            base_url: Some(given.to_owned()),
            ..ProviderConfig::new("p", wire)
        };
        assert_eq!(config.base().unwrap().as_str(), base);
    }
}

#[test]
fn this_machine_is_told_from_others() {
    for (url, here) in [
        ("http://localhost:1", true),
        ("http://127.0.0.2:1", true),
        ("http://[::1]:1", true),
        ("http://10.0.0.1", false),
        ("http://localhost.example", false),
    ] {
        assert_eq!(is_loopback(&Url::parse(url).unwrap()), here, "{url}");
    }
}
