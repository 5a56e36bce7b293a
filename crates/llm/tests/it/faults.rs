//! Every fault on every wire, in pieces and in one: its kind, what to do, and what it says.

use crate::support::{Ledger, cx, once, provider};
use agentwright_llm::{
    Advice, CallCx, Caller, Kind, LlmError, ProviderConfig, Request, Usage, Wire,
};
use agentwright_testkit::model_server::{Fault, ModelServer, Step};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// The deadline of calls that must meet it, and of those that must meet the silence.
const SHORT: Duration = Duration::from_millis(300);
/// Far longer than a healthy exchange takes.
const LONG: Duration = Duration::from_secs(60);
/// Between two bytes of a drip: shorter than [`SHORT`], so that only the total ends it.
const DRIP: Duration = Duration::from_millis(40);

fn all() -> Vec<Fault> {
    vec![
        Fault::RateLimited { retry_after: None },
        Fault::RateLimited {
            retry_after: Some(2),
        },
        Fault::RateLimited {
            retry_after: Some(7_200),
        },
        Fault::Overloaded,
        Fault::Server,
        Fault::Unauthorized,
        Fault::PaymentRequired,
        Fault::UnknownModel,
        Fault::HtmlBadGateway,
        Fault::ContextOverflow,
        Fault::InvalidJson,
        Fault::EmptyBody,
        Fault::TruncatedJson,
        Fault::WrongKind,
        Fault::Cut,
        Fault::EarlyEnd,
        Fault::Drip(DRIP),
        Fault::BlankDrip(DRIP),
        Fault::Hang,
        Fault::HangMidStream,
        Fault::ErrorEvent,
        Fault::InvalidUtf8,
        Fault::Reset,
    ]
}

/// Bounds under which a fault shows.
fn bounds(fault: &Fault) -> CallCx {
    let (deadline, idle) = match fault {
        Fault::Drip(_) => (3 * SHORT, SHORT),
        Fault::BlankDrip(_) | Fault::Hang | Fault::HangMidStream => (3 * SHORT, SHORT),
        _ => (LONG, LONG),
    };
    CallCx {
        deadline,
        idle,
        ..CallCx::default()
    }
}

/// A server with a fault, and who asks it.
struct Bed {
    server: ModelServer,
    meter: Arc<Ledger>,
    caller: Caller,
    at: String,
}

async fn bed(wire: Wire, stream: bool, fault: &Fault) -> Bed {
    let server = ModelServer::playing([Step::fault(fault.clone())]).await;
    let meter = Arc::new(Ledger::default());
    let caller = once(provider(wire, stream, &server), meter.clone());
    let way = if stream { "pieces" } else { "whole" };
    let at = format!("{} {way}", wire.as_str());
    Bed {
        server,
        meter,
        caller,
        at,
    }
}

/// One exchange with a fault. Only Ollama's lines may come as one: that is an answer with its final mark.
async fn meet(bed: &Bed, fault: &Fault) -> Option<LlmError> {
    let asked = Request::user("a question that nobody may repeat");
    let outcome = bed.caller.complete(asked, bounds(fault), |_| ()).await;
    let error = outcome.err();
    let at = format!("{} {fault:?}", bed.at);
    assert!(bed.meter.is_even(), "{at}");
    let kind = error.as_ref().map(|error| error.kind);
    assert_eq!(bed.meter.settled()[0].error, kind, "{at}");
    assert_eq!(bed.server.requests().len(), 1, "asked once: {at}");
    error
}

async fn fail(wire: Wire, stream: bool, fault: &Fault) -> LlmError {
    meet(&bed(wire, stream, fault).await, fault).await.unwrap()
}

/// What comes of a fault, and where.
async fn outcome(bed: &Bed, fault: &Fault) -> (String, String) {
    let at = bed.at.clone();
    let Some(error) = meet(bed, fault).await else {
        return ("an answer that is whole".to_owned(), at);
    };
    let advice = match error.advice() {
        Advice::Retry { after: None } => "retry".to_owned(),
        Advice::Retry { after: Some(after) } => format!("retry after {after:?}"),
        Advice::Park { after } => format!("park {after:?}"),
        Advice::Fail => "fail".to_owned(),
    };
    (format!("{}, {advice}", error.kind), at)
}

