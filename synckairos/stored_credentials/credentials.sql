-- name: lock_tenant
-- Serialise the transactions that add credentials of one tenant, so that the maximum number holds.
SELECT pg_advisory_xact_lock(hashtext('synckairos credentials'), hashtext(%(tenant)s));

-- name: find_request
SELECT credential_id, sequence, tenant, kind, principal_kind, subject, label, role, grants, participant_id, parent_id,
    created_at, created_by, expires_at, last_used_at, session_id, max_uses, uses, idle_s, ends_at, issued_at,
    request_fingerprint
FROM sync_credentials
WHERE tenant = %(tenant)s AND request_id = %(request_id)s;

-- name: delete_ended
-- Links and session tokens always expire, and can be many. So they are found by the index of their expiry.
DELETE FROM sync_credentials
WHERE tenant = %(tenant)s AND credential_id IN (
    SELECT credential_id FROM sync_credentials
    WHERE tenant = %(tenant)s AND kind IN ('key', 'operator')
        AND least(ended_at, expires_at) < to_timestamp(%(now_ms)s::double precision / 1000) - interval '90 days'
    UNION ALL
    (
        SELECT credential_id FROM sync_credentials
        WHERE tenant = %(tenant)s AND kind = 'link'
            AND expires_at < to_timestamp(%(now_ms)s::double precision / 1000) - interval '90 days'
        ORDER BY expires_at LIMIT 100
    )
    UNION ALL
    (
        SELECT credential_id FROM sync_credentials
        WHERE tenant = %(tenant)s AND kind = 'login'
            AND expires_at < to_timestamp(%(now_ms)s::double precision / 1000) - interval '1 day'
        ORDER BY expires_at LIMIT 100
    )
    UNION ALL
    (
        SELECT credential_id FROM sync_credentials
        WHERE tenant = %(tenant)s AND kind = 'session'
            AND expires_at < to_timestamp(%(now_ms)s::double precision / 1000) - interval '1 day'
        ORDER BY expires_at LIMIT 100
    )
);

-- name: count
-- Session tokens are counted for each parent, other credentials for the tenant.
SELECT count(*)
FROM sync_credentials
WHERE tenant = %(tenant)s AND kind = %(kind)s AND (kind <> 'session' OR parent_id = %(parent_id)s)
    AND (expires_at IS NULL OR expires_at > to_timestamp(%(now_ms)s::double precision / 1000))
    AND (ended_at IS NULL OR ended_at > to_timestamp(%(now_ms)s::double precision / 1000));

-- name: count_links_of_creator
-- The number of valid links of the creator, the number of links below the topmost link above the new link, and the uses
-- that the link directly above it has left. Without a link above, the last two are 0 and NULL.
WITH RECURSIVE links AS MATERIALIZED (
    SELECT credential_id, parent_id, created_by, max_uses - uses AS uses_left
    FROM sync_credentials
    WHERE tenant = %(tenant)s AND kind = 'link'
        AND coalesce(least(ended_at, expires_at), 'infinity') > to_timestamp(%(now_ms)s::double precision / 1000)
),
above AS (
    SELECT credential_id, parent_id FROM links WHERE credential_id = %(parent_id)s
    UNION
    SELECT links.credential_id, links.parent_id FROM links JOIN above ON links.credential_id = above.parent_id
),
family AS (
    SELECT credential_id FROM above
    WHERE NOT EXISTS (SELECT FROM links WHERE links.credential_id = above.parent_id)
    UNION
    SELECT links.credential_id FROM links JOIN family ON links.parent_id = family.credential_id
)
SELECT (SELECT count(*) FROM links WHERE created_by = %(created_by)s),
    (SELECT greatest(count(*) - 1, 0) FROM family),
    (SELECT uses_left FROM links WHERE credential_id = %(parent_id)s);

-- name: lock_parent
-- The lock lets an end of the parent wait, so that it also ends the new child.
SELECT FROM sync_credentials
WHERE tenant = %(tenant)s AND credential_id = %(parent_id)s
    AND coalesce(least(ended_at, expires_at), 'infinity') > to_timestamp(%(now_ms)s::double precision / 1000)
