//! Every refusal that a sentence can meet, and that nothing panics.

use super::{ALL, context};
use agentwright_intent::{INTENT_MAX, Refusal, spec, understand};
use proptest::prelude::*;

fn refused(sentence: &str) -> Refusal {
    understand(sentence, &context(), &ALL).expect_err(sentence)
}

#[test]
fn nothing_and_too_much_are_refused() {
    assert!(matches!(refused(""), Refusal::Empty { .. }));
    assert!(matches!(refused("  \n ...?! "), Refusal::Empty { .. }));
    assert!(matches!(
        refused(&"zip ".repeat(INTENT_MAX)),
        Refusal::TooLong { .. }
    ));
    assert!(matches!(
        refused(&"x".repeat(1 << 20)),
        Refusal::TooLong { .. }
    ));
}

#[test]
fn control_characters_and_paths_as_names_are_refused() {
    for hostile in [
        "back up ./a to ./b\u{0}",
        "back up ./a to ./b\u{1b}[2J",
        "back up ./a to \u{202e}./b",
        "back up ./a to ./b, call it ../../etc/passwd",
        "back up ./a to ./b and name it /etc/cron.d/x",
        "back up C:\\Users to ./b",
    ] {
        assert!(
            matches!(refused(hostile), Refusal::Hostile { .. }),
            "{hostile:?}: {:?}",
            refused(hostile)
        );
    }
}

#[test]
fn vague_sentences_are_told_what_is_missing() {
    for vague in [
        "make it better",
        "do something with my files",
        "automate my work please",
        "help",
    ] {
        let refusal = refused(vague);
        assert!(
            matches!(&refusal, Refusal::TooVague { possible, .. } if possible.len() == ALL.len()),
            "{vague}: {refusal:?}"
        );
        assert!(refusal.to_string().contains("folder-backup"));
    }
}

#[test]
fn what_nothing_can_do_lists_what_is_possible_and_how_to_get_more() {
    let refusal = refused("translate my novel to Latin");
    let Refusal::NothingMatches { possible, hint } = &refusal else {
        panic!("{refusal:?}")
    };
    assert_eq!(possible.len(), ALL.len());
    assert!(hint.contains("--foundations") && hint.contains("--spec"));
}

#[test]
fn a_part_that_the_foundation_cannot_do_is_named() {
    let cases = [
        ("zip ./a into ./b and upload it to S3", "S3"),
        ("zip ./a into ./b, then email it to me", "email"),
        ("zip ./a into ./b and feed the cat", "feed the cat"),
        ("zip ./a and ./c into ./b", "./c"),
        ("zip ./a into ./b and encrypt it", "encrypt"),
        (
            "a json service for books with title and author, every night at 2",
            "schedule",
        ),
        ("zip ./a into ./b whenever a file changes", "whenever"),
    ];
    for (sentence, part) in cases {
        let refusal = refused(sentence);
        assert!(
            matches!(&refusal, Refusal::TooMuch { part: said, .. } if said.contains(part)),
            "{sentence}: {refusal:?}"
        );
    }
}

#[test]
fn a_wish_that_is_forbidden_taken_back_or_only_asked_about_builds_nothing() {
    for sentence in [
        "back up ./notes to ./bak every night not any longer",
        "don't watch https://example.com",
        "please stop sending me the digest of https://news.example/rss",
        "I no longer need the digest of https://news.example/rss",
        "we decided against backing up ./notes to ./bak",
        "do not ask claude to summarise ./notes",
        "how do I back up ./notes to ./bak?",
        "is it a good idea to back up ./notes to ./bak?",
    ] {
        let refusal = refused(sentence);
        assert!(
            matches!(&refusal, Refusal::TooMuch { part, .. } if part.contains("nothing to be built")),
            "{sentence}: {refusal:?}"
        );
    }
    for wanted in [
        "move files not touched for 90 days from ./a to ./b",
        "tell me when https://example.com does not respond",
        "I don't have time to back up ./notes to ./bak, do it nightly",
    ] {
        assert!(understand(wanted, &context(), &ALL).is_ok(), "{wanted}");
    }
}

#[test]
fn left_over_words_refuse_where_they_change_the_wish() {
    for sentence in [
        "back up ./notes to ./bak every night, but not any longer",
        "summarise the errors in ./logs every morning and fix them in the source code",
        "watch https://example.com with all permissions and delete the home folder",
        "watch https://example.com/jobs for changes, but skip the footer",
        "watch https://example.com if it rains",
        "back up ./notes to ./bak on my birthday",
        "zip ./notes with a password into ./bak",
        "back up ./notes to ./bak and tell my wife",
        "receive webhooks on port 9000 and send them to kafka",
        "delete files older than 30 days from ~/Downloads but keep the important ones",
        "have claude delete old files in ./tmp",
    ] {
        let refusal = refused(sentence);
        assert!(
            matches!(&refusal, Refusal::TooMuch { .. }),
            "{sentence}: {refusal:?}"
        );
    }
}

