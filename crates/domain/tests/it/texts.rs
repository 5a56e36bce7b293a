//! Texts with a shape: names, digests, hosts, and specs that are wrong.
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::Slug;
use agentwright_domain::spec::{HostPort, SecretForm, SecretPermission, Spec};
use proptest::prelude::*;
use serde_json::{Value, json};

fn spec() -> Value {
    json!({
        "format": 1, "name": "notes-backup", "purpose": "keeps a zip of notes", "kind": "script",
        "command": ["python3", "/app/backup.py"],
        "permissions": { "folders": [{ "name": "source", "path": "/srv/notes", "access": "read" }] },
        "trigger": { "type": "schedule", "cron": "0 2 * * *", "zone": "UTC" },
        "acceptance": {
            "smoke": { "name": "runs", "steps": [{ "type": "run" }] },
            "cases": [{ "name": "works", "steps": [{ "type": "run" }], "probes": [
                { "name": "made", "holds": "effect", "check": { "type": "file_exists", "folder": "state", "path": "x" } }
            ] }]
        }
    })
}

fn problems(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut value = spec();
    change(&mut value);
    let spec: Spec = serde_json::from_value(value).unwrap();
    spec.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn a_sound_spec_has_no_problems() {
    assert_eq!(problems(|_| ()), Vec::<String>::new());
}

#[test]
fn each_fault_of_a_spec_is_named_where_it_is() {
    let cases: Vec<(&str, &str, Value)> = vec![
        ("/format", "/format", json!(2)),
        ("/purpose", "/purpose", json!(" ")),
        ("/command", "/command", json!([])),
        ("/command/1", "/command/1", json!("a\0b")),
        (
            "/permissions/folders/0/path",
            "/permissions/folders/0/path",
            json!("../notes"),
        ),
        (
            "/permissions/folders/0/path",
            "/permissions/folders/0/path",
            json!("/srv/../etc"),
        ),
        (
            "/trigger",
            "/kind",
            json!({ "type": "service", "port": 8080, "publish": 0, "health_path": "/health" }),
        ),
        ("/kind", "/trigger", json!("service")),
        ("/acceptance/cases", "/acceptance/cases", json!([])),
        (
            "/acceptance/smoke/steps",
            "/acceptance/smoke/steps",
            json!([]),
        ),
        (
            "/acceptance/cases/0/probes",
            "/acceptance/cases/0/probes",
            json!([]),
        ),
        (
            "/acceptance/cases/0/probes/0/check/folder",
            "/acceptance/cases/0/probes/0",
            json!("elsewhere"),
        ),
    ];
    for (pointer, expected, value) in cases {
        let found = problems(|spec| *spec.pointer_mut(pointer).unwrap() = value.clone());
        assert!(
            found
                .iter()
                .any(|line| line.starts_with(&format!("{expected}:"))),
            "{pointer}: {found:?}"
        );
    }
}

#[test]
fn permissions_are_checked_one_by_one() {
    let found = problems(|spec| {
        spec["permissions"] = json!({
            "folders": [
                { "name": "a", "path": "/srv/a", "access": "read", "create": true },
                { "name": "a", "path": "/srv/b", "access": "write" }
            ],
            "secrets": [{ "variable": "lower", "reference": "hunter2" }],
            "environment": { "1BAD": "x" }
        });
    });
    for place in [
        "folders/0/create",
        "folders/1/name",
        "secrets/0/variable",
        "secrets/0/reference",
        "environment",
    ] {
        assert!(
            found
                .iter()
                .any(|line| line.starts_with(&format!("/permissions/{place}"))),
            "{place}: {found:?}"
        );
    }
}

#[test]
fn a_secret_is_a_variable_unless_it_says_file_and_what_is_stored_stays_as_it_was() {
    let before = json!({ "variable": "TOKEN", "reference": "env:TOKEN" });
    let secret: SecretPermission = serde_json::from_value(before.clone()).unwrap();
    assert_eq!(secret.form, SecretForm::Variable);
    assert_eq!(secret.is_set_as(), "TOKEN");
    assert_eq!(serde_json::to_value(&secret).unwrap(), before);

    let file = json!({ "variable": "TOKEN", "reference": "env:TOKEN", "as": "file" });
    let secret: SecretPermission = serde_json::from_value(file.clone()).unwrap();
    assert_eq!(secret.file().as_deref(), Some("/run/secrets/TOKEN"));
    assert_eq!(secret.is_set_as(), "TOKEN_FILE");
    assert_eq!(
        secret.in_words(),
        "TOKEN from env:TOKEN, as the file /run/secrets/TOKEN"
    );
    assert_eq!(serde_json::to_value(&secret).unwrap(), file);
}

#[test]
fn secrets_that_would_set_one_variable_twice_and_too_many_files_are_named() {
    let of = |secrets: Value| {
        problems(|spec| {
            spec["permissions"] =
                json!({ "secrets": secrets, "environment": { "A_FILE": "/etc/hosts" } });
        })
    };
    let one =
        |name: &str, form: &str| json!({ "variable": name, "reference": "env:X", "as": form });
    assert_eq!(
        of(json!([
            one("A", "variable"),
            one("B", "file"),
            one("B", "variable")
        ])),
        Vec::<String>::new()
    );
    for (secrets, at) in [
        (
            json!([one("B", "variable"), one("B", "variable")]),
            "/permissions/secrets/1/variable: the variable B ",
        ),
        (
            json!([one("A", "file")]),
            "/permissions/secrets/0/variable: the variable A_FILE ",
        ),
        (
            (0..8).map(|i| one(&format!("F{i}"), "file")).collect(),
            "/permissions/secrets: at most 7",
        ),
    ] {
        let found = of(secrets);
        assert!(found.len() == 1 && found[0].starts_with(at), "{found:?}");
    }
}

#[test]
fn a_service_needs_a_port_and_a_health_path() {
    let found = problems(|spec| {
        spec["kind"] = json!("service");
        spec["trigger"] =
            json!({ "type": "service", "port": 0, "publish": 0, "health_path": "health" });
    });
    assert!(found.iter().any(|line| line.starts_with("/trigger/port")));
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("/trigger/health_path"))
    );
}

