-- Statements of the drain, in one transaction per batch. Rows arrive as arrays, one array for each column, because
-- Postgres refuses COPY into a table with row-level security. Temporary tables are not used. Behind a pooler they would
-- last only one transaction, and the creation of a temporary table costs more than the write of a small batch. Rows of
-- all tenants are in one batch.

-- name: try_lock
-- The lock ends with the transaction, so a drain that dies releases it.
SELECT pg_try_advisory_xact_lock(hashtext(%(scope)s), %(partition)s);

-- name: disconnect_stuck
-- Disconnect a drain that holds the lock too long. No timeout of Postgres ends a drain that stops during COPY, because
-- Postgres waits for its data. A drain that works reaches its own time limit before this statement applies.
SELECT pg_terminate_backend(pid)
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid::bigint = hashtext(%(scope)s)::bigint & 4294967295 AND objid::bigint = %(partition)s
    AND xact_start < clock_timestamp() - make_interval(secs => %(stuck_s)s);

-- name: versions_before
-- The hashes of versions, and the versions whose rows have the documents from which their own documents are built. The
-- sessions are locked, in the order in which the projections are updated.
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest(%(tenants)s::text[], %(session_ids)s::uuid[], %(epochs)s::text[], %(versions)s::bigint[])
        AS i (tenant, session_id, epoch, version)
), locked AS MATERIALIZED (
    SELECT s.tenant, s.session_id
    FROM sync_sessions AS s
    WHERE (s.tenant, s.session_id) IN (SELECT tenant, session_id FROM wanted)
    ORDER BY s.tenant, s.session_id
    FOR UPDATE
)
SELECT e.tenant, e.session_id, e.epoch, e.version, e.payload_hash, coalesce(e.whole_version, e.version)
FROM wanted
JOIN sync_events AS e USING (tenant, session_id, epoch, version)
JOIN locked USING (tenant, session_id);

-- name: documents_of_version
-- The documents of a version: one, and more if the version is in conflict.
SELECT CASE WHEN whole_version IS NULL THEN snapshot ELSE sync_document(tenant, session_id, epoch, version) END
FROM sync_events
WHERE tenant = %(tenant)s AND session_id = %(session_id)s AND epoch = %(epoch)s AND version = %(version)s
UNION ALL
SELECT snapshot FROM sync_conflicts
WHERE tenant = %(tenant)s AND session_id = %(session_id)s AND epoch = %(epoch)s AND version = %(version)s;

-- name: insert_missing_events
-- Insert the versions that Postgres does not have, all with their documents. `event_insert.py` inserts new batches.
INSERT INTO sync_events (
    tenant, session_id, epoch, version, occurred_at, event_type, status, running_participant_id, participant_id,
    group_id, time_used_ms, time_remaining_ms, actor, command, args, command_id, fingerprint, expired_participant_id,
    role, on_behalf_of, participant_ids, deleted, payload_hash, snapshot
)
SELECT
    tenant, session_id, epoch, version, occurred_at, event_type, status::sync_status, running_participant_id,
    participant_id, group_id, time_used_ms, time_remaining_ms, actor, command, args::json, command_id, fingerprint,
    expired_participant_id, role, on_behalf_of, participant_ids::json, deleted, payload_hash, snapshot
FROM unnest(
    %(tenant)b::text[], %(session_id)b::uuid[], %(epoch)b::text[], %(version)b::bigint[],
    %(occurred_at)b::timestamptz[], %(event_type)b::text[], %(status)b::text[], %(running_participant_id)b::uuid[],
    %(participant_id)b::uuid[], %(group_id)b::text[], %(time_used_ms)b::bigint[], %(time_remaining_ms)b::bigint[],
    %(actor)b::text[], %(command)b::text[], %(args)b::text[], %(command_id)b::text[], %(fingerprint)b::text[],
    %(expired_participant_id)b::text[], %(role)b::text[], %(on_behalf_of)b::uuid[], %(participant_ids)b::text[],
    %(deleted)b::boolean[], %(payload_hash)b::bytea[], %(snapshot)b::bytea[]
) AS i (
    tenant, session_id, epoch, version, occurred_at, event_type, status, running_participant_id, participant_id,
    group_id, time_used_ms, time_remaining_ms, actor, command, args, command_id, fingerprint, expired_participant_id,
    role, on_behalf_of, participant_ids, deleted, payload_hash, snapshot
)
ON CONFLICT (tenant, session_id, epoch, version) DO NOTHING;

