-- Queries of history. A row of sync_participants belongs to the present session with its id if it began at or after the
-- creation, or at the start of the session. A caller can state a start before the creation. The queries are not prepared
-- statements, so Postgres plans each query for its values. An absent filter is null and costs nothing. A test checks the
-- plan of each query, as the role of servers.
--
-- Each query names the tenant, although row-level security compares it too, so that Postgres knows how many rows the
-- tenant has. Row-level security comes before all comparisons that are not leak-proof, so that an index can only make
-- leak-proof comparisons: not those of enums and of jsonb (decision 13).

-- name: latest_version
-- The newest version of a session, with the newest 100 commands after its creation for the replay of repeated commands.
-- The row in sync_sessions names the newest version. The snapshot is null if retention removed the rows.
SELECT
    e.epoch, e.version,
    CASE WHEN e.whole_version IS NULL THEN e.snapshot ELSE sync_document(e.tenant, e.session_id, e.epoch, e.version) END,
    e.deleted, e.recorded_at,
    (
        SELECT json_agg(json_build_array(
            c.command_id, coalesce(c.fingerprint, ''), c.epoch, c.version, c.expired_participant_id
        ))
        FROM (
            SELECT * FROM sync_events AS c
            WHERE c.tenant = s.tenant AND c.session_id = s.session_id AND c.occurred_at >= s.created_at
                AND c.command_id IS NOT NULL
            ORDER BY c.occurred_at DESC, c.version DESC
            LIMIT 100
        ) AS c
    ) AS commands
FROM sync_sessions AS s
JOIN sync_events AS e USING (tenant, session_id, epoch, version)
WHERE s.tenant = %(tenant)s AND s.session_id = %(session_id)s
UNION ALL
(
    SELECT a.epoch, a.version, NULL, a.deleted, a.archived_at, NULL
    FROM sync_archives AS a
    WHERE a.tenant = %(tenant)s AND a.session_id = %(session_id)s AND a.removed_at IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM sync_sessions WHERE tenant = %(tenant)s AND session_id = %(session_id)s)
    ORDER BY a.created_at DESC
    LIMIT 1
);

-- name: archive_records
-- The archive records of a session, one for each creation of the session, newest first.
SELECT
    session_id::text, created_at, status::text, coalesce(epoch, ''), coalesce(version, 0),
    coalesce(session_status::text, ''), deleted, path, coalesce(size_bytes, 0), coalesce(checksum, ''),
    coalesce(events, 0), coalesce(archived_at, requested_at), removed_at IS NOT NULL, error, tenant
FROM sync_archives
WHERE tenant = %(tenant)s AND session_id = %(session_id)s AND (removed_at IS NOT NULL OR NOT %(removed_only)s)
ORDER BY created_at DESC;

-- name: version_document
SELECT CASE WHEN whole_version IS NULL THEN snapshot ELSE sync_document(tenant, session_id, epoch, version) END
FROM sync_events
WHERE tenant = %(tenant)s AND session_id = %(session_id)s AND epoch = %(epoch)s AND version = %(version)s;

-- name: version_at
SELECT
    epoch, version,
    CASE WHEN whole_version IS NULL THEN snapshot ELSE sync_document(tenant, session_id, epoch, version) END,
    deleted, recorded_at
FROM sync_events
WHERE tenant = %(tenant)s AND session_id = %(session_id)s AND occurred_at <= %(at)s
ORDER BY occurred_at DESC, version DESC, epoch DESC
LIMIT 1;

-- name: newest_unfinished_version
-- The newest version of a session that is not final: for an ended session, the version before its end.
SELECT
    epoch, version,
    CASE WHEN whole_version IS NULL THEN snapshot ELSE sync_document(tenant, session_id, epoch, version) END
FROM sync_events
WHERE tenant = %(tenant)s AND session_id = %(session_id)s AND status = ANY('{pending,running,paused}'::sync_status[])
ORDER BY occurred_at DESC, version DESC, epoch DESC
LIMIT 1;

