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
-- for disputed versions. `RowDocuments` builds the documents from the last two columns.
SELECT
    e.tenant, e.session_id, e.epoch, e.version, e.occurred_at, e.event_type, e.status::text, e.running_participant_id,
    e.participant_id, e.group_id, e.time_used_ms, e.time_remaining_ms, e.actor, e.command, e.args::text, e.command_id,
    e.fingerprint, e.expired_participant_id, e.role, e.on_behalf_of, e.participant_ids::text, e.deleted, e.payload_hash,
    e.snapshot, ''::bytea, e.whole_version,
    CASE
        WHEN e.whole_version IS NOT NULL
            AND (lag(e.epoch) OVER trail, lag(e.version) OVER trail) IS DISTINCT FROM (e.epoch, e.version - 1)
        THEN ARRAY(
            SELECT b.snapshot FROM sync_events AS b
            WHERE b.tenant = e.tenant AND b.session_id = e.session_id AND b.epoch = e.epoch
                AND b.version >= e.whole_version AND b.version < e.version
            ORDER BY b.version
        )
    END AS bodies
FROM sync_events AS e
WHERE e.tenant = %(tenant)s AND e.session_id = %(session_id)s::uuid
WINDOW trail AS (ORDER BY e.epoch, e.version)
ORDER BY e.epoch, e.version;

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
-- Documents from which a session can have been recovered: the version `version` in each other epoch.
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
