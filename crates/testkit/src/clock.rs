//! A clock that stands still until a test moves it.

use agentwright_engine::Clock;
use agentwright_store::Time;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The clock. Clones show the same time.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    /// Stands at a time, ms.
    pub fn at(now_ms: i64) -> Self {
        Self(Arc::new(AtomicI64::new(now_ms)))
    }

    /// Moves on.
    pub fn advance(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// Jumps, also back.
    pub fn set(&self, now_ms: i64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }

    /// The same clock for a store's leases.
    pub fn for_store(&self) -> Time {
        Time::Given(Arc::clone(&self.0))
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}
