//! The queue of builds that start by themselves.

use super::{Client, ClientError, escaped};
use crate::Page;
use crate::queue::{
    Beat, BeatRequest, Heartbeat, QueueAdds, QueueChange, QueueImport, QueueImported, QueueItem,
    QueueWhy,
};

impl Client {
    /// Adds items; all or none.
    pub async fn queue_add(&self, adds: &QueueAdds) -> Result<Page<QueueItem>, ClientError> {
        self.post("/queue", adds, None).await
    }

    /// Adds the items of a file.
    pub async fn queue_import(&self, import: &QueueImport) -> Result<QueueImported, ClientError> {
        self.post("/queue/import", import, None).await
    }

    /// All items, in their order.
    pub async fn queue(&self) -> Result<Page<QueueItem>, ClientError> {
        self.read("/queue", &()).await
    }

    /// One item and why it started or did not.
    pub async fn queue_why(&self, label: &str) -> Result<QueueWhy, ClientError> {
        self.read(&format!("/queue/{}", escaped(label)), &()).await
    }

    /// Changes one item.
    pub async fn queue_change(
        &self,
        label: &str,
        change: &QueueChange,
    ) -> Result<QueueItem, ClientError> {
        self.post(&format!("/queue/{}", escaped(label)), change, None)
            .await
    }

    /// Removes an item; its build, where there is one, goes on.
    pub async fn queue_remove(&self, label: &str) -> Result<QueueItem, ClientError> {
        self.post(
            &format!("/queue/{}/remove", escaped(label)),
            &super::Nothing {},
            None,
        )
        .await
    }

    /// Looks at the queue now.
    pub async fn beat(&self, request: &BeatRequest) -> Result<Beat, ClientError> {
        self.post("/heartbeat", request, None).await
    }

    /// A report of a time.
    pub async fn report(&self, query: &crate::ReportQuery) -> Result<crate::Report, ClientError> {
        self.read("/report", query).await
    }

    /// The heartbeat's settings and last looks.
    pub async fn heartbeat(&self) -> Result<Heartbeat, ClientError> {
        self.read("/heartbeat", &()).await
    }
}
