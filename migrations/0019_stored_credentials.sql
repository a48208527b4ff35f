-- Stored credentials: API keys, and later links and the tokens of their visitors. The row has the SHA-256 of the secret.
-- `previous_hash` is the secret before the last rotation, valid until `previous_until`. A credential ends together with
-- its parent. Rows of ended credentials stay for 90 days, as the access log does.
CREATE TABLE sync_credentials (
    credential_id       text        PRIMARY KEY,
    sequence            bigint      GENERATED ALWAYS AS IDENTITY,
    tenant              text        NOT NULL,
    kind                text        NOT NULL,
    principal_kind      text        NOT NULL,
    subject             text        NOT NULL,
    label               text,
    role                text        NOT NULL,
    grants              jsonb       NOT NULL,
    participant_id      text,
    parent_id           text,
    secret_hash         bytea       NOT NULL,
    previous_hash       bytea,
    previous_until      timestamptz,
    created_at          timestamptz NOT NULL,
    created_by          text        NOT NULL,
    expires_at          timestamptz,
    last_used_at        timestamptz,
    ended_at            timestamptz,
    request_id          text,
    request_fingerprint text,
    rotation_request_id text
);

CREATE UNIQUE INDEX sync_credentials_by_request ON sync_credentials (tenant, request_id);
CREATE INDEX sync_credentials_by_kind ON sync_credentials (tenant, kind, sequence);
CREATE INDEX sync_credentials_by_parent ON sync_credentials (parent_id) WHERE parent_id IS NOT NULL;
