//! Waiting for a thing itself, with a deadline.

use std::time::Duration;

/// How long a test waits for what must happen: far longer than it takes, so that a slow machine
/// fails nothing.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Looks until the condition holds.
///
/// # Panics
/// When it does not hold within [`DEADLINE`].
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let until = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(
            tokio::time::Instant::now() < until,
            "not within {DEADLINE:?}: {what}"
        );
        tokio::time::sleep(LOOK).await;
    }
}
