-- Statements of archive, export and retention jobs.

-- name: ended_session
SELECT
    tenant, session_id::text, epoch, version, sync_mode::text, status::text, created_at, coalesce(deleted_at, completed_at),
    deleted_at IS NOT NULL
FROM sync_sessions
WHERE tenant = %(tenant)s AND session_id = %(session_id)s;

-- name: event_extent
SELECT count(*), min(occurred_at), max(occurred_at)
FROM sync_events
WHERE tenant = %(tenant)s AND session_id = %(session_id)s;

-- name: event_rows
-- `RowDocuments` builds the documents from the last three columns.
SELECT
    epoch, version, occurred_at, event_type, status::text, running_participant_id::text, participant_id::text, group_id,
    time_used_ms, time_remaining_ms, actor, command, args::text, command_id, fingerprint, expired_participant_id,
    role, on_behalf_of::text, participant_ids, nullif(deleted, false) AS deleted, recorded_at,
    (
        SELECT json_agg(json_build_array(
            c.participant_id, (extract(epoch FROM c.began_at) * 1000)::bigint, (extract(epoch FROM c.ended_at) * 1000)::bigint
        ) ORDER BY c.participant_id, c.began_at)
        FROM sync_every_charge() AS c
        WHERE c.tenant = e.tenant AND c.session_id = e.session_id AND c.epoch = e.epoch AND c.version = e.version
    ) AS charges,
    payload_hash, snapshot, whole_version,
    CASE
        WHEN whole_version IS NOT NULL
            AND (lag(epoch) OVER trail, lag(version) OVER trail) IS DISTINCT FROM (epoch, version - 1)
        THEN ARRAY(
            SELECT b.snapshot FROM sync_events AS b
            WHERE b.tenant = e.tenant AND b.session_id = e.session_id AND b.epoch = e.epoch
                AND b.version >= e.whole_version AND b.version < e.version
            ORDER BY b.version
        )
    END AS bodies
FROM sync_events AS e
WHERE tenant = %(tenant)s AND session_id = %(session_id)s
WINDOW trail AS (ORDER BY occurred_at, version, epoch)
ORDER BY occurred_at, version, epoch;

-- name: conflict_rows
SELECT epoch, version, noticed_at, payload_hash, event, snapshot
FROM sync_conflicts
WHERE tenant = %(tenant)s AND session_id = %(session_id)s
ORDER BY epoch, version, payload_hash;

-- name: limits_of_tenant
SELECT limits FROM sync_tenants WHERE name = %(tenant)s;

-- name: archive_bytes
SELECT coalesce(sum(size_bytes), 0)::bigint FROM sync_archives WHERE tenant = %(tenant)s AND path IS NOT NULL;

-- name: begin_archive
-- Create or update the archive record at the begin of an attempt. A ready archive stays ready until a newer archive is
-- ready.
INSERT INTO sync_archives AS a (tenant, session_id, created_at, status)
VALUES (%(tenant)s, %(session_id)s, %(created_at)s, 'processing')
ON CONFLICT (tenant, session_id, created_at) DO UPDATE SET
    status = CASE WHEN a.path IS NULL THEN 'processing' ELSE a.status END, requested_at = now(), error = NULL;

-- name: record_failure
-- Save the reason of a failed attempt. A ready archive stays ready, and its record gets the reason. The record of a
-- session that retention removed changes only if Postgres has later rows of the same creation of the session.
UPDATE sync_archives SET
    status = CASE WHEN path IS NULL THEN 'failed' ELSE status END, requested_at = now(), error = %(error)s
WHERE tenant = %(tenant)s AND session_id = %(session_id)s AND (
    removed_at IS NULL OR created_at = (
        SELECT created_at FROM sync_sessions WHERE tenant = %(tenant)s AND session_id = %(session_id)s
    )
);

