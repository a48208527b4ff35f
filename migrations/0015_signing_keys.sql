-- Signing keys: public keys of a tenant that verify tokens. The row of a removed key stays for a day, so that a removal
-- can be announced again. Each instance holds the rows in memory.
CREATE TABLE sync_signing_keys (
    signing_key_id      uuid        PRIMARY KEY,
    sequence            bigint      GENERATED ALWAYS AS IDENTITY,
    tenant              text        NOT NULL,
    kid                 text        NOT NULL,
    algorithm           text        NOT NULL,
    pem                 text        NOT NULL,
    issuer              text,
    created_at          timestamptz NOT NULL DEFAULT now(),
    created_by          text        NOT NULL,
    removed_at          timestamptz,
    request_id          text,
    request_fingerprint text
);

CREATE UNIQUE INDEX sync_signing_keys_by_kid ON sync_signing_keys (tenant, kid) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX sync_signing_keys_by_request ON sync_signing_keys (tenant, request_id);
CREATE INDEX sync_signing_keys_by_tenant ON sync_signing_keys (tenant, sequence);
