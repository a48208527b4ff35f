-- Statements that take over a database of SyncKairos v2. `{v2}` is the schema that has v2's tables when the statement
-- runs. `{place}` is the schema in which v2's tables were found. All statements of a takeover run in one transaction,
-- whose search_path is the schema in which the tables of this product are created.

-- name: find
-- The schema of v2's tables, if the name sync_sessions means v2's table, and the schema in which migrations create tables.
SELECT n.nspname, current_schema()
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass('sync_sessions')
    AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'final_status' AND NOT attisdropped)
    AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'epoch' AND NOT attisdropped)
    AND EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = to_regclass('sync_events') AND attname = 'state_snapshot' AND NOT attisdropped
    );

-- name: begin
CREATE SCHEMA synckairos_v2;
CREATE SCHEMA synckairos_new;
SET LOCAL client_min_messages = warning;
SET LOCAL timezone = 'UTC';
SET LOCAL search_path = synckairos_new;

-- name: ids
-- A page of the ids of v2's sessions, from all tables, because v2's audit has no foreign keys.
SELECT session_id::text
FROM (
    (SELECT DISTINCT session_id FROM {v2}.sync_events WHERE session_id > %(after)s::uuid
     ORDER BY session_id LIMIT %(limit)s)
    UNION
    (SELECT session_id FROM {v2}.sync_sessions WHERE session_id > %(after)s::uuid ORDER BY session_id LIMIT %(limit)s)
) AS known
ORDER BY session_id
LIMIT %(limit)s;

-- name: events
SELECT session_id::text, id::text, event_type, "timestamp", state_snapshot::text
FROM {v2}.sync_events
WHERE session_id = ANY(%(session_ids)s::uuid[])
ORDER BY session_id;

-- name: sessions
SELECT
    session_id::text, sync_mode::text, time_per_cycle_ms, increment_ms, max_time_ms, created_at, started_at,
    completed_at, final_status::text, metadata::text
FROM {v2}.sync_sessions
WHERE session_id = ANY(%(session_ids)s::uuid[]);

-- name: participants
SELECT session_id::text, participant_id::text, total_time_ms, group_id::text, total_cycles, total_time_active_ms
FROM {v2}.sync_participants
WHERE session_id = ANY(%(session_ids)s::uuid[])
ORDER BY session_id, added_at, participant_id;

-- name: changed
-- Sessions that v2 has written after their conversion. Each row of v2 was converted to one row, and a session without
-- rows also to one row, so the numbers of rows differ.
SELECT session_id::text
FROM (SELECT session_id, count(*) AS rows FROM {v2}.sync_events GROUP BY session_id) AS theirs
FULL JOIN {v2}.sync_sessions USING (session_id)
FULL JOIN (SELECT session_id, count(*) AS rows FROM sync_events GROUP BY session_id) AS ours USING (session_id)
WHERE ours.rows IS DISTINCT FROM coalesce(theirs.rows, 1);

-- name: lock
LOCK TABLE {v2}.sync_sessions, {v2}.sync_events IN ACCESS EXCLUSIVE MODE;

-- name: move
-- Move v2's tables and types to the schema synckairos_v2, and the tables of this product to their previous schema.
-- Indexes, constraints and owned sequences move with the tables.
DO $$
DECLARE
    place name := {place};
    moved record;
BEGIN
    FOR moved IN SELECT oid::regclass AS name FROM pg_class
        WHERE oid IN (to_regclass('{v2}.sync_sessions'), to_regclass('{v2}.sync_events'),
            to_regclass('{v2}.sync_participants'))
    LOOP
        EXECUTE format('ALTER TABLE %s SET SCHEMA synckairos_v2', moved.name);
    END LOOP;
    FOR moved IN SELECT oid::regtype AS name FROM pg_type
        WHERE oid IN (to_regtype('{v2}.sync_mode'), to_regtype('{v2}.sync_status'))
    LOOP
        EXECUTE format('ALTER TYPE %s SET SCHEMA synckairos_v2', moved.name);
    END LOOP;
    FOR moved IN SELECT relname AS name FROM pg_class
        WHERE relnamespace = 'synckairos_new'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
    LOOP
        EXECUTE format('ALTER TABLE synckairos_new.%I SET SCHEMA %I', moved.name, place);
    END LOOP;
    FOR moved IN SELECT typname AS name FROM pg_type
        WHERE typnamespace = 'synckairos_new'::regnamespace AND typtype IN ('e', 'd')
    LOOP
        EXECUTE format('ALTER TYPE synckairos_new.%I SET SCHEMA %I', moved.name, place);
    END LOOP;
    FOR moved IN SELECT oid::regprocedure AS name FROM pg_proc WHERE pronamespace = 'synckairos_new'::regnamespace
    LOOP
        EXECUTE format('ALTER ROUTINE %s SET SCHEMA %I', moved.name, place);
    END LOOP;