#[tokio::test]
async fn every_fault_on_every_wire_has_its_kind_and_its_advice() {
    let mut table = String::new();
    for fault in all() {
        let mut beds = Vec::new();
        for wire in Wire::ALL {
            beds.push(bed(wire, true, &fault).await);
            beds.push(bed(wire, false, &fault).await);
        }
        let row = beds.iter().map(|bed| outcome(bed, &fault));
        let row: Vec<(String, String)> = futures::future::join_all(row).await;
        writeln!(table, "{fault:?}").unwrap();
        let mut kinds: Vec<String> = row.iter().map(|(kind, _)| kind.clone()).collect();
        kinds.sort();
        kinds.dedup();
        for kind in kinds {
            let places: Vec<&str> = row
                .iter()
                .filter(|(other, _)| *other == kind)
                .map(|(_, at)| at.as_str())
                .collect();
            let places = if places.len() == row.len() {
                "everywhere".to_owned()
            } else {
                places.join(", ")
            };
            writeln!(table, "  {kind}: {places}").unwrap();
        }
    }
    insta::assert_snapshot!("faults", table);
}

#[tokio::test]
async fn a_refused_connection_says_what_to_start() {
    for wire in Wire::ALL {
        let config = ProviderConfig {
            base_url: Some("http://127.0.0.1:1".to_owned()),
            ..ProviderConfig::new("here", wire)
        };
        let ledger: Arc<Ledger> = Arc::default();
        let caller = once(config.provider(&|_| None).unwrap(), ledger.clone());
        let asked = Request::user("x");
        let error = caller.complete(asked, cx(), |_| ()).await.unwrap_err();
        assert_eq!(error.kind, Kind::Connect, "{wire:?}");
        // Nothing was sent, so nothing of what was set aside is kept.
        assert_eq!(ledger.settled()[0].usage, Usage::NOTHING, "{wire:?}");
        let said = error.to_string();
        assert!(said.contains("http://127.0.0.1:1"), "{said}");
        let hint = if wire.is_ollama() {
            "ollama serve"
        } else {
            "is it running"
        };
        assert!(said.contains(hint), "{said}");
    }
}

#[tokio::test]
async fn messages_say_what_to_do() {
    let mut said = String::new();
    for (wire, fault) in [
        (Wire::Anthropic, Fault::Unauthorized),
        (Wire::OllamaChat, Fault::UnknownModel),
        (Wire::OpenaiChat, Fault::UnknownModel),
        (Wire::OpenaiResponses, Fault::ContextOverflow),
        (Wire::Anthropic, Fault::PaymentRequired),
        (Wire::OpenaiChat, Fault::HtmlBadGateway),
        (Wire::OpenaiChat, Fault::InvalidJson),
        (Wire::Anthropic, Fault::ErrorEvent),
        (Wire::OllamaGenerate, Fault::EarlyEnd),
        (Wire::Anthropic, Fault::WrongKind),
        (
            Wire::OpenaiChat,
            Fault::Raw {
                status: 302,
                headers: vec![("location".to_owned(), "http://elsewhere/".to_owned())],
                body: Vec::new(),
            },
        ),
        (
            Wire::OpenaiChat,
            Fault::Raw {
                status: 404,
                headers: Vec::new(),
                body: b"<html>not found</html>".to_vec(),
            },
        ),
    ] {
        let error = fail(wire, true, &fault).await.to_string();
        let words: Vec<&str> = error.split(' ').collect();
        let clean = words.iter().map(|word| {
            let port = word.strip_prefix("http://127.0.0.1:");
            port.map_or((*word).to_owned(), |rest| {
                let tail = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("http://HERE{tail}")
            })
        });
        let clean: Vec<String> = clean.collect();
        writeln!(said, "{}", clean.join(" ")).unwrap();
    }
    insta::assert_snapshot!("messages", said);
}

#[tokio::test]
async fn a_cancel_ends_a_call_at_once_and_it_is_settled() {
    for (wire, fault) in [
        (Wire::Anthropic, Fault::Hang),
        (Wire::OllamaGenerate, Fault::Hang),
        (Wire::OpenaiChat, Fault::HangMidStream),
    ] {
        let (asked, heard) = tokio::sync::oneshot::channel();
        let mut asked = Some(asked);
        let server = ModelServer::start(move |_| {
            let _ = asked.take().map(|asked| asked.send(()));
            Step::fault(fault.clone())
        })
        .await;
        let meter = Arc::new(Ledger::default());
        let caller = once(provider(wire, true, &server), meter.clone());
        let cx = cx();
        let cancel = cx.cancel.clone();
        let call = caller.complete(Request::user("x"), cx, |_| ());
        let (reply, ()) = tokio::join!(call, async {
            heard.await.unwrap();
            cancel.cancel();
        });
        assert_eq!(reply.unwrap_err().kind, Kind::Cancelled, "{wire:?}");
        assert_eq!(meter.settled()[0].error, Some(Kind::Cancelled));
        assert!(meter.is_even());
    }
}
