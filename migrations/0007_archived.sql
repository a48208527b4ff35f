-- Which sessions are archived in their newest version: after some years nearly all, and workers ask every half minute for
-- one that isn't. The drain takes the mark away with each newer version, archiving gives it.
ALTER TABLE sync_sessions ADD COLUMN archived boolean NOT NULL DEFAULT false;

UPDATE sync_sessions AS s SET archived = true
FROM sync_archives AS a
WHERE a.session_id = s.session_id AND a.created_at = s.created_at AND (a.epoch, a.version) = (s.epoch, s.version);

-- As with the other one of those that are over, nothing in it changes while a session runs.
CREATE INDEX sync_sessions_unarchived ON sync_sessions (coalesce(deleted_at, completed_at), session_id)
    WHERE coalesce(deleted_at, completed_at) IS NOT NULL AND NOT archived;
