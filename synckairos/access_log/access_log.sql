-- name: add_act
INSERT INTO sync_access (tenant, entry, at, kind, subject, role, address, action, target, status)
VALUES (
    %(tenant)s, 'act', to_timestamp(%(at_ms)s::double precision / 1000), %(kind)s, %(subject)s, %(role)s, %(address)s,
    %(action)s, %(target)s, %(status)s
)

-- name: add_refusals
-- Several instances count refusals of one address in one minute. Each instance adds its number to the same row.
INSERT INTO sync_access (tenant, entry, at, address, reason, count)
VALUES (
    %(tenant)s, 'refusal', to_timestamp(%(at_ms)s::double precision / 1000), %(address)s, %(reason)s, %(count)s
)
ON CONFLICT (tenant, address, reason, at) WHERE entry = 'refusal' DO UPDATE
SET count = sync_access.count + excluded.count

-- name: read_page
SELECT access_id, entry, at, kind, subject, role, address, action, target, status, reason, count
FROM sync_access
WHERE tenant = %(tenant)s AND access_id < %(before)s AND (%(entry)s::text IS NULL OR entry = %(entry)s)
ORDER BY access_id DESC
LIMIT %(limit)s

-- name: delete_old
DELETE FROM sync_access
WHERE access_id IN (
    SELECT access_id FROM sync_access WHERE at < now() - make_interval(days => %(days)s) ORDER BY at LIMIT 10000
)