END
$$;
DROP SCHEMA synckairos_new;
-- Mark the present rows as taken over, and the rows that v2 will write as not taken over. The statements do not rewrite
-- the table.
ALTER TABLE synckairos_v2.sync_events ADD COLUMN taken_over boolean NOT NULL DEFAULT true;
ALTER TABLE synckairos_v2.sync_events ALTER COLUMN taken_over SET DEFAULT false;
CREATE INDEX sync_events_not_taken_over ON synckairos_v2.sync_events (session_id) WHERE NOT taken_over;

-- name: bridge
-- Let v2 continue to write to its tables, whose names now mean the tables of this product. A row without an epoch comes
-- from v2, and a trigger writes it to v2's table. The tables of this product get v2's columns, which are always null, so
-- that v2's statements stay valid.
DO $$
DECLARE
    place name := {place};
    bridged record;
    added record;
    role record;
    columns text;
    row_values text;
    updates text;
BEGIN
    FOR bridged IN
        SELECT b.name, b.key, format('%I.%I', place, b.name)::regclass AS ours,
            format('synckairos_v2.%I', b.name)::regclass AS theirs
        FROM (VALUES ('sync_sessions', 'session_id'), ('sync_events', NULL)) AS b (name, key)
    LOOP
        FOR added IN
            SELECT t.attname AS name, replace(format_type(t.atttypid, t.atttypmod), 'synckairos_v2.',
                quote_ident(place) || '.') AS type
            FROM pg_attribute AS t
            LEFT JOIN pg_attribute AS o ON o.attrelid = bridged.ours AND o.attname = t.attname
            WHERE t.attrelid = bridged.theirs AND t.attnum > 0 AND NOT t.attisdropped AND t.attname <> 'taken_over'
                AND o.attname IS NULL
        LOOP
            EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s', bridged.ours, added.name, added.type);
            EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', bridged.ours, added.name, 'bridge for v2');
        END LOOP;
        -- A column that v2's statement does not name is null here, and gets its default in v2's table.
        SELECT
            string_agg(quote_ident(t.attname), ', ' ORDER BY t.attnum),
            string_agg(format(
                CASE WHEN d.adbin IS NULL THEN '%s' ELSE 'coalesce(%s, %s)' END,
                format(CASE WHEN o.atttypid = t.atttypid THEN 'NEW.%I' ELSE 'NEW.%I::text::%s' END, t.attname,
                    format_type(t.atttypid, t.atttypmod)),
                pg_get_expr(d.adbin, d.adrelid)
            ), ', ' ORDER BY t.attnum),
            -- The columns of a session that v2 updates.
            string_agg(
                CASE WHEN t.attname = 'started_at' THEN 'started_at = coalesce(excluded.started_at, v2.started_at)'
                    ELSE format('%1$I = excluded.%1$I', t.attname)
                END, ', ' ORDER BY t.attnum)
                FILTER (WHERE t.attname NOT IN ('session_id', 'sync_mode', 'increment_ms', 'max_time_ms', 'created_at',
                    'total_participants', 'metadata'))
        INTO columns, row_values, updates
        FROM pg_attribute AS t
        JOIN pg_attribute AS o ON o.attrelid = bridged.ours AND o.attname = t.attname
        LEFT JOIN pg_attrdef AS d ON d.adrelid = t.attrelid AND d.adnum = t.attnum
        WHERE t.attrelid = bridged.theirs AND t.attnum > 0 AND NOT t.attisdropped AND t.attname <> 'taken_over';
        EXECUTE format(
            'CREATE FUNCTION synckairos_v2.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER '
            'SET search_path = pg_catalog, pg_temp AS %L',
            bridged.name || '_from_v2',
            format('BEGIN INSERT INTO %s AS v2 (%s) VALUES (%s)%s; RETURN NULL; END', bridged.theirs, columns,
                row_values, CASE WHEN bridged.key IS NULL THEN ''
                    ELSE format(' ON CONFLICT (%s) DO UPDATE SET %s', bridged.key, updates) END)
        );
        EXECUTE format(
            'CREATE TRIGGER from_v2 BEFORE INSERT ON %s FOR EACH ROW WHEN (NEW.epoch IS NULL) '
            'EXECUTE FUNCTION synckairos_v2.%I()',
            bridged.ours, bridged.name || '_from_v2'
        );
        FOR role IN
            SELECT DISTINCT acl.grantee::regrole AS name
            FROM pg_class AS c
            CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
            WHERE c.oid = bridged.theirs AND acl.privilege_type = 'INSERT' AND acl.grantee NOT IN (0, c.relowner)
        LOOP
            EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %s TO %s', bridged.ours, role.name);
        END LOOP;
    END LOOP;
