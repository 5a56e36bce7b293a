//! How many requests one key or session may make. The owner's socket is not limited.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use agentwright_domain::principal::Principal;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use std::num::NonZeroU32;

/// Requests per second that one principal may make in the long run.
pub(crate) const PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);
/// Requests that one principal may make at once.
pub(crate) const AT_ONCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(399);
/// Principals remembered; beyond it those at rest are forgotten.
const PRINCIPALS_MAX: usize = 10_000;

/// Who has asked how often lately.
pub(crate) struct Rates {
    limiter: RateLimiter<String, HashMapStateStore<String>, DefaultClock>,
    clock: DefaultClock,
}

impl Default for Rates {
    fn default() -> Self {
        let clock = DefaultClock::default();
        let quota = Quota::per_second(PER_SECOND).allow_burst(AT_ONCE);
        Self {
            limiter: RateLimiter::new(quota, HashMapStateStore::default(), clock.clone()),
            clock,
        }
    }
}

impl Rates {
    /// One more request; refused with the seconds after which one fits.
    fn one(&self, principal: &Principal) -> Result<(), ApiError> {
        if *principal == Principal::Owner {
            return Ok(());
        }
        if self.limiter.len() > PRINCIPALS_MAX {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&principal.label()).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            ApiError::TooMany(wait.as_secs() + 1)
        })
    }
}

/// Refuses what is too much. The answer carries who asked, for the log.
pub(crate) async fn limited(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(who) = request.extensions().get::<Who>().cloned() else {
        return next.run(request).await;
    };
    let mut response = match app.rates().one(&who.principal) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    };
    response.extensions_mut().insert(who);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentwright_domain::principal::KeyKind;

    #[test]
    fn a_key_is_slowed_down_alone_and_the_owner_never() {
        let rates = Rates::default();
        let key = |id: &str| Principal::Key {
            id: id.to_owned(),
            kind: KeyKind::Agent,
        };
        let allowed = (0..1_000).filter(|_| rates.one(&key("a")).is_ok()).count();
        let most = AT_ONCE.get() as usize;
        assert!((most..1_000).contains(&allowed), "{allowed}");
        let Err(ApiError::TooMany(seconds)) = rates.one(&key("a")) else {
            panic!("not refused");
        };
        assert_eq!(seconds, 1);
        assert!(rates.one(&key("b")).is_ok());
        assert!((0..1_000).all(|_| rates.one(&Principal::Owner).is_ok()));
    }
}