FOR SHARE;

-- name: add
INSERT INTO sync_credentials (
    credential_id, tenant, kind, principal_kind, subject, label, role, grants, participant_id, parent_id, secret_hash,
    created_at, created_by, expires_at, request_id, request_fingerprint, session_id, max_uses, idle_s, ends_at,
    issued_at
)
VALUES (
    %(credential_id)s, %(tenant)s, %(kind)s, %(principal_kind)s, %(subject)s, %(label)s, %(role)s, %(grants)s::jsonb,
    %(participant_id)s, %(parent_id)s, %(secret_hash)s, to_timestamp(%(now_ms)s::double precision / 1000),
    %(created_by)s,
    -- A credential expires with its parent at the latest.
    least(
        to_timestamp(%(expires_at_ms)s::double precision / 1000),
        (SELECT expires_at FROM sync_credentials WHERE tenant = %(tenant)s AND credential_id = %(parent_id)s)
    ),
    %(request_id)s, %(request_fingerprint)s, %(session_id)s::uuid, %(max_uses)s, %(idle_s)s,
    to_timestamp(%(ends_at_ms)s::double precision / 1000), to_timestamp(%(issued_at_ms)s::double precision / 1000)
)
RETURNING credential_id, sequence, tenant, kind, principal_kind, subject, label, role, grants, participant_id,
    parent_id, created_at, created_by, expires_at, last_used_at, session_id, max_uses, uses, idle_s, ends_at, issued_at;

-- name: read_page
SELECT credential_id, sequence, tenant, kind, principal_kind, subject, label, role, grants, participant_id, parent_id,
    created_at, created_by, expires_at, last_used_at, session_id, max_uses, uses, idle_s, ends_at, issued_at
FROM sync_credentials
WHERE tenant = %(tenant)s AND kind = %(kind)s AND sequence < %(before)s
    AND coalesce(least(ended_at, expires_at), 'infinity') > to_timestamp(%(now_ms)s::double precision / 1000)
ORDER BY sequence DESC
LIMIT %(limit)s;

-- name: read_links_of_session
SELECT credential_id, sequence, tenant, kind, principal_kind, subject, label, role, grants, participant_id, parent_id,
    created_at, created_by, expires_at, last_used_at, session_id, max_uses, uses, idle_s, ends_at, issued_at
FROM sync_credentials
WHERE tenant = %(tenant)s AND session_id = %(session_id)s::uuid AND kind = 'link' AND sequence < %(before)s
    AND coalesce(least(ended_at, expires_at), 'infinity') > to_timestamp(%(now_ms)s::double precision / 1000)
ORDER BY sequence DESC
LIMIT %(limit)s;

-- name: names_resource
-- Only keys are read, at most 1,000 in a tenant: links have grants on sessions alone, and session tokens end with their
-- key. The clocks of Postgres and Redis differ, so that keys that have ended count for some minutes more.
SELECT EXISTS (
    SELECT FROM sync_credentials, jsonb_array_elements(grants) AS each_grant
    WHERE tenant = %(tenant)s AND kind = 'key'
        AND coalesce(least(ended_at, expires_at), 'infinity') > now() - interval '5 minutes'
        AND each_grant->'sessions' ?| %(resources)s::text[]
);

-- name: read_link_session
-- Also of a link that has ended, so that its end can be announced again.
SELECT session_id::text
FROM sync_credentials
WHERE tenant = %(tenant)s AND credential_id = %(credential_id)s AND kind = 'link';

-- name: read_valid
-- The credentials that have not ended, with the secrets that are valid now. The caller compares the secrets.
SELECT credential_id, sequence, tenant, kind, principal_kind, subject, label, role, grants, participant_id, parent_id,
    created_at, created_by, expires_at, last_used_at, session_id, max_uses, uses, idle_s, ends_at, issued_at,
    secret_hash,
    CASE WHEN previous_until > to_timestamp(%(now_ms)s::double precision / 1000) THEN previous_hash END
