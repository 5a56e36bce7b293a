//! Whose rows a call may see: the first argument of everything.

use agentwright_domain::ids::{LOCAL_ORGANIZATION, OrganizationId};
use agentwright_domain::run::Run;

/// The right to one organization's rows. Made by whoever authenticates, or minted by a lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrgScope(OrganizationId);

impl OrgScope {
    /// The owner of the data directory.
    pub fn local() -> Self {
        Self(OrganizationId::new(LOCAL_ORGANIZATION))
    }

    /// The organization of a run that the caller holds.
    pub fn for_run(run: &Run) -> Self {
        Self(run.organization.clone())
    }

    /// An organization that the authenticator has established. Never made from a request's text.
    pub fn authenticated(organization: OrganizationId) -> Self {
        Self(organization)
    }

    pub(crate) fn arg(&self) -> crate::db::Arg<'_> {
        crate::db::Arg::Text(self.0.as_str())
    }

    /// Which.
    pub fn organization(&self) -> &OrganizationId {
        &self.0
    }
}
