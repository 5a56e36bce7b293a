-- One row per attempt on the wire, written before it is made. Until settled_at_ms is set, and wherever the
-- provider did not say, the amounts are what was set aside: an attempt lost in a crash counts as spent.
CREATE TABLE llm_calls (
  organization_id TEXT NOT NULL,
  id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  stage TEXT NOT NULL,
  attempt BIGINT NOT NULL,
  role TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  wire_attempt BIGINT NOT NULL,
  reserved_at_ms BIGINT NOT NULL,
  settled_at_ms BIGINT,
  tokens BIGINT NOT NULL,
  micro_usd BIGINT NOT NULL,
  wire_ms BIGINT NOT NULL,
  input_tokens BIGINT,
  output_tokens BIGINT,
  cache_read_tokens BIGINT,
  cache_write_tokens BIGINT,
  cost_micro_usd BIGINT,
  price TEXT,
  ended TEXT,
  request_id TEXT,
  first_ms BIGINT,
  PRIMARY KEY (organization_id, id),
  FOREIGN KEY (organization_id, run_id) REFERENCES runs (organization_id, id)
);
CREATE INDEX llm_calls_by_run ON llm_calls (organization_id, run_id, id);
CREATE INDEX llm_calls_by_time ON llm_calls (organization_id, reserved_at_ms);

-- What somebody allowed; scopes without a row have the default. subject is '' or, for one build's own, its id.
CREATE TABLE budgets (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  scope TEXT NOT NULL,
  subject TEXT NOT NULL,
  budget TEXT NOT NULL,
  changed_at_ms BIGINT NOT NULL,
  changed_by TEXT NOT NULL,
  PRIMARY KEY (organization_id, scope, subject)
);