FROM sync_credentials
WHERE credential_id = ANY(%(credential_ids)s)
    AND coalesce(least(ended_at, expires_at), 'infinity') > to_timestamp(%(now_ms)s::double precision / 1000);

-- name: set_last_used
UPDATE sync_credentials
SET last_used_at = greatest(last_used_at, used.at),
    expires_at = CASE
        WHEN idle_s IS NULL THEN expires_at
        ELSE greatest(expires_at, least(ends_at, used.at + make_interval(secs => idle_s)))
    END
FROM (
    SELECT id, to_timestamp(at_ms::double precision / 1000) AS at
    FROM unnest(%(credential_ids)s::text[], %(used_at_ms)s::bigint[]) AS each (id, at_ms)
) AS used
WHERE credential_id = used.id;

-- name: redeem
-- One statement counts a use of the link and adds a session token, so that exactly `max_uses` calls get a token.
-- The tenant of a valid link is also in the result if the tenant or the page is not accepted. No use is counted then.
-- The statement also deletes a few session tokens of the tenant that expired more than a day ago.
WITH found AS (
    SELECT credential_id, tenant
    FROM sync_credentials
    WHERE credential_id = %(link_id)s AND kind IN ('link', 'login') AND secret_hash = %(link_hash)s AND uses < max_uses
        AND coalesce(least(ended_at, expires_at), 'infinity') > to_timestamp(%(now_ms)s::double precision / 1000)
),
taken AS (
    UPDATE sync_credentials AS link
    SET uses = uses + 1, last_used_at = greatest(last_used_at, to_timestamp(%(now_ms)s::double precision / 1000))
    FROM found LEFT JOIN sync_tenants ON sync_tenants.name = found.tenant
    WHERE link.credential_id = found.credential_id AND uses < max_uses
        AND coalesce(least(ended_at, expires_at), 'infinity') > to_timestamp(%(now_ms)s::double precision / 1000)
        AND (found.tenant = 'default' OR coalesce(status = 'active', NOT %(requires_registration)s::boolean))
        AND (
            %(page_tenants)s::text[] IS NULL
            OR (found.tenant = ANY(%(page_tenants)s::text[])) = %(are_allowed)s::boolean
        )
    RETURNING link.*
),
expired AS (
    DELETE FROM sync_credentials
    WHERE credential_id IN (
        SELECT old.credential_id FROM sync_credentials AS old
        WHERE old.tenant = (SELECT tenant FROM taken) AND old.kind = 'session'
            AND old.expires_at < to_timestamp(%(now_ms)s::double precision / 1000) - interval '1 day'
        ORDER BY old.expires_at LIMIT 10
        FOR UPDATE SKIP LOCKED
    )
),
planned AS (
    SELECT taken.*, to_timestamp(%(now_ms)s::double precision / 1000) AS at,
        CASE kind
            WHEN 'login' THEN to_timestamp(%(now_ms)s::double precision / 1000) + make_interval(secs => %(sign_in_life_s)s)
            ELSE expires_at
        END AS latest_end,
        CASE kind WHEN 'login' THEN %(sign_in_idle_s)s::integer ELSE %(link_idle_s)s::integer END AS token_idle_s
    FROM taken
),
added AS (
    INSERT INTO sync_credentials (
        credential_id, tenant, kind, principal_kind, subject, role, grants, participant_id, parent_id, secret_hash,
        created_at, created_by, expires_at, idle_s, ends_at, issued_at
    )
    SELECT %(token_id)s, tenant, 'session', 'link', credential_id || ':' || uses, role, grants, participant_id,
        credential_id, %(token_hash)s, at, 'link:' || credential_id,
        least(latest_end, at + make_interval(secs => token_idle_s)), token_idle_s, latest_end, created_at
    FROM planned
    RETURNING *
)
SELECT found.tenant, added.credential_id, sequence, added.tenant, kind, principal_kind, subject, label, role, grants,
    participant_id, parent_id, created_at, created_by, expires_at, last_used_at, session_id, max_uses, uses, idle_s,
    ends_at, issued_at, (SELECT session_id::text FROM taken)
