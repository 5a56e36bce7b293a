//! Tables of people's own databases that are built from.

use super::{Client, ClientError, escaped};
use crate::Page;
use crate::backlog::{ConnectTable, ConnectedTable};

impl Client {
    /// Connects a table, after its columns and our rights were looked at.
    pub async fn connect_table(
        &self,
        connect: &ConnectTable,
    ) -> Result<ConnectedTable, ClientError> {
        self.post("/backlogs", connect, None).await
    }

    /// The connected tables with their rows.
    pub async fn connected_tables(&self) -> Result<Page<ConnectedTable>, ClientError> {
        self.read("/backlogs", &()).await
    }

    /// Disconnects one; its database is left as it is.
    pub async fn disconnect_table(&self, name: &str) -> Result<ConnectedTable, ClientError> {
        self.post(
            &format!("/backlogs/{}/remove", escaped(name)),
            &super::Nothing {},
            None,
        )
        .await
    }
}
