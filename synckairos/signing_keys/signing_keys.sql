-- name: lock_tenant
-- Serialise the transactions that add keys of one tenant, so that the maximum number holds and no kid is added twice.
SELECT pg_advisory_xact_lock(hashtext('synckairos signing keys'), hashtext(%(tenant)s));

-- name: find_request
SELECT signing_key_id, sequence, tenant, kid, algorithm, pem, issuer, created_at, created_by, request_fingerprint
FROM sync_signing_keys
WHERE tenant = %(tenant)s AND request_id = %(request_id)s;

-- name: delete_removed
DELETE FROM sync_signing_keys
WHERE tenant = %(tenant)s
    AND removed_at < to_timestamp(%(now_ms)s::double precision / 1000) - interval '1 day';

-- name: count
SELECT count(*), count(*) FILTER (WHERE kid = %(kid)s)
FROM sync_signing_keys
WHERE tenant = %(tenant)s AND removed_at IS NULL;

-- name: add
INSERT INTO sync_signing_keys (
    signing_key_id, tenant, kid, algorithm, pem, issuer, created_at, created_by, request_id, request_fingerprint
)
VALUES (
    %(signing_key_id)s, %(tenant)s, %(kid)s, %(algorithm)s, %(pem)s, %(issuer)s,
    to_timestamp(%(now_ms)s::double precision / 1000), %(created_by)s, %(request_id)s, %(request_fingerprint)s
)
RETURNING signing_key_id, sequence, tenant, kid, algorithm, pem, issuer, created_at, created_by;

-- name: read_page
SELECT signing_key_id, sequence, tenant, kid, algorithm, pem, issuer, created_at, created_by
FROM sync_signing_keys
WHERE tenant = %(tenant)s AND removed_at IS NULL AND sequence < %(before)s
ORDER BY sequence DESC
LIMIT %(limit)s;

-- name: read_all
SELECT signing_key_id, sequence, tenant, kid, algorithm, pem, issuer, created_at, created_by
FROM sync_signing_keys
WHERE removed_at IS NULL;

-- name: remove
-- A key that was removed already keeps its instant, so that its removal is announced with the same entry again.
UPDATE sync_signing_keys
SET removed_at = coalesce(removed_at, to_timestamp(%(now_ms)s::double precision / 1000))
WHERE tenant = %(tenant)s AND signing_key_id = %(signing_key_id)s
RETURNING removed_at;