-- name: sessions
-- Sessions, newest first. The row comparison of (created_at, id) uses the index. Postgres knows the size of a document
-- without its content, so it reads only the documents that fit on the page. `found` is the number of sessions before
-- this cut. The sessions of known_ids have no document, because the caller has their current documents. With labels, the
-- page begins with the rows of one label instead (`queries.py`).
WITH page AS (
    SELECT s.tenant, s.session_id, s.epoch, s.version, s.created_at, e.snapshot, e.whole_version, e.document_bytes
    FROM sync_sessions AS s
    JOIN sync_events AS e USING (tenant, session_id, epoch, version)
    WHERE s.tenant = %(tenant)s
        AND s.deleted_at IS NULL
        AND (%(status)s::sync_status IS NULL OR s.status = %(status)s::sync_status)
        AND (%(sync_mode)s::sync_mode IS NULL OR s.sync_mode = %(sync_mode)s::sync_mode)
        AND (%(only_unfinished)s IS NOT TRUE OR s.status IN ('pending', 'running', 'paused'))
        AND (%(labels)s::jsonb IS NULL OR s.labels @> %(labels)s::jsonb)
        AND (s.created_at, s.session_id) < (%(before_at)s::timestamptz, %(before_id)s::uuid)
    ORDER BY s.created_at DESC, s.session_id DESC
    LIMIT %(limit)s
),
measured AS (
    SELECT
        *,
        count(*) OVER () AS found,
        sum(coalesce(document_bytes, octet_length(snapshot))) OVER (ORDER BY created_at DESC, session_id DESC)
            - coalesce(document_bytes, octet_length(snapshot)) AS bytes_before
    FROM page
)
SELECT
    session_id::text, epoch, version, created_at,
    CASE
        WHEN session_id = ANY(%(known_ids)s::uuid[]) THEN NULL
        WHEN whole_version IS NULL THEN snapshot
        ELSE sync_document(tenant, session_id, epoch, version)
    END,
    found
FROM measured
WHERE bytes_before < %(max_bytes)s
ORDER BY created_at DESC, measured.session_id DESC;

-- name: events
-- The audit trail of a session over all its epochs, oldest first. The page is cut as in the query `sessions`. `RowDocuments`
-- builds the documents from the last two columns.
--
-- The charges of an event are grouped by a range of one version. The order of the groups is the order of the primary key of
-- `sync_charges`. For a comparison with `=`, Postgres takes the index by participant if it expects few charges of the
-- tenant, and then reads all charges of the tenant for each event.
WITH page AS (
    SELECT
        epoch, version, event_type, participant_id, group_id, actor, occurred_at, time_used_ms, time_remaining_ms,
        role, on_behalf_of, command_id, participant_ids,
        CASE WHEN %(snapshots)s::boolean THEN snapshot END AS document, whole_version, document_bytes
    FROM sync_events
    WHERE tenant = %(tenant)s AND session_id = %(session_id)s
        AND (occurred_at, version, epoch)
            > (%(after_at)s::timestamptz, %(after_version)s::bigint, %(after_epoch)s::text)
    ORDER BY occurred_at, version, epoch
    LIMIT %(limit)s
),
measured AS (
    SELECT
        *,
        count(*) OVER () AS found,
        sum(coalesce(document_bytes, octet_length(document))) OVER trail
            - coalesce(document_bytes, octet_length(document)) AS bytes_before,
        (lag(epoch) OVER trail, lag(version) OVER trail) IS NOT DISTINCT FROM (epoch, version - 1) AS follows_version
    FROM page
    WINDOW trail AS (ORDER BY occurred_at, version, epoch)
)
SELECT
    epoch, version, event_type, participant_id::text, group_id, actor, occurred_at, time_used_ms, time_remaining_ms,
    document, found, role, on_behalf_of::text, command_id,
    (
        SELECT json_agg(json_build_array(
            c.participant_id, (extract(epoch FROM c.began_at) * 1000)::bigint, (extract(epoch FROM c.ended_at) * 1000)::bigint
        ) ORDER BY c.participant_id, c.began_at)
        FROM sync_every_charge() AS c
        WHERE c.tenant = %(tenant)s AND c.session_id = %(session_id)s AND c.epoch = measured.epoch
            AND c.version BETWEEN measured.version AND measured.version
        GROUP BY c.version
    ),
    participant_ids, whole_version,
    CASE
        WHEN document IS NOT NULL AND whole_version IS NOT NULL AND NOT follows_version
        THEN ARRAY(
            SELECT b.snapshot FROM sync_events AS b
            WHERE b.tenant = %(tenant)s AND b.session_id = %(session_id)s AND b.epoch = measured.epoch
                AND b.version >= measured.whole_version AND b.version < measured.version
            ORDER BY b.version
        )
    END
