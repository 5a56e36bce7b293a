//! Notices on their way to people. Written in the commit that caused them, delivered by `engine`.

use crate::Store;
use crate::error::Error;
use crate::scope::OrgScope;
use agentwright_domain::ids::RunId;
use agentwright_domain::run::Notice;

/// A notice that is due for one channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// Its id, the same for every try: receivers recognise repetitions by it.
    pub id: String,
    /// Whose.
    pub scope: OrgScope,
    /// The run that it is about.
    pub run: RunId,
    /// What is said.
    pub notice: Notice,
    /// When it was written, ms.
    pub created_at_ms: i64,
    /// Failed tries so far.
    pub tries: u32,
    /// The channels that have it already.
    pub delivered_to: Vec<String>,
    /// What the last failed try said.
    pub last_error: Option<String>,
    /// `waiting`, `delivered`, `nobody` (no channel was configured) or `parked` (given up).
    pub status: String,
}

impl Store {
    /// The newest notices of an organization, for people.
    pub async fn notices(&self, scope: &OrgScope, limit: u32) -> Result<Vec<Due>, Error> {
        let _ = (scope, limit);
        Err(Error::Closed)
    }
}
