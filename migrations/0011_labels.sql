-- The labels of a session, by which lists find it. Earlier releases insert rows without this column.
-- The index contains only sessions with labels. Its creation reads the table once, so the drain waits for that long.
ALTER TABLE sync_sessions ADD COLUMN labels jsonb NOT NULL DEFAULT '{}';
CREATE INDEX sync_sessions_by_label ON sync_sessions USING gin (labels jsonb_path_ops) WHERE labels <> '{}';
