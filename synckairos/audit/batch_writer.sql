-- What the drain writes. Every statement runs on the drain's own connection, within one transaction a batch.

-- name: prepare
-- Once COMMIT has answered, entries leave the stream: they must be on disk by then, whatever the database's default is.
-- Stricter settings (remote_apply, say) stay as they are.
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
-- Rows arrive here by COPY; what is there goes at the end of the transaction, whichever way it ends.
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_events (
    session_id uuid, epoch text, version bigint, occurred_at timestamptz, event_type text, status text,
    running_participant_id uuid, participant_id uuid, group_id text, time_used_ms bigint, time_remaining_ms bigint,
    actor text, command text, args text, command_id text, fingerprint text, expired_participant_id text,
    deleted boolean, payload_hash bytea, snapshot bytea, event bytea
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_sessions (
    session_id uuid, epoch text, version bigint, sync_mode text, status text, created_at timestamptz,
    started_at timestamptz, completed_at timestamptz, updated_at timestamptz, deleted_at timestamptz, metadata text
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_participants (
    session_id uuid, participant_id uuid, participant_index integer, group_id text, began_at timestamptz,
    left_at timestamptz, time_used_ms bigint, cycle_count integer
) ON COMMIT DELETE ROWS;

-- name: try_hold
-- A holder that hangs loses its connection, and so the lock, after half a minute.
SELECT CASE WHEN pg_try_advisory_lock(hashtext(%(scope)s), %(partition)s)
    THEN set_config('idle_session_timeout', '30s', false) END;

-- name: end_stuck
-- A holder that is frozen amid COPY keeps no timeout: Postgres waits for its data. A living one gives up before this.
SELECT pg_terminate_backend(pid)
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid::bigint = hashtext(%(scope)s)::bigint & 4294967295 AND objid::bigint = %(partition)s
    AND xact_start < clock_timestamp() - make_interval(secs => %(stuck_s)s);

-- name: let_go
SELECT pg_advisory_unlock(hashtext(%(scope)s), %(partition)s), set_config('idle_session_timeout', '0', false);

-- name: keep_events
INSERT INTO sync_events (
    session_id, epoch, version, occurred_at, event_type, status, running_participant_id, participant_id, group_id,
    time_used_ms, time_remaining_ms, actor, command, args, command_id, fingerprint, expired_participant_id, deleted,
    payload_hash, snapshot
)
SELECT
    session_id, epoch, version, occurred_at, event_type, status::sync_status, running_participant_id, participant_id,
    group_id, time_used_ms, time_remaining_ms, actor, command, args::json, command_id, fingerprint,
    expired_participant_id, deleted, payload_hash, snapshot
FROM incoming_events
ON CONFLICT (session_id, epoch, version) DO NOTHING;

-- name: keep_conflicts
-- The same version with other content: Redis has issued it twice. Neither is dropped.
WITH disputed AS (
    SELECT DISTINCT ON (session_id, epoch, version, i.payload_hash) i.*
    FROM incoming_events AS i
    JOIN sync_events AS e USING (session_id, epoch, version)
    WHERE e.payload_hash <> i.payload_hash
), kept AS (
    INSERT INTO sync_conflicts (session_id, epoch, version, payload_hash, event, snapshot)
    SELECT session_id, epoch, version, payload_hash, event, snapshot FROM disputed
    ON CONFLICT DO NOTHING
    RETURNING session_id, epoch, version, payload_hash
)
SELECT d.session_id::text, d.epoch, d.version, k.version IS NOT NULL AS is_new
FROM disputed AS d
LEFT JOIN kept AS k USING (session_id, epoch, version, payload_hash);

-- name: write_behind
-- Rows that are here already may have been committed by somebody who didn't live to see them reach the standby. A
-- transaction that writes nothing waits for nothing: with this one's record everything before it has got there.
SELECT pg_logical_emit_message(true, 'synckairos', '');

-- name: move_projections
-- Forward only: a later creation; in one epoch a later version. Of two epochs of one creation that one is later which
-- began at a later version: whatever is recovered goes on behind what it is recovered from, so what still arrives of a
-- lost epoch, however high its versions, is behind. Began both at the same, the younger life of the store decides (its
-- name begins with when it began); within one life a tombstone gives way to the session that was made anew.
WITH moved AS (
    INSERT INTO sync_sessions AS s (
        session_id, epoch, version, sync_mode, status, created_at, started_at, completed_at, updated_at, deleted_at,
        metadata
    )
    SELECT
        session_id, epoch, version, sync_mode::sync_mode, status::sync_status, created_at, started_at, completed_at,
        updated_at, deleted_at, metadata::jsonb
    FROM incoming_sessions
    ON CONFLICT (session_id) DO UPDATE SET
        epoch = excluded.epoch, version = excluded.version, sync_mode = excluded.sync_mode,
        status = excluded.status, created_at = excluded.created_at, started_at = excluded.started_at,
        completed_at = excluded.completed_at, updated_at = excluded.updated_at, deleted_at = excluded.deleted_at,
        metadata = excluded.metadata, archived = false
    WHERE CASE
        WHEN excluded.created_at <> s.created_at THEN excluded.created_at > s.created_at
        WHEN excluded.epoch = s.epoch THEN excluded.version > s.version
        ELSE (
            (SELECT min(e.version) FROM sync_events AS e WHERE e.session_id = s.session_id AND e.epoch = excluded.epoch),
            left(excluded.epoch, 12) COLLATE "C",
            s.deleted_at IS NOT NULL
        ) > (
            (SELECT min(e.version) FROM sync_events AS e WHERE e.session_id = s.session_id AND e.epoch = s.epoch),
            left(s.epoch, 12) COLLATE "C",
            false
        )
    END
    RETURNING session_id
)
INSERT INTO sync_participants AS p (
    session_id, participant_id, participant_index, group_id, began_at, left_at, time_used_ms, cycle_count
)
SELECT
    i.session_id, i.participant_id, i.participant_index, i.group_id, i.began_at, i.left_at, i.time_used_ms,
    coalesce(i.cycle_count, 0)
FROM incoming_participants AS i
JOIN moved USING (session_id)
ON CONFLICT (session_id, participant_id) DO UPDATE SET
    participant_index = coalesce(excluded.participant_index, p.participant_index),
    group_id = excluded.group_id,
    began_at = excluded.began_at,
    left_at = excluded.left_at,
    time_used_ms = excluded.time_used_ms,
    cycle_count = CASE WHEN excluded.left_at IS NULL THEN excluded.cycle_count ELSE p.cycle_count END
WHERE (p.time_used_ms, p.cycle_count, p.began_at, p.left_at, p.group_id, p.participant_index) IS DISTINCT FROM
    (excluded.time_used_ms, excluded.cycle_count, excluded.began_at, excluded.left_at, excluded.group_id,
     excluded.participant_index);

-- name: anybody_to_tell
SELECT EXISTS (SELECT FROM webhook_endpoints WHERE enabled);

-- name: queue_webhooks
-- What endpoints are to be told of a batch. The id is the same however often a batch is done, so a receiver knows a
-- repeated message. Metadata is as of the session's newest version in the batch.
INSERT INTO webhook_deliveries (delivery_id, endpoint_id, session_id, epoch, version, event_type)
SELECT
    encode(substr(sha256(convert_to(concat_ws(' ', e.endpoint_id, i.session_id, i.epoch, i.version), 'UTF8')), 1, 16),
        'hex')::uuid,
    e.endpoint_id, i.session_id, i.epoch, i.version, i.event_type
FROM webhook_endpoints AS e
CROSS JOIN unnest(%(session_ids)s::uuid[], %(epochs)s::text[], %(versions)s::bigint[], %(event_types)s::text[])
    WITH ORDINALITY AS i (session_id, epoch, version, event_type, place)
WHERE e.enabled
    AND (e.event_types IS NULL OR i.event_type = ANY(e.event_types))
    AND (e.metadata IS NULL OR EXISTS (
        SELECT FROM incoming_sessions AS s WHERE s.session_id = i.session_id AND s.metadata::jsonb @> e.metadata
    ))
ORDER BY i.place
ON CONFLICT DO NOTHING;
