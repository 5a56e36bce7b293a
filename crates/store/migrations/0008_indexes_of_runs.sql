-- PostgreSQL plans the committer's statements while the tables are still empty, and an index that begins with the
-- organization and ends with the id looks to it as good as the primary key: it then read every run of the
-- organization for each one that it wanted. What tells these indexes from the key comes first now.
DROP INDEX runs_by_kind;
CREATE INDEX runs_by_kind ON runs (kind, organization_id, id);
DROP INDEX runs_by_label;
CREATE INDEX runs_by_label ON runs (label, organization_id, id);
DROP INDEX llm_calls_by_run;
CREATE INDEX llm_calls_by_run ON llm_calls (run_id, organization_id, id);
