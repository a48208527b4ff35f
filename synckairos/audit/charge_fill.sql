-- Statements that fill in the charges of versions of earlier releases, and of imports.

-- name: sessions_to_fill
-- A page of the tenants and ids of sessions whose charges are not complete.
SELECT tenant, session_id::text
FROM sync_sessions
WHERE (tenant, session_id) > (%(after_tenant)s, %(after)s::uuid) AND (charged_epoch, charged_version) IS DISTINCT FROM (epoch, version)
ORDER BY tenant, session_id
LIMIT %(limit)s;

-- name: lock_session
-- Lock the session row, so that a drain does not add versions at the same time. The drain waits for this lock.
SELECT epoch, version, charged_epoch, charged_version
FROM sync_sessions
WHERE tenant = %(tenant)s AND session_id = %(session_id)s::uuid
FOR UPDATE;

-- name: earlier_epochs
-- The other epochs of a session, also those of earlier sessions with the same id.
SELECT DISTINCT epoch
FROM sync_events
WHERE tenant = %(tenant)s AND session_id = %(session_id)s::uuid AND epoch <> %(epoch)s
ORDER BY epoch;

-- name: versions
-- The next versions of an epoch, at most limit, and about max_bytes of documents. `RowDocuments` builds the documents from
-- the last two columns.
WITH page AS (
    SELECT
        epoch, version, occurred_at, event_type, participant_id::text, time_used_ms, deleted, snapshot, whole_version,
        coalesce(document_bytes, octet_length(snapshot)) AS bytes,
        CASE WHEN event_type = 'turn_undone' THEN args::text END AS args
    FROM sync_events
    WHERE tenant = %(tenant)s AND session_id = %(session_id)s::uuid AND epoch = %(epoch)s AND version > %(after)s
    ORDER BY version
    LIMIT %(limit)s
),
measured AS (
    SELECT
        *, sum(bytes) OVER trail - bytes AS bytes_before,
        lag(version) OVER trail IS NOT DISTINCT FROM version - 1 AS follows_version
    FROM page
    WINDOW trail AS (ORDER BY version)
)
SELECT
    epoch, version, occurred_at, event_type, participant_id, time_used_ms, deleted, snapshot, args, whole_version,
    CASE
        WHEN whole_version IS NOT NULL AND NOT follows_version
        THEN ARRAY(
            SELECT b.snapshot FROM sync_events AS b
            WHERE b.tenant = %(tenant)s AND b.session_id = %(session_id)s::uuid AND b.epoch = measured.epoch
                AND b.version >= measured.whole_version AND b.version < measured.version
            ORDER BY b.version
        )
    END
FROM measured
WHERE bytes_before < %(max_bytes)s
ORDER BY version;

-- name: version
SELECT CASE WHEN whole_version IS NULL THEN snapshot ELSE sync_document(tenant, session_id, epoch, version) END, deleted
FROM sync_events
WHERE tenant = %(tenant)s AND session_id = %(session_id)s::uuid AND epoch = %(epoch)s AND version = %(version)s;

-- name: version_before_epoch
-- The version from which an epoch continues: the last version of another epoch before its first version.
SELECT CASE WHEN whole_version IS NULL THEN snapshot ELSE sync_document(tenant, session_id, epoch, version) END, deleted
FROM sync_events
WHERE tenant = %(tenant)s AND session_id = %(session_id)s::uuid AND epoch <> %(epoch)s AND version < %(version)s
    AND occurred_at <= %(occurred_at)s
ORDER BY version DESC, occurred_at DESC
LIMIT 1;

-- name: save_progress
UPDATE sync_sessions SET charged_epoch = %(epoch)s, charged_version = %(version)s
WHERE tenant = %(tenant)s AND session_id = %(session_id)s::uuid;
