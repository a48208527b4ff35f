-- online: each paragraph is a transaction of its own, and can run again.
--
-- Tenants, first phase: each row names its tenant. Rows of earlier releases belong to the tenant default, and also rows
-- that earlier releases write later, because they do not name the column. A column with a constant default does not
-- rewrite the table. Earlier releases and this release can run at the same time, because the keys without a tenant
-- stay. In the second phase `synckairos migrate` removes these keys, and forces row-level security
-- (synckairos/postgres/tenant_fence.py).

ALTER TABLE sync_events ADD COLUMN IF NOT EXISTS tenant text NOT NULL DEFAULT 'default';

ALTER TABLE sync_sessions ADD COLUMN IF NOT EXISTS tenant text NOT NULL DEFAULT 'default';

ALTER TABLE sync_participants ADD COLUMN IF NOT EXISTS tenant text NOT NULL DEFAULT 'default';

ALTER TABLE sync_conflicts ADD COLUMN IF NOT EXISTS tenant text NOT NULL DEFAULT 'default';

ALTER TABLE sync_charges ADD COLUMN IF NOT EXISTS tenant text NOT NULL DEFAULT 'default';

ALTER TABLE sync_further_charges ADD COLUMN IF NOT EXISTS tenant text NOT NULL DEFAULT 'default';

ALTER TABLE sync_archives ADD COLUMN IF NOT EXISTS tenant text NOT NULL DEFAULT 'default';

ALTER TABLE webhook_endpoints ADD COLUMN IF NOT EXISTS tenant text NOT NULL DEFAULT 'default';

ALTER TABLE webhook_secrets ADD COLUMN IF NOT EXISTS tenant text NOT NULL DEFAULT 'default';

ALTER TABLE webhook_deliveries ADD COLUMN IF NOT EXISTS tenant text NOT NULL DEFAULT 'default';

ALTER TABLE webhook_attempts ADD COLUMN IF NOT EXISTS tenant text NOT NULL DEFAULT 'default';

ALTER TABLE webhook_answers ADD COLUMN IF NOT EXISTS tenant text NOT NULL DEFAULT 'default';

ALTER TABLE background_jobs ADD COLUMN IF NOT EXISTS tenant text NOT NULL DEFAULT 'default';

-- The tenant of the transaction. Without a tenant it raises, so that a transaction without a tenant reads nothing.
CREATE OR REPLACE FUNCTION synckairos_tenant() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    IF coalesce(current_setting('synckairos.tenant', true), '') = '' THEN
        RAISE EXCEPTION 'this transaction names no tenant' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN current_setting('synckairos.tenant');
END
$$;

-- As the function of the same name without a tenant, which earlier releases use.
CREATE OR REPLACE FUNCTION sync_document(
    of_tenant text, of_session uuid, of_epoch text, of_version bigint
) RETURNS bytea
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    document bytea;
    body     bytea;
    after    bytea;
    numbers  bigint[];
    line     integer;  -- bytes of the line of numbers with its end
    copied   bigint;   -- bytes of the document that are copied
    taken    bigint;   -- bytes of the body that are copied
BEGIN
    FOR body IN
        SELECT e.snapshot || ''::bytea -- read from disk and decompressed once
        FROM sync_events AS t
        JOIN sync_events AS e
            ON e.tenant = t.tenant AND e.session_id = t.session_id AND e.epoch = t.epoch
            AND e.version BETWEEN coalesce(t.whole_version, t.version) AND t.version
        WHERE t.tenant = of_tenant AND t.session_id = of_session AND t.epoch = of_epoch AND t.version = of_version
        ORDER BY e.version
    LOOP
        IF document IS NULL THEN
            document := body;
            CONTINUE;
        END IF;
        line := position('\x0a'::bytea IN body);
        numbers := string_to_array(rtrim(convert_from(substring(body FROM 1 FOR line - 1), 'UTF8')), ' ')::bigint[];
        IF numbers[1] <> length(document) THEN
            RAISE EXCEPTION 'the splices of a version before % are for another document', of_version;
        END IF;
        after := ''::bytea;
        copied := 0;
        taken := line;
        FOR at IN 2 .. cardinality(numbers) BY 3 LOOP
            after := after
                || substring(document FROM copied::integer + 1 FOR (numbers[at] - copied)::integer)
                || substring(body FROM taken::integer + 1 FOR numbers[at + 2]::integer);
            copied := numbers[at] + numbers[at + 1];
            taken := taken + numbers[at + 2];
        END LOOP;
        document := after || substring(document FROM copied::integer + 1);
    END LOOP;
    RETURN document;
END
$$;

-- All charges. A function instead of a view, because a view would read the rows with the rights of its owner. Postgres
-- plans the statement of the function as a part of the query.
CREATE OR REPLACE FUNCTION sync_every_charge() RETURNS TABLE (
    tenant text, session_id uuid, epoch text, version bigint, participant_id uuid, began_at timestamptz,
    ended_at timestamptz, is_void boolean
)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT c.tenant, c.session_id, c.epoch, c.version, c.participant_id, c.began_at, c.ended_at, c.is_void
    FROM sync_charges AS c
    UNION ALL
    SELECT f.tenant, f.session_id, f.epoch, f.version, f.participant_id, f.began_at, f.ended_at, c.is_void
    FROM sync_further_charges AS f
    JOIN sync_charges AS c USING (tenant, session_id, epoch, version, participant_id)
$$;

