//! The pure parts: what is read, what must be shown, what was not asked for.

use super::asked::names_folder;
use super::*;

fn draft() -> Value {
    json!({
        "name": "count-words", "purpose": "Counts words", "kind": "script", "command": ["python3", "/app/main.py"],
        "permissions": { "folders": [
            { "name": "texts", "path": "/home/ann/texts", "access": "read" },
            { "name": "counts", "path": "/home/ann/out/counts", "access": "write" },
        ] },
        "trigger": { "type": "manual" },
        "acceptance": {
            "smoke": { "name": "runs", "steps": [{ "type": "run" }] },
            "cases": [{ "name": "counts", "steps": [{ "type": "run" }], "probes": [
                { "name": "counted", "holds": "effect", "check": { "type": "file_exists", "folder": "counts", "path": "x" } },
                { "name": "kept", "holds": "invariant", "check": { "type": "unchanged", "folder": "texts" } },
            ] }],
        },
    })
}

fn spec(change: impl FnOnce(&mut Value)) -> Spec {
    let mut draft = draft();
    change(&mut draft);
    read(draft).unwrap()
}

fn effect(effect: &str, probes: &[&str]) -> Effect {
    Effect {
        effect: effect.to_owned(),
        probes: probes.iter().map(|&name| name.to_owned()).collect(),
    }
}

fn wish<'a>(request: &'a BuildRequest, existing: Option<&'a Spec>) -> Wish<'a> {
    Wish {
        request,
        existing,
        amendment: None,
        conventions: "",
        taken: &[],
        home: Some("/users/ann"),
        data: Path::new("/data"),
        scratch: PathBuf::new(),
    }
}

fn request(sentence: &str) -> BuildRequest {
    BuildRequest {
        intent: sentence.to_owned(),
        base_dir: "/home/ann".to_owned(),
        ..BuildRequest::default()
    }
}

/// What is unasked of a spec for this sentence.
fn beyond(sentence: &str, existing: Option<&Spec>, spec: &Spec) -> Vec<String> {
    unasked(spec, &wish(&request(sentence), existing))
}

const SENTENCE: &str = "Count the words in ./texts into ./out/counts";

#[test]
fn what_only_we_set_is_set_by_us_and_empty_fields_are_left_out() {
    let made = spec(|draft| {
        draft["format"] = json!(99);
        draft["foundation"] = json!({ "name": "csv-report", "digest": "x" });
        draft["inputs"] = json!({ "folder": "/etc" });
        draft["preview"] = Value::Null;
        draft["limits"] = Value::Null;
        draft["permissions"]["network"] = Value::Null;
    });
    assert_eq!((made.format, &made.foundation), (SPEC_FORMAT, &None));
    assert!(made.inputs.is_empty() && made.permissions.network.is_empty());
    assert!(made.problems().is_empty(), "{:?}", made.problems());
}

#[test]
fn a_draft_that_is_no_spec_says_where() {
    for (change, why) in [
        (json!({ "name": "Not A Slug" }), "cannot be read"),
        (json!({ "kind": "daemon" }), "daemon"),
        (json!({ "surprise": 1 }), "surprise"),
        (json!({ "command": "python3 main.py" }), "command"),
    ] {
        let mut draft = draft();
        let fields = change.as_object().cloned().unwrap_or_default();
        draft.as_object_mut().unwrap().extend(fields);
        let error = read(draft).unwrap_err();
        assert!(
            error.contains(why) || error.contains("invalid type"),
            "{change}: {error}"
        );
    }
    assert!(read(json!([])).is_err() && read(json!("spec")).is_err());
}

#[test]
fn every_effect_is_shown_by_an_effect_probe_of_a_case() {
    let made = spec(|_| ());
    assert!(shown(&made, &[effect("words are counted", &["counted"])]).is_empty());
    assert!(shown(&made, &[effect("words are counted", &["other", "counted"])]).is_empty());
    for missing in [
        effect("e", &[]),
        effect("e", &["kept"]),
        effect("e", &["nothing"]),
    ] {
        let found = shown(&made, &[effect("words", &["counted"]), missing]);
        assert_eq!(
            found,
            ["the effect \"e\" is shown by no effect probe of the cases"]
        );
    }
    assert!(shown(&made, &[])[0].contains("effects is empty"));
}

