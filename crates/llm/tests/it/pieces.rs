//! Where the network cuts an answer changes nothing, and no bytes make the readers panic.

use agentwright_llm::http::{Framer, Framing};
use agentwright_llm::{Event, Kind, Request, Wire};
use proptest::prelude::*;

/// An answer in the form of a wire, with letters of several bytes.
fn answer(wire: Wire) -> (Framing, String) {
    let anthropic = [
        r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":3,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"grün 世"}}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"read","input":{}}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"\"😀\"}"}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let chat = [
        r#"{"id":"c","choices":[{"delta":{"content":"grün 世"},"finish_reason":null}]}"#,
        r#"{"id":"c","choices":[{"delta":{"tool_calls":[{"index":0,"id":"t","function":{"name":"read","arguments":"{\"a\":"}}]}}]}"#,
        r#"{"id":"c","choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"😀\"}"}}]}}]}"#,
        r#"{"id":"c","choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
        r#"{"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":9}}"#,
        "[DONE]",
    ];
    let responses = [
        r#"{"type":"response.created","response":{"id":"r"}}"#,
        r#"{"type":"response.output_text.delta","delta":"grün 世"}"#,
        r#"{"type":"response.output_item.done","item":{"type":"function_call","call_id":"t","name":"read","arguments":"{\"a\":\"😀\"}"}}"#,
        r#"{"type":"response.completed","response":{"id":"r","status":"completed","usage":{"input_tokens":3,"output_tokens":9}}}"#,
    ];
    let ollama = [
        r#"{"message":{"content":"grün 世"},"done":false}"#,
        r#"{"message":{"content":"","tool_calls":[{"function":{"name":"read","arguments":{"a":"😀"}}}]},"done":false}"#,
        r#"{"message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":9}"#,
    ];
    let generate = [
        r#"{"response":"grün 世","done":false}"#,
        r#"{"response":"","done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":9}"#,
    ];
    let sse = |frames: &[&str]| {
        let events = frames
            .iter()
            .map(|frame| format!(": c\r\nevent: e\r\ndata: {frame}\r\n\r\n"));
        (Framing::Sse, events.collect())
    };
    let lines = |frames: &[&str]| {
        (
            Framing::Lines,
            frames.iter().map(|f| format!("{f}\n")).collect(),
        )
    };
    match wire {
        Wire::Anthropic => sse(&anthropic),
        Wire::OpenaiChat => sse(&chat),
        Wire::OpenaiResponses => sse(&responses),
        Wire::OllamaChat => lines(&ollama),
        Wire::OllamaGenerate => lines(&generate),
    }
}

fn read(wire: Wire, framing: Framing, pieces: &[&[u8]]) -> Result<Vec<Event>, Kind> {
    let mut framer = Framer::new(framing);
    let mut decoder = wire.decoder(&Request::user("x"));
    let mut events = Vec::new();
    for piece in pieces {
        framer.push(piece).map_err(|fault| fault.kind)?;
        while let Some(frame) = framer.next_frame() {
            let read = decoder.frame(&frame, &mut events);
            read.map_err(|fault| fault.kind)?;
        }
    }
    Ok(events)
}

#[test]
fn every_answer_of_this_test_is_whole() {
    for wire in Wire::ALL {
        let (framing, bytes) = answer(wire);
        let events = read(wire, framing, &[bytes.as_bytes()]).unwrap();
        assert!(
            matches!(events.last(), Some(Event::Done { .. })),
            "{wire:?}"
        );
        assert!(events.contains(&Event::Text("grün 世".to_owned())));
        let tools = events.iter().any(|e| matches!(e, Event::ToolCall(_)));
        assert_eq!(tools, wire != Wire::OllamaGenerate, "{wire:?}");
    }
}

proptest! {
    #[test]
    fn an_answer_reads_the_same_wherever_it_is_cut(
        which in 0..5_usize,
        mut cuts in proptest::collection::vec(0.0..1.0_f64, 0..12),
    ) {
        let wire = Wire::ALL[which];
        let (framing, text) = answer(wire);
        let bytes = text.as_bytes();
        cuts.sort_by(f64::total_cmp);
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            let to = (cut * bytes.len() as f64) as usize;
            pieces.push(&bytes[from..to.max(from)]);
            from = to.max(from);
        }
        pieces.push(&bytes[from..]);
        let whole = read(wire, framing, &[bytes]);
        prop_assert_eq!(read(wire, framing, &pieces), whole);
    }

    #[test]
    fn an_answer_that_is_cut_short_never_has_its_final_event(
        which in 0..5_usize,
        at in 0.0..1.0_f64,
    ) {
        let wire = Wire::ALL[which];
        let (framing, text) = answer(wire);
        let bytes = text.as_bytes();
        // Two bytes from the end the last line of an event is there, and its blank line is not.
        let end = ((at * bytes.len() as f64) as usize).min(bytes.len() - 3);
        let events = read(wire, framing, &[&bytes[..end]]).unwrap_or_default();
        let done = events.iter().any(|event| matches!(event, Event::Done { .. }));
        prop_assert!(!done);
    }

    #[test]
    fn no_bytes_make_the_readers_panic(
        which in 0..5_usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        json in "(\\{\"(type|choices|done|error|message|delta|usage)\":(\\[\\]|\\{\\}|null|true|\"[a-z_.]{0,20}\"|[0-9]{1,25})\\})",
    ) {
        let wire = Wire::ALL[which];
        for framing in [Framing::Sse, Framing::Lines] {
            let _ = read(wire, framing, &[&bytes]);
        }
        let mut events = Vec::new();
        let _ = wire.decoder(&Request::user("x")).frame(&json, &mut events);
        let _ = wire.decoder(&Request::user("x")).whole(&json, &mut events);
    }
}