-- name: save_archive
-- Save the record of a written archive. It replaces only the archive that existed when the job read the session, and only
-- if retention removed no rows after this read. Therefore the slower of two workers cannot replace an archive of the
-- faster worker by an archive with fewer versions.
WITH filed AS (
    UPDATE sync_archives SET
        status = 'ready', epoch = %(epoch)s, version = %(version)s, session_status = %(session_status)s,
        deleted = %(deleted)s, finished_at = %(finished_at)s, path = %(path)s, size_bytes = %(size_bytes)s,
        checksum = %(checksum)s, events = %(events)s, first_at = %(first_at)s, last_at = %(last_at)s, error = NULL,
        archived_at = now()
    WHERE tenant = %(tenant)s AND session_id = %(session_id)s AND created_at = %(created_at)s
        AND path IS NOT DISTINCT FROM %(old_path)s::text AND (removed_at IS NOT NULL) = %(is_removed)s
    RETURNING tenant, session_id
),
marked AS (
    UPDATE sync_sessions AS s SET archived = true
    FROM filed
    WHERE s.tenant = filed.tenant AND s.session_id = filed.session_id AND (s.epoch, s.version) = (%(epoch)s, %(version)s)
)
SELECT session_id FROM filed;

-- name: mark_archived
-- Mark a session whose archive exists. Workers of older releases do not set this mark when they save an archive.
UPDATE sync_sessions SET archived = true
WHERE tenant = %(tenant)s AND session_id = %(session_id)s AND (epoch, version) = (%(epoch)s, %(version)s) AND NOT archived;

-- name: sessions_to_remove
-- Sessions of a tenant that ended at least after_s seconds ago, the earliest end first. A session whose archiving failed, or that was
-- retained, is skipped for an hour. It is not skipped if the reason was an unreachable object store.
SELECT s.session_id::text, coalesce(s.deleted_at, s.completed_at)
FROM sync_sessions AS s
LEFT JOIN sync_archives AS a ON a.tenant = s.tenant AND a.session_id = s.session_id AND a.created_at = s.created_at
WHERE s.tenant = %(tenant)s AND coalesce(s.deleted_at, s.completed_at) < now() - make_interval(secs => %(after_s)s)
    AND (coalesce(s.deleted_at, s.completed_at), s.session_id) > (%(ended_at)s::timestamptz, %(session_id)s::uuid)
    AND (a.error IS NULL OR starts_with(a.error, 'StoreUnavailable:') OR a.requested_at < now() - interval '1 hour')
ORDER BY coalesce(s.deleted_at, s.completed_at), s.session_id
LIMIT %(limit)s;

-- name: sessions_to_archive
-- Sessions of a tenant that ended at least after_s seconds ago and whose newest version is not archived. A session whose archiving
-- failed is skipped for an hour; a session that retention retained is not skipped. The query does not read archived
-- sessions, because after some years nearly all sessions are archived.
SELECT s.session_id::text, coalesce(s.deleted_at, s.completed_at)
FROM sync_sessions AS s
LEFT JOIN sync_archives AS a ON a.tenant = s.tenant AND a.session_id = s.session_id AND a.created_at = s.created_at
WHERE s.tenant = %(tenant)s AND coalesce(s.deleted_at, s.completed_at) < now() - make_interval(secs => %(after_s)s)
    AND (coalesce(s.deleted_at, s.completed_at), s.session_id) > (%(ended_at)s::timestamptz, %(session_id)s::uuid)
    AND coalesce(s.deleted_at, s.completed_at) IS NOT NULL AND NOT s.archived
    AND (a.error IS NULL OR starts_with(a.error, 'Stays:') OR a.requested_at < now() - interval '1 hour')
ORDER BY coalesce(s.deleted_at, s.completed_at), s.session_id
LIMIT %(limit)s;

-- name: tenants_with_ended_sessions
-- Each step reads one entry of an index, so the query does not read all sessions that ended. The caller adds a condition.
WITH RECURSIVE tenants (tenant) AS (
    SELECT min(s.tenant) FROM sync_sessions AS s WHERE coalesce(s.deleted_at, s.completed_at) IS NOT NULL
    UNION ALL
    SELECT (
        SELECT min(s.tenant) FROM sync_sessions AS s
        WHERE s.tenant > t.tenant AND coalesce(s.deleted_at, s.completed_at) IS NOT NULL
    )
    FROM tenants AS t WHERE t.tenant IS NOT NULL
)
SELECT t.tenant FROM tenants AS t WHERE t.tenant IS NOT NULL;

