-- Lines that begin with "--sqlite " or "--postgres " are SQL for that engine alone (see migrate.rs).
-- Ids are TEXT (UUIDv7), times BIGINT milliseconds, JSON is TEXT.

--postgres CREATE FUNCTION json_each(text) RETURNS TABLE (value jsonb) LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT jsonb_array_elements($1::jsonb) $$;
--postgres CREATE FUNCTION now_ms() RETURNS BIGINT LANGUAGE sql VOLATILE AS $$ SELECT CAST(floor(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT) $$;

CREATE TABLE meta (
  key TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
);

CREATE TABLE organizations (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL
);
INSERT INTO organizations (id, name, created_at_ms) VALUES ('local', 'local', 0);

-- One row per run of any kind. Written by the group committer only, guarded by epoch.
CREATE TABLE runs (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  id TEXT NOT NULL,
  kind TEXT NOT NULL,
  label TEXT NOT NULL,
  priority BIGINT NOT NULL,
  status TEXT NOT NULL,
  stage TEXT NOT NULL,
  attempt BIGINT NOT NULL,
  epoch BIGINT NOT NULL,
  event_seq BIGINT NOT NULL,
  definition BIGINT NOT NULL,
  claims BIGINT NOT NULL,
  worked_ms BIGINT NOT NULL,
  attempt_started_at_ms BIGINT NOT NULL,
  repeats TEXT,
  created_at_ms BIGINT NOT NULL,
  started_at_ms BIGINT,
  progress_at_ms BIGINT NOT NULL,
  ended_at_ms BIGINT,
  state TEXT NOT NULL,
  input TEXT NOT NULL,
  PRIMARY KEY (organization_id, id)
);
CREATE INDEX runs_by_kind ON runs (organization_id, kind, id);
CREATE INDEX runs_by_label ON runs (organization_id, label, id);
CREATE UNIQUE INDEX runs_live_label ON runs (organization_id, kind, label) WHERE ended_at_ms IS NULL;

-- What may be claimed or is held. Content-free: outside the rules of tenants.
CREATE TABLE dispatch (
  run_id TEXT NOT NULL PRIMARY KEY,
  organization_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  priority BIGINT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  not_before_ms BIGINT NOT NULL,
  owner TEXT,
  lease_until_ms BIGINT
)
--sqlite WITHOUT ROWID
;
CREATE INDEX dispatch_queue ON dispatch (kind, priority, created_at_ms, run_id);
CREATE INDEX dispatch_held ON dispatch (owner) WHERE owner IS NOT NULL;

-- Claims count what is live under the lock of this row, so that limits hold across processes.
CREATE TABLE claim_gate (id BIGINT NOT NULL PRIMARY KEY);
INSERT INTO claim_gate (id) VALUES (1);

-- One row per ended attempt at a stage; the epoch of its commit orders them.
CREATE TABLE stages (
  organization_id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  stage TEXT NOT NULL,
  attempt BIGINT NOT NULL,
  status TEXT NOT NULL,
  started_at_ms BIGINT NOT NULL,
  ended_at_ms BIGINT NOT NULL,
  summary TEXT NOT NULL,
  PRIMARY KEY (organization_id, run_id, epoch),
  FOREIGN KEY (organization_id, run_id) REFERENCES runs (organization_id, id)
)
--sqlite WITHOUT ROWID
;

CREATE TABLE events (
  organization_id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  seq BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  event TEXT NOT NULL,
  stage TEXT NOT NULL,
  message TEXT NOT NULL,
  data TEXT,
  PRIMARY KEY (organization_id, run_id, seq),
  FOREIGN KEY (organization_id, run_id) REFERENCES runs (organization_id, id)
)
--sqlite WITHOUT ROWID
;

CREATE TABLE test_results (
  organization_id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  attempt BIGINT NOT NULL,
  level BIGINT NOT NULL,
  verdict TEXT NOT NULL,
  at_ms BIGINT NOT NULL,
  result TEXT NOT NULL,
  PRIMARY KEY (organization_id, run_id, attempt, level),
  FOREIGN KEY (organization_id, run_id) REFERENCES runs (organization_id, id)
);

CREATE TABLE approvals (
  organization_id TEXT NOT NULL,
  id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  gate TEXT NOT NULL,
  subject TEXT NOT NULL,
  decision TEXT NOT NULL,
  at_ms BIGINT NOT NULL,
  approval TEXT NOT NULL,
  PRIMARY KEY (organization_id, id),
  FOREIGN KEY (organization_id, run_id) REFERENCES runs (organization_id, id)
);
CREATE INDEX approvals_by_run ON approvals (organization_id, run_id);

CREATE TABLE artifacts (
  organization_id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  bytes BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  PRIMARY KEY (organization_id, run_id, name),
  FOREIGN KEY (organization_id, run_id) REFERENCES runs (organization_id, id)
);
CREATE INDEX artifacts_by_digest ON artifacts (digest);

-- "usage" alone is a word of PostgreSQL.
CREATE TABLE run_usage (
  organization_id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  wall_ms BIGINT NOT NULL,
  cpu_ms BIGINT NOT NULL,
  max_rss_bytes BIGINT NOT NULL,
  PRIMARY KEY (organization_id, run_id),
  FOREIGN KEY (organization_id, run_id) REFERENCES runs (organization_id, id)
);

CREATE TABLE grants (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  id TEXT NOT NULL,
  deployment TEXT NOT NULL,
  approval_id TEXT,
  granted_at_ms BIGINT NOT NULL,
  revoked_at_ms BIGINT,
  body TEXT NOT NULL,
  PRIMARY KEY (organization_id, id)
);
CREATE INDEX grants_by_deployment ON grants (organization_id, deployment);

CREATE TABLE deployments (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  name TEXT NOT NULL,
  active_version BIGINT NOT NULL,
  activity TEXT NOT NULL,
  failures_in_a_row BIGINT NOT NULL,
  next_due_at_ms BIGINT,
  current_run TEXT,
  endpoint TEXT,
  revision BIGINT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  changed_at_ms BIGINT NOT NULL,
  PRIMARY KEY (organization_id, name)
);

CREATE TABLE versions (
  organization_id TEXT NOT NULL,
  name TEXT NOT NULL,
  version BIGINT NOT NULL,
  build_id TEXT NOT NULL,
  grant_id TEXT NOT NULL,
  deployed_at_ms BIGINT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (organization_id, name, version),
  FOREIGN KEY (organization_id, name) REFERENCES deployments (organization_id, name)
);

CREATE TABLE services (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  purpose TEXT NOT NULL,
  version BIGINT NOT NULL,
  endpoint TEXT,
  registered_at_ms BIGINT NOT NULL,
  PRIMARY KEY (organization_id, name)
);

-- Notices on their way to people; delivered_to is a JSON list of channel names.
CREATE TABLE outbox (
  organization_id TEXT NOT NULL,
  id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  topic TEXT NOT NULL,
  title TEXT NOT NULL,
  body TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  status TEXT NOT NULL,
  tries BIGINT NOT NULL,
  not_before_ms BIGINT NOT NULL,
  delivered_to TEXT NOT NULL,
  last_error TEXT,
  PRIMARY KEY (organization_id, id),
  FOREIGN KEY (organization_id, run_id) REFERENCES runs (organization_id, id)
);
CREATE INDEX outbox_waiting ON outbox (not_before_ms, id) WHERE status = 'waiting';

CREATE TABLE idempotency_keys (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  key TEXT NOT NULL,
  request TEXT NOT NULL,
  id TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  PRIMARY KEY (organization_id, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at_ms);