FROM measured
WHERE NOT %(snapshots)s::boolean OR bytes_before < %(max_bytes)s
ORDER BY occurred_at, version, epoch;

-- name: participant_sessions
-- A participant's sessions, newest first. If session_ids is not null, only the sessions with these ids. If a caller stated
-- the times of an ended session, its pause is its duration without its used time. A session whose times were stated has
-- one participant.
WITH page AS (
    SELECT
        s.tenant, s.session_id, s.epoch, s.version, s.sync_mode, s.status, s.created_at, s.started_at, s.completed_at,
        s.updated_at, s.metadata, p.began_at, p.time_used_ms, p.cycle_count
    FROM sync_participants AS p
    JOIN sync_sessions AS s
        ON s.tenant = p.tenant AND s.session_id = p.session_id
        AND (p.began_at >= s.created_at OR p.began_at = s.started_at)
    WHERE p.tenant = %(tenant)s AND p.participant_id = %(participant_id)s
        AND (%(session_ids)s::uuid[] IS NULL OR p.session_id = ANY(%(session_ids)s::uuid[]))
        AND p.began_at >= %(since)s::timestamptz
        AND (p.began_at, p.session_id) < (%(before_at)s::timestamptz, %(before_id)s::uuid)
        AND s.deleted_at IS NULL
    ORDER BY p.began_at DESC, p.session_id DESC
    LIMIT %(limit)s
)
SELECT
    page.session_id::text, page.epoch, page.version, page.sync_mode::text, page.status::text, page.started_at,
    page.completed_at, page.updated_at, page.time_used_ms,
    CASE
        WHEN page.sync_mode = 'count_up' AND page.completed_at IS NOT NULL AND EXISTS (
            SELECT FROM sync_events AS r
            WHERE r.tenant = page.tenant AND r.session_id = page.session_id
                AND r.event_type IN ('session_recorded', 'session_amended')
                AND r.occurred_at >= page.created_at
        )
        THEN round(1000 * extract(epoch FROM page.completed_at - page.started_at))::bigint - page.time_used_ms
        ELSE paused.ms
    END,
    page.cycle_count, page.metadata, page.began_at
FROM page
CROSS JOIN LATERAL (
    -- A pause lasts from a version with status paused to the next version.
    SELECT coalesce(round(1000 * sum(extract(epoch FROM n.occurred_at - e.occurred_at))), 0)::bigint AS ms
    FROM sync_events AS e
    CROSS JOIN LATERAL (
        SELECT n.occurred_at
        FROM sync_events AS n
        WHERE n.tenant = e.tenant AND n.session_id = e.session_id
            AND (n.occurred_at, n.version) > (e.occurred_at, e.version)
        ORDER BY n.occurred_at, n.version
        LIMIT 1
    ) AS n
    WHERE e.tenant = page.tenant AND e.session_id = page.session_id AND e.status = 'paused'
        AND e.occurred_at >= page.created_at
) AS paused
ORDER BY page.began_at DESC, page.session_id DESC;

-- name: participant_session_starts
-- The instants at which a participant's sessions began, newest first.
SELECT p.session_id::text, p.began_at
FROM sync_participants AS p
JOIN sync_sessions AS s
    ON s.tenant = p.tenant AND s.session_id = p.session_id
    AND (p.began_at >= s.created_at OR p.began_at = s.started_at)
