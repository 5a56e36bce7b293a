//! Following a build until it ends, waits for a person, or is left.
//!
//! Asks the daemon for what happened after the last event that was seen; an answer comes as soon as there
//! is something. When the daemon goes away it is started again: the build goes on where it was.

use agentwright_api::{BuildDetail, BuildStatus, Client, ClientError, EventQuery, View};

use crate::commands::App;
use crate::fault::Fault;
use crate::progress::{Progress, Seen};

/// How long one question waits for news, seconds.
const WAIT_S: u32 = 20;
/// How often in a row the daemon may be lost before that is an error.
const LOSSES_MAX: u32 = 5;

/// How following ended.
pub(crate) enum Followed {
    /// The build ended, or waits for a person.
    Settled(Box<BuildDetail>),
    /// The person left with Ctrl-C; the build goes on.
    Left,
}

/// Follows the build `id` and says what was not said yet. With JSON lines (`events`), each event is printed
/// as it comes.
pub(crate) async fn follow(
    app: &App,
    client: &Client,
    id: &str,
    events: Events,
    seen: &mut Seen,
) -> Result<Followed, Fault> {
    let mut progress = Progress::new(&app.out, seen);
    tokio::select! {
        settled = until_settled(app, client, id, events, &mut progress) => {
            settled.map(|build| Followed::Settled(Box::new(build)))
        }
        _ = tokio::signal::ctrl_c() => Ok(Followed::Left),
    }
}

/// Whether each event is printed for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Events {
    /// As JSON lines, where JSON is asked for.
    Printed,
    /// Not.
    Kept,
}

async fn until_settled(
    app: &App,
    client: &Client,
    id: &str,
    events: Events,
    progress: &mut Progress<'_>,
) -> Result<BuildDetail, Fault> {
    let mut client = client.clone();
    let mut known = 0;
    let mut losses = 0;
    loop {
        let news = match news(&client, id, known, progress.seen_event()).await {
            Ok(news) => news,
            Err(error) if lost(&error) && losses < LOSSES_MAX => {
                losses += 1;
                progress.say("– the daemon went away; starting it again, the build goes on");
                client = app.data.connect(&app.out).await?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        losses = 0;
        for event in &news.events {
            progress.event(event);
            if events == Events::Printed {
                app.out.json(event);
            }
        }
        progress.show(&news.build);
        let status = news.build.build.status();
        known = news.build.seq;
        // Events that came after the build was read mean that it may stand otherwise by now.
        if progress.seen_event() == known && (status.ended() || status == BuildStatus::Waiting) {
            return Ok(news.build);
        }
    }
}

struct News {
    build: BuildDetail,
    events: Vec<agentwright_api::Event>,
}

/// The build as soon as it has events after `known`, and its events after `seen`.
async fn news(client: &Client, id: &str, known: i64, seen: i64) -> Result<News, ClientError> {
    let build = client.wait_build(id, known, WAIT_S, View::Full).await?;
    let query = EventQuery {
        after: Some(seen),
        limit: Some(agentwright_api::LIST_MAX),
    };
    // The id, because a label could meanwhile name a newer build.
    let events = client
        .events_page(build.build.id.as_str(), &query)
        .await?
        .items;
    Ok(News { build, events })
}

fn lost(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. }
        | ClientError::Broken { .. }
        | ClientError::TimedOut { .. } => true,
        ClientError::Refused(problem) => problem.code == agentwright_api::code::STOPPING,
        ClientError::Strange { .. } => false,
    }
}
