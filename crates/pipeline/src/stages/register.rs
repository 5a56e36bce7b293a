//! Into the directory, once it is up.

use super::{Done, Stop, Work};
use agentwright_domain::build::FailureClass;
use agentwright_domain::deployment::ServiceEntry;
use agentwright_domain::run::Record;
use agentwright_domain::spec::Trigger;

pub(super) async fn work(work: &Work<'_>) -> Result<Done, Stop> {
    let runtime = work.builds.runtime();
    let scope = work.handle.scope();
    let name = work
        .state
        .facts
        .name
        .clone()
        .ok_or_else(|| Stop::fault("there is no name"))?;
    // From now on the supervisor may fire it.
    runtime.wake();
    let active = runtime
        .active(scope, &name)
        .await
        .map_err(|error| Stop::Retry(agentwright_runtime::chain(&error)))?;
    let ours = active.build == work.run.id;
    // Also what an attempt of this stage did that was killed before it could say so.
    if let Some(version) = work.state.facts.version.filter(|v| *v > active.version) {
        return Err(Stop::Failed(
            FailureClass::Deploy,
            format!(
                "version {version} of {name} was taken back before it was registered; version {} is active; \
                 agentwright logs {name} shows why",
                active.version
            ),
        ));
    }
    let endpoint = if ours && matches!(active.spec.trigger, Trigger::Service { .. }) {
        let up = runtime
            .await_service(scope, &active, &work.handle.cancelled())
            .await;
        Some(up.map_err(|why| Stop::Failed(FailureClass::Deploy, why))?)
    } else {
        None
    };
    let entry = ServiceEntry {
        name: name.clone(),
        kind: active.spec.kind,
        purpose: active.spec.purpose.trim().to_owned(),
        version: active.version,
        endpoint: endpoint.clone(),
        registered_at_ms: work.now_ms(),
    };
    let mut facts = work.facts();
    facts.url = endpoint;
    let summary = match &facts.url {
        Some(url) => format!("{name} answers at {url}"),
        None => format!("{name} is in the directory"),
    };
    let mut done = Done::new(summary, facts);
    done.records = vec![Record::Service(entry)];
    Ok(done)
}
