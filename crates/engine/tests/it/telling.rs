//! Notices reach people once, or are parked where people see them.

use crate::bed::{Bed, scripted, settings};
use agentwright_domain::build::{FailureClass, StageOutcome};
use agentwright_domain::run::Signal;
use agentwright_engine::{Engine, Settings};
use agentwright_notify::{Channel, Message, SendError};
use agentwright_store::{Delivery, OutboxRow};
use agentwright_testkit::{DEADLINE, eventually};
use std::sync::{Arc, Mutex};

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
                SendError::Later(why)
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
        bed.clock.advance(60_000);
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
    let engine = failed_build(&bed, vec![Hook::new("ill", 1_000, false)]).await;
    let row = settled(&bed, Delivery::Parked).await;
    assert_eq!(
        (row.tries, row.last_error.as_deref()),
        (8, Some("ill: not now"))
    );
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
