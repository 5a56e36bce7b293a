//! Organizations: the tenants. `local` is there from the start.

use crate::Store;
use crate::audit::{Actor, Change, append};
use crate::db::{Arg, Row};
use crate::error::Error;
use crate::scope::OrgScope;
use agentwright_domain::ids::OrganizationId;

crate::db::statements! {
    ADD = "adding an organization":
        "INSERT INTO organizations (id, name, created_at_ms) VALUES ($1, $2, $3)
         ON CONFLICT (id) DO NOTHING";
    ALL = "listing the organizations":
        "SELECT id, name, created_at_ms FROM organizations WHERE deleted_at_ms IS NULL ORDER BY id";
    ONE = "reading an organization":
        "SELECT id, name, created_at_ms FROM organizations WHERE id = $1 AND deleted_at_ms IS NULL";
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationRow {
    /// Its id.
    pub id: OrganizationId,
    /// Its name for people.
    pub name: String,
    /// When it was made.
    pub created_at_ms: i64,
}

impl Store {
    /// Adds an organization; the row about it stands in the trail of `local`. `None` when there is, or was, one
    /// of that id.
    pub async fn add_organization(
        &self,
        id: &OrganizationId,
        name: &str,
        by: &Actor,
    ) -> Result<Option<OrganizationRow>, Error> {
        let now_ms = self.now_ms().await?;
        self.within(async |conn| {
            let args = [Arg::Text(id.as_str()), Arg::Text(name), Arg::Int(now_ms)];
            if conn.execute(&ADD, &args).await? == 0 {
                return Ok(None);
            }
            let change = Change {
                action: "organization.create".to_owned(),
                target: id.as_str().to_owned(),
                before: None,
                after: None,
            };
            let at = (&OrgScope::local(), now_ms);
            append(conn, &self.inner.secret, at, by, &change).await?;
            Ok(Some(OrganizationRow {
                id: id.clone(),
                name: name.to_owned(),
                created_at_ms: now_ms,
            }))
        })
        .await
    }

    /// All organizations, by id.
    pub async fn organizations(&self) -> Result<Vec<OrganizationRow>, Error> {
        let mut held = self.inner.db.reader().await?;
        let rows = held.conn().fetch(&ALL, &[]).await?;
        rows.iter().map(organization).collect()
    }

    /// One of them.
    pub async fn organization(
        &self,
        id: &OrganizationId,
    ) -> Result<Option<OrganizationRow>, Error> {
        let mut held = self.inner.db.reader().await?;
        let rows = held.conn().fetch(&ONE, &[Arg::Text(id.as_str())]).await?;
        rows.first().map(organization).transpose()
    }
}

fn organization(row: &Row) -> Result<OrganizationRow, Error> {
    Ok(OrganizationRow {
        id: row.text("id").map(OrganizationId::new)?,
        name: row.text("name")?,
        created_at_ms: row.int("created_at_ms")?,
    })
}
