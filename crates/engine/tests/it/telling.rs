//! Notices reach people once, or are parked where people see them.

use crate::bed::{Bed, scripted, settings};
use agentwright_domain::build::{FailureClass, StageOutcome};
use agentwright_domain::run::Signal;
use agentwright_engine::{Clock, Engine, Settings};
use agentwright_notify::{Channel, ChannelConfig, Message, SendError};
use agentwright_store::{Delivery, OutboxRow};
use agentwright_testkit::{DEADLINE, Ntfy, eventually};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How far the clock goes on between two looks.
const STEP_MS: i64 = 10 * 60_000;

/// Fails so many times, then takes everything.
struct Hook {
    name: &'static str,
    failures: Mutex<u32>,
    never: bool,
    got: Mutex<Vec<String>>,
}

impl Hook {
    fn new(name: &'static str, failures: u32, never: bool) -> Arc<Self> {
        let (failures, got) = (Mutex::new(failures), Mutex::default());
        Arc::new(Self {
            name,
            failures,
            never,
            got,
        })
    }
}

#[async_trait::async_trait]
impl Channel for Hook {
    fn name(&self) -> &str {
        self.name
    }

    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            let why = "not now".to_owned();
            return Err(if self.never {
                SendError::Never(why)
            } else {
                SendError::later(why)
            });
        }
        self.got.lock().unwrap().push(message.id.clone());
        Ok(())
    }
}

async fn failed_build(bed: &Bed, channels: Vec<Arc<dyn Channel>>) -> Engine {
    let failing = scripted(|_, _| async {
        Signal::Stage {
            outcome: Box::new(StageOutcome::Failed {
                class: FailureClass::Tests,
                reason: "the archive is empty".to_owned(),
                records: Vec::new(),
            }),
        }
    });
    let engine = bed.engine(
        failing,
        Settings {
            channels,
            ..settings()
        },
    );
    let id = bed.submit("fails").await;
    engine.wake(&id, 0);
    bed.ended(&id).await;
    engine
}

async fn settled(bed: &Bed, delivery: Delivery) -> OutboxRow {
    eventually("the notice stands so", async || {
        bed.clock.advance(STEP_MS);
        let row = bed.store.notices(&bed.scope, 1).await.unwrap().pop()?;
        (row.delivery == delivery).then_some(row)
    })
    .await
}

#[tokio::test]
async fn each_channel_gets_a_notice_once_though_another_one_fails() {
    let bed = Bed::new().await;
    let (well, ill) = (Hook::new("well", 0, false), Hook::new("ill", 2, false));
    let engine = failed_build(&bed, vec![well.clone(), ill.clone()]).await;
    let row = settled(&bed, Delivery::Delivered).await;
    assert_eq!(row.delivered_to, ["well", "ill"]);
    assert_eq!(row.tries, 2);
    assert_eq!(*well.got.lock().unwrap(), std::slice::from_ref(&row.id));
    assert_eq!(*ill.got.lock().unwrap(), [row.id]);
    engine.stop(DEADLINE).await;
}

#[tokio::test]
async fn a_notice_that_nobody_takes_is_parked_with_the_reason() {
    let bed = Bed::new().await;
    let engine = failed_build(&bed, vec![Hook::new("ill", u32::MAX, false)]).await;
    let row = settled(&bed, Delivery::Parked).await;
    assert_eq!(row.last_error.as_deref(), Some("ill: not now"));
    let tried_ms = bed.clock.now_ms() - row.created_at_ms;
    assert!(tried_ms >= 3 * 24 * 3_600_000, "{tried_ms}");
    engine.stop(DEADLINE).await;
}

#[tokio::test]
async fn a_notice_that_can_never_arrive_is_parked_at_once() {
    let bed = Bed::new().await;
    let engine = failed_build(&bed, vec![Hook::new("gone", 1, true)]).await;
    assert_eq!(settled(&bed, Delivery::Parked).await.tries, 1);
    engine.stop(DEADLINE).await;
}

#[tokio::test]
async fn without_a_channel_a_notice_is_kept_as_told_to_nobody() {
    let bed = Bed::new().await;
    let engine = failed_build(&bed, Vec::new()).await;
    let row = settled(&bed, Delivery::Nobody).await;
    assert_eq!(row.notice.topic, "build.failed");
    engine.stop(DEADLINE).await;
}

