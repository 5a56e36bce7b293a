-- Tables of people's own databases that are built from (requirements A1), and what is known of their rows. Where the
-- database is stands here as a reference; its password never does.
CREATE TABLE backlog_sources (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  name TEXT NOT NULL,
  reference TEXT NOT NULL,
  ideas_table TEXT NOT NULL,
  results_table TEXT NOT NULL,
  base_dir TEXT NOT NULL,
  zone TEXT NOT NULL,
  added_by TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  looked_at_ms BIGINT,
  failures BIGINT NOT NULL,
  error TEXT,
  PRIMARY KEY (organization_id, name)
);

-- What is known of a row is JSON of the server. A write names the revision that it was decided on.
CREATE TABLE backlog_rows (
  organization_id TEXT NOT NULL,
  source TEXT NOT NULL,
  id BIGINT NOT NULL,
  label TEXT NOT NULL,
  run_id TEXT,
  open BIGINT NOT NULL,
  known TEXT NOT NULL,
  revision BIGINT NOT NULL,
  changed_at_ms BIGINT NOT NULL,
  PRIMARY KEY (organization_id, source, id),
  FOREIGN KEY (organization_id, source) REFERENCES backlog_sources (organization_id, name)
);
CREATE INDEX backlog_rows_by_label ON backlog_rows (organization_id, label);
