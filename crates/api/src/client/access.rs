//! Keys, login codes, sessions, organizations and the audit trail, as methods of the client.

use super::{Ask, Client, ClientError, REPLY_TIMEOUT, escaped};
use crate::access::{
    AuditEntry, AuditQuery, AuditReport, CreateKey, CreateLoginCode, CreateOrganization,
    CreatedKey, DeletedOrganization, Key, LoginCode, Me, Organization, SessionInfo,
};
use crate::system::Snapshot;
use crate::{PREFIX, Page};
use http::Method;
use serde::de::DeserializeOwned;

impl Client {
    /// Who the daemon takes this client for.
    pub async fn me(&self) -> Result<Me, ClientError> {
        self.read("/me", &()).await
    }

    /// Makes a key; its text comes only now.
    pub async fn create_key(&self, request: &CreateKey) -> Result<CreatedKey, ClientError> {
        self.post("/keys", request, None).await
    }

    /// The organization's keys, newest first.
    pub async fn keys(&self) -> Result<Page<Key>, ClientError> {
        self.read("/keys", &()).await
    }

    /// Revokes a key; what it opened ends.
    pub async fn revoke_key(&self, id: &str) -> Result<Key, ClientError> {
        self.delete(&format!("/keys/{}", escaped(id))).await
    }

    /// A code for one login in a browser.
    pub async fn create_login_code(
        &self,
        request: &CreateLoginCode,
    ) -> Result<LoginCode, ClientError> {
        self.post("/login-codes", request, None).await
    }

    /// The organization's browser sessions, newest first.
    pub async fn sessions(&self) -> Result<Page<SessionInfo>, ClientError> {
        self.read("/sessions", &()).await
    }

    /// Adds an organization.
    pub async fn create_organization(
        &self,
        request: &CreateOrganization,
    ) -> Result<Organization, ClientError> {
        self.post("/organizations", request, None).await
    }

    /// All organizations.
    pub async fn organizations(&self) -> Result<Page<Organization>, ClientError> {
        self.read("/organizations", &()).await
    }

    /// A code that logs an admin of another organization in, once.
    pub async fn create_admin_login_code(&self, id: &str) -> Result<LoginCode, ClientError> {
        let path = format!("/organizations/{}/login-codes", escaped(id));
        self.post(&path, &serde_json::json!({}), None).await
    }

    /// Deletes an organization and everything of it.
    pub async fn delete_organization(&self, id: &str) -> Result<DeletedOrganization, ClientError> {
        self.delete(&format!("/organizations/{}", escaped(id)))
            .await
    }

    /// A copy of the database, made now.
    pub async fn create_snapshot(&self) -> Result<Snapshot, ClientError> {
        self.post("/snapshots", &serde_json::json!({}), None).await
    }

    /// A page of the audit trail, newest first.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEntry>, ClientError> {
        self.read("/audit", query).await
    }

    /// Whether the audit trail is what was written.
    pub async fn verify_audit(&self) -> Result<AuditReport, ClientError> {
        self.read("/audit/verify", &()).await
    }

    /// Ends this client's own browser session, or another of the organization.
    pub async fn end_session(&self, id: &str) -> Result<SessionInfo, ClientError> {
        self.delete(&format!("/sessions/{}", escaped(id))).await
    }

    async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let ask = Ask::new(Method::DELETE, format!("{PREFIX}{path}"));
        self.json(ask, REPLY_TIMEOUT).await
    }
}