fn opened(configs: serde_json::Value) -> Vec<Arc<dyn Channel>> {
    let configs: Vec<ChannelConfig> = serde_json::from_value(configs).unwrap();
    let resolve: agentwright_notify::Resolve = Arc::new(|_| Err("not set".to_owned()));
    agentwright_notify::open(&configs, &resolve).unwrap()
}

#[tokio::test]
async fn ntfy_that_is_down_for_a_day_gets_the_notice_later_and_once() {
    let (bed, ntfy) = (Bed::new().await, Ntfy::start().await);
    ntfy.take_down();
    let phone = json!([{"type": "ntfy", "name": "phone", "url": ntfy.url(), "topic": "builds"}]);
    let mut channels = opened(phone);
    let well = Hook::new("well", 0, false);
    channels.push(well.clone());
    let engine = failed_build(&bed, channels).await;
    let begin_ms = bed.clock.now_ms();
    let waiting = eventually("a day is over", async || {
        bed.clock.advance(STEP_MS);
        let row = bed.store.notices(&bed.scope, 1).await.unwrap().pop()?;
        (bed.clock.now_ms() - begin_ms > 24 * 3_600_000 && row.tries > 1).then_some(row)
    })
    .await;
    assert_eq!(waiting.delivery, Delivery::Waiting);
    assert_eq!(waiting.delivered_to, ["well"]);
    ntfy.bring_up();
    let row = settled(&bed, Delivery::Delivered).await;
    assert!(row.last_error.unwrap().starts_with("phone: "));
    let got = ntfy.messages();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0]["title"], "fails failed at spec");
    assert_eq!(well.got.lock().unwrap().len(), 1);
    engine.stop(DEADLINE).await;
}

/// Says that it wants to be left alone, once.
struct Busy(Mutex<Vec<i64>>, agentwright_testkit::TestClock);

#[async_trait::async_trait]
impl Channel for Busy {
    fn name(&self) -> &str {
        "busy"
    }

    async fn send(&self, _: &Message) -> Result<(), SendError> {
        let mut asked = self.0.lock().unwrap();
        asked.push(self.1.now_ms());
        if asked.len() > 1 {
            return Ok(());
        }
        Err(SendError::Later {
            said: "answered 429".to_owned(),
            wait: Some(Duration::from_secs(3_600)),
        })
    }
}

#[tokio::test]
async fn a_receiver_that_asks_for_an_hour_is_left_alone_for_an_hour() {
    let bed = Bed::new().await;
    let busy = Arc::new(Busy(Mutex::default(), bed.clock.clone()));
    let engine = failed_build(&bed, vec![busy.clone()]).await;
    settled(&bed, Delivery::Delivered).await;
    let asked = busy.0.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    assert!(asked[1] - asked[0] >= 3_600_000, "{asked:?}");
    engine.stop(DEADLINE).await;
}

#[tokio::test]
async fn quiet_hours_and_topics_hold_back_without_counting_as_failures() {
    let (bed, ntfy) = (Bed::new().await, Ntfy::start().await);
    // The clock begins a quarter of an hour after midnight.
    let channel = |name: &str, when: serde_json::Value| json!({"type": "ntfy", "name": name, "url": ntfy.url(), "topic": name, "when": when});
    let channels = opened(json!([
        channel("other", json!({"topics": ["execution.*"]})),
        channel(
            "sleeper",
            json!({"quiet": {"from": "00:00", "to": "06:00"}})
        ),
        channel("reader", json!({"digest": ["08:00"]})),
    ]));
    let engine = failed_build(&bed, channels).await;
    let row = settled(&bed, Delivery::Delivered).await;
    assert_eq!((row.tries, row.last_error), (0, None));
    assert!(bed.clock.now_ms() >= 8 * 3_600_000);
    let got = ntfy.messages();
    let topics: Vec<_> = got
        .iter()
        .map(|message| message["topic"].as_str().unwrap())
        .collect();
    assert_eq!(topics, ["sleeper", "reader"]);
    engine.stop(DEADLINE).await;
}
