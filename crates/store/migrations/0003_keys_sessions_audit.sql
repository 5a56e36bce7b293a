-- Keys, sessions, login codes and the audit trail. What proves a key or a session is an HMAC; its key lies
-- outside the database (secret.rs).

-- A deleted organization keeps its row, so that its id is never given twice.
ALTER TABLE organizations ADD COLUMN deleted_at_ms BIGINT;

-- kind: person, agent or service. A service key's organizations are in key_organizations.
CREATE TABLE api_keys (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  role TEXT NOT NULL,
  mac TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  expires_at_ms BIGINT,
  revoked_at_ms BIGINT,
  revoked_by TEXT,
  PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX api_keys_by_id ON api_keys (id);

-- organization_id is one that the service key may act for, not the one it belongs to.
CREATE TABLE key_organizations (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  key_id TEXT NOT NULL,
  PRIMARY KEY (organization_id, key_id)
);
CREATE INDEX key_organizations_by_key ON key_organizations (key_id);

CREATE TABLE login_codes (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  expires_at_ms BIGINT NOT NULL,
  PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX login_codes_by_id ON login_codes (id);

CREATE TABLE sessions (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  key_id TEXT,
  created_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL,
  PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX sessions_by_id ON sessions (id);

-- One chain for each organization: mac covers the row and the mac before it.
CREATE TABLE audit (
  organization_id TEXT NOT NULL,
  seq BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  actor TEXT NOT NULL,
  principal TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  before_digest TEXT,
  after_digest TEXT,
  mac TEXT NOT NULL,
  PRIMARY KEY (organization_id, seq)
)
--sqlite WITHOUT ROWID
;

-- Where each chain ends, so that rows cut off its end are missed.
CREATE TABLE audit_heads (
  organization_id TEXT NOT NULL PRIMARY KEY,
  seq BIGINT NOT NULL,
  last_mac TEXT NOT NULL,
  mac TEXT NOT NULL
);