FROM found LEFT JOIN added ON true;

-- name: find_rotation
SELECT rotation_request_id
FROM sync_credentials
WHERE tenant = %(tenant)s AND kind = %(kind)s AND credential_id = %(credential_id)s
    AND coalesce(least(ended_at, expires_at), 'infinity') > to_timestamp(%(now_ms)s::double precision / 1000)
FOR UPDATE;

-- name: rotate
UPDATE sync_credentials
SET previous_hash = secret_hash,
    previous_until = to_timestamp((%(now_ms)s + %(overlap_ms)s)::double precision / 1000),
    secret_hash = %(secret_hash)s,
    rotation_request_id = %(request_id)s
WHERE tenant = %(tenant)s AND credential_id = %(credential_id)s;

-- name: end
-- The result includes a credential that had ended before, so that its end can be announced again.
WITH RECURSIVE family AS (
    SELECT credential_id FROM sync_credentials
    WHERE tenant = %(tenant)s AND kind = %(kind)s AND credential_id = %(credential_id)s
    UNION
    SELECT child.credential_id
    FROM sync_credentials AS child JOIN family ON child.parent_id = family.credential_id
    WHERE child.tenant = %(tenant)s
)
UPDATE sync_credentials
SET ended_at = least(ended_at, to_timestamp(%(now_ms)s::double precision / 1000))
WHERE credential_id IN (SELECT credential_id FROM family)
RETURNING credential_id, kind;

-- name: end_revoked
-- A revocation has an effect only for some time, so a worker also ends the stored credentials that it selects.
-- Administrators of a tenant cannot end keys of operators.
-- The result has the keys and links that end only because they are below a selected credential, each with the number of
-- its revocation. Instances must be notified of them. It also has those that the same revocation has ended before.
WITH RECURSIVE revoked AS (
    SELECT credential_id, to_timestamp(effective_at_ms::double precision / 1000) AS at, number, true AS is_selected
    FROM sync_credentials
    JOIN unnest(
        %(tenants)s::text[], %(credentials)s::text[], %(subjects)s::text[], %(are_for_all)s::boolean[],
        %(issued_before_ms)s::bigint[], %(effective_at_ms)s::bigint[], %(token_ids)s::text[]
    ) WITH ORDINALITY AS revocation (
        tenant, credential, subject, is_for_all, issued_before_ms, effective_at_ms, token_id, number
    ) USING (tenant)
    WHERE kind <> 'operator' AND (
        split_part(sync_credentials.subject, ':', 1) = revocation.credential
        OR (kind = 'session' AND credential_id = revocation.token_id)
        OR (
            (is_for_all OR principal_kind || ':' || sync_credentials.subject = revocation.subject)
            AND coalesce(issued_at, created_at) < to_timestamp(issued_before_ms::double precision / 1000)
        )
    )
    UNION
    SELECT child.credential_id, revoked.at, revoked.number, false
    FROM sync_credentials AS child JOIN revoked ON child.parent_id = revoked.credential_id
),
earliest AS (
    SELECT DISTINCT ON (credential_id) credential_id, at, number, bool_or(is_selected) OVER family AS is_selected
    FROM revoked
    WINDOW family AS (PARTITION BY credential_id)
    ORDER BY credential_id, at, number
),
ended AS (
    UPDATE sync_credentials
    SET ended_at = earliest.at
    FROM earliest
    WHERE sync_credentials.credential_id = earliest.credential_id AND coalesce(ended_at, 'infinity') > earliest.at
)
SELECT number, credential_id
FROM earliest JOIN sync_credentials USING (credential_id)
WHERE NOT is_selected AND kind IN ('key', 'link') AND coalesce(least(ended_at, expires_at), 'infinity') >= at
ORDER BY number, credential_id;
