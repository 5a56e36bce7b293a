-- The backlog (requirements A1, E1). One row per idea; what the queue's file says of it is JSON of the crate queue.
CREATE TABLE automation_ideas (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  label TEXT NOT NULL,
  id BIGINT NOT NULL,
  name TEXT NOT NULL,
  task_description TEXT NOT NULL,
  type TEXT NOT NULL,
  infrastructure_requirement TEXT,
  status TEXT NOT NULL,
  builder_status TEXT NOT NULL,
  priority BIGINT,
  position BIGINT NOT NULL,
  item TEXT NOT NULL,
  agreed TEXT,
  base_dir TEXT NOT NULL,
  zone TEXT NOT NULL,
  approved_by TEXT,
  run_id TEXT,
  failures BIGINT NOT NULL,
  failed_at_ms BIGINT,
  created_at_ms BIGINT NOT NULL,
  PRIMARY KEY (organization_id, label)
);
CREATE INDEX automation_ideas_by_run ON automation_ideas (organization_id, run_id) WHERE run_id IS NOT NULL;

-- Grows with every write of the backlog; a write names the revision that it saw.
CREATE TABLE queue_state (
  organization_id TEXT NOT NULL PRIMARY KEY REFERENCES organizations (id),
  revision BIGINT NOT NULL
);

-- Why an idea started or did not: one row for as long as the answer stays the same.
CREATE TABLE queue_receipts (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  label TEXT NOT NULL,
  seq BIGINT NOT NULL,
  newest BIGINT NOT NULL,
  decision TEXT NOT NULL,
  detail TEXT NOT NULL,
  first_at_ms BIGINT NOT NULL,
  last_at_ms BIGINT NOT NULL,
  looks BIGINT NOT NULL,
  PRIMARY KEY (organization_id, label, seq)
);
CREATE INDEX queue_receipts_newest ON queue_receipts (organization_id, label) WHERE newest = 1;

-- One row per look at the queue.
CREATE TABLE heartbeats (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  at_ms BIGINT NOT NULL,
  cause TEXT NOT NULL,
  items BIGINT NOT NULL,
  started BIGINT NOT NULL,
  PRIMARY KEY (organization_id, at_ms)
);
