use super::replay::first_difference;
use super::*;
use crate::{CallCx, Caller, Message, Part, Retry, ScriptedProvider, Step, ToolCall, Unmetered};
use std::sync::Arc;

#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<u8>>>);

impl Shelf {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shelf {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn caller(provider: Arc<dyn crate::Provider>, recorder: Option<Arc<dyn Recorder>>) -> Caller {
    Caller {
        recorder,
        retry: Retry {
            base: Duration::ZERO,
            ..Retry::default()
        },
        ..Caller::new(
            Role::Code,
            provider,
            "m",
            Arc::new(Unmetered),
            Arc::new(|| 0),
        )
    }
}

async fn ask(caller: &Caller, text: &str) -> Result<crate::Reply, LlmError> {
    let request = Request::user(text);
    caller.complete(request, CallCx::default(), |_| ()).await
}

/// Records: a failure and an answer, a tool call, the same question again.
async fn recorded() -> String {
    let shelf = Shelf::default();
    let provider = ScriptedProvider::new("s")
        .then(Step::error(Kind::Server))
        .then(Step::text("first"))
        .then(Step::tool_calls([("read", json!({"path": "a"}))]))
        .then(Step::text("second"));
    let writer = Arc::new(CassetteWriter::new(shelf.clone(), Vec::new()));
    let caller = caller(Arc::new(provider), Some(writer.clone()));
    ask(&caller, "one").await.unwrap();
    ask(&caller, "two").await.unwrap();
    ask(&caller, "one").await.unwrap();
    assert_eq!(writer.failure(), None);
    shelf.text()
}

#[tokio::test]
async fn a_recording_is_replayed_to_the_same_answers() {
    let text = recorded().await;
    assert_eq!(text.lines().count(), 4);
    let cassette = Cassette::read(&text).unwrap();
    let ordinals: Vec<u32> = cassette.entries.iter().map(|entry| entry.ordinal).collect();
    assert_eq!(ordinals, [1, 2, 1, 3]);
    let replay = Arc::new(ReplayProvider::new(&cassette, "s", Vec::new()));
    let caller = caller(replay.clone(), None);
    assert_eq!(ask(&caller, "one").await.unwrap().text, "first");
    let reply = ask(&caller, "two").await.unwrap();
    assert_eq!(reply.tool_calls[0].arguments, json!({"path": "a"}));
    assert_eq!(replay.unused(), 1);
    assert_eq!(ask(&caller, "one").await.unwrap().text, "second");
    assert_eq!(replay.unused(), 0);
}

#[tokio::test]
async fn a_question_that_was_not_recorded_says_where_it_differs() {
    let cassette = Cassette::read(&recorded().await).unwrap();
    let replay = Arc::new(ReplayProvider::new(&cassette, "s", Vec::new()));
    let caller = caller(replay, None);
    let error = ask(&caller, "three").await.unwrap_err();
    assert_eq!(error.kind, Kind::Replay);
    let said = error.to_string();
    assert!(
        said.ends_with("it differs from recorded question 1 at /messages/0/parts/0/text"),
        "{said}"
    );
    assert!(!said.contains("three"));
    ask(&caller, "one").await.unwrap();
    ask(&caller, "one").await.unwrap();
    ask(&caller, "two").await.unwrap();
    let said = ask(&caller, "one").await.unwrap_err().to_string();
    assert!(said.contains("all 4 recorded answers are used"), "{said}");
}

#[tokio::test]
async fn an_edited_or_broken_cassette_is_refused_with_its_line() {
    let text = recorded().await;
    let edited = text.replacen("\"two\"", "\"2\"", 1);
    let error = Cassette::read(&edited).unwrap_err();
    assert_eq!(error.line, 3);
    assert!(error.to_string().contains("not the one that was recorded"));
    assert_eq!(Cassette::read("\nnonsense").unwrap_err().line, 2);
    assert_eq!(Cassette::read("").unwrap(), Cassette::default());
}

#[test]
fn ids_of_tool_calls_do_not_count_and_everything_else_does() {
    let request = |id: &str, path: &str| {
        let mut request = Request::user("x");
        request.messages.push(Message {
            role: crate::Speaker::Assistant,
            parts: vec![Part::ToolCall(ToolCall {
                id: id.to_owned(),
                name: "read".to_owned(),
                arguments: json!({ "path": path }),
            })],
        });
        request
            .messages
            .push(Message::results(vec![Part::ToolResult {
                id: id.to_owned(),
                name: "read".to_owned(),
                content: "c".to_owned(),
                is_error: false,
            }]));
        key("k", &canonical(&request, &[]))
    };
    assert_eq!(request("toolu_1", "a"), request("call_9", "a"));
    assert_ne!(request("toolu_1", "a"), request("toolu_1", "b"));
    let plain = canonical(&Request::user("x"), &[]);
    assert_ne!(key("anthropic", &plain), key("openai", &plain));
}

#[test]
fn a_key_that_is_split_over_events_is_found() {
    let secrets = [Secret::new("tops3cret-value")];
    let request = Request::user("tell me tops3cret-value");
    let text = |text: &str| Event::Text(text.to_owned());
    let at = Duration::from_millis;
    let events = [
        (at(1), text("it is tops3")),
        (at(2), text("cret-val")),
        (at(3), text("ue!")),
        (at(4), Event::Reasoning("a".to_owned())),
        (at(5), Event::Reasoning("b".to_owned())),
    ];
    let entry = Entry::new(
        &Exchange {
            role: Role::Chat,
            provider: "p",
            kind: "k",
            request: &request,
            events: &events,
            error: None,
        },
        &secrets,
    );
    assert_eq!(
        entry.events,
        [
            (1, text("it is [redacted]!")),
            (4, Event::Reasoning("a".to_owned())),
            (5, Event::Reasoning("b".to_owned())),
        ]
    );
    assert!(!entry.request.to_string().contains("tops3cret"));
}

#[test]
fn the_first_difference_is_a_pointer() {
    for (a, b, at) in [
        (json!({"a": 1}), json!({"a": 1}), None),
        (json!({"a": 1}), json!({"a": 2}), Some("/a")),
        (
            json!({"a": [1, {"b/c": 1}]}),
            json!({"a": [1, {"b/c": 2}]}),
            Some("/a/1/b~1c"),
        ),
        (json!({"a": [1]}), json!({"a": [1, 2]}), Some("/a/1")),
        (json!({"a": 1}), json!({"b": 1}), Some("/a")),
        (json!(1), json!([]), Some("/")),
    ] {
        assert_eq!(first_difference(&a, &b).as_deref(), at);
    }
}

#[test]
fn a_recorder_that_cannot_write_says_so_and_nothing_else() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is full"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let writer = CassetteWriter::new(Full, Vec::new());
    writer.record(&Exchange {
        role: Role::Chat,
        provider: "p",
        kind: "k",
        request: &Request::user("x"),
        events: &[],
        error: None,
    });
    assert_eq!(writer.failure().as_deref(), Some("the disk is full"));
}