END
$$;

-- name: is_taken_over
SELECT to_regclass('synckairos_v2.sync_events') IS NOT NULL;

-- name: not_taken_over
-- Sessions for which v2 wrote rows after the takeover.
SELECT DISTINCT session_id::text FROM synckairos_v2.sync_events WHERE NOT taken_over;

-- name: changed_here
-- The sessions of session_ids that this product changed after v2's rows.
SELECT DISTINCT session_id::text
FROM sync_events
WHERE session_id = ANY(%(session_ids)s::uuid[]) AND starts_with(epoch, %(v2_generation)s)
    AND command IS DISTINCT FROM %(command)s;

-- name: forget
-- The charges of all epochs are filled in again, because imports charge the difference to v2's rows.
WITH charges AS (DELETE FROM sync_charges WHERE session_id = ANY(%(session_ids)s::uuid[])),
further_charges AS (DELETE FROM sync_further_charges WHERE session_id = ANY(%(session_ids)s::uuid[])),
sessions AS (
    UPDATE sync_sessions SET charged_epoch = NULL, charged_version = NULL WHERE session_id = ANY(%(session_ids)s::uuid[])
)
DELETE FROM sync_events WHERE session_id = ANY(%(session_ids)s::uuid[]) AND starts_with(epoch, %(v2_generation)s);

-- name: mark
WITH marked AS (
    UPDATE synckairos_v2.sync_events SET taken_over = true
    WHERE id = ANY(%(event_ids)s::uuid[]) AND NOT taken_over
    RETURNING id
)
SELECT count(*) FROM marked;

-- name: counts
SELECT (SELECT count(*) FROM sync_sessions), (SELECT count(*) FROM sync_events);

-- name: keep_session
-- Insert or update the session row of a converted session. A session that was imported from v2's Redis, or created again,
-- is newer than its rows of v2 and stays.
INSERT INTO sync_sessions AS s (
    session_id, epoch, version, sync_mode, status, created_at, started_at, completed_at, updated_at, deleted_at, metadata
)
VALUES (
    %(session_id)s, %(epoch)s, %(version)s, %(sync_mode)s, %(status)s, %(created_at)s, %(started_at)s,
    %(completed_at)s, %(updated_at)s, NULL, %(metadata)s
)
ON CONFLICT (tenant, session_id) DO UPDATE SET
    epoch = excluded.epoch, version = excluded.version, sync_mode = excluded.sync_mode, status = excluded.status,
    created_at = excluded.created_at, started_at = excluded.started_at, completed_at = excluded.completed_at,
    updated_at = excluded.updated_at, metadata = excluded.metadata, archived = false
WHERE starts_with(s.epoch, %(v2_generation)s);

-- name: keep_participant
INSERT INTO sync_participants (
    session_id, participant_id, participant_index, group_id, began_at, left_at, time_used_ms, cycle_count
)
SELECT
    %(session_id)s, %(participant_id)s, %(participant_index)s, %(group_id)s, %(began_at)s, NULL, %(time_used_ms)s,
    %(cycle_count)s
WHERE EXISTS (
    SELECT FROM sync_sessions WHERE session_id = %(session_id)s AND starts_with(epoch, %(v2_generation)s)
)
ON CONFLICT (tenant, session_id, participant_id) DO UPDATE SET
    participant_index = excluded.participant_index, group_id = excluded.group_id, began_at = excluded.began_at,
    left_at = NULL, time_used_ms = excluded.time_used_ms, cycle_count = excluded.cycle_count;

-- name: unbridge
-- Remove the trigger and v2's columns, after v2 has stopped. Its tables stay in synckairos_v2 until the operator drops
-- the schema.
DO $$
DECLARE
    bridge record;
    added record;
BEGIN
    FOR bridge IN SELECT tgrelid::regclass AS name FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
        WHERE t.tgname = 'from_v2' AND p.pronamespace = 'synckairos_v2'::regnamespace AND t.tgparentid = 0
    LOOP
        EXECUTE format('DROP TRIGGER from_v2 ON %s', bridge.name);
        FOR added IN SELECT attname AS name FROM pg_attribute
            WHERE attrelid = bridge.name::regclass AND attnum > 0 AND NOT attisdropped
                AND col_description(attrelid, attnum) = 'bridge for v2'
        LOOP
            EXECUTE format('ALTER TABLE %s DROP COLUMN %I', bridge.name, added.name);
        END LOOP;
    END LOOP;
END
$$;
DROP FUNCTION IF EXISTS synckairos_v2.sync_sessions_from_v2(), synckairos_v2.sync_events_from_v2();
