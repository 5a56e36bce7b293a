//! Costs, budgets and replays.

use super::{Client, ClientError, escaped};
use crate::spending::{BudgetNow, BudgetQuery, Cost, CostQuery, SetBudget};
use crate::{Build, Page, Replayed};
use agentwright_domain::spend::BudgetScope;

impl Client {
    /// What models took, dearest first.
    pub async fn costs(&self, query: &CostQuery) -> Result<Page<Cost>, ClientError> {
        self.read("/costs", query).await
    }

    /// All budgets, and what is used of them.
    pub async fn budgets(&self, query: &BudgetQuery) -> Result<Page<BudgetNow>, ClientError> {
        self.read("/budgets", query).await
    }

    /// Sets a budget.
    pub async fn set_budget(
        &self,
        scope: BudgetScope,
        request: &SetBudget,
    ) -> Result<Page<BudgetNow>, ClientError> {
        self.post(&format!("/budgets/{}", scope.word()), request, None)
            .await
    }

    /// An ended build once more, with its recorded answers in place of the models.
    pub async fn replay(&self, id: &str, key: Option<&str>) -> Result<Build, ClientError> {
        let path = format!("/builds/{}/replay", escaped(id));
        self.post(&path, &serde_json::json!({}), key).await
    }

    /// Whether a replay that has ended came to the same.
    pub async fn replayed(&self, id: &str) -> Result<Replayed, ClientError> {
        self.read(&format!("/builds/{}/replay", escaped(id)), &())
            .await
    }

    /// Lets a build that waits for a spent budget go on.
    pub async fn resume_build(&self, id: &str) -> Result<Build, ClientError> {
        let path = format!("/builds/{}/resume", escaped(id));
        self.post(&path, &serde_json::json!({}), None).await
    }
}
