-- Tenants that operators administer, and the keys of these operators. The tables are about tenants and belong to none.
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

-- Keys of operators, as SHA-256. The row of a revoked key stays.
CREATE TABLE sync_operator_keys (
    key_id     text        PRIMARY KEY,
    hash       bytea       NOT NULL,
    label      text        NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
