//! `approve` and `reject`: a person's decision on exactly what waits.

use agentwright_api::{BuildDetail, BuildState, Client, Decide, DecisionRequest};
use agentwright_domain::digest::Digest;

use super::{App, finish};
use crate::args::{Approve, Reject};
use crate::ask::{self, Answer};
use crate::describe;
use crate::fault::{Exit, Fault};
use crate::follow::Events;
use crate::output::can_ask;
use crate::progress::Seen;

/// `approve`.
pub(super) async fn approve(app: &App, args: Approve) -> Result<Exit, Fault> {
    let given = args.subject.as_deref().map(digest).transpose()?;
    let client = app.data.connect(&app.out).await?;
    let build = client.build(&args.build).await?;
    let subject = match given {
        Some(given) => given,
        None => {
            let Some(seen) = look(app, &build).await? else {
                app.out.note("nothing was decided");
                return Ok(Exit::Waiting);
            };
            seen
        }
    };
    let request = DecisionRequest {
        decision: Decide::Approve,
        subject: Some(subject),
        notes: args.notes,
    };
    decide(app, &client, &build, &request, args.detach).await
}

/// `reject`.
pub(super) async fn reject(app: &App, args: Reject) -> Result<Exit, Fault> {
    let subject = args.subject.as_deref().map(digest).transpose()?;
    let client = app.data.connect(&app.out).await?;
    let build = client.build(&args.build).await?;
    let request = DecisionRequest {
        decision: Decide::Reject,
        subject,
        notes: args.notes,
    };
    let build = client.decide(build.build.id.as_str(), &request).await?;
    app.out.json(&build);
    app.out.line(format!(
        "{}: {}",
        build.label,
        describe::state(&build.state)
    ));
    Ok(Exit::Done)
}

async fn decide(
    app: &App,
    client: &Client,
    build: &BuildDetail,
    request: &DecisionRequest,
    detach: bool,
) -> Result<Exit, Fault> {
    let id = build.build.id.as_str();
    let now = client.decide(id, request).await?;
    if detach {
        app.out.json(&now);
        app.out.line(format!("approved {}", now.label));
        return Ok(Exit::Done);
    }
    app.out.note(format!("approved {}", now.label));
    let seen = Seen::all_of(build);
    finish::to_the_end(app, client, id, Events::Kept, seen).await
}

/// Shows what waits and returns its digest; asks where there is a terminal. `None` when the person said no.
async fn look(app: &App, build: &BuildDetail) -> Result<Option<Digest>, Fault> {
    let label = build.build.label.as_str();
    let BuildState::Waiting {
        reasons, subject, ..
    } = &build.build.state
    else {
        return Err(Fault::failed(format!(
            "{label} does not wait for a decision: it is {}",
            build.build.status().word()
        )));
    };
    let Some(subject) = subject else {
        return Err(
            Fault::failed(format!("the daemon does not say what waits at {label}"))
                .hint(format!("look again: {}", app.command(&["show", label]))),
        );
    };
    finish::show_gate(app, build, reasons, Some(subject));
    let ask_first = can_ask() && !app.out.is_json();
    if ask_first && ask::yes_or_no("Say yes to this?", Answer::Later).await != Answer::Yes {
        return Ok(None);
    }
    Ok(Some(subject.digest.clone()))
}

fn digest(text: &str) -> Result<Digest, Fault> {
    Digest::parse(text).map_err(|error| {
        Fault::usage(format!("--subject {text:?} is {error}"))
            .hint("copy it from what the build showed: agentwright show BUILD")
    })
}