-- name: lock_archive
-- Lock the archive record before the session row, in the same order as save_archive does.
SELECT FROM sync_archives WHERE tenant = %(tenant)s AND session_id = %(session_id)s AND path = %(path)s FOR UPDATE;

-- name: lock_session
-- Lock the session row. The drain waits for this lock before it updates the row.
SELECT
    epoch, version,
    coalesce(coalesce(deleted_at, completed_at) < now() - make_interval(secs => %(after_s)s), false),
    EXISTS (
        SELECT 1 FROM webhook_deliveries AS w
        WHERE w.session_id = %(session_id)s AND w.tenant = %(tenant)s AND w.status = 'pending'
    )
FROM sync_sessions
WHERE tenant = %(tenant)s AND session_id = %(session_id)s
FOR UPDATE;

-- name: delete_events
DELETE FROM sync_events
WHERE tenant = %(tenant)s AND session_id = %(session_id)s
RETURNING epoch, version, payload_hash;

-- name: delete_conflicts
DELETE FROM sync_conflicts
WHERE tenant = %(tenant)s AND session_id = %(session_id)s
RETURNING epoch, version, payload_hash;

-- name: delete_session
WITH parts AS (DELETE FROM sync_participants WHERE tenant = %(tenant)s AND session_id = %(session_id)s),
charges AS (DELETE FROM sync_charges WHERE tenant = %(tenant)s AND session_id = %(session_id)s),
further_charges AS (DELETE FROM sync_further_charges WHERE tenant = %(tenant)s AND session_id = %(session_id)s),
archives AS (
    UPDATE sync_archives SET removed_at = now(), error = NULL
    WHERE tenant = %(tenant)s AND session_id = %(session_id)s AND created_at = %(created_at)s
)
DELETE FROM sync_sessions WHERE tenant = %(tenant)s AND session_id = %(session_id)s;

-- name: archives_in_range
-- Archive records of removed sessions whose archives have versions in a time range.
SELECT
    session_id::text, created_at, status::text, epoch, version, session_status::text, deleted, path, size_bytes,
    checksum, events, archived_at, true, error, tenant
FROM sync_archives
WHERE tenant = %(tenant)s AND removed_at IS NOT NULL AND last_at >= %(from)s AND first_at < %(to)s
ORDER BY session_id, created_at;

-- name: events_in_range
-- Events in a time range, ordered by session and then by the order of the audit trail. `RowDocuments` builds the documents
-- from the last three columns. Postgres does not compute columns that an export does not use.
SELECT
    session_id, epoch, version, event_type, participant_id, group_id, actor,
    to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS occurred_at, time_used_ms,
    time_remaining_ms, role, on_behalf_of,
    (
        SELECT ('[' || string_agg(format(
            '{"participant_id":"%s","from":"%s","to":"%s"}',
            c.participant_id,
            to_char(c.began_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
            to_char(c.ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
        ), ',' ORDER BY c.participant_id, c.began_at) || ']')::json
        FROM sync_every_charge() AS c
        WHERE c.tenant = sync_events.tenant AND c.session_id = sync_events.session_id
            AND c.epoch = sync_events.epoch AND c.version = sync_events.version
    ) AS charges,
    -- The command id without the scope of its caller, which has no space and ends with a space.
    regexp_replace(command_id, '^.* ', '') AS command_id, participant_ids,
    snapshot, whole_version,
    CASE
        WHEN whole_version IS NOT NULL
            AND (lag(session_id) OVER trail, lag(epoch) OVER trail, lag(version) OVER trail)
                IS DISTINCT FROM (session_id, epoch, version - 1)
        THEN ARRAY(
            SELECT b.snapshot FROM sync_events AS b
            WHERE b.tenant = %(tenant)s AND b.session_id = sync_events.session_id AND b.epoch = sync_events.epoch
                AND b.version >= sync_events.whole_version AND b.version < sync_events.version
            ORDER BY b.version
        )
    END AS bodies
FROM sync_events
WHERE tenant = %(tenant)s AND occurred_at >= %(from)s AND occurred_at < %(to)s
WINDOW trail AS (ORDER BY session_id, sync_events.occurred_at, version, epoch)
ORDER BY session_id, sync_events.occurred_at, version, epoch
