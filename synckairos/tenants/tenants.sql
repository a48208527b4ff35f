-- name: lock
-- Serialise the transactions that add tenants, so that the maximum number holds.
SELECT pg_advisory_xact_lock(hashtext('synckairos tenants'));

-- name: find_request
SELECT
    name, sequence, status, revision, description, limits, origins, created_at, created_by, updated_at,
    request_fingerprint
FROM sync_tenants
WHERE request_id = %(request_id)s;

-- name: count
SELECT count(*) FILTER (WHERE status <> 'deleted'), count(*) FILTER (WHERE name = %(name)s)
FROM sync_tenants;

-- name: add
INSERT INTO sync_tenants (
    name, description, limits, origins, created_at, created_by, updated_at, request_id, request_fingerprint
)
VALUES (
    %(name)s, %(description)s, %(limits)s, %(origins)s, to_timestamp(%(now_ms)s::double precision / 1000),
    %(created_by)s, to_timestamp(%(now_ms)s::double precision / 1000), %(request_id)s, %(request_fingerprint)s
)
RETURNING name, sequence, status, revision, description, limits, origins, created_at, created_by, updated_at;

-- name: read
SELECT name, sequence, status, revision, description, limits, origins, created_at, created_by, updated_at
FROM sync_tenants
WHERE name = %(name)s;

-- name: read_for_update
SELECT name, sequence, status, revision, description, limits, origins, created_at, created_by, updated_at
FROM sync_tenants
WHERE name = %(name)s
FOR UPDATE;

-- name: update
UPDATE sync_tenants
SET
    status = %(status)s, description = %(description)s, limits = %(limits)s, origins = %(origins)s,
    revision = revision + 1, updated_at = to_timestamp(%(now_ms)s::double precision / 1000)
WHERE name = %(name)s
RETURNING name, sequence, status, revision, description, limits, origins, created_at, created_by, updated_at;

-- name: read_page
SELECT name, sequence, status, revision, description, limits, origins, created_at, created_by, updated_at
FROM sync_tenants
WHERE sequence < %(before)s
ORDER BY sequence DESC
LIMIT %(limit)s;

-- name: read_all
SELECT name, sequence, status, revision, description, limits, origins, created_at, created_by, updated_at
FROM sync_tenants;

-- name: find_deletions
-- Tenants whose deletion was requested and has no open job. A job that failed is followed by another job after a while.
-- The rows of a deleted tenant are searched for one day, for rows that were written late.
SELECT
    t.name, t.status = 'deleting',
    t.status = 'deleting' OR (t.updated_at > now() - interval '1 day' AND {has_rows})
FROM sync_tenants AS t
WHERE t.status IN ('deleting', 'deleted') AND NOT EXISTS (
    SELECT FROM background_jobs AS j
    WHERE j.tenant = %(operator_tenant)s AND j.type = %(type)s AND j.params->>'tenant' = t.name AND (
        j.status IN ('queued', 'running') OR (j.status = 'failed' AND j.finished_at > now() - interval '10 minutes')
    )
);

-- name: is_fenced
-- Whether Postgres separates tenants: row-level security is forced on each table with a column for the tenant.
SELECT coalesce(bool_and(c.relforcerowsecurity), false) AND bool_or(c.relname = 'sync_events')
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
WHERE
    c.relkind IN ('r', 'p')
    AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('sync_migrations'));
