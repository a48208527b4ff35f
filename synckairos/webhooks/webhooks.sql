-- Statements of webhooks, for the workers' delivery queue and for the registry. The statements with which the drain
-- creates deliveries are in audit/batch_writer.sql.

-- name: find_open_endpoints
-- The endpoints to which a worker can send a message now, with the number of further leases that each may have. All
-- workers together have at most per_endpoint leases for an endpoint, and fewer if the endpoints together could exceed
-- max_concurrent: so endpoints that do not answer leave leases to all others. An endpoint whose newest attempt failed has
-- at most one lease. An endpoint that is paused is open only for test messages, which have no session.
--
-- The orders name one index each. Without them, the planner can choose an index whose rows all belong to other sessions,
-- and read tens of thousands of them.
SELECT open.endpoint_id::text, open.room, open.is_paused
FROM (
    SELECT
        e.endpoint_id, e.is_paused,
        least(
            CASE WHEN e.failing_since IS NULL THEN %(per_endpoint)s::bigint ELSE 1 END,
            greatest(1, %(max_concurrent)s::bigint / greatest(1, count(*) FILTER (WHERE NOT e.is_paused) OVER ()))
        ) - (
            SELECT count(*) FROM webhook_deliveries AS l
            WHERE l.endpoint_id = e.endpoint_id AND l.leased_until > now()
        ) AS room
    FROM (
        SELECT endpoint_id, failing_since, coalesce(resumes_at > now(), false) AS is_paused
        FROM webhook_endpoints WHERE enabled
    ) AS e
) AS open
WHERE open.room > 0 AND now() >= CASE
    WHEN open.is_paused THEN (
        SELECT d.due_at
        FROM webhook_deliveries AS d
        WHERE d.endpoint_id = open.endpoint_id AND d.status = 'pending' AND d.session_id IS NULL
        ORDER BY d.session_id, d.due_at, d.sequence
        LIMIT 1
    )
    ELSE (
        SELECT d.due_at
        FROM webhook_deliveries AS d
        WHERE d.endpoint_id = open.endpoint_id AND d.status = 'pending'
        ORDER BY d.due_at, d.sequence
        LIMIT 1
    )
END;

