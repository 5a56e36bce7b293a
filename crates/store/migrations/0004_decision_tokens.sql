-- Links that decide at a gate, one decision each. Only the digest of what stands in the link is kept. Looked up
-- before anybody's organization is known: outside the rules of tenants.
CREATE TABLE decision_tokens (
  token TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  gate TEXT NOT NULL,
  subject TEXT NOT NULL,
  decision TEXT NOT NULL,
  sent_to TEXT NOT NULL,
  expires_at_ms BIGINT NOT NULL,
  used_at_ms BIGINT,
  FOREIGN KEY (organization_id, run_id) REFERENCES runs (organization_id, id)
);
CREATE INDEX decision_tokens_by_run ON decision_tokens (organization_id, run_id);
CREATE INDEX decision_tokens_by_age ON decision_tokens (expires_at_ms);
