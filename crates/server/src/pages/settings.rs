//! The instance: what the doctor finds, and what the configuration limits.

use super::frame::{Frame, html};
use crate::app::App;
use crate::doctor;
use crate::error::ApiError;
use agentwright_pages::Settings;
use axum::extract::State;
use axum::response::Response;

pub(super) async fn page(State(app): State<App>, frame: Frame) -> Result<Response, ApiError> {
    let shell = frame.shell(&app).await?;
    let mut page = Settings::new(shell, &app.health(), limits(&app));
    // The machine is the business of those who run it.
    if frame.who.is_instance_admin() {
        page = page.with_machine(app.health(), doctor::examine(&app).await);
    }
    html(&page)
}

fn limits(app: &App) -> Vec<(String, String)> {
    let it = &app.config().settings;
    let walls = if it.allow_process_tier {
        "tier process is allowed where tier full is not possible"
    } else {
        "tier full or better"
    };
    let line = |name: &str, value: String| (name.to_owned(), value);
    vec![
        line("Builds at once", it.builds.to_string()),
        line("of one organization", it.organization_builds().to_string()),
        line("Executions at once", it.executions.to_string()),
        line(
            "of one organization",
            it.organization_executions().to_string(),
        ),
        line("Kept files", format!("{} MB", it.artifacts_quota_mb)),
        line("Walls", walls.to_owned()),
    ]
}
