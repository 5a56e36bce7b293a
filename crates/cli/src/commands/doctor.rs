//! `doctor`: whether this machine can do everything, and what to do where it cannot.

use agentwright_api::{Check, CheckStatus, Doctor};
use owo_colors::OwoColorize as _;

use super::App;
use crate::fault::{Exit, Fault};
use crate::output::safe_line;

/// `doctor`. A daemon that does not start is one of the findings.
pub(super) async fn doctor(app: &App) -> Result<Exit, Fault> {
    let found = match app.data.connect(&app.out).await {
        Ok(client) => client.doctor().await?,
        Err(fault) => Doctor {
            status: CheckStatus::Failed,
            checks: vec![Check {
                name: "daemon".to_owned(),
                status: CheckStatus::Failed,
                detail: fault.message,
                fix: fault.hint,
            }],
        },
    };
    app.out.json(&found);
    for check in &found.checks {
        let mark = match check.status {
            CheckStatus::Ok => "✓".green().to_string(),
            CheckStatus::Warning => "!".yellow().to_string(),
            CheckStatus::Failed => "✗".red().to_string(),
        };
        let mut details = check.detail.lines().map(safe_line);
        app.out.line(format!(
            "{mark} {:<12} {}",
            safe_line(&check.name),
            details.next().unwrap_or_default()
        ));
        for detail in details {
            app.out.line(format!("               {detail}"));
        }
        for fix in check.fix.iter().flat_map(|fix| fix.lines()) {
            app.out
                .line(format!("               {}", safe_line(fix).dimmed()));
        }
    }
    Ok(match found.status {
        CheckStatus::Ok | CheckStatus::Warning => Exit::Done,
        CheckStatus::Failed => Exit::Failed,
    })
}
