//! The pages: what each one shows is gathered here, how it looks is `agentwright-pages`.
//!
//! A form posts, is answered with 303 to the page that shows what came of it, and works without script. A GET
//! changes nothing. A refusal is a problem like everywhere else; [`dress::dressed`] turns it into a page for who
//! asked for one. Start with [`router`], then `frame.rs` (what every page knows) and one page.

mod asks;
mod assets;
mod build;
mod decide;
mod deployments;
pub(crate) mod dress;
mod files;
mod frame;
mod fresh;
mod lists;
mod live;
mod money;
mod queue;
mod settings;

use crate::app::App;
use axum::Router;
use axum::routing::{get, post};

pub(crate) use files::Kept;
pub(crate) use frame::{Place, html_as};

/// Every page and every form.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(lists::home))
        .route("/builds", get(lists::builds))
        .route("/builds/{id}", get(build::page))
        .route("/builds/{id}/approve", post(decide::approve))
        .route("/builds/{id}/reject", post(decide::reject))
        .route("/builds/{id}/cancel", post(decide::cancel))
        .route("/builds/{id}/resume", post(decide::resume))
        .route("/builds/{id}/retry", post(decide::retry))
        .route("/builds/{id}/deploy", post(decide::deploy))
        .route("/approvals", get(lists::approvals))
        .route("/new", get(fresh::page).post(fresh::create))
        .route("/new/match", post(fresh::matched))
        .route("/deployments", get(deployments::all))
        .route("/deployments/{name}", get(deployments::one))
        .route("/deployments/{name}/run", post(deployments::run))
        .route("/deployments/{name}/pause", post(deployments::pause))
        .route("/deployments/{name}/resume", post(deployments::resume))
        .route("/deployments/{name}/stop", post(deployments::stop))
        .route("/deployments/{name}/rollback", post(deployments::rollback))
        .route("/deployments/{name}/remove", post(deployments::remove))
        .route("/services", get(deployments::services))
        .route("/queue", get(queue::page).post(queue::add))
        .route("/queue/look", post(queue::look))
        .route("/queue/{label}/change", post(queue::change))
        .route("/report", get(queue::reports))
        .route("/costs", get(money::costs))
        .route("/costs/budgets/{scope}", post(money::set))
        .route("/insights", get(money::insights))
        .route("/settings", get(settings::page))
        .route("/settings/keys", post(settings::make_key))
        .route("/settings/keys/{id}/revoke", post(settings::revoke_key))
        .route("/settings/sessions/{id}/end", post(settings::end_session))
        .route("/settings/invitations", post(settings::invite))
        .route("/settings/organizations", post(settings::make_organization))
        .route(
            "/settings/organizations/{id}/invitation",
            post(settings::invite_admin),
        )
        .route("/audit", get(settings::audit))
        .route("/live", get(live::stream))
        .route("/assets/{hash}/{*name}", get(assets::get))
        .route("/favicon.ico", get(assets::icon))
}
