-- A notice may be about no run: an answer of the queue, a report. SQLite lets a column be freed by a new table only.
--postgres ALTER TABLE outbox ALTER COLUMN run_id DROP NOT NULL;
--sqlite CREATE TABLE outbox_of_all (
--sqlite   organization_id TEXT NOT NULL,
--sqlite   id TEXT NOT NULL,
--sqlite   run_id TEXT,
--sqlite   topic TEXT NOT NULL,
--sqlite   title TEXT NOT NULL,
--sqlite   body TEXT NOT NULL,
--sqlite   created_at_ms BIGINT NOT NULL,
--sqlite   status TEXT NOT NULL,
--sqlite   tries BIGINT NOT NULL,
--sqlite   not_before_ms BIGINT NOT NULL,
--sqlite   delivered_to TEXT NOT NULL,
--sqlite   last_error TEXT,
--sqlite   PRIMARY KEY (organization_id, id),
--sqlite   FOREIGN KEY (organization_id, run_id) REFERENCES runs (organization_id, id)
--sqlite );
--sqlite INSERT INTO outbox_of_all (organization_id, id, run_id, topic, title, body, created_at_ms, status, tries,
--sqlite     not_before_ms, delivered_to, last_error)
--sqlite   SELECT organization_id, id, run_id, topic, title, body, created_at_ms, status, tries, not_before_ms,
--sqlite     delivered_to, last_error FROM outbox;
--sqlite DROP TABLE outbox;
--sqlite ALTER TABLE outbox_of_all RENAME TO outbox;
--sqlite CREATE INDEX outbox_waiting ON outbox (not_before_ms, id) WHERE status = 'waiting';

-- One row per night: whoever writes it first has written it (requirements E8).
CREATE TABLE reports (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  night TEXT NOT NULL,
  written_at_ms BIGINT NOT NULL,
  report TEXT NOT NULL,
  PRIMARY KEY (organization_id, night)
);

-- What inbound webhooks brought, by their ids: the same one twice is one item.
CREATE TABLE hook_messages (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  hook TEXT NOT NULL,
  message TEXT NOT NULL,
  label TEXT NOT NULL,
  at_ms BIGINT NOT NULL,
  PRIMARY KEY (organization_id, hook, message)
);
CREATE INDEX hook_messages_by_age ON hook_messages (organization_id, at_ms);
