-- Members: the role of a subject on a resource, which is a session (its id) or all sessions with a label
-- (`label:<key>=<value>`). Each change of a tenant's members raises the revision of the tenant, so that an instance
-- finds a change that was not announced.
CREATE TABLE sync_members (
    tenant      text NOT NULL,
    subject     text NOT NULL COLLATE "C",
    resource    text NOT NULL COLLATE "C",
    role        text NOT NULL CHECK (role IN ('viewer', 'participant', 'controller')),
    PRIMARY KEY (tenant, subject, resource)
);

CREATE INDEX sync_members_by_resource ON sync_members (tenant, resource, subject);

CREATE TABLE sync_member_revisions (
    tenant      text PRIMARY KEY,
    revision    bigint NOT NULL
);

-- A database whose tenants are separated already stays separated. `synckairos migrate` separates all others.
DO $$
DECLARE
    name text;
BEGIN
    IF NOT (SELECT relforcerowsecurity FROM pg_class WHERE oid = to_regclass('sync_events')) THEN
        RETURN;
    END IF;
    FOREACH name IN ARRAY ARRAY['sync_members', 'sync_member_revisions'] LOOP
        EXECUTE format(
            'CREATE POLICY synckairos_server ON %1$I TO synckairos_server'
            ' USING (tenant = (SELECT synckairos_tenant())) WITH CHECK (tenant = (SELECT synckairos_tenant()))', name
        );
        EXECUTE format(
            'CREATE POLICY synckairos_worker ON %1$I TO synckairos_worker USING (true) WITH CHECK (true)', name
        );
        EXECUTE format('ALTER TABLE %1$I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    END LOOP;
END
$$;
