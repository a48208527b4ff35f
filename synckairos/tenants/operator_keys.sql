-- name: add
INSERT INTO sync_operator_keys (key_id, hash, label, created_at, expires_at)
VALUES (
    %(key_id)s, %(hash)s, %(label)s, now(),
    CASE WHEN %(ttl_s)s::double precision IS NULL THEN NULL ELSE now() + make_interval(secs => %(ttl_s)s) END
);

-- name: find
SELECT hash
FROM sync_operator_keys
WHERE key_id = %(key_id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: list
SELECT key_id, label, created_at, expires_at, revoked_at
FROM sync_operator_keys
ORDER BY created_at DESC, key_id;

-- name: revoke
UPDATE sync_operator_keys
SET revoked_at = coalesce(revoked_at, now())
WHERE key_id = %(key_id)s
RETURNING key_id;
