-- Statements that compare the members of one tenant with the rows of a source, and apply the difference. The source is in
-- a temporary table that ends with the transaction, so that the statements also work through a transaction pooler.

-- name: create_source
CREATE TEMPORARY TABLE source_members (
    subject  text   NOT NULL COLLATE "C",
    resource text   NOT NULL COLLATE "C",
    role     text   NOT NULL,
    line     bigint NOT NULL
) ON COMMIT DROP;

-- name: create_changed_subjects
CREATE TEMPORARY TABLE changed_subjects (subject text NOT NULL COLLATE "C") ON COMMIT DROP;

-- name: copy_source
COPY pg_temp.source_members (subject, resource, role, line) FROM STDIN;

-- name: analyze_source
ANALYZE pg_temp.source_members;

-- name: delete_repeated_rows
DELETE FROM pg_temp.source_members
WHERE ctid IN (
    SELECT ctid
    FROM (
        SELECT ctid, row_number() OVER (PARTITION BY subject, resource, role ORDER BY line) AS occurrence
        FROM pg_temp.source_members
    ) AS numbered
    WHERE occurrence > 1
);

-- name: find_contradictions
-- The last line of each subject and resource that has several roles, and the number of such lines.
SELECT max(line), count(*) OVER ()
FROM pg_temp.source_members
GROUP BY subject, resource
HAVING count(*) > 1
ORDER BY 1
LIMIT %(limit)s;

-- name: find_subjects_over_limit
-- The first line of each subject that has too many rows, and the number of such subjects.
SELECT min(line), count(*) OVER ()
FROM pg_temp.source_members
GROUP BY subject
HAVING count(*) > %(max_rows)s
ORDER BY 1
LIMIT %(limit)s;

-- name: compare
-- The number of members now, and the numbers of rows to add, to remove and to change.
SELECT
    count(present.subject), count(*) FILTER (WHERE present.subject IS NULL),
    count(*) FILTER (WHERE new.subject IS NULL), count(*) FILTER (WHERE present.role <> new.role)
FROM (SELECT subject, resource, role FROM sync_members WHERE tenant = %(tenant)s) AS present
FULL JOIN pg_temp.source_members AS new USING (subject, resource);

-- name: apply
-- Rows that do not change are not written. Keep the subjects whose members have changed in `changed_subjects`.
WITH removed AS (
    DELETE FROM sync_members AS present
    WHERE tenant = %(tenant)s AND NOT EXISTS (
        SELECT FROM pg_temp.source_members AS new
        WHERE new.subject = present.subject AND new.resource = present.resource
    )
    RETURNING subject
),
put AS (
    INSERT INTO sync_members AS present (tenant, subject, resource, role)
    SELECT %(tenant)s, new.subject, new.resource, new.role
    FROM pg_temp.source_members AS new
    WHERE NOT EXISTS (
        SELECT FROM sync_members AS kept
        WHERE kept.tenant = %(tenant)s AND kept.subject = new.subject AND kept.resource = new.resource
            AND kept.role = new.role
    )
    ON CONFLICT (tenant, subject, resource) DO UPDATE SET role = excluded.role
    RETURNING subject
)
INSERT INTO pg_temp.changed_subjects (subject)
SELECT subject FROM removed
UNION
SELECT subject FROM put;

-- name: changed_subjects
SELECT subject FROM pg_temp.changed_subjects;