-- name: claim
-- Lease due deliveries of these endpoints, the oldest first. For each session only the oldest delivery is leased, and only
-- if no other delivery of the session is leased. Test messages go before all others, and paused endpoints get only test
-- messages. Rows that another worker leased in the meantime are skipped.
--
-- An endpoint that does not answer can have any number of pending rows. So the query reads the 200 oldest rows of an
-- endpoint. These can all belong to sessions that have a lease. If there are more rows, the query therefore also reads
-- the oldest row of some sessions: of the sessions with the lowest ids, and of the sessions after a random id. Each order
-- that the query does not need otherwise names the index: see find_open_endpoints.
WITH due AS (
    SELECT first.delivery_id
    FROM unnest(%(endpoint_ids)s::uuid[], %(rooms)s::bigint[], %(paused)s::boolean[])
        AS open (endpoint_id, room, is_paused)
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(l.session_id) FILTER (WHERE l.session_id IS NOT NULL), '{}') AS session_ids
        FROM webhook_deliveries AS l
        WHERE l.endpoint_id = open.endpoint_id AND l.leased_until > now()
    ) AS busy
    CROSS JOIN LATERAL (
        SELECT candidate.delivery_id, candidate.due_at, candidate.sequence
        FROM (
            WITH RECURSIVE oldest AS MATERIALIZED (
                SELECT d.delivery_id, d.session_id, d.due_at, d.sequence, d.leased_until
                FROM webhook_deliveries AS d
                WHERE d.endpoint_id = open.endpoint_id AND d.status = 'pending' AND d.due_at <= now()
                    AND NOT open.is_paused
                ORDER BY d.due_at, d.sequence
                LIMIT 200
            ),
            listed (delivery_id, session_id, due_at, sequence, leased_until, number) AS (
                SELECT begin.*, 1
                FROM (
                    SELECT unnest(ARRAY[%(from_session_id)s, '00000000-0000-0000-0000-000000000000']::uuid[]) AS id
                    WHERE (SELECT count(*) FROM oldest) = 200
                ) AS begin_at
                CROSS JOIN LATERAL (
                    SELECT d.delivery_id, d.session_id, d.due_at, d.sequence, d.leased_until
                    FROM webhook_deliveries AS d
                    WHERE d.endpoint_id = open.endpoint_id AND d.status = 'pending' AND d.session_id >= begin_at.id
                    ORDER BY d.session_id, d.due_at, d.sequence
                    LIMIT 1
                ) AS begin
                UNION ALL
                SELECT next.*, listed.number + 1
                FROM listed
                CROSS JOIN LATERAL (
                    SELECT d.delivery_id, d.session_id, d.due_at, d.sequence, d.leased_until
                    FROM webhook_deliveries AS d
                    WHERE d.endpoint_id = open.endpoint_id AND d.status = 'pending' AND d.session_id > listed.session_id
                    ORDER BY d.session_id, d.due_at, d.sequence
                    LIMIT 1
                ) AS next
                WHERE listed.number < 10
            )
            SELECT DISTINCT ON (each.session_id) each.*
            FROM (
                SELECT * FROM oldest
                UNION ALL
                SELECT delivery_id, session_id, due_at, sequence, leased_until FROM listed
                UNION ALL
                (
                    SELECT d.delivery_id, d.session_id, d.due_at, d.sequence, d.leased_until
                    FROM webhook_deliveries AS d
                    WHERE d.endpoint_id = open.endpoint_id AND d.status = 'pending' AND d.session_id IS NULL
                    ORDER BY d.session_id, d.due_at, d.sequence
                    LIMIT 1
                )
            ) AS each
            WHERE each.due_at <= now() AND (each.leased_until IS NULL OR each.leased_until <= now())
                AND (each.session_id IS NULL OR each.session_id <> ALL(busy.session_ids))
            ORDER BY each.session_id, each.due_at, each.sequence
        ) AS candidate
        ORDER BY candidate.session_id IS NOT NULL, candidate.due_at, candidate.sequence
        LIMIT open.room
    ) AS first
    ORDER BY first.due_at, first.sequence
    LIMIT %(limit)s
)
UPDATE webhook_deliveries AS d
SET leased_until = now() + make_interval(secs => %(lease_s)s)
FROM due
WHERE d.delivery_id = due.delivery_id AND d.status = 'pending' AND (d.leased_until IS NULL OR d.leased_until <= now())
RETURNING d.delivery_id;

-- name: read_claimed
-- What a worker needs to send these deliveries, in the order of their creation.
SELECT
    d.delivery_id::text, d.endpoint_id::text, e.url,
    ARRAY(
        SELECT s.secret FROM webhook_secrets AS s
        WHERE s.endpoint_id = e.endpoint_id AND (s.expires_at IS NULL OR s.expires_at > now())
        ORDER BY s.created_at DESC
    ),
    -- Python cannot hold an infinite instant, and one row must not stop the deliveries of all others.
    d.attempts, d.tries, d.event_type, least(greatest(d.created_at, '0001-01-02'), '9999-12-30'), d.session_id::text,
    d.epoch, d.version,
    v.participant_id::text, v.group_id, v.actor,
    CASE WHEN v.occurred_at IS NOT NULL THEN least(greatest(v.occurred_at, '0001-01-02'), '9999-12-30') END,
    v.time_used_ms, v.time_remaining_ms,
    CASE
        WHEN NOT e.snapshots THEN NULL
        WHEN v.whole_version IS NULL THEN v.snapshot
        ELSE sync_document(v.tenant, v.session_id, v.epoch, v.version)
    END,
    v.role, v.on_behalf_of::text, v.command_id,
    (
        SELECT json_agg(json_build_array(
            c.participant_id, (extract(epoch FROM c.began_at) * 1000)::bigint, (extract(epoch FROM c.ended_at) * 1000)::bigint
        ) ORDER BY c.participant_id, c.began_at)
        FROM sync_every_charge() AS c
        WHERE c.tenant = v.tenant AND c.session_id = v.session_id AND c.epoch = v.epoch AND c.version = v.version
    ),
    v.participant_ids
