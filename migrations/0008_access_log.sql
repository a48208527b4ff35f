-- Access log: administrative acts, one row each, and refused requests, one row per address, reason and minute. Rows are
-- kept for 90 days.
CREATE TABLE sync_access (
    access_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant    text        NOT NULL,
    entry     text        NOT NULL CHECK (entry IN ('act', 'refusal')),
    at        timestamptz NOT NULL,
    kind      text,
    subject   text,
    role      text,
    address   text        NOT NULL,
    action    text,
    target    text,
    status    integer,
    reason    text,
    count     bigint      NOT NULL DEFAULT 1
);

CREATE UNIQUE INDEX sync_access_refusals ON sync_access (tenant, address, reason, at) WHERE entry = 'refusal';
CREATE INDEX sync_access_by_tenant ON sync_access (tenant, access_id);
CREATE INDEX sync_access_by_age ON sync_access (at);
