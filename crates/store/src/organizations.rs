//! Organizations: the tenants. `local` is there from the start.

use crate::Store;
use crate::db::Arg;
use crate::error::Error;
use agentwright_domain::ids::OrganizationId;

crate::db::statements! {
    ADD = "adding an organization":
        "INSERT INTO organizations (id, name, created_at_ms) VALUES ($1, $2, $3)
         ON CONFLICT (id) DO NOTHING";
}

impl Store {
    /// Adds an organization. `false` when there is one of that id.
    pub async fn add_organization(&self, id: &OrganizationId, name: &str) -> Result<bool, Error> {
        let now = Arg::Int(self.now_ms().await?);
        let mut held = self.inner.db.writer().await?;
        let args = [Arg::Text(id.as_str()), Arg::Text(name), now];
        let added = held.conn().execute(&ADD, &args).await?;
        Ok(added == 1)
    }
}