WHERE p.tenant = %(tenant)s AND p.participant_id = %(participant_id)s
    AND p.began_at >= %(since)s::timestamptz
    AND s.deleted_at IS NULL
ORDER BY p.began_at DESC, p.session_id DESC
LIMIT %(limit)s;

-- name: paused_time
-- The total pause of a session between two instants, in milliseconds.
SELECT coalesce(round(1000 * sum(extract(epoch FROM least(n.occurred_at, %(until)s) - e.occurred_at))), 0)::bigint
FROM sync_events AS e
LEFT JOIN LATERAL (
    SELECT n.occurred_at
    FROM sync_events AS n
    WHERE n.tenant = e.tenant AND n.session_id = e.session_id
        AND (n.occurred_at, n.version) > (e.occurred_at, e.version)
    ORDER BY n.occurred_at, n.version
    LIMIT 1
) AS n ON true
WHERE e.tenant = %(tenant)s AND e.session_id = %(session_id)s AND e.status = 'paused'
    AND e.occurred_at >= %(since)s AND e.occurred_at < %(until)s;

-- name: known_session_starts
SELECT s.session_id::text, p.began_at
FROM sync_participants AS p
JOIN sync_sessions AS s
    ON s.tenant = p.tenant AND s.session_id = p.session_id
    AND (p.began_at >= s.created_at OR p.began_at = s.started_at)
WHERE p.tenant = %(tenant)s AND p.participant_id = %(participant_id)s AND p.session_id = ANY(%(session_ids)s)
    AND s.deleted_at IS NULL;

-- name: running_turns
-- The sessions in which clocks of participants run, with these participants and the documents of their newest versions.
-- In individual sessions only the document says whose clocks run, so all participants are returned. Sessions with
-- versions in the outbox are left out. The filters are those of `used_time_slices`.
SELECT
    t.session_id::text,
    t.participant_ids,
    CASE WHEN e.whole_version IS NULL THEN e.snapshot ELSE sync_document(e.tenant, e.session_id, e.epoch, e.version) END
FROM (
    SELECT
        s.tenant, s.session_id, s.epoch, s.version, s.sync_mode, array_agg(p.participant_id::text) AS participant_ids
    FROM sync_participants AS p
    JOIN sync_sessions AS s
        ON s.tenant = p.tenant AND s.session_id = p.session_id
        AND (p.began_at >= s.created_at OR p.began_at = s.started_at)
    WHERE p.tenant = %(tenant)s
        AND (%(participants)s::uuid[] IS NULL OR p.participant_id = ANY(%(participants)s::uuid[]))
        AND (%(labels)s::jsonb IS NULL OR s.labels @> %(labels)s::jsonb AND s.session_id = ANY(ARRAY(
            SELECT l.session_id FROM sync_labels AS l
            WHERE l.tenant = %(tenant)s AND l.name = %(label_name)s AND l.value = %(label_value)s
        )))
        AND p.began_at < %(until)s
        AND s.status = 'running'
        AND s.deleted_at IS NULL
        AND NOT s.session_id = ANY(%(in_outbox)s::uuid[])
    GROUP BY s.tenant, s.session_id, s.epoch, s.version, s.sync_mode
) AS t
JOIN sync_events AS e
    ON e.tenant = t.tenant AND e.session_id = t.session_id AND e.epoch = t.epoch AND e.version = t.version
WHERE e.running_participant_id::text = ANY(t.participant_ids) OR t.sync_mode = 'individual';

