-- name: lock_tenant
-- Serialise the changes of one tenant, so that the maximum number of a subject holds and revisions follow each other.
SELECT pg_advisory_xact_lock(hashtext('synckairos members'), hashtext(%(tenant)s));

-- name: put
-- Return the subjects of the rows that were added or whose role has changed.
WITH changed AS (
    INSERT INTO sync_members AS present (tenant, subject, resource, role)
    SELECT %(tenant)s, subject, resource, role
    FROM unnest(%(subjects)s::text[], %(resources)s::text[], %(roles)s::text[]) AS new (subject, resource, role)
    ON CONFLICT (tenant, subject, resource) DO UPDATE SET role = excluded.role WHERE present.role <> excluded.role
    RETURNING subject
)
SELECT DISTINCT subject FROM changed;

-- name: find_subject_over_limit
SELECT subject
FROM sync_members
WHERE tenant = %(tenant)s AND subject = ANY(%(subjects)s)
GROUP BY subject
HAVING count(*) > %(max_rows)s
ORDER BY subject
LIMIT 1;

-- name: delete
DELETE FROM sync_members
WHERE tenant = %(tenant)s AND subject = %(subject)s AND resource = %(resource)s
RETURNING subject;

-- name: raise_revision
INSERT INTO sync_member_revisions AS present (tenant, revision)
VALUES (%(tenant)s, 1)
ON CONFLICT (tenant) DO UPDATE SET revision = present.revision + 1
RETURNING revision;

-- name: read_revision
SELECT revision FROM sync_member_revisions WHERE tenant = %(tenant)s;

-- name: read_revisions
SELECT tenant, revision FROM sync_member_revisions WHERE tenant = ANY(%(tenants)s);

-- name: read_page
SELECT subject, resource, role
FROM sync_members
WHERE tenant = %(tenant)s AND (subject, resource) > (%(after_subject)s, %(after_resource)s)
ORDER BY subject, resource
LIMIT %(limit)s;

-- name: read_page_of_subject
SELECT subject, resource, role
FROM sync_members
WHERE tenant = %(tenant)s AND subject = %(subject)s AND resource > %(after_resource)s
ORDER BY resource
LIMIT %(limit)s;

-- name: read_page_of_resource
SELECT subject, resource, role
FROM sync_members
WHERE tenant = %(tenant)s AND resource = %(resource)s AND subject > %(after_subject)s
ORDER BY subject
LIMIT %(limit)s;

-- name: read_one
SELECT subject, resource, role
FROM sync_members
WHERE tenant = %(tenant)s AND subject = %(subject)s AND resource = %(resource)s;

-- name: read_sets
-- The revision and the rows are of one snapshot. Without rows, the only row has nulls in place of a member.
SELECT present.revision, member.subject, member.resource, member.role
FROM (
    SELECT coalesce((SELECT revision FROM sync_member_revisions WHERE tenant = %(tenant)s), 0) AS revision
) AS present
LEFT JOIN sync_members AS member ON member.tenant = %(tenant)s AND member.subject = ANY(%(subjects)s)
ORDER BY member.subject, member.resource
LIMIT %(limit)s;

-- name: names_resource
SELECT EXISTS (SELECT FROM sync_members WHERE tenant = %(tenant)s AND resource = ANY(%(resources)s));
