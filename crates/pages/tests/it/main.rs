//! Every page with attacks in every text: nothing becomes markup, nothing is inline, every form is guarded.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails by panicking")]
#![expect(
    clippy::too_many_lines,
    reason = "a fixture tells what is on a page in one piece"
)]

mod fixtures;

use fixtures::{Texts, all};

const HONEST: Texts = Texts { attack: "" };
const HOSTILE: Texts = Texts {
    attack: "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}</textarea></pre>",
};

#[test]
fn no_text_of_any_page_becomes_markup() {
    let scripts = |html: &str| html.matches("<script").count();
    for ((name, honest), (_, hostile)) in all(HONEST).into_iter().zip(all(HOSTILE)) {
        assert_eq!(scripts(&honest), scripts(&hostile), "{name}");
        for bad in ["alert(1)</script>", "<img src=x", "</textarea></pre>"] {
            assert!(!hostile.contains(bad), "{name} has {bad}");
        }
        let tags = |html: &str| html.matches("<img").count() + html.matches("onerror=").count();
        assert!(
            hostile.contains("&#60;script&#62;") || name.ends_with("empty") || name == "new",
            "{name} shows nothing of it"
        );
        assert_eq!(
            tags(&honest),
            tags(&hostile.replace("onerror=alert", "")),
            "{name}"
        );
    }
}

#[test]
fn nothing_is_inline_and_every_address_is_relative() {
    for (name, html) in all(HONEST) {
        for bad in [
            " style=",
            " onclick=",
            " onload=",
            " hx-on",
            "javascript:",
            "<style",
            "href=\"/",
            "src=\"/",
            "action=\"/",
            "http://www",
            "https://unpkg",
        ] {
            let first = html.find(bad).map(|at| &html[at..html.len().min(at + 80)]);
            let base = bad == "href=\"/" && html.matches(bad).count() == 1;
            assert!(first.is_none() || base, "{name}: {first:?}");
        }
        for script in html.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"assets/"), "{name}: {script:.60}");
            assert!(script.contains("></script>"), "{name}");
        }
    }
}

#[test]
fn every_form_that_changes_something_carries_the_token() {
    for (name, html) in all(HONEST) {
        for form in html.split("<form").skip(1) {
            let form = form.split("</form>").next().unwrap();
            let posts = form.contains("method=\"post\"");
            let guarded = form.contains("name=\"_csrf\" value=\"csrf-token\"");
            assert_eq!(posts, guarded, "{name}: {form:.120}");
        }
    }
}

#[test]
fn a_page_has_one_heading_unique_ids_and_a_name() {
    for (name, html) in all(HONEST) {
        assert_eq!(
            html.matches("<h1").count(),
            1 - usize::from(false),
            "{name}"
        );
        let mut ids: Vec<&str> = html
            .split(" id=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        let many = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), many, "{name} has an id twice");
        assert!(
            html.contains("· agentwright</title>") && html.contains("lang=\"en\""),
            "{name}"
        );
    }
}

#[test]
fn what_a_yes_is_said_to_is_in_the_form_and_on_the_page() {
    let pages = all(HONEST);
    let (_, html) = pages
        .iter()
        .find(|(name, _)| *name == "build-waiting")
        .unwrap();
    for part in [
        "action=\"builds/0193f2a0-7b1c-7cc0-8000-000000000001/approve\"",
        "formaction=\"builds/0193f2a0-7b1c-7cc0-8000-000000000001/reject\"",
        "name=\"subject\" value=\"sha256:",
        "name=\"saw.code\" value=\"sha256:",
        "/home/ann/backups (made when missing)",
        "api.example.org:443",
        "every day at 00:00",
        "4 of 4 levels held",
    ] {
        assert!(html.contains(part), "{part}");
    }
}

#[test]
fn all_files_of_a_page_fit_the_weight() {
    let bytes = |name: &str| -> usize {
        let path = agentwright_pages::assets::path(name);
        let hash = path.split('/').nth(1).unwrap();
        agentwright_pages::assets::get(hash, name)
            .unwrap()
            .bytes
            .len()
    };
    // Uncompressed; the browser test measures what goes over the wire.
    let every: usize = [
        "app.css",
        "app.js",
        "theme.js",
        "icons.svg",
        "logo.svg",
        "vendor/htmx-4.0.1.min.js",
    ]
    .into_iter()
    .map(bytes)
    .sum();
    assert!(every < 120_000, "{every}");
}
