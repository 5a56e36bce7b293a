//! `connect`.

use agentwright_api::{ConnectTable, ConnectedTable};
use agentwright_domain::ids::Slug;
use agentwright_domain::secret::Reference;

use super::App;
use super::plan::here;
use crate::args::Connect;
use crate::fault::{Exit, Fault};
use crate::output::{safe_line, table, zone};

/// `connect`.
pub(super) async fn connect(app: &App, args: Connect) -> Result<Exit, Fault> {
    if let Some(name) = &args.remove {
        let client = app.data.connect(&app.out).await?;
        let removed = client.disconnect_table(name).await?;
        app.out.json(&removed);
        app.out
            .line(format!("{} is no longer connected", removed.name));
        return Ok(Exit::Done);
    }
    let Some(reference) = args.reference.as_deref() else {
        let client = app.data.connect(&app.out).await?;
        let page = client.connected_tables().await?;
        app.out.json(&page);
        if page.items.is_empty() {
            app.out.line("no table is connected");
        }
        for one in &page.items {
            listed(app, one);
        }
        return Ok(Exit::Done);
    };
    let request = ConnectTable {
        reference: reference_of(reference)?,
        table: args.table,
        results_table: args.results_table,
        name: args.name.as_deref().map(slug).transpose()?,
        base_dir: here()?,
        zone: zone(),
    };
    let client = app.data.connect(&app.out).await?;
    let connected = client.connect_table(&request).await?;
    app.out.json(&connected);
    app.out.line(format!(
        "{} is connected as {}",
        safe_line(&connected.table),
        connected.name
    ));
    app.out.note(format!(
        "see its rows: {}",
        app.command(&["connect", "--list"])
    ));
    Ok(Exit::Done)
}

fn slug(text: &str) -> Result<Slug, Fault> {
    Slug::parse(text).map_err(|error| Fault::usage(error.to_string()))
}

/// The reference, with a file's path made whole. What is none is not repeated: it may hold a password.
fn reference_of(text: &str) -> Result<String, Fault> {
    let whole = match text.strip_prefix("file:") {
        Some(path) if !path.starts_with('/') => format!("file:{}/{path}", here()?),
        _ => text.to_owned(),
    };
    match whole.parse::<Reference>() {
        Ok(reference) => Ok(reference.to_string()),
        Err(_) => Err(Fault::usage(
            "the address of a database is not given on the command line: its password would stand in the shell's history and in the list of processes",
        )
        .hint(
            "write the address into a file that only you may read, and name it: agentwright connect file:PATH (or env:NAME, or vault:MOUNT/PATH#FIELD)",
        )),
    }
}

fn listed(app: &App, one: &ConnectedTable) {
    let how = match &one.error {
        Some(error) => format!(
            "cannot be used ({} times): {}",
            one.failures,
            safe_line(error)
        ),
        None => match one.looked_at {
            Some(at) => format!("looked at {at}"),
            None => "not looked at yet".to_owned(),
        },
    };
    app.out.line(format!(
        "{}: {} at {} — {how}",
        one.name,
        safe_line(&one.table),
        one.reference
    ));
    if one.rows.is_empty() {
        return;
    }
    let rows = one.rows.iter().map(|row| {
        let why = row
            .why
            .as_ref()
            .map_or_else(String::new, |why| safe_line(&why.words));
        let behind = if row.to_write { " (to be written)" } else { "" };
        vec![
            row.id.to_string(),
            safe_line(&row.name),
            format!("{}{behind}", row.builder_status.replace('_', " ")),
            row.label.to_string(),
            why,
        ]
    });
    app.out.line(table(
        &["id", "name", "builder status", "item", "why"],
        rows.collect(),
    ));
}
