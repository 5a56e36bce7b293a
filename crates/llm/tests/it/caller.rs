//! What the caller promises, in memory, with a clock that a test moves.

use crate::support::{Ledger, caller, cx, once};
use agentwright_llm::{
    Advice, CallCx, Callers, Event, Kind, LlmError, Request, Retry, ScriptedProvider, Step,
    ToolCall,
};
use futures::FutureExt;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn scripted(steps: impl IntoIterator<Item = Step>) -> ScriptedProvider {
    let provider = ScriptedProvider::new("s");
    steps.into_iter().for_each(|step| provider.push(step));
    provider
}

async fn ask(
    steps: impl IntoIterator<Item = Step>,
    cx: CallCx,
) -> (Result<String, LlmError>, Arc<Ledger>) {
    let meter = Arc::new(Ledger::default());
    let caller = caller(scripted(steps), meter.clone());
    let reply = caller.complete(Request::user("x"), cx, |_| ()).await;
    (reply.map(|reply| reply.text), meter)
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_pass_is_asked_again_and_the_others_are_not() {
    for (kind, attempts) in [
        (Kind::RateLimited, 3),
        (Kind::Overloaded, 3),
        (Kind::Server, 3),
        (Kind::BadBody, 3),
        (Kind::Truncated, 3),
        (Kind::InBand, 3),
        (Kind::Connect, 3),
        (Kind::TimeoutIdle, 3),
        (Kind::Auth, 1),
        (Kind::Billing, 1),
        (Kind::UnknownModel, 1),
        (Kind::ContextOverflow, 1),
        (Kind::BadRequest, 1),
        (Kind::BadOutput, 1),
        (Kind::Replay, 1),
    ] {
        let (reply, meter) = ask((0..9).map(|_| Step::error(kind)), cx()).await;
        assert_eq!(reply.unwrap_err().kind, kind);
        assert_eq!(meter.settled().len(), attempts, "{kind}");
        assert!(meter.is_even(), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_asked_for_is_kept_and_a_long_one_is_left_to_the_caller() {
    let start = Instant::now();
    let after = Duration::from_secs(30);
    let (reply, meter) = ask([Step::rate_limited(after), Step::text("now")], cx()).await;
    assert_eq!(reply.unwrap(), "now");
    assert!(start.elapsed() >= after);
    assert!(meter.is_even());
    let start = Instant::now();
    let after = Duration::from_secs(3_600);
    let (reply, meter) = ask([Step::rate_limited(after), Step::text("now")], cx()).await;
    assert_eq!(reply.unwrap_err().advice(), Advice::Park { after });
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(meter.settled().len(), 1);
    // A wait that would end after the deadline is not begun.
    let short = CallCx {
        deadline: Duration::from_secs(5),
        ..cx()
    };
    let start = Instant::now();
    let after = Duration::from_secs(30);
    let (reply, _) = ask([Step::rate_limited(after), Step::text("now")], short).await;
    assert_eq!(reply.unwrap_err().kind, Kind::RateLimited);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_for_all_attempts_together_and_silence_for_each() {
    let cx = CallCx {
        deadline: Duration::from_secs(100),
        idle: Duration::from_secs(40),
        ..CallCx::default()
    };
    let start = Instant::now();
    let (reply, meter) = ask([Step::hang(), Step::hang(), Step::hang()], cx.clone()).await;
    assert_eq!(reply.unwrap_err().kind, Kind::TimeoutTotal);
    assert!(start.elapsed() < Duration::from_secs(101));
    assert_eq!(meter.settled().len(), 3);
    assert!(meter.is_even());
    let drip = Step::drip(
        "a long text that never stops coming".repeat(20),
        Duration::from_secs(9),
    );
    let (reply, meter) = ask([drip], cx).await;
    assert_eq!(reply.unwrap_err().kind, Kind::TimeoutTotal);
    assert!(meter.is_even());
}

#[tokio::test]
async fn a_stream_without_its_end_is_never_an_answer() {
    let meter = Arc::new(Ledger::default());
    let caller = once(scripted([Step::cut("all of the text")]), meter.clone());
    let error = caller.complete(Request::user("x"), cx(), |_| ()).await;
    assert_eq!(error.unwrap_err().kind, Kind::Truncated);
    assert_eq!(meter.settled()[0].error, Some(Kind::Truncated));
}

#[tokio::test]
async fn a_budget_that_says_no_ends_the_call_before_anything_is_sent() {
    let meter = Arc::new(Ledger {
        refuse_from: Some(1),
        ..Ledger::default()
    });
    let provider = Arc::new(scripted([Step::error(Kind::Server), Step::text("x")]));
    let mut caller = caller(ScriptedProvider::new("unused"), meter.clone());
    caller.provider = provider.clone();
    let error = caller.complete(Request::user("x"), cx(), |_| ()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind, Kind::Refused);
    assert!(error.to_string().contains("budget is spent"), "{error}");
    assert_eq!(provider.requests().len(), 1, "the second was not sent");
    assert!(meter.is_even());
}

#[tokio::test(start_paused = true)]
async fn a_cancel_in_the_call_in_a_wait_and_before_ends_it_and_leaves_the_meter_even() {
    let before = cx();
    before.cancel.cancel();
    let (reply, meter) = ask([Step::text("x")], before).await;
    assert_eq!(reply.unwrap_err().kind, Kind::Cancelled);
    assert!(meter.planned.lock().unwrap().is_empty());
    for steps in [
        vec![Step::hang()],
        vec![Step::rate_limited(Duration::from_secs(50))],
    ] {
        let during = cx();
        let cancel = during.cancel.clone();
        let (reply, ()) = tokio::join!(ask(steps, during), async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            cancel.cancel();
        });
        assert_eq!(reply.0.unwrap_err().kind, Kind::Cancelled);
        assert_eq!(reply.1.settled().len(), 1);
        assert!(reply.1.is_even());
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_its_reservation_open_and_an_open_one_is_spent() {
    let meter = Arc::new(Ledger::default());
    let caller = once(scripted([Step::hang()]), meter.clone());
    let call = caller.complete(Request::user("x"), cx(), |_| ());
    assert!(call.now_or_never().is_none());
    assert_eq!(meter.planned.lock().unwrap().len(), 1);
    assert!(meter.settled().is_empty());
}

#[tokio::test]
async fn what_is_reserved_bounds_what_is_asked() {
    let meter = Arc::new(Ledger::default());
    let mut caller = once(
        ScriptedProvider::answering("s", |_| Step::text("x")),
        meter.clone(),
    );
    caller.limits.max_output_tokens = 100;
    caller.model = "any".to_owned();
    for (asked, given) in [(0, 100), (40, 40), (5_000, 100)] {
        let mut request = Request::user("y".repeat(4_000));
        request.max_output_tokens = asked;
        caller.complete(request, cx(), |_| ()).await.unwrap();
        let planned = meter.planned.lock().unwrap().last().cloned().unwrap();
        assert_eq!(planned.max_output_tokens, given);
        assert!(planned.max_input_tokens > 2_000 && planned.max_input_tokens < 2_200);
        assert_eq!(planned.max_cost_micro_usd, Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_provider_is_asked_where_it_may_answer_and_only_there() {
    for (kind, next) in [
        (Kind::Auth, true),
        (Kind::Billing, true),
        (Kind::Connect, true),
        (Kind::Overloaded, true),
        (Kind::RateLimited, true),
        (Kind::UnknownModel, true),
        (Kind::ContextOverflow, false),
        (Kind::BadRequest, false),
        (Kind::BadOutput, false),
        (Kind::Cancelled, false),
    ] {
        let meter = Arc::new(Ledger::default());
        let first = once(scripted([Step::error(kind)]), meter.clone());
        let second = once(scripted([Step::text("I did")]), meter.clone());
        let callers = Callers(vec![first, second]);
        let mut restarted = 0;
        let see =
            |event: &Event| restarted += usize::from(matches!(event, Event::Restarted { .. }));
        let reply = callers.complete(Request::user("x"), cx(), see).await;
        assert_eq!(reply.is_ok(), next, "{kind}");
        assert_eq!(restarted, usize::from(next), "{kind}");
        assert!(meter.is_even());
    }
}

#[tokio::test]
async fn when_nobody_answers_the_time_to_come_back_is_told() {
    let meter = Arc::new(Ledger::default());
    let after = Duration::from_secs(900);
    let first = once(scripted([Step::rate_limited(after)]), meter.clone());
    let second = once(scripted([Step::error(Kind::Connect)]), meter);
    let callers = Callers(vec![first, second]);
    let error = callers.complete(Request::user("x"), cx(), |_| ()).await;
    assert_eq!(error.unwrap_err().advice(), Advice::Park { after });
    let nobody = Callers(Vec::new())
        .complete(Request::user("x"), cx(), |_| ())
        .await;
    assert_eq!(nobody.unwrap_err().kind, Kind::NotConfigured);
}

#[tokio::test]
async fn a_schema_that_is_none_is_refused_before_anything_is_reserved() {
    let meter = Arc::new(Ledger::default());
    let caller = once(scripted([]), meter.clone());
    let asked = Request::user("x").with_schema("s", json!({"type": 7}));
    let error = caller.complete(asked, cx(), |_| ()).await.unwrap_err();
    assert_eq!(error.kind, Kind::BadRequest);
    assert!(meter.planned.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off_with_an_error() {
    let huge = Event::Text("x".repeat(9 * 1024 * 1024));
    let calls = (0..300).map(|n| {
        Event::ToolCall(ToolCall {
            id: n.to_string(),
            name: "t".to_owned(),
            arguments: json!({}),
        })
    });
    for events in [vec![huge.clone(), huge], calls.collect()] {
        let step = Step::events(events, agentwright_llm::Stop::End);
        let meter = Arc::new(Ledger::default());
        let caller = once(scripted([step]), meter.clone());
        let error = caller.complete(Request::user("x"), cx(), |_| ()).await;
        assert_eq!(error.unwrap_err().kind, Kind::BadBody);
        assert!(meter.is_even());
    }
}

#[test]
fn waits_grow_to_a_cap_and_are_spread() {
    let retry = Retry::default();
    let waits: Vec<u64> = (2..9)
        .map(|attempt| u64::try_from(retry.wait(attempt, 0).as_millis()).unwrap())
        .collect();
    assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000]);
    assert_eq!(retry.wait(2, u32::MAX), Duration::from_millis(250));
    assert_eq!(retry.wait(u32::MAX, 0), retry.cap);
}
