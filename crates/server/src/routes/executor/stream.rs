//! `WS /executor/builds/{build_id}/stream`: progress in the seed's shape, from the first event or after one.

use super::plain::Plain;
use super::upgrade_needed;
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Named, Query, Who};
use crate::jobs;
use crate::live::{Asked, End, Follower, Of, Turn, heard, same_origin, send, serve};
use agentwright_api::executor::{StreamQuery, Translator};
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket};
use axum::response::Response;

pub(super) async fn stream(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
    Plain(Query(query)): Plain<Query<StreamQuery>>,
    asked: Asked,
) -> Result<Response, ApiError> {
    let run = jobs::row(&app, &who, &id).await?.run;
    same_origin(&asked.headers)?;
    let upgrade = asked.upgrade.ok_or_else(upgrade_needed)?;
    let translator = Translator::new(run.id.clone());
    // From the first: what an event is called depends on those before it.
    let follower = app.feeds().follow(&app, &who, Of::run(run), 0);
    let teller = Teller {
        follower,
        translator,
        after: query.after.unwrap_or(0),
    };
    Ok(serve(&app, upgrade, move |mut socket| async move {
        let ended = teller.tell(&mut socket).await;
        (socket, ended)
    }))
}

struct Teller {
    follower: Follower,
    translator: Translator,
    after: i64,
}

impl Teller {
    async fn tell(mut self, socket: &mut WebSocket) -> End {
        loop {
            let turn = tokio::select! {
                turn = self.follower.next() => turn,
                () = heard(socket) => return End::Back,
            };
            let said = match turn {
                Turn::Said(said) => said,
                Turn::Quiet => match send(socket, Message::Ping(Bytes::new())).await {
                    Some(()) => continue,
                    None => return End::Back,
                },
                Turn::Over => return End::Over,
                Turn::Revoked => return End::Revoked,
                Turn::Stopping => return End::Back,
            };
            let next = if Translator::needs_next(&said.event) {
                self.follower.peek().await
            } else {
                None
            };
            let next = next.as_ref().map(|next| &next.event);
            for event in self.translator.feed(&said.event, next) {
                if event.seq > self.after {
                    // Invariant: these events have string keys only.
                    let text = serde_json::to_string(&event).unwrap_or_default();
                    if send(socket, Message::Text(text.into())).await.is_none() {
                        return End::Back;
                    }
                }
            }
            if self.translator.ended() {
                return End::Over;
            }
        }
    }
}