-- name: insert_conflicts
-- Save versions that Postgres has with different content, because Redis issued the version number twice. Both contents
-- are kept.
WITH disputed AS (
    SELECT DISTINCT ON (tenant, session_id, epoch, version, i.payload_hash) i.*
    FROM unnest(
        %(tenant)b::text[], %(session_id)b::uuid[], %(epoch)b::text[], %(version)b::bigint[], %(payload_hash)b::bytea[],
        %(event)b::bytea[], %(snapshot)b::bytea[]
    ) AS i (tenant, session_id, epoch, version, payload_hash, event, snapshot)
    JOIN sync_events AS e USING (tenant, session_id, epoch, version)
    WHERE e.payload_hash <> i.payload_hash
), kept AS (
    INSERT INTO sync_conflicts (tenant, session_id, epoch, version, payload_hash, event, snapshot)
    SELECT tenant, session_id, epoch, version, payload_hash, event, snapshot FROM disputed
    ON CONFLICT DO NOTHING
    RETURNING tenant, session_id, epoch, version, payload_hash
)
SELECT d.tenant, d.session_id::text, d.epoch, d.version, k.version IS NOT NULL AS is_new
FROM disputed AS d
LEFT JOIN kept AS k USING (tenant, session_id, epoch, version, payload_hash);

-- name: flush_after_known
-- Write a record to the write-ahead log. Existing rows can be from a drain that died before the rows reached the standby.
-- A transaction that writes nothing does not wait for the standby. With this record it waits, and all earlier records
-- reach the standby first.
SELECT pg_logical_emit_message(true, 'synckairos', '');

-- name: update_projections
-- Update the projections, but only to newer versions. A later creation is newer. In one epoch, a later version is newer.
-- Of two epochs of one creation, the epoch that began at the later version is newer, because a recovered session
-- continues after the version from which it was recovered. Versions of a lost epoch that arrive late are therefore older,
-- even if their numbers are higher. If both epochs began at the same version, the epoch of the younger store generation
-- is newer. (An epoch begins with the start of its generation.) In one generation, a session that was created again is
-- newer than the tombstone.
WITH moved AS (
    INSERT INTO sync_sessions AS s (
        tenant, session_id, epoch, version, sync_mode, status, created_at, started_at, completed_at, updated_at,
        deleted_at, metadata, labels, charged_epoch, charged_version
    )
    SELECT
        tenant, session_id, epoch, version, sync_mode::sync_mode, status::sync_status, created_at, started_at, completed_at,
        updated_at, deleted_at, metadata::jsonb, labels::jsonb, charged_epoch, charged_version
    FROM unnest(
        %(tenant)b::text[], %(session_id)b::uuid[], %(epoch)b::text[], %(version)b::bigint[], %(sync_mode)b::text[],
        %(status)b::text[],
        %(created_at)b::timestamptz[], %(started_at)b::timestamptz[], %(completed_at)b::timestamptz[],
        %(updated_at)b::timestamptz[], %(deleted_at)b::timestamptz[], %(metadata)b::text[],
        %(labels)b::text[], %(charged_epoch)b::text[], %(charged_version)b::bigint[]
    ) AS i (
        tenant, session_id, epoch, version, sync_mode, status, created_at, started_at, completed_at, updated_at,
        deleted_at, metadata, labels, charged_epoch, charged_version
    )
    ON CONFLICT (tenant, session_id) DO UPDATE SET
        epoch = excluded.epoch, version = excluded.version, sync_mode = excluded.sync_mode,
        status = excluded.status, created_at = excluded.created_at, started_at = excluded.started_at,
        completed_at = excluded.completed_at, updated_at = excluded.updated_at, deleted_at = excluded.deleted_at,
        metadata = excluded.metadata, labels = excluded.labels, archived = false,
        -- `ChargeCoverage.find_version_before` describes the values of `excluded`. A null comparison keeps the values.
        (charged_epoch, charged_version) = (
            SELECT
                CASE WHEN is_complete THEN excluded.epoch ELSE s.charged_epoch END,
                CASE WHEN is_complete THEN excluded.version ELSE s.charged_version END
            FROM (VALUES (
                (excluded.charged_epoch, excluded.charged_version) = (excluded.epoch, excluded.version)
                OR excluded.charged_epoch = s.charged_epoch AND excluded.charged_version <= s.charged_version
                OR excluded.charged_epoch IS NULL AND excluded.charged_version <= s.charged_version
                    AND s.charged_epoch = s.epoch AND s.epoch <> excluded.epoch
            )) AS coverage (is_complete)
        )
    WHERE CASE
        WHEN excluded.created_at <> s.created_at THEN excluded.created_at > s.created_at
        WHEN excluded.epoch = s.epoch THEN excluded.version > s.version
        ELSE (
            (
                SELECT min(e.version) FROM sync_events AS e
                WHERE e.tenant = s.tenant AND e.session_id = s.session_id AND e.epoch = excluded.epoch
            ),
            left(excluded.epoch, 12) COLLATE "C",
            s.deleted_at IS NOT NULL
        ) > (
            (
                SELECT min(e.version) FROM sync_events AS e
                WHERE e.tenant = s.tenant AND e.session_id = s.session_id AND e.epoch = s.epoch
            ),
            left(s.epoch, 12) COLLATE "C",
            false
        )
    END
    RETURNING tenant, session_id
)
INSERT INTO sync_participants AS p (
    tenant, session_id, participant_id, participant_index, group_id, began_at, left_at, time_used_ms, cycle_count
)
SELECT
    i.tenant, i.session_id, i.participant_id, i.participant_index, i.group_id, i.began_at, i.left_at, i.time_used_ms,
    coalesce(i.cycle_count, 0)