-- name: used_time_slices
-- The time that participants used, by bucket: the sum of their charges, and of the time that runs since the newest version.
-- If not all charges of a session are filled in, the time from each version in which the participant's time runs to the
-- next version counts instead. An amendment charges all time before it, so the earlier charges are not needed. Times are
-- cut at the ends of the requested range and at the bounds of the buckets. The bounds are parameters, so the time zones of
-- Postgres are not used. The first bound is at or before the begin of the range, the last bound at or after its end.
-- Versions in the outbox and running turns are also parameters. If a session has versions in the outbox, its rows count
-- only until the first of these versions, and its metadata and labels are those of the newest of these versions. In the
-- comparison of arrays, null elements are equal, and greater than all others.
WITH waiting AS (
    SELECT session_id, cut_at, cut_version, metadata::jsonb AS metadata, labels::jsonb AS labels, is_replaced,
        void_after
    FROM unnest(
        %(in_outbox)s::uuid[], %(cut_at)s::timestamptz[], %(cut_version)s::bigint[], %(metadata)s::text[],
        %(outbox_labels)s::text[], %(is_replaced)s::boolean[], %(void_after)s::bigint[]
    ) AS w (session_id, cut_at, cut_version, metadata, labels, is_replaced, void_after)
),
taken_part AS (
    SELECT
        p.participant_id, s.tenant, s.session_id, s.epoch, s.version, s.created_at,
        coalesce(w.metadata, s.metadata) AS metadata, coalesce(w.labels, s.labels) AS labels,
        w.cut_at, w.cut_version, w.void_after,
        (s.charged_epoch, s.charged_version) IS NOT DISTINCT FROM (s.epoch, s.version) OR EXISTS (
            SELECT FROM sync_events AS a
            WHERE a.tenant = s.tenant AND a.session_id = s.session_id AND a.event_type = 'session_amended'
                AND a.occurred_at >= s.created_at
        ) AS is_charged
    FROM sync_participants AS p
    JOIN sync_sessions AS s
        ON s.tenant = p.tenant AND s.session_id = p.session_id
        AND (p.began_at >= s.created_at OR p.began_at = s.started_at)
    LEFT JOIN waiting AS w ON w.session_id = s.session_id
    WHERE p.tenant = %(tenant)s
        AND (%(participants)s::uuid[] IS NULL OR p.participant_id = ANY(%(participants)s::uuid[]))
        AND (%(labels)s::jsonb IS NULL OR s.session_id = ANY(%(in_outbox)s::uuid[] || ARRAY(
            SELECT l.session_id FROM sync_labels AS l
            WHERE l.tenant = %(tenant)s AND l.name = %(label_name)s AND l.value = %(label_value)s
        )))
        AND (%(labels)s::jsonb IS NULL OR coalesce(w.labels, s.labels) @> %(labels)s::jsonb)
        AND p.began_at < %(until)s
        AND s.deleted_at IS NULL
        AND w.is_replaced IS NOT TRUE
        AND (s.completed_at IS NULL OR s.completed_at > %(since)s)
),
stretch AS (
    SELECT
        t.session_id,
        t.participant_id,
        t.metadata,
        t.labels,
        greatest(c.began_at, %(since)s) AS began_at,
        least(c.ended_at, %(until)s) AS ended_at
    FROM sync_every_charge() AS c
    JOIN taken_part AS t ON t.tenant = c.tenant AND t.session_id = c.session_id AND t.participant_id = c.participant_id
    WHERE c.tenant = %(tenant)s
        AND (%(participants)s::uuid[] IS NULL OR c.participant_id = ANY(%(participants)s::uuid[]))
        AND c.ended_at > %(since)s
        AND c.began_at < %(until)s
        AND NOT c.is_void
        AND t.is_charged
        -- Charges of an earlier session with the same id do not count.
        AND (c.epoch = t.epoch OR c.ended_at > t.created_at OR EXISTS (
            SELECT FROM sync_events AS e
            WHERE e.tenant = c.tenant AND e.session_id = c.session_id AND e.epoch = c.epoch AND e.version = c.version
                AND e.occurred_at >= t.created_at
        ))
        AND (t.cut_version IS NULL OR c.version < t.cut_version)
        AND (t.void_after IS NULL OR c.version <= t.void_after)
    UNION ALL
    SELECT
        t.session_id,
        t.participant_id,
        t.metadata,
        t.labels,
        greatest(o.began_at, %(since)s),
        least(o.ended_at, %(until)s)
    FROM unnest(
        %(open)s::uuid[], %(open_participant)s::uuid[], %(open_began_at)s::timestamptz[], %(open_ended_at)s::timestamptz[]
    ) AS o (session_id, participant_id, began_at, ended_at)
    JOIN taken_part AS t ON t.session_id = o.session_id AND t.participant_id = o.participant_id
    WHERE t.is_charged
    UNION ALL
    SELECT
        t.session_id,
        t.participant_id,
        t.metadata,
        t.labels,
        greatest(e.occurred_at, %(since)s),
        least(n.occurred_at, t.cut_at, %(until)s)
    FROM taken_part AS t
    CROSS JOIN LATERAL (
        -- Also includes the stretch that runs at the begin of the range.
        SELECT coalesce(max(b.occurred_at), t.created_at) AS at
        FROM sync_events AS b
        WHERE b.tenant = t.tenant AND b.running_participant_id = t.participant_id AND b.session_id = t.session_id
            AND b.occurred_at <= %(since)s AND b.occurred_at >= t.created_at
    ) AS first
    JOIN sync_events AS e
        ON e.tenant = t.tenant AND e.running_participant_id = t.participant_id AND e.session_id = t.session_id
        AND e.occurred_at >= first.at AND e.occurred_at < %(until)s
        AND (t.cut_at IS NULL OR (e.occurred_at, e.version) < (t.cut_at, t.cut_version))
    LEFT JOIN LATERAL (
        SELECT n.occurred_at
        FROM sync_events AS n
        WHERE n.tenant = e.tenant AND n.session_id = e.session_id
            AND (n.occurred_at, n.version) > (e.occurred_at, e.version)
        ORDER BY n.occurred_at, n.version
        LIMIT 1
    ) AS n ON true
    WHERE NOT t.is_charged
    UNION ALL
    SELECT
        w.session_id,
        u.participant_id,
        w.metadata,
        w.labels,
        greatest(u.began_at, %(since)s, CASE WHEN NOT t.is_charged THEN t.cut_at END),
        least(u.ended_at, %(until)s)
    FROM unnest(
        %(running)s::uuid[], %(participant)s::uuid[], %(began_at)s::timestamptz[], %(ended_at)s::timestamptz[]
    ) AS u (session_id, participant_id, began_at, ended_at)
    JOIN waiting AS w ON w.session_id = u.session_id
    LEFT JOIN taken_part AS t ON t.session_id = u.session_id AND t.participant_id = u.participant_id
    WHERE (%(participants)s::uuid[] IS NULL OR u.participant_id = ANY(%(participants)s::uuid[]))
        AND (%(labels)s::jsonb IS NULL OR w.labels @> %(labels)s::jsonb)
),
piece AS (
    SELECT
        session_id,
        participant_id,
        number,
        CASE WHEN %(metadata_key)s::text IS NULL THEN '{}' ELSE ARRAY[metadata ->> %(metadata_key)s::text] END
        || ARRAY(
            SELECT labels ->> k.label
            FROM unnest(%(label_keys)s::text[]) WITH ORDINALITY AS k (label, place)
            ORDER BY k.place
        ) AS keys,
        -- A subscript outside of the array gives null. The functions least and greatest ignore null.
        least(ended_at, (%(bounds)s::timestamptz[])[number + 1])
        - greatest(began_at, (%(bounds)s::timestamptz[])[number]) AS lasted
    FROM stretch
    CROSS JOIN LATERAL generate_series(
        width_bucket(began_at, %(bounds)s::timestamptz[]), width_bucket(ended_at, %(bounds)s::timestamptz[])
    ) AS number
    WHERE ended_at > began_at
),
part AS (
    -- The time of one participant in one session and one bucket.
    SELECT number, session_id, participant_id, keys, round(1000 * sum(extract(epoch FROM lasted))) AS ms
    FROM piece
    WHERE lasted > interval '0'
    GROUP BY number, session_id, participant_id, keys
),
slice AS (
    SELECT
        number,
        CASE WHEN %(by_session)s THEN session_id::text ELSE '' END AS session_id,
        CASE WHEN %(by_participant)s THEN participant_id::text ELSE '' END AS participant_id,
        keys,
        sum(CASE
            WHEN %(round_ms)s::bigint IS NULL THEN ms
            WHEN %(rounds_up)s THEN ceil(ms / %(round_ms)s::bigint) * %(round_ms)s::bigint
            ELSE round(ms / %(round_ms)s::bigint) * %(round_ms)s::bigint
        END)::bigint AS time_used_ms,
        count(DISTINCT session_id) AS session_count
    FROM part
    GROUP BY 1, 2, 3, 4
)
SELECT number, session_id, participant_id, keys, time_used_ms, session_count
FROM slice
WHERE %(after_number)s::integer IS NULL
    OR (number, session_id COLLATE "C", participant_id COLLATE "C", keys) > (
        %(after_number)s::integer, %(after_session)s::text, %(after_participant)s::text, %(after_keys)s::text[]
    )
