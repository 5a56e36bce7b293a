//! Links that decide at a gate: each holds a token for one decision on one exact subject.
//!
//! The token itself is never kept, only its digest. That it counts once is not this table's doing: a decision is
//! a commit guarded by the run's epoch, and a run that was decided waits for nobody. Here it is noted so that
//! whoever opens the link again is told.

use crate::Store;
use crate::db::{Arg, Row};
use crate::error::Error;
use crate::scope::OrgScope;
use agentwright_domain::approval::Gate;
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::{OrganizationId, RunId};
use sha2::{Digest as _, Sha256};

/// How long a token is remembered after it has expired, to say so: a week.
const REMEMBERED_MS: i64 = 7 * 24 * 3_600_000;

crate::db::statements! {
    KEEP = "keeping a link that decides":
        "INSERT INTO decision_tokens (token, organization_id, run_id, gate, subject, decision, sent_to,
           expires_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    FORGET = "forgetting old links that decide":
        "DELETE FROM decision_tokens WHERE expires_at_ms < $1";
    FIND = "looking for a link that decides":
        "SELECT organization_id, run_id, gate, subject, decision, sent_to, expires_at_ms, used_at_ms
         FROM decision_tokens WHERE token = $1";
    USE = "noting that a gate was decided by a link":
        "UPDATE decision_tokens SET used_at_ms = $4
         WHERE organization_id = $1 AND run_id = $2 AND gate = $3 AND used_at_ms IS NULL";
}

/// What a token decides, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionToken {
    /// Whose run: minted by the token, as a lease mints one.
    pub scope: OrgScope,
    /// Which run.
    pub run: RunId,
    /// At which gate.
    pub gate: Gate,
    /// On what exactly.
    pub subject: Digest,
    /// Yes or no.
    pub approves: bool,
    /// The channel that it was sent to.
    pub sent_to: String,
    /// When it ends, ms.
    pub expires_at_ms: i64,
    /// When it, or another one for the same gate, was used, ms.
    pub used_at_ms: Option<i64>,
}

impl Store {
    /// Keeps a token that was just made. `token` is the text in the link.
    pub async fn keep_decision_token(&self, token: &str, of: &DecisionToken) -> Result<(), Error> {
        let now_ms = self.now_ms().await?;
        let digest = digest(token);
        let args = [
            Arg::Text(&digest),
            of.scope.arg(),
            Arg::Text(of.run.as_str()),
            Arg::Text(of.gate.word()),
            Arg::Text(of.subject.as_str()),
            Arg::Text(word(of.approves)),
            Arg::Text(&of.sent_to),
            Arg::Int(of.expires_at_ms),
        ];
        self.within(async |conn| {
            conn.execute(&FORGET, &[Arg::Int(now_ms - REMEMBERED_MS)])
                .await?;
            conn.execute(&KEEP, &args).await.map(|_| ())
        })
        .await
    }

    /// What the token decides; `None` when there is none, or it expired long ago.
    pub async fn decision_token(&self, token: &str) -> Result<Option<DecisionToken>, Error> {
        let mut held = self.inner.db.reader().await?;
        let rows = held
            .conn()
            .fetch(&FIND, &[Arg::Text(&digest(token))])
            .await?;
        rows.first().map(token_row).transpose()
    }

    /// Notes that the gate was decided: every token for it is used up.
    pub async fn use_decision_tokens(&self, of: &DecisionToken) -> Result<(), Error> {
        let now_ms = self.now_ms().await?;
        let args = [
            of.scope.arg(),
            Arg::Text(of.run.as_str()),
            Arg::Text(of.gate.word()),
            Arg::Int(now_ms),
        ];
        let mut held = self.inner.db.writer().await?;
        held.conn().execute(&USE, &args).await.map(|_| ())
    }
}

fn word(approves: bool) -> &'static str {
    if approves { "approve" } else { "reject" }
}

/// 256 random bits need no salt and no slow digest.
fn digest(token: &str) -> String {
    let bytes = Sha256::digest(token.as_bytes());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn token_row(row: &Row) -> Result<DecisionToken, Error> {
    let organization = OrganizationId::new(row.text("organization_id")?);
    let gates = [Gate::Spec, Gate::Deploy];
    Ok(DecisionToken {
        scope: OrgScope::authenticated(organization),
        run: RunId::new(row.text("run_id")?),
        gate: row.parse("gate", |word| {
            gates.into_iter().find(|gate| gate.word() == word)
        })?,
        subject: row.parse("subject", |text| Digest::parse(text).ok())?,
        approves: row.parse("decision", |text| {
            [true, false]
                .into_iter()
                .find(|approves| word(*approves) == text)
        })?,
        sent_to: row.text("sent_to")?,
        expires_at_ms: row.int("expires_at_ms")?,
        used_at_ms: row.opt_int("used_at_ms")?,
    })
}
