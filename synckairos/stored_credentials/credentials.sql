-- name: lock_tenant
-- Serialise the transactions that add credentials of one tenant, so that the maximum number holds.
SELECT pg_advisory_xact_lock(hashtext('synckairos credentials'), hashtext(%(tenant)s));

-- name: find_request
SELECT credential_id, sequence, tenant, kind, principal_kind, subject, label, role, grants, participant_id, parent_id,
    created_at, created_by, expires_at, last_used_at, request_fingerprint
FROM sync_credentials
WHERE tenant = %(tenant)s AND request_id = %(request_id)s;

-- name: delete_ended
DELETE FROM sync_credentials
WHERE tenant = %(tenant)s
    AND least(ended_at, expires_at) < to_timestamp(%(now_ms)s::double precision / 1000) - interval '90 days';

-- name: count
SELECT count(*)
FROM sync_credentials
WHERE tenant = %(tenant)s AND kind = %(kind)s AND coalesce(least(ended_at, expires_at), 'infinity') > to_timestamp(%(now_ms)s::double precision / 1000);

-- name: add
INSERT INTO sync_credentials (
    credential_id, tenant, kind, principal_kind, subject, label, role, grants, participant_id, parent_id, secret_hash,
    created_at, created_by, expires_at, request_id, request_fingerprint
)
VALUES (
    %(credential_id)s, %(tenant)s, %(kind)s, %(principal_kind)s, %(subject)s, %(label)s, %(role)s, %(grants)s::jsonb,
    %(participant_id)s, %(parent_id)s, %(secret_hash)s, to_timestamp(%(now_ms)s::double precision / 1000),
    %(created_by)s, to_timestamp(%(expires_at_ms)s::double precision / 1000), %(request_id)s, %(request_fingerprint)s
)
RETURNING credential_id, sequence, tenant, kind, principal_kind, subject, label, role, grants, participant_id,
    parent_id, created_at, created_by, expires_at, last_used_at;

-- name: read_page
SELECT credential_id, sequence, tenant, kind, principal_kind, subject, label, role, grants, participant_id, parent_id,
    created_at, created_by, expires_at, last_used_at
FROM sync_credentials
WHERE tenant = %(tenant)s AND kind = %(kind)s AND sequence < %(before)s
    AND coalesce(least(ended_at, expires_at), 'infinity') > to_timestamp(%(now_ms)s::double precision / 1000)
ORDER BY sequence DESC
LIMIT %(limit)s;

-- name: read_valid
-- The credentials that have not ended, with the secrets that are valid now. The caller compares the secrets.
SELECT credential_id, sequence, tenant, kind, principal_kind, subject, label, role, grants, participant_id, parent_id,
    created_at, created_by, expires_at, last_used_at, secret_hash,
    CASE WHEN previous_until > to_timestamp(%(now_ms)s::double precision / 1000) THEN previous_hash END
FROM sync_credentials
WHERE credential_id = ANY(%(credential_ids)s) AND coalesce(least(ended_at, expires_at), 'infinity') > to_timestamp(%(now_ms)s::double precision / 1000);

-- name: set_last_used
UPDATE sync_credentials
SET last_used_at = greatest(last_used_at, to_timestamp(%(now_ms)s::double precision / 1000))
WHERE credential_id = ANY(%(credential_ids)s);

-- name: find_rotation
SELECT rotation_request_id
FROM sync_credentials
WHERE tenant = %(tenant)s AND kind = %(kind)s AND credential_id = %(credential_id)s AND coalesce(least(ended_at, expires_at), 'infinity') > to_timestamp(%(now_ms)s::double precision / 1000)
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
RETURNING credential_id;

-- name: end_revoked
-- A revocation has an effect only for some time, so a worker also ends the stored credentials that it selects.
-- Administrators of a tenant cannot end keys of operators.
WITH RECURSIVE revoked AS (
    SELECT credential_id, to_timestamp(effective_at_ms::double precision / 1000) AS at
    FROM sync_credentials
    JOIN unnest(
        %(tenants)s::text[], %(credentials)s::text[], %(subjects)s::text[], %(are_for_all)s::boolean[],
        %(issued_before_ms)s::bigint[], %(effective_at_ms)s::bigint[]
    ) AS revocation (tenant, credential, subject, is_for_all, issued_before_ms, effective_at_ms) USING (tenant)
    WHERE kind <> 'operator' AND (
        split_part(sync_credentials.subject, ':', 1) = revocation.credential
        OR (
            (is_for_all OR principal_kind || ':' || sync_credentials.subject = revocation.subject)
            AND created_at < to_timestamp(issued_before_ms::double precision / 1000)
        )
    )
    UNION
    SELECT child.credential_id, revoked.at
    FROM sync_credentials AS child JOIN revoked ON child.parent_id = revoked.credential_id
),
earliest AS (SELECT credential_id, min(at) AS at FROM revoked GROUP BY credential_id)
UPDATE sync_credentials
SET ended_at = earliest.at
FROM earliest
WHERE sync_credentials.credential_id = earliest.credential_id AND coalesce(ended_at, 'infinity') > earliest.at;