-- The labels of sessions, one row each. The comparison of jsonb values is not leak-proof, so row-level security does not
-- use the index sync_sessions_by_label. A trigger keeps the rows up to date, also for the drain of an earlier release.
CREATE TABLE IF NOT EXISTS sync_labels (
    tenant     text        NOT NULL,
    name       text        NOT NULL,
    value      text        NOT NULL,
    created_at timestamptz NOT NULL,
    session_id uuid        NOT NULL,
    PRIMARY KEY (tenant, name, value, created_at, session_id)
);
CREATE INDEX IF NOT EXISTS sync_labels_by_session ON sync_labels (tenant, session_id);

-- A login of an earlier release that may write sessions may also write their labels.
DO $$
DECLARE
    login record;
BEGIN
    FOR login IN
        SELECT DISTINCT acl.grantee::regrole AS name
        FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        WHERE c.oid = 'sync_sessions'::regclass AND acl.privilege_type = 'INSERT' AND acl.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON sync_labels TO %s', login.name);
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION sync_keep_labels() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM sync_labels WHERE tenant = OLD.tenant AND session_id = OLD.session_id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO sync_labels (tenant, name, value, created_at, session_id)
        SELECT NEW.tenant, l.key, l.value, NEW.created_at, NEW.session_id FROM jsonb_each_text(NEW.labels) AS l
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER sync_sessions_insert_labels AFTER INSERT ON sync_sessions
    FOR EACH ROW WHEN (NEW.labels <> '{}') EXECUTE FUNCTION sync_keep_labels();
CREATE OR REPLACE TRIGGER sync_sessions_update_labels AFTER UPDATE ON sync_sessions
    FOR EACH ROW WHEN ((OLD.labels, OLD.created_at) IS DISTINCT FROM (NEW.labels, NEW.created_at))
    EXECUTE FUNCTION sync_keep_labels();
CREATE OR REPLACE TRIGGER sync_sessions_delete_labels AFTER DELETE ON sync_sessions
    FOR EACH ROW WHEN (OLD.labels <> '{}') EXECUTE FUNCTION sync_keep_labels();

INSERT INTO sync_labels (tenant, name, value, created_at, session_id)
SELECT s.tenant, l.key, l.value, s.created_at, s.session_id
FROM sync_sessions AS s CROSS JOIN LATERAL jsonb_each_text(s.labels) AS l
WHERE s.labels <> '{}'
ON CONFLICT DO NOTHING;

-- The keys of the second phase. An earlier release cannot write two rows with the same key, because its own keys have
-- the same columns without the tenant.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS sync_events_of_tenant
    ON sync_events (tenant, session_id, epoch, version);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS sync_sessions_of_tenant
    ON sync_sessions (tenant, session_id);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS sync_participants_of_tenant
    ON sync_participants (tenant, session_id, participant_id);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS sync_conflicts_of_tenant
    ON sync_conflicts (tenant, session_id, epoch, version, payload_hash);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS sync_charges_of_tenant
    ON sync_charges (tenant, session_id, epoch, version, participant_id);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS sync_further_charges_of_tenant
    ON sync_further_charges (tenant, session_id, epoch, version, participant_id, began_at);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS sync_archives_of_tenant
    ON sync_archives (tenant, session_id, created_at);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS webhook_answers_of_tenant
    ON webhook_answers (tenant, key);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS background_jobs_once_of_tenant
    ON background_jobs (tenant, once) WHERE status IN ('queued', 'running');

-- The indexes of queries of one tenant.
CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_events_trail_of_tenant
    ON sync_events (tenant, session_id, occurred_at, version, epoch);

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_events_running_of_tenant
    ON sync_events (tenant, running_participant_id, session_id, occurred_at) WHERE running_participant_id IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_events_paused_of_tenant
    ON sync_events (tenant, session_id, occurred_at, version) WHERE status = 'paused';

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_events_commands_of_tenant
    ON sync_events (tenant, session_id, occurred_at) WHERE command_id IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_sessions_listed_of_tenant
    ON sync_sessions (tenant, created_at, session_id) WHERE deleted_at IS NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_participants_history_of_tenant
    ON sync_participants (tenant, participant_id, began_at, session_id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_charges_by_participant_of_tenant
    ON sync_charges (tenant, participant_id, ended_at);

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_further_charges_by_participant_of_tenant
    ON sync_further_charges (tenant, participant_id, ended_at);

CREATE INDEX CONCURRENTLY IF NOT EXISTS webhook_endpoints_of_tenant
    ON webhook_endpoints (tenant, created_at, endpoint_id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS background_jobs_of_tenant
    ON background_jobs (tenant, job_id);

-- One index for each status. The comparison of enum values is not leak-proof, so row-level security would not compare
-- the status in an index. The condition of an index is not concerned.
CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_sessions_pending
    ON sync_sessions (tenant, created_at, session_id) WHERE status = 'pending' AND deleted_at IS NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_sessions_running
    ON sync_sessions (tenant, created_at, session_id) WHERE status = 'running' AND deleted_at IS NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_sessions_paused
    ON sync_sessions (tenant, created_at, session_id) WHERE status = 'paused' AND deleted_at IS NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_sessions_expired
    ON sync_sessions (tenant, created_at, session_id) WHERE status = 'expired' AND deleted_at IS NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_sessions_completed
    ON sync_sessions (tenant, created_at, session_id) WHERE status = 'completed' AND deleted_at IS NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_sessions_cancelled
    ON sync_sessions (tenant, created_at, session_id) WHERE status = 'cancelled' AND deleted_at IS NULL;
