//! The second wall between organizations on PostgreSQL: row level security, whatever a statement forgets.
//!
//! The first wall is that every statement names its organization. Behind it, each table with an
//! `organization_id` has one policy: a connection sees the rows of the organization that it is told
//! ([`TELL`]), all of them when it works for the engine (`*`), and none when it is told nothing. Reads of a
//! scope run on connections that begin with nothing. [`raise`] puts the policies in place at every start, so that
//! a new table cannot be forgotten, and refuses a database user whom they do not hold. SQLite has no such wall.

use crate::db::Statement;
use crate::error::OpenError;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

/// The setting of a connection.
pub(crate) const SETTING: &str = "agentwright.organization";
/// Its value for the engine and for what concerns all organizations.
pub(crate) const WORKER: &str = "*";
/// Its value before a scope is told.
pub(crate) const NOBODY: &str = "";

/// Tells a connection whose rows it may see, until it is told again.
pub(crate) static TELL: Statement = Statement::new(
    "telling a connection its organization",
    "SELECT $1 AS organization",
    "SELECT set_config('agentwright.organization', $1, false) AS organization",
);

/// Tables of tenants without their wall. `dispatch` has no content and is read across organizations.
const WITHOUT: &str = "SELECT c.relname::text FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'agentwright'
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'organization_id' AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND c.relname <> 'dispatch'
    AND NOT (c.relrowsecurity AND c.relforcerowsecurity
      AND EXISTS (SELECT 1 FROM pg_policy AS p WHERE p.polrelid = c.oid AND p.polname = 'of_organization'))
    ORDER BY 1";
/// Whether the wall does not hold whoever we are.
const ABOVE: &str = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user";
/// Views and the like run with their owner's rights and would be holes.
const HOLES: &str = "SELECT c.relname::text FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'agentwright'
    WHERE c.relkind IN ('v', 'm') AND NOT COALESCE('security_invoker=true' = ANY(c.reloptions), false)
    ORDER BY 1";

/// Refuses a database user whom the wall would not hold. Asked before anything is changed.
pub(crate) async fn below(conn: &mut PgConnection, place: &str) -> Result<(), OpenError> {
    let above: bool = sqlx::query_scalar(ABOVE)
        .fetch_one(conn)
        .await
        .map_err(|error| crate::open::of_sqlx(place, &error))?;
    if above {
        let detail = "its user is a superuser or has BYPASSRLS, so nothing holds it: make one for agentwright (CREATE ROLE agentwright LOGIN PASSWORD '…'; ALTER DATABASE … OWNER TO agentwright) and put it into the address";
        return Err(no_wall(place, detail));
    }
    Ok(())
}

fn no_wall(place: &str, detail: impl Into<String>) -> OpenError {
    OpenError::NoWall {
        place: place.to_owned(),
        detail: detail.into(),
    }
}

/// Puts the wall in place where it is missing, then looks whether it stands.
pub(crate) async fn raise(conn: &mut PgConnection, place: &str) -> Result<(), OpenError> {
    let of = |error: sqlx::Error| crate::open::of_sqlx(place, &error);
    let mut all = String::new();
    for table in without(conn).await.map_err(of)? {
        // The name comes from PostgreSQL's own catalogue and is quoted.
        let table = table.replace('"', "\"\"");
        all.push_str(&format!(
            "ALTER TABLE agentwright.\"{table}\" ENABLE ROW LEVEL SECURITY;
             ALTER TABLE agentwright.\"{table}\" FORCE ROW LEVEL SECURITY;
             DROP POLICY IF EXISTS of_organization ON agentwright.\"{table}\";
             CREATE POLICY of_organization ON agentwright.\"{table}\"
               USING ((SELECT current_setting('{SETTING}', true)) IN (organization_id, '{WORKER}'))
               WITH CHECK ((SELECT current_setting('{SETTING}', true)) IN (organization_id, '{WORKER}'));"
        ));
    }
    if !all.is_empty() {
        // Sent at once it is one transaction.
        conn.execute(AssertSqlSafe(all)).await.map_err(of)?;
    }
    let left = without(conn).await.map_err(of)?;
    if let Some(table) = left.first() {
        let detail = format!("its table {table} has no row level security");
        return Err(no_wall(place, detail));
    }
    let holes: Vec<String> = sqlx::query_scalar(HOLES)
        .fetch_all(&mut *conn)
        .await
        .map_err(of)?;
    match holes.first() {
        Some(view) => Err(no_wall(
            place,
            format!(
                "the view {view} in its schema shows rows of every organization: drop it, or set security_invoker"
            ),
        )),
        None => Ok(()),
    }
}

/// Whether nothing is left to do for [`raise`].
pub(crate) async fn stands(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let holes: Vec<String> = sqlx::query_scalar(HOLES).fetch_all(&mut *conn).await?;
    Ok(holes.is_empty() && without(conn).await?.is_empty())
}

async fn without(conn: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(WITHOUT).fetch_all(conn).await
}