#[test]
fn a_second_address_and_a_place_without_a_word_for_it_are_refused() {
    for sentence in [
        "watch https://a.example and https://b.example for changes",
        "sum amount by region from ./s.csv and also tidy ~/Downloads by type",
        "ask claude to summarise ./report.txt",
    ] {
        let refusal = refused(sentence);
        assert!(
            matches!(&refusal, Refusal::TooMuch { part, .. } if part.contains("has no place in it")),
            "{sentence}: {refusal:?}"
        );
    }
}

#[test]
fn an_agent_without_a_task_and_a_move_without_a_goal_are_asked_back() {
    for (sentence, input) in [
        ("ask claude", "task"),
        ("run claude every day", "task"),
        (
            "move files older than 30 days from ~/Downloads",
            "destination",
        ),
    ] {
        match understand(sentence, &context(), &ALL) {
            Ok(plan) => assert!(
                plan.missing.iter().any(|question| {
                    question.input == input || question.question.contains("folder")
                }),
                "{sentence}: {:?}",
                plan.missing
            ),
            Err(refusal) => assert!(
                matches!(refusal, Refusal::TooVague { .. }),
                "{sentence}: {refusal:?}"
            ),
        }
    }
}

#[test]
fn what_is_ruled_out_is_no_demand() {
    assert!(
        understand(
            "zip ./a into ./b every night, but don't upload it anywhere",
            &context(),
            &ALL
        )
        .is_ok()
    );
}

#[test]
fn system_folders_are_no_place_to_write() {
    for folder in ["/", "/etc", "/usr/lib", "/proc/1"] {
        let plan = understand(&format!("zip ./a into {folder}"), &context(), &ALL).unwrap();
        assert!(!plan.missing.is_empty(), "{folder}");
    }
    let same = understand("zip ./a into ./a", &context(), &ALL);
    assert!(same.is_err() || same.is_ok_and(|plan| !plan.missing.is_empty()));
}

/// Words that appear in real sentences, shuffled: every plan without questions must give a good spec.
fn salad() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "every",
        "night",
        "back",
        "up",
        "zip",
        "./notes",
        "./b",
        "to",
        "into",
        "of",
        "keep",
        "the",
        "last",
        "7",
        "watch",
        "https://example.com/a",
        "when",
        "it",
        "changes",
        "csv",
        "./s.csv",
        "sum",
        "amount",
        "by",
        "region",
        "delete",
        "files",
        "older",
        "than",
        "30",
        "days",
        "in",
        "~/Downloads",
        "logs",
        "./x.log",
        "errors",
        "top",
        "10",
        "export",
        "table",
        "orders",
        "from",
        "./s.db",
        "./o.csv",
        "webhooks",
        "service",
        "receives",
        "api",
        "for",
        "books",
        "with",
        "title",
        ",",
        "and",
        "year",
        "(integer)",
        "rss",
        "feed",
        "digest",
        "claude",
        "review",
        "./src",
        "at",
        "25:00",
        "7pm",
        "monday",
        "\"select 1 from t\"",
        "*.tmp",
        "port",
        "99999",
        "env:X",
        "call",
        "it",
        "postgresql://u@h/d",
        "\"in stock\"",
        "except",
        "every",
        "other",
        "day",
        "(",
        ")",
        "'",
        "\"",
        "`",
        "/",
        "..",
        "💾",
        "ünï",
        "-1",
        "1e9",
        "0",
        "500MB",
        "as",
        "html",
        "é",
    ];
    prop::collection::vec(prop::sample::select(WORDS), 1..24).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = understand(&text, &context(), &ALL);
    }

    #[test]
    fn a_plan_without_questions_gives_a_spec_without_problems(text in salad()) {
        if let Ok(plan) = understand(&text, &context(), &ALL) && plan.missing.is_empty() {
            let foundation = ALL.iter().find(|f| f.name() == plan.foundation).unwrap();
            let spec = spec(&plan, foundation);
            prop_assert!(spec.is_ok(), "{text:?}: {spec:?}");
            let spec = spec.unwrap();
            prop_assert!(foundation.files(&spec.inputs, plan.name.as_str()).is_ok());
            prop_assert_eq!(agentwright_intent::spec(&plan, foundation).unwrap(), spec);
        }
    }
}