ORDER BY number, session_id COLLATE "C", participant_id COLLATE "C", keys
LIMIT %(limit)s;

-- name: session_charges
-- The charges of a session that count, of the versions before a version. The first column says whether all these charges
-- are known. Without a charge, the result is one row without a participant. At most %(limit)s charges.
--
-- The order of the charges is that of the primary key of `sync_charges`. Without it, Postgres possibly reads all charges of
-- the tenant, see `events`.
SELECT
    s.version >= %(before_version)s - 1
    AND (s.charged_epoch, s.charged_version) IS NOT DISTINCT FROM (s.epoch, s.version),
    c.participant_id::text, c.began_at, c.ended_at
FROM sync_sessions AS s
LEFT JOIN (
    SELECT * FROM sync_every_charge()
    WHERE tenant = %(tenant)s AND session_id = %(session_id)s
    ORDER BY epoch, version, participant_id
) AS c
    ON c.tenant = s.tenant AND c.session_id = s.session_id AND c.version < %(before_version)s AND NOT c.is_void
    AND (c.epoch = s.epoch OR EXISTS (
        SELECT FROM sync_events AS e
        WHERE e.tenant = c.tenant AND e.session_id = c.session_id AND e.epoch = c.epoch AND e.version = c.version
            AND e.occurred_at >= s.created_at
    ))