FROM unnest(
    %(participant.tenant)b::text[], %(participant.session_id)b::uuid[], %(participant.participant_id)b::uuid[],
    %(participant.participant_index)b::integer[], %(participant.group_id)b::text[],
    %(participant.began_at)b::timestamptz[], %(participant.left_at)b::timestamptz[],
    %(participant.time_used_ms)b::bigint[], %(participant.cycle_count)b::integer[]
) AS i (
    tenant, session_id, participant_id, participant_index, group_id, began_at, left_at, time_used_ms, cycle_count
)
JOIN moved USING (tenant, session_id)
ON CONFLICT (tenant, session_id, participant_id) DO UPDATE SET
    participant_index = coalesce(excluded.participant_index, p.participant_index),
    group_id = excluded.group_id,
    began_at = excluded.began_at,
    left_at = excluded.left_at,
    time_used_ms = excluded.time_used_ms,
    cycle_count = CASE WHEN excluded.left_at IS NULL THEN excluded.cycle_count ELSE p.cycle_count END
WHERE (p.time_used_ms, p.cycle_count, p.began_at, p.left_at, p.group_id, p.participant_index) IS DISTINCT FROM
    (excluded.time_used_ms, excluded.cycle_count, excluded.began_at, excluded.left_at, excluded.group_id,
     excluded.participant_index);

-- name: insert_charges
-- Insert charges, after the projections of their sessions. A charge is void if its version was lost: the session was
-- recovered, or imported, from an earlier version, so that it continues in a newer epoch (see update_projections). Void
-- charges are inserted too, because the versions say them.
INSERT INTO sync_charges (tenant, session_id, epoch, version, participant_id, began_at, ended_at, is_void)
SELECT
    i.tenant, i.session_id, i.epoch, i.version, i.participant_id, i.began_at, i.ended_at,
    s.epoch IS DISTINCT FROM i.epoch AND EXISTS (
        SELECT FROM sync_events AS r
        WHERE r.tenant = i.tenant AND r.session_id = i.session_id
            AND r.event_type IN ('session_recovered', 'session_imported') AND r.epoch <> i.epoch
            AND r.version <= i.version
            AND (r.version, left(r.epoch, 12) COLLATE "C") > (
                (
                    SELECT min(e.version) FROM sync_events AS e
                    WHERE e.tenant = i.tenant AND e.session_id = i.session_id AND e.epoch = i.epoch
                ),
                left(i.epoch, 12) COLLATE "C"
            )
    )
FROM unnest(
    %(tenant)b::text[], %(session_id)b::uuid[], %(epoch)b::text[], %(version)b::bigint[], %(participant_id)b::uuid[],
    %(began_at)b::timestamptz[], %(ended_at)b::timestamptz[]
) AS i (tenant, session_id, epoch, version, participant_id, began_at, ended_at)
LEFT JOIN sync_sessions AS s USING (tenant, session_id)
ON CONFLICT (tenant, session_id, epoch, version, participant_id) DO NOTHING;

-- name: void_lost_charges
-- Make the charges of versions void that were lost before a recovery or an import of one of these sessions. A recovery
-- that left out version numbers names the version from which it continued.
UPDATE sync_charges AS c SET is_void = true
FROM sync_events AS r
WHERE (r.tenant, r.session_id) IN (
    SELECT tenant, session_id FROM unnest(%(tenants)s::text[], %(session_ids)s::uuid[]) AS i (tenant, session_id)
)
    AND r.event_type IN ('session_recovered', 'session_imported')
    AND c.tenant = r.tenant AND c.session_id = r.session_id AND c.epoch <> r.epoch AND NOT c.is_void
    AND c.version > coalesce((r.args ->> 'from_version')::bigint, r.version - 1)
    AND (r.version, left(r.epoch, 12) COLLATE "C") > (
        (
            SELECT min(e.version) FROM sync_events AS e
            WHERE e.tenant = c.tenant AND e.session_id = c.session_id AND e.epoch = c.epoch
        ),
        left(c.epoch, 12) COLLATE "C"
    );