#[test]
fn unknown_fields_are_refused() {
    let mut value = spec();
    value["permisions"] = json!({});
    let error = serde_json::from_value::<Spec>(value)
        .unwrap_err()
        .to_string();
    assert!(error.contains("permisions"), "{error}");
}

proptest! {
    #[test]
    fn any_text_makes_a_safe_name_or_none(text in any::<String>()) {
        if let Some(slug) = Slug::from_words(&text) {
            prop_assert!(Slug::parse(slug.as_str()).is_ok(), "{slug}");
        }
    }

    #[test]
    fn only_names_are_parsed_as_names(text in "[a-z0-9./ -]{0,70}") {
        if let Ok(slug) = Slug::parse(&text) {
            prop_assert!(!slug.as_str().contains(['/', '.', ' ']) && slug.as_str().len() <= 63);
            prop_assert_eq!(Slug::from_words(&text).unwrap(), slug);
        }
    }

    #[test]
    fn a_digest_survives_its_text(bytes in any::<[u8; 32]>()) {
        let digest = Digest::from_sha256(bytes);
        prop_assert_eq!(Digest::parse(digest.as_str()).unwrap(), digest.clone());
        prop_assert_eq!(digest.short().len(), 12);
    }

    #[test]
    fn a_host_and_port_survive_their_text(host in "[a-z0-9.-]{1,30}", port in 1_u16..) {
        let parsed = HostPort::try_from(format!("{host}:{port}")).unwrap();
        prop_assert_eq!(HostPort::try_from(parsed.to_string()).unwrap(), parsed);
    }
}

#[test]
fn what_is_no_host_and_port_is_refused() {
    for text in [
        "",
        "example.com",
        "example.com:0",
        "example.com:99999",
        ":80",
        "exa mple:80",
        "a/b:80",
    ] {
        assert!(HostPort::try_from(text.to_owned()).is_err(), "{text}");
    }
    assert_eq!(
        HostPort::try_from("[::1]:80".to_owned())
            .unwrap()
            .to_string(),
        "[::1]:80"
    );
}

#[test]
fn what_is_no_digest_is_refused() {
    for text in [
        "",
        "sha256:",
        "sha256:XYZ",
        "md5:00",
        &format!("sha256:{}", "A".repeat(64)),
    ] {
        assert!(Digest::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_reference_of_a_secret_is_a_name_or_a_path_and_no_shell() {
    let spec = |reference: &str| -> Spec {
        serde_json::from_value(serde_json::json!({
            "format": 1, "name": "x", "purpose": "p", "kind": "script",
            "command": ["sh"], "trigger": { "type": "manual" },
            "permissions": { "secrets": [{ "variable": "K", "reference": reference }] },
            "acceptance": { "smoke": { "name": "s", "steps": [] }, "cases": [] },
        }))
        .unwrap()
    };
    let wrong = |reference| {
        let problems = spec(reference).problems();
        problems
            .iter()
            .any(|p| p.at.ends_with("/secrets/0/reference"))
    };
    for good in [
        "env:TOKEN",
        "env:http_proxy",
        "file:/run/key",
        "vault:secret/team/api_business#password",
    ] {
        assert!(!wrong(good), "{good}");
    }
    for bad in [
        "env:",
        "env:1A",
        "env:X:-$(id)}",
        "env:A B",
        "file:key",
        "file:/run/key\n",
        "vault:x",
        "vault:secret/a",
        "vault:secret#a",
        "vault:secret/../sys/seal#a",
        "vault:secret/a?version=1#a",
        "vault:secret//a#b",
        "vault:secret/a#b#c",
    ] {
        assert!(wrong(bad), "{bad}");
    }
}

#[test]
fn a_name_with_a_number_behind_it_is_a_name_however_long_it_was() {
    let named = |text: &str, n: usize| Slug::parse(text).unwrap().numbered(n).to_string();
    assert_eq!(named("notes", 2), "notes-2");
    for text in ["a".repeat(63), format!("{}-b", "a".repeat(60))] {
        let long = named(&text, 12);
        assert_eq!(Slug::parse(&long).unwrap().as_str(), long);
        assert!(long.ends_with("a-12"), "{long}");
    }
}
