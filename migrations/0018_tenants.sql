-- Tenants that operators administer. The table is about tenants and belongs to none.
-- The row of a deleted tenant stays, so that its name stays refused. Each instance holds the rows in memory.
CREATE TABLE sync_tenants (
    name                text        PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    sequence            bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
    status              text        NOT NULL DEFAULT 'active'
        CHECK (status IN ('active', 'suspended', 'deleting', 'deleted')),
    revision            bigint      NOT NULL DEFAULT 1,
    description         text        NOT NULL DEFAULT '',
    limits              jsonb       NOT NULL DEFAULT '{}',
    origins             text[],
    created_at          timestamptz NOT NULL,
    created_by          text        NOT NULL,
    updated_at          timestamptz NOT NULL,
    request_id          text        UNIQUE,
    request_fingerprint text
);
