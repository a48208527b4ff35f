-- Queries of the verification. Rows are read in the order of the primary key, so that only some rows are in memory.

-- name: session_ids
-- A page of the tenants and ids of all sessions that have a row in one of the tables.
SELECT tenant, session_id::text
FROM (
    (
        SELECT DISTINCT tenant, session_id FROM sync_events
        WHERE (tenant, session_id) > (%(after_tenant)s, %(after)s::uuid) ORDER BY tenant, session_id LIMIT %(limit)s
    )
    UNION
    (
        SELECT tenant, session_id FROM sync_sessions
        WHERE (tenant, session_id) > (%(after_tenant)s, %(after)s::uuid) ORDER BY tenant, session_id LIMIT %(limit)s
    )
) AS known
ORDER BY tenant, session_id
LIMIT %(limit)s;

-- name: count_sessions
SELECT count(*) FROM sync_sessions;

-- name: rows
-- The audit rows of a session. The columns are in the order of `EventRow`. `event` is empty, because Postgres has it only
-- for disputed versions.
SELECT
    tenant, session_id, epoch, version, occurred_at, event_type, status::text, running_participant_id, participant_id,
    group_id, time_used_ms, time_remaining_ms, actor, command, args::text, command_id, fingerprint, expired_participant_id,
    role, on_behalf_of, participant_ids::text, deleted, payload_hash,
    CASE WHEN whole_version IS NULL THEN snapshot ELSE sync_document(tenant, session_id, epoch, version) END,
    ''::bytea
FROM sync_events
WHERE tenant = %(tenant)s AND session_id = %(session_id)s::uuid
ORDER BY epoch, version;

-- name: charges
SELECT epoch, version, participant_id::text, began_at, ended_at
FROM sync_every_charge()
WHERE tenant = %(tenant)s AND session_id = %(session_id)s::uuid
ORDER BY epoch, version, participant_id, began_at;

-- name: has_all_charges
SELECT (charged_epoch, charged_version) = (epoch, version)
FROM sync_sessions
WHERE tenant = %(tenant)s AND session_id = %(session_id)s::uuid;

-- name: recovery_bases
-- Documents from which a session can have been recovered: the previous version in each other epoch.
SELECT CASE WHEN whole_version IS NULL THEN snapshot ELSE sync_document(tenant, session_id, epoch, version) END
FROM sync_events
WHERE tenant = %(tenant)s AND session_id = %(session_id)s AND version = %(version)s AND epoch <> %(epoch)s
ORDER BY occurred_at DESC;

-- name: projections
SELECT epoch, version, status::text, deleted_at IS NOT NULL
FROM sync_sessions
WHERE tenant = %(tenant)s AND session_id = %(session_id)s::uuid;

-- name: removed_versions
-- The version up to which retention removed each epoch of a session from Postgres.
SELECT epoch, version
FROM sync_archives
WHERE tenant = %(tenant)s AND session_id = %(session_id)s::uuid AND removed_at IS NOT NULL;

-- name: conflicts
SELECT epoch, version
FROM sync_conflicts
WHERE tenant = %(tenant)s AND session_id = %(session_id)s::uuid
ORDER BY epoch, version;
