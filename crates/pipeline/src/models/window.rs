//! A provider that is not called while it is known to answer nobody.

use super::Models;
use agentwright_llm::caller::Now;
use agentwright_llm::{Advice, CallCx, Caps, Event, Kind, LlmError, Provider, Request};
use futures::StreamExt;
use futures::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;

/// Stands before a provider, for every build: one that was told when to come back closes it for all.
pub(super) struct Window {
    pub(super) inner: Arc<dyn Provider>,
    pub(super) models: Models,
    pub(super) now: Now,
}

#[async_trait::async_trait]
impl Provider for Window {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn kind(&self) -> &str {
        self.inner.kind()
    }

    fn caps(&self, model: &str) -> Caps {
        self.inner.caps(model)
    }

    fn stream(&self, request: Request, cx: CallCx) -> BoxStream<'static, Result<Event, LlmError>> {
        let now_ms = (self.now)();
        let id = self.id().to_owned();
        if let Some(until_ms) = self.models.closed_until(&id, now_ms) {
            let after = u64::try_from(until_ms.saturating_sub(now_ms)).unwrap_or(0);
            let after = Duration::from_millis(after);
            let why = format!(
                "{id} was not asked: it answers nobody for another {} s",
                after.as_secs()
            );
            let error = LlmError::new(Kind::RateLimited, id, why)
                .with_model(request.model)
                .with_retry_after(after);
            return futures::stream::iter([Err(error)]).boxed();
        }
        let (models, now) = (self.models.clone(), Arc::clone(&self.now));
        let events = self.inner.stream(request, cx);
        events
            .inspect(move |event| {
                if let Err(error) = event
                    && let Advice::Park { after } = error.advice()
                {
                    let after_ms = i64::try_from(after.as_millis()).unwrap_or(i64::MAX / 4);
                    models.close(&id, now().saturating_add(after_ms));
                }
            })
            .boxed()
    }

    async fn models(&self) -> Result<Vec<String>, LlmError> {
        self.inner.models().await
    }

    async fn health(&self) -> Result<(), LlmError> {
        self.inner.health().await
    }
}