-- name: insert_further_charges
-- Insert charges of versions that have already charged the same participant. See the table for the reason.
INSERT INTO sync_further_charges (tenant, session_id, epoch, version, participant_id, began_at, ended_at)
SELECT tenant, session_id, epoch, version, participant_id, began_at, ended_at
FROM unnest(
    %(tenant)b::text[], %(session_id)b::uuid[], %(epoch)b::text[], %(version)b::bigint[], %(participant_id)b::uuid[],
    %(began_at)b::timestamptz[], %(ended_at)b::timestamptz[]
) AS i (tenant, session_id, epoch, version, participant_id, began_at, ended_at)
ON CONFLICT (tenant, session_id, epoch, version, participant_id, began_at) DO NOTHING;

-- name: void_amended_charges
-- Make the charges of the versions before an amendment void, also of versions that reach Postgres after the amendment. Of
-- these sessions, only those that have ended, and those in amended_ids, can have an amendment. Each session has epochs of
-- its own, so charges of another session with the same id stay. The charges of earlier epochs of a recovered session are
-- void only for the newest session with its id.
UPDATE sync_charges AS c SET is_void = true
FROM sync_sessions AS s
JOIN sync_events AS a
    ON a.tenant = s.tenant AND a.session_id = s.session_id AND a.event_type = 'session_amended'
WHERE (s.tenant, s.session_id) IN (
    SELECT tenant, session_id FROM unnest(%(tenants)s::text[], %(session_ids)s::uuid[]) AS i (tenant, session_id)
)
    AND (s.completed_at IS NOT NULL OR s.deleted_at IS NOT NULL OR (s.tenant, s.session_id) IN (
        SELECT tenant, session_id
        FROM unnest(%(amended_tenants)s::text[], %(amended_ids)s::uuid[]) AS i (tenant, session_id)
    ))
    AND c.tenant = s.tenant AND c.session_id = s.session_id AND c.version < a.version AND NOT c.is_void
    AND (c.epoch = a.epoch OR a.occurred_at >= s.created_at AND EXISTS (
        SELECT FROM sync_events AS e
        WHERE e.tenant = c.tenant AND e.session_id = c.session_id AND e.epoch = c.epoch AND e.version = c.version
            AND e.occurred_at >= s.created_at
    ));

-- name: void_undone_charges
-- Make the charges of versions void that an undo took back, in these sessions. The arguments of an undo name the version
-- that it restored. The charges of all versions after it are void, and the undo itself charges the time that is kept.
UPDATE sync_charges AS c SET is_void = true
FROM sync_events AS u
WHERE (u.tenant, u.session_id) IN (
    SELECT tenant, session_id FROM unnest(%(tenants)s::text[], %(session_ids)s::uuid[]) AS i (tenant, session_id)
)
    AND u.event_type = 'turn_undone'
    AND c.tenant = u.tenant AND c.session_id = u.session_id AND c.epoch = u.epoch AND c.version < u.version
    AND c.version > (u.args #>> '{restored,version}')::bigint AND NOT c.is_void;

-- name: has_webhook_endpoints
SELECT EXISTS (SELECT FROM webhook_endpoints WHERE enabled);

-- name: queue_webhooks
-- Queue the webhook deliveries of a batch. An endpoint gets only events of its tenant. If a batch is written again, its
-- deliveries have the same ids, so a receiver recognises a repeated message. The metadata filter uses the newest version
-- of the session in the batch.
INSERT INTO webhook_deliveries (tenant, delivery_id, endpoint_id, session_id, epoch, version, event_type)
SELECT
    e.tenant,
    encode(substr(sha256(convert_to(concat_ws(' ', e.endpoint_id, i.session_id, i.epoch, i.version), 'UTF8')), 1, 16),
        'hex')::uuid,
    e.endpoint_id, i.session_id, i.epoch, i.version, i.event_type
FROM webhook_endpoints AS e
JOIN unnest(
    %(tenants)s::text[], %(session_ids)s::uuid[], %(epochs)s::text[], %(versions)s::bigint[], %(event_types)s::text[]
) WITH ORDINALITY AS i (tenant, session_id, epoch, version, event_type, place) ON i.tenant = e.tenant
WHERE e.enabled
    AND (e.event_types IS NULL OR i.event_type = ANY(e.event_types))
    AND (e.metadata IS NULL OR EXISTS (
        SELECT FROM unnest(%(changed_tenants)s::text[], %(changed_ids)s::uuid[], %(metadata)s::text[])
            AS s (tenant, session_id, metadata)
        WHERE s.tenant = i.tenant AND s.session_id = i.session_id AND s.metadata::jsonb @> e.metadata
    ))
ORDER BY i.place
ON CONFLICT DO NOTHING;
