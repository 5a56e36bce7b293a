//! Probes of a running service, and of what fixture hosts were asked.

use super::Finding;
use super::plan::{Request, SeenWanted};
use crate::exchange;
use crate::world::World;
use agentwright_domain::spec::HostPort;
use agentwright_sandbox::Running;

const NOT_RUNNING: &str = "the service is not running";

/// Our own request.
pub(super) async fn http(request: &Request, service: Option<&Running>) -> Finding {
    let mut expected = format!(
        "{} {} answers {}",
        request.method, request.path, request.status
    );
    if let Some(content) = &request.content {
        expected.push_str(&format!(" with {}", content.expected()));
    }
    let Some(service) = service else {
        return Finding::new(expected, Err(NOT_RUNNING.into()));
    };
    let found = exchange::ask(service, request).await.and_then(|answer| {
        if answer.status != request.status {
            return Err(format!(
                "{} {}",
                answer.status,
                super::matcher::shown(&answer.text())
            ));
        }
        match &request.content {
            Some(content) => content.check(&answer.body).map(|()| "it".to_owned()),
            None => Ok("it".to_owned()),
        }
    });
    Finding::new(expected, found)
}

/// A connection.
pub(super) async fn tcp(port: u16, service: Option<&Running>) -> Finding {
    let found = match service {
        Some(service) => match service.connect(port).await {
            Ok(_) => Ok("a connection".to_owned()),
            Err(error) => Err(error.to_string()),
        },
        None => Err(NOT_RUNNING.into()),
    };
    Finding::new(format!("port {port} accepts connections"), found)
}

/// A process by part of an argument.
pub(super) async fn process(argument: &str, service: Option<&Running>) -> Finding {
    let found = match service {
        Some(service) => match service.processes().await {
            Ok(all) => {
                let commands: Vec<String> =
                    all.iter().map(|process| process.argv.join(" ")).collect();
                let there = all.iter().any(|process| {
                    process.state != 'Z' && process.argv.iter().any(|part| part.contains(argument))
                });
                let shown = super::some_of(commands.iter().map(String::as_str));
                if there { Ok(shown) } else { Err(shown) }
            }
            Err(error) => Err(error.to_string()),
        },
        None => Err(NOT_RUNNING.into()),
    };
    Finding::new(
        format!("a process with {argument:?} among its arguments"),
        found,
    )
}

/// What a fixture host received.
pub(super) fn http_seen(world: &World<'_>, host: &HostPort, wanted: &SeenWanted) -> Finding {
    let count = wanted
        .count
        .map_or("at least 1".to_owned(), |count| count.to_string());
    let mut expected = format!("{count} × {} {} at {host}", wanted.method, wanted.path);
    if let Some(content) = &wanted.content {
        expected.push_str(&format!(", the last with {}", content.expected()));
    }
    let Some(fixture) = world.http(host) else {
        return Finding::new(expected, Err(format!("no HTTP fixture is at {host}")));
    };
    let seen = fixture.seen();
    let same: Vec<_> = seen
        .iter()
        .filter(|request| request.is(&wanted.method, &wanted.path))
        .collect();
    let fits = match wanted.count {
        Some(count) => same.len() == count as usize,
        None => !same.is_empty(),
    };
    if !fits {
        let all: Vec<String> = seen.iter().map(|request| request.line()).collect();
        let found = format!(
            "{}; seen: {}",
            same.len(),
            super::some_of(all.iter().map(String::as_str))
        );
        return Finding::new(expected, Err(found));
    }
    let found = match (&wanted.content, same.last()) {
        (Some(content), Some(last)) => content.check(&last.body).map(|()| same.len().to_string()),
        (Some(_), None) => Err("no request".into()),
        (None, _) => Ok(same.len().to_string()),
    };
    Finding::new(expected, found)
}