#[test]
fn a_folder_is_named_as_it_stands_from_the_base_or_from_home() {
    let request = request("");
    for (said, path, named) in [
        ("sort /srv/photos", "/srv/photos", true),
        ("sort ./photos", "/home/ann/photos", true),
        ("sort photos", "/home/ann/photos", true),
        ("sort a/b", "/home/ann/a/b", true),
        ("sort ~/photos", "/users/ann/photos", true),
        ("sort ./photos", "/home/ann/Photos", true),
        (
            "split ./book/all.txt at its headings",
            "/home/ann/book",
            true,
        ),
        ("everything in \"./photos/\".", "/home/ann/photos", true),
        ("into ./photos.", "/home/ann/photos", true),
        ("sort ./photos/old", "/home/ann/photos", false),
        ("sort ./photos/old/a.jpg", "/home/ann/photos", false),
        ("sort /srv/photos", "/home/ann/photos", false),
        ("sort /srv/photos", "/srv", false),
        ("sort ~/photos", "/etc/photos", false),
        ("sort ./photos", "/home/ann/letters", false),
        ("sort ./photos", "/home/ann", false),
        ("sort ./photos", "/srv/photos", false),
        ("sort ./photos", "/home/annette/photos", false),
        ("sort ./photos", "/", false),
        ("tidy up", "/home/ann/t", false),
        ("sort ./photos", "/home/ann/photo", false),
        ("sort ./photos-old", "/home/ann/photos", false),
    ] {
        assert_eq!(
            names_folder(&said.to_lowercase(), &wish(&request, None), path),
            named,
            "{said}: {path}"
        );
    }
}

#[test]
fn what_the_sentence_names_is_asked_for_and_everything_else_is_told() {
    assert_eq!(beyond(SENTENCE, None, &spec(|_| ())), [""; 0]);
    let much = spec(|draft| {
        let permissions = &mut draft["permissions"];
        permissions["folders"][1]["path"] = json!("/home/ann/letters");
        permissions["network"] = json!(["example.org:443"]);
        permissions["allow_private"] = json!(["10.0.0.1:80"]);
        permissions["programs"] = json!(["psql"]);
        permissions["secrets"] = json!([{ "variable": "TOKEN", "reference": "env:TOKEN" }]);
        draft["kind"] = json!("service");
        draft["trigger"] =
            json!({ "type": "service", "port": 8080, "publish": 0, "health_path": "/" });
    });
    let found = beyond(SENTENCE, None, &much);
    for (line, part) in found.iter().zip([
        "writes /home/ann/letters,",
        "connects to example.org:443,",
        "connects to 10.0.0.1:80,",
        "uses the program psql,",
        "the secret env:TOKEN as TOKEN",
        "stays up as a service,",
    ]) {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(found.len(), 6, "{found:?}");
    let sentence = "A service on 10.0.0.1 and example.org with psql over texts and ./letters";
    let found = beyond(sentence, None, &much);
    assert_eq!(found, ["it is given the secret env:TOKEN as TOKEN"]);
}

#[test]
fn a_part_of_another_name_names_nothing() {
    let part = spec(|draft| {
        draft["permissions"]["network"] = json!(["example.org:443"]);
        draft["permissions"]["programs"] = json!(["sh"]);
    });
    for (sentence, lines) in [
        ("texts of badexample.org should go to ./out/counts", 2),
        ("texts of example.org.evil.net to ./out/counts", 2),
        ("texts of https://example.org/x to ./out/counts with sh.", 0),
    ] {
        let found = beyond(sentence, None, &part);
        assert_eq!(found.len(), lines, "{sentence}: {found:?}");
    }
}

#[test]
fn a_change_may_keep_what_was_granted_and_no_more() {
    let before = spec(|draft| draft["permissions"]["network"] = json!(["example.org:443"]));
    assert_eq!(beyond("also count lines", Some(&before), &before), [""; 0]);
    let more = spec(|draft| draft["permissions"]["folders"][0]["access"] = json!("write"));
    let found = beyond("also count lines", Some(&before), &more);
    assert_eq!(
        found,
        ["it writes /home/ann/texts, which the sentence does not name"]
    );
}
