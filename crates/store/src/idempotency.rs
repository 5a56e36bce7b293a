//! `Idempotency-Key`: the answer of a creating request, kept for its repetition.

use crate::Store;
use crate::db::Arg;
use crate::error::Error;
use crate::scope::OrgScope;

/// How long a key is kept: a day.
const KEPT_MS: i64 = 24 * 3_600_000;

crate::db::statements! {
    REMEMBER = "keeping an idempotency key":
        "INSERT INTO idempotency_keys (organization_id, key, request, id, created_at_ms)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (organization_id, key) DO NOTHING";
    REMEMBERED = "reading an idempotency key":
        "SELECT request, id FROM idempotency_keys WHERE organization_id = $1 AND key = $2";
    FORGET = "forgetting old idempotency keys":
        "DELETE FROM idempotency_keys WHERE created_at_ms < $1";
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// Never seen: this caller goes on, and the id that it proposed is kept for repetitions.
    New,
    /// Seen with the same request: this is the id that the first one made.
    Same(String),
    /// Seen with another request: refuse.
    Different,
}

impl Store {
    /// Keeps `id` for `key` and the digest of its request; or tells what was kept before. The
    /// caller submits under that id in both cases: a submission is itself repeatable, so a crash
    /// between the two is made good by the repetition.
    pub async fn remember(
        &self,
        scope: &OrgScope,
        key: &str,
        request: &str,
        id: &str,
    ) -> Result<Remembered, Error> {
        let now_ms = self.now_ms().await?;
        let key = Arg::Text(key);
        self.within_of(scope, async |conn| {
            conn.execute(&FORGET, &[Arg::Int(now_ms - KEPT_MS)]).await?;
            let args = [
                scope.arg(),
                key,
                Arg::Text(request),
                Arg::Text(id),
                Arg::Int(now_ms),
            ];
            if conn.execute(&REMEMBER, &args).await? == 1 {
                return Ok(Remembered::New);
            }
            let rows = conn.fetch(&REMEMBERED, &[scope.arg(), key]).await?;
            let Some(row) = rows.first() else {
                return Err(Error::corrupt("key", &"kept, but not found"));
            };
            if row.text("request")? == request {
                row.text("id").map(Remembered::Same)
            } else {
                Ok(Remembered::Different)
            }
        })
        .await
    }
}