WHERE s.tenant = %(tenant)s AND s.session_id = %(session_id)s
LIMIT %(limit)s;

-- name: first_session_created
-- The creation of the first session, or the start of a session whose times a caller stated, if that is earlier. No time of
-- `used_time_slices` with the same filters begins before this instant.
SELECT min(least(s.created_at, s.started_at))
FROM sync_participants AS p
JOIN sync_sessions AS s
    ON s.tenant = p.tenant AND s.session_id = p.session_id
    AND (p.began_at >= s.created_at OR p.began_at = s.started_at)
WHERE p.tenant = %(tenant)s
    AND (%(participants)s::uuid[] IS NULL OR p.participant_id = ANY(%(participants)s::uuid[]))
    AND (%(labels)s::jsonb IS NULL OR s.labels @> %(labels)s::jsonb AND s.session_id = ANY(ARRAY(
        SELECT l.session_id FROM sync_labels AS l
        WHERE l.tenant = %(tenant)s AND l.name = %(label_name)s AND l.value = %(label_value)s
    )))
    AND p.began_at < %(until)s
    AND s.deleted_at IS NULL;

-- name: newest_migration
SELECT max(number) FROM sync_migrations;

-- name: current_time
SELECT now();

-- name: unfinished_sessions
-- Sessions that have not ended and whose epoch belongs to an earlier generation of the store. An epoch begins with the id
-- of its generation. Sessions of all tenants. Sessions in the audit of v2 are excluded. They continue only
-- after an import from the Redis of v2.
SELECT tenant, session_id::text
FROM sync_sessions
WHERE deleted_at IS NULL
    AND status = ANY('{pending,running,paused}'::sync_status[])
    AND NOT starts_with(epoch, %(other_than_generation)s)
    AND NOT starts_with(epoch, %(v2_generation)s)
    AND (tenant, session_id) > (%(after_tenant)s, %(after)s::uuid)
ORDER BY tenant, session_id
LIMIT %(limit)s;