FROM webhook_deliveries AS d
JOIN webhook_endpoints AS e USING (endpoint_id)
LEFT JOIN sync_events AS v
    ON v.tenant = d.tenant AND v.session_id = d.session_id AND v.epoch = d.epoch AND v.version = d.version
WHERE d.delivery_id = ANY(%(delivery_ids)s::uuid[])
ORDER BY d.sequence;

-- name: release
-- End the leases of a worker that stops, so that other workers can send the deliveries at once.
UPDATE webhook_deliveries SET leased_until = NULL WHERE delivery_id = ANY(%(delivery_ids)s::uuid[]);

-- name: finish
-- Save the results of attempts, which are in the order of their ends: deliveries, log, counters and endpoints. A result
-- changes nothing if the lease ended and another worker has finished the delivery. Returns the endpoints that must be
-- disabled, with the reason. A lapsed delivery was not sent, so it says nothing about its endpoint.
--
-- After a failure, an endpoint is paused for a share of the time since its first failure that no success followed. So an
-- endpoint that only fails costs few attempts, however many deliveries wait for it. A longer pause, for which the endpoint
-- asked, stays. An accepted test message ends each pause.
WITH results AS (
    SELECT *
    FROM unnest(
        %(delivery_id)s::uuid[], %(attempts)s::integer[], %(outcome)s::text[], %(status)s::text[],
        %(status_code)s::integer[], %(error)s::text[], %(duration_ms)s::bigint[], %(next_s)s::float8[],
        %(pause_s)s::float8[], %(gone)s::boolean[]
    ) WITH ORDINALITY AS r (
        delivery_id, attempts, outcome, status, status_code, error, duration_ms, next_s, pause_s, gone, place
    )
),
done AS (
    UPDATE webhook_deliveries AS d
    SET attempts = d.attempts + 1,
        tries = d.tries + 1,
        status = r.status,
        due_at = now() + make_interval(secs => coalesce(r.next_s, 0)),
        leased_until = NULL,
        finished_at = CASE WHEN r.status <> 'pending' THEN now() END
    FROM results AS r
    WHERE d.delivery_id = r.delivery_id AND d.attempts = r.attempts AND d.status = 'pending'
    RETURNING
        d.tenant, d.delivery_id, d.endpoint_id, d.session_id, d.attempts, d.status, d.due_at, r.outcome, r.status_code,
        r.error, r.duration_ms, r.pause_s, r.gone, r.place, r.outcome = 'delivered' AS is_accepted
),
logged AS (
    INSERT INTO webhook_attempts (tenant, delivery_id, attempt, at, duration_ms, status_code, error, next_try_at)
    SELECT
        tenant, delivery_id, attempts, now() - make_interval(secs => duration_ms / 1000.0), duration_ms, status_code, error,
        CASE WHEN status = 'pending' THEN due_at END
    FROM done
),
counted AS (
    -- All workers lock the rows of counters, and below those of endpoints, in the same order.
    INSERT INTO webhook_tally AS t (outcome, tries)
    SELECT outcome, count(*) FROM done GROUP BY outcome ORDER BY outcome
    ON CONFLICT (outcome) DO UPDATE SET tries = t.tries + excluded.tries
),
answered AS (
    SELECT
        endpoint_id,
        bool_or(is_accepted) AS accepts_some,
        (array_agg(is_accepted ORDER BY place DESC))[1] AS accepts,
        bool_or(is_accepted AND session_id IS NULL) AS accepts_test,
        bool_or(gone) AS is_gone,
        max(pause_s) AS pause_s
    FROM done
    WHERE outcome <> 'lapsed'
    GROUP BY endpoint_id
),
judged AS (
    SELECT
        e.endpoint_id, a.accepts_test, a.pause_s,
        CASE
            WHEN a.accepts THEN NULL
            WHEN a.accepts_some THEN now()
            ELSE coalesce(e.failing_since, now())
        END AS failing_since,
        CASE
            WHEN a.is_gone THEN 'it answered 410 Gone'
            WHEN NOT a.accepts_some AND e.failing_since <= now() - make_interval(secs => %(give_up_s)s)
                THEN 'every try has failed since ' || to_char(e.failing_since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')
        END AS reason
    FROM webhook_endpoints AS e
    JOIN answered AS a USING (endpoint_id)
    -- A success does not write an endpoint that has not failed, so usually no transaction waits for the endpoint's row.
    WHERE NOT a.accepts OR e.failing_since IS NOT NULL OR e.resumes_at IS NOT NULL
    ORDER BY e.endpoint_id
    FOR UPDATE OF e
)
UPDATE webhook_endpoints AS e
SET failing_since = judged.failing_since,
    resumes_at = CASE WHEN NOT judged.accepts_test THEN greatest(
        CASE WHEN e.resumes_at > now() THEN e.resumes_at END,
        now() + make_interval(secs => judged.pause_s),
        CASE WHEN judged.failing_since IS NOT NULL THEN
            now() + least(%(pause_share)s * (now() - judged.failing_since), make_interval(secs => %(longest_pause_s)s))
        END
    ) END,
    enabled = e.enabled AND judged.reason IS NULL,
    disabled_reason = CASE WHEN e.enabled THEN judged.reason ELSE e.disabled_reason END
FROM judged
WHERE e.endpoint_id = judged.endpoint_id
RETURNING e.endpoint_id::text, judged.reason;

-- name: prune
-- Delete one page of deliveries of any status that are older than the log. Returns no row if nothing was deleted.
WITH page AS (
    DELETE FROM webhook_deliveries
    WHERE delivery_id IN (
        SELECT delivery_id FROM webhook_deliveries
        WHERE created_at < now() - make_interval(days => %(days)s)
        LIMIT 5000
    )
    RETURNING 1
)
SELECT count(*) FROM page HAVING count(*) > 0;

-- name: prune_secrets_and_answers
-- Delete expired secrets, and saved answers that are older than a day.
WITH old AS (DELETE FROM webhook_answers WHERE created_at < now() - interval '1 day')
DELETE FROM webhook_secrets WHERE expires_at < now();

-- name: measure
-- A failing endpoint gets one message at a time, so its messages are due for a long time although workers are fast enough.
SELECT
    (SELECT count(*) FROM (
        SELECT FROM webhook_endpoints AS e
        CROSS JOIN LATERAL (
            SELECT FROM webhook_deliveries AS d WHERE d.endpoint_id = e.endpoint_id AND d.status = 'pending' LIMIT 100000
        ) AS d
        WHERE e.enabled LIMIT 100000
    ) AS waiting),
    (SELECT coalesce(extract(epoch FROM now() - min(d.due_at)), 0)::float8
        FROM webhook_endpoints AS e
        CROSS JOIN LATERAL (
            SELECT due_at FROM webhook_deliveries AS d
            WHERE d.endpoint_id = e.endpoint_id AND d.status = 'pending'
            ORDER BY d.due_at, d.sequence LIMIT 1
        ) AS d
        WHERE e.enabled AND e.failing_since IS NULL AND d.due_at < now()),
    (SELECT count(*) FROM webhook_endpoints WHERE NOT enabled),
    (SELECT coalesce(jsonb_object_agg(outcome, tries), '{}') FROM webhook_tally);

-- name: lock_endpoint_count
-- Serialise the transactions that create endpoints, so that concurrent transactions cannot exceed the maximum number.
SELECT pg_advisory_xact_lock(hashtext('synckairos webhook endpoints'), hashtext(%(tenant)s));

-- name: count_endpoints
SELECT count(*) FROM webhook_endpoints WHERE tenant = %(tenant)s;

-- name: create_endpoint
INSERT INTO webhook_endpoints (tenant, endpoint_id, url, description, event_types, metadata, snapshots)
VALUES (%(tenant)s, %(endpoint_id)s, %(url)s, %(description)s, %(event_types)s, %(metadata)s, %(snapshots)s);

-- name: read_endpoints
-- One endpoint. If endpoint_id is null, all endpoints, oldest first.
SELECT
    endpoint_id::text, url, description, event_types, metadata, snapshots, enabled, disabled_reason, failing_since,
    created_at, updated_at
FROM webhook_endpoints
WHERE tenant = %(tenant)s AND (%(endpoint_id)s::uuid IS NULL OR endpoint_id = %(endpoint_id)s::uuid)
ORDER BY created_at, endpoint_id;

-- name: update_endpoint
-- Null parameters leave their column unchanged. Enabling an endpoint or changing its URL clears its failures.
UPDATE webhook_endpoints
SET url = coalesce(%(url)s::text, url),
    description = coalesce(%(description)s::text, description),
    event_types = CASE WHEN %(sets_event_types)s THEN %(event_types)s::text[] ELSE event_types END,
    metadata = CASE WHEN %(sets_metadata)s THEN %(metadata)s::jsonb ELSE metadata END,
    snapshots = coalesce(%(snapshots)s::boolean, snapshots),
    enabled = coalesce(%(enabled)s::boolean, enabled),
    disabled_reason = CASE WHEN %(enabled)s::boolean THEN NULL WHEN NOT %(enabled)s::boolean THEN 'by request' ELSE disabled_reason END,
    failing_since = CASE WHEN %(enabled)s::boolean OR %(url)s::text <> url THEN NULL ELSE failing_since END,
    resumes_at = CASE WHEN %(enabled)s::boolean OR %(url)s::text <> url THEN NULL ELSE resumes_at END,
    updated_at = now()
WHERE tenant = %(tenant)s AND endpoint_id = %(endpoint_id)s
RETURNING endpoint_id;

-- name: add_secret
INSERT INTO webhook_secrets (tenant, endpoint_id, secret) VALUES (%(tenant)s, %(endpoint_id)s, %(secret)s);

-- name: expire_secrets
-- Let the existing secrets expire after at most overlap_s seconds. Until then messages are also signed with them.
UPDATE webhook_secrets SET expires_at = least(expires_at, now() + make_interval(secs => %(overlap_s)s))
WHERE tenant = %(tenant)s AND endpoint_id = %(endpoint_id)s;

-- name: delete_endpoint
DELETE FROM webhook_endpoints WHERE tenant = %(tenant)s AND endpoint_id = %(endpoint_id)s;

-- name: delete_deliveries
DELETE FROM webhook_deliveries WHERE tenant = %(tenant)s AND endpoint_id = %(endpoint_id)s;

-- name: enqueue_test
INSERT INTO webhook_deliveries (tenant, delivery_id, endpoint_id, event_type)
VALUES (%(tenant)s, gen_random_uuid(), %(endpoint_id)s, %(event_type)s)
RETURNING delivery_id::text;

-- name: requeue
-- Make a delivery due now and restart its schedule of attempts. A leased delivery is not changed.
UPDATE webhook_deliveries
SET status = 'pending', tries = 0, due_at = now(), finished_at = NULL
WHERE tenant = %(tenant)s AND endpoint_id = %(endpoint_id)s AND delivery_id = %(delivery_id)s
    AND (leased_until IS NULL OR leased_until <= now());

-- name: read_deliveries
-- Deliveries, newest first, each with its attempts in order.
SELECT
    d.delivery_id::text, d.sequence, d.session_id::text, d.epoch, d.version, d.event_type, d.status, d.created_at,
    CASE WHEN d.status = 'pending' THEN d.due_at END,
    ARRAY(
        SELECT ROW(a.attempt, a.at, a.duration_ms, a.status_code, a.error, a.next_try_at)
        FROM webhook_attempts AS a WHERE a.delivery_id = d.delivery_id ORDER BY a.attempt
    )
FROM webhook_deliveries AS d
WHERE d.tenant = %(tenant)s AND d.endpoint_id = %(endpoint_id)s AND d.sequence < %(before)s
    AND (%(status)s::text IS NULL OR d.status = %(status)s)
    AND (%(delivery_id)s::uuid IS NULL OR d.delivery_id = %(delivery_id)s::uuid)
ORDER BY d.sequence DESC
LIMIT %(limit)s;

-- name: reserve_answer
-- A concurrent request with the same key waits here until this transaction ends.
INSERT INTO webhook_answers (tenant, key, fingerprint) VALUES (%(tenant)s, %(key)s, %(fingerprint)s)
ON CONFLICT DO NOTHING
RETURNING key;

-- name: read_answer
SELECT fingerprint, body FROM webhook_answers WHERE tenant = %(tenant)s AND key = %(key)s;

-- name: save_answer
UPDATE webhook_answers SET body = %(body)s WHERE tenant = %(tenant)s AND key = %(key)s;
