-- name: copy
-- A worker copies each entry of Redis. Entries that are already here stay as they are. Entries of deleted tenants are
-- not copied again.
INSERT INTO sync_revocations (entry, tenant, at, expires_at)
SELECT entry, tenant, to_timestamp(at_ms::double precision / 1000), to_timestamp(until_ms::double precision / 1000)
FROM unnest(%(entries)s::bytea[], %(tenants)s::text[], %(at_ms)s::bigint[], %(until_ms)s::bigint[])
    AS new (entry, tenant, at_ms, until_ms)
WHERE NOT EXISTS (SELECT FROM sync_tenants AS t WHERE t.name = new.tenant AND t.status = 'deleted')
ON CONFLICT (entry) DO NOTHING

-- name: read
SELECT entry FROM sync_revocations WHERE expires_at > to_timestamp(%(now_ms)s::double precision / 1000)
ORDER BY at LIMIT %(limit)s

-- name: delete_expired
DELETE FROM sync_revocations WHERE expires_at <= to_timestamp(%(now_ms)s::double precision / 1000)
