//! `key`, `organization` and `audit`.

use agentwright_api::{AuditQuery, CreateKey, CreateOrganization, Key};
use agentwright_domain::ids::Slug;
use agentwright_domain::principal::{KeyKind, Role};

use super::App;
use crate::args::{AuditCommand, KeyCommand, KeyCreate, KindName, OrganizationCommand, RoleName};
use crate::ask;
use crate::fault::{Exit, Fault};
use crate::output::{can_ask, moment, safe_line, table};

/// `key`.
pub(super) async fn key(app: &App, command: KeyCommand) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    match command {
        KeyCommand::Create(args) => {
            let made = client.create_key(&wanted(args)?).await?;
            app.out.json(&made);
            app.out.line(&made.secret);
            app.out.note(format!(
                "this key ({}, {}) is shown this once; its id is {}",
                safe_line(&made.key.name),
                made.key.role,
                made.key.id
            ));
        }
        KeyCommand::List => {
            let page = client.keys().await?;
            app.out.json(&page);
            if page.items.is_empty() {
                app.out.line("no keys; over the socket none is needed");
                return Ok(Exit::Done);
            }
            let rows = page.items.iter().map(row).collect();
            let head = ["id", "name", "kind", "role", "made", "holds"];
            app.out.line(table(&head, rows));
        }
        KeyCommand::Revoke { id } => {
            let revoked = client.revoke_key(&id).await?;
            app.out.json(&revoked);
            app.out.line(format!(
                "{} ({}) opens nothing any more",
                revoked.id,
                safe_line(&revoked.name)
            ));
        }
    }
    Ok(Exit::Done)
}

fn wanted(args: KeyCreate) -> Result<CreateKey, Fault> {
    Ok(CreateKey {
        name: args.name,
        role: role(args.role),
        kind: match args.kind {
            KindName::Person => KeyKind::Person,
            KindName::Agent => KeyKind::Agent,
            KindName::Service => KeyKind::Service,
        },
        organizations: args
            .organizations
            .iter()
            .map(|id| id_of(id))
            .collect::<Result<_, _>>()?,
        expires_in_days: args.expires_in,
    })
}

fn id_of(text: &str) -> Result<Slug, Fault> {
    Slug::parse(text).map_err(|error| Fault::usage(format!("the organization {error}")))
}

/// The role that a word names.
pub(super) fn role(name: RoleName) -> Role {
    match name {
        RoleName::Viewer => Role::Viewer,
        RoleName::Operator => Role::Operator,
        RoleName::Approver => Role::Approver,
        RoleName::Admin => Role::Admin,
    }
}

fn row(key: &Key) -> Vec<String> {
    let holds = match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("revoked {}", moment(at.as_ms())),
        (None, Some(at)) => format!("until {}", moment(at.as_ms())),
        (None, None) => "yes".to_owned(),
    };
    let kind = match key.organizations.as_slice() {
        [] => key.kind.word().to_owned(),
        some => {
            let ids: Vec<_> = some.iter().map(|id| safe_line(id.as_str())).collect();
            format!("{} for {}", key.kind.word(), ids.join(", "))
        }
    };
    vec![
        key.id.clone(),
        safe_line(&key.name),
        kind,
        key.role.to_string(),
        moment(key.created_at.as_ms()),
        holds,
    ]
}

/// `organization`.
pub(super) async fn organization(app: &App, command: OrganizationCommand) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    match command {
        OrganizationCommand::Create { id, name } => {
            let request = CreateOrganization {
                id: id_of(&id)?,
                name,
            };
            let made = client.create_organization(&request).await?;
            app.out.json(&made);
            app.out.line(format!("organization {}", made.id));
            app.out.note(format!(
                "a key for its admin: {}",
                app.command(&[
                    "key",
                    "create",
                    "admin",
                    "--role",
                    "admin",
                    "--organization",
                    &id
                ])
            ));
        }
        OrganizationCommand::List => {
            let page = client.organizations().await?;
            app.out.json(&page);
            let rows = page
                .items
                .iter()
                .map(|it| {
                    let made = match it.created_at.as_ms() {
                        0 => "from the start".to_owned(),
                        ms => moment(ms),
                    };
                    vec![it.id.to_string(), safe_line(&it.name), made]
                })
                .collect();
            app.out.line(table(&["id", "name", "made"], rows));
        }
        OrganizationCommand::Delete { id, yes } => {
            if !yes {
                sure(app, &id).await?;
            }
            let gone = client.delete_organization(&id).await?;
            app.out.json(&gone);
            app.out.line(format!(
                "organization {} is gone: {} deployments, {} rows",
                gone.id, gone.deployments, gone.rows
            ));
        }
    }
    Ok(Exit::Done)
}

async fn sure(app: &App, id: &str) -> Result<(), Fault> {
    let again = app.command(&["organization", "delete", id, "--yes"]);
    let question = format!(
        "Delete {} with all its builds, deployments, keys and files? Type its id:",
        safe_line(id)
    );
    if !can_ask() {
        let says = "deleting an organization asks first, and nobody can answer here";
        return Err(Fault::usage(says).hint(again));
    }
    match ask::text(&question).await {
        Some(answer) if answer == id => Ok(()),
        Some(_) | None => Err(Fault::failed("nothing was deleted")),
    }
}

/// `audit`.
pub(super) async fn audit(app: &App, command: AuditCommand) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    match command {
        AuditCommand::List { limit, before } => {
            let query = AuditQuery {
                limit: Some(limit),
                before,
            };
            let page = client.audit(&query).await?;
            app.out.json(&page);
            if page.items.is_empty() {
                app.out.line("nothing was changed yet");
                return Ok(Exit::Done);
            }
            let rows = page
                .items
                .iter()
                .map(|it| {
                    vec![
                        it.seq.to_string(),
                        moment(it.at.as_ms()),
                        safe_line(&it.by),
                        safe_line(&it.action),
                        safe_line(&it.target),
                    ]
                })
                .collect();
            app.out
                .line(table(&["seq", "when", "who", "what", "to what"], rows));
            Ok(Exit::Done)
        }
        AuditCommand::Verify => {
            let report = client.verify_audit().await?;
            app.out.json(&report);
            match &report.broken {
                None => {
                    app.out.line(format!("intact: {} rows", report.intact));
                    Ok(Exit::Done)
                }
                Some(broken) => {
                    app.out.line(format!(
                        "broken at row {}: {}; the {} before it hold",
                        broken.seq,
                        safe_line(&broken.why),
                        report.intact
                    ));
                    Ok(Exit::Failed)
                }
            }
        }
    }
}
