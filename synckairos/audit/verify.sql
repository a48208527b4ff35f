-- What verifying reads: rows in the order of the primary key, so that no session is ever held in memory as a whole.

-- name: ids
-- Every session there is a row of, in whichever table, by pages.
SELECT session_id::text
FROM (
    (SELECT DISTINCT session_id FROM sync_events WHERE session_id > %(after)s::uuid ORDER BY session_id LIMIT %(limit)s)
    UNION
    (SELECT session_id FROM sync_sessions WHERE session_id > %(after)s::uuid ORDER BY session_id LIMIT %(limit)s)
) AS known
ORDER BY session_id
LIMIT %(limit)s;

-- name: rows
-- In the order of `EventRow`; the event as it came is kept only where a version is disputed.
SELECT
    session_id, epoch, version, occurred_at, event_type, status::text, running_participant_id, participant_id, group_id,
    time_used_ms, time_remaining_ms, actor, command, args::text, command_id, fingerprint, expired_participant_id,
    deleted, payload_hash, snapshot, ''::bytea
FROM sync_events
WHERE session_id = %(session_id)s::uuid
ORDER BY epoch, version;

-- name: bases
-- What a recovered session may go on from: the version before, of any other epoch.
SELECT snapshot
FROM sync_events
WHERE session_id = %(session_id)s AND version = %(version)s AND epoch <> %(epoch)s
ORDER BY occurred_at DESC;

-- name: newest
SELECT epoch, version, status::text, deleted_at IS NOT NULL
FROM sync_sessions
WHERE session_id = %(session_id)s::uuid;

-- name: removed
-- Up to where retention took a session out of Postgres.
SELECT epoch, version FROM sync_archives WHERE session_id = %(session_id)s::uuid AND removed_at IS NOT NULL;

-- name: conflicts
SELECT epoch, version FROM sync_conflicts WHERE session_id = %(session_id)s::uuid ORDER BY epoch, version;
