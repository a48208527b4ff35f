-- Revocations, as copies of the entries of the control channel in Redis. After data loss in Redis they are added again.
-- A row can be removed when no credential that it selects can still be valid.
CREATE TABLE sync_revocations (
    entry      bytea       PRIMARY KEY,
    tenant     text        NOT NULL,
    at         timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE INDEX sync_revocations_by_expiry ON sync_revocations (expires_at);
