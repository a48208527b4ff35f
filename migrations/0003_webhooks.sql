-- Webhooks: who is told, what is still to be told, and how each try went. Written by the drain (what is to be told, in the
-- transaction that keeps the event), by workers (how it went) and by servers (endpoints).

CREATE TABLE webhook_endpoints (
    endpoint_id     uuid        PRIMARY KEY,
    url             text        NOT NULL,
    description     text        NOT NULL DEFAULT '',
    event_types     text[],                                -- null: all
    metadata        jsonb,                                 -- only sessions whose metadata contains this; null: all
    snapshots       boolean     NOT NULL DEFAULT false,    -- each event with the state it led to
    enabled         boolean     NOT NULL DEFAULT true,
    disabled_reason text,
    failing_since   timestamptz,                           -- the first failure that no success followed
    resumes_at      timestamptz,                           -- it asked not to be told anything before
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

-- Several at once while a secret is being replaced: each message is signed with all that haven't expired.
CREATE TABLE webhook_secrets (
    endpoint_id uuid        NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    secret      text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz,
    PRIMARY KEY (endpoint_id, created_at)
);

-- One row a message and endpoint. The message is made from the event's own row whenever it is sent. No foreign key: a
-- drain must never meet an endpoint that goes away in the same moment.
CREATE TABLE webhook_deliveries (
    delivery_id  uuid        PRIMARY KEY,                  -- the webhook-id, made from endpoint, session, epoch, version
    sequence     bigint      GENERATED ALWAYS AS IDENTITY, -- the order in which events were kept
    endpoint_id  uuid        NOT NULL,
    session_id   uuid,                                     -- null, like the next two, where it is only a test
    epoch        text,
    version      bigint,
    event_type   text        NOT NULL,
    status       text        NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts     integer     NOT NULL DEFAULT 0,           -- made in all
    tries        integer     NOT NULL DEFAULT 0,           -- made of the schedule that runs
    due_at       timestamptz NOT NULL DEFAULT now(),
    leased_until timestamptz,                              -- a worker is at it
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz
) WITH (fillfactor = 80);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_at, sequence) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_leased ON webhook_deliveries (endpoint_id, session_id, leased_until)
    WHERE leased_until IS NOT NULL;
CREATE INDEX webhook_deliveries_listed ON webhook_deliveries (endpoint_id, sequence);
CREATE INDEX webhook_deliveries_age ON webhook_deliveries (created_at);

CREATE TABLE webhook_attempts (
    delivery_id uuid        NOT NULL REFERENCES webhook_deliveries ON DELETE CASCADE,
    attempt     integer     NOT NULL,
    at          timestamptz NOT NULL,
    duration_ms integer     NOT NULL,
    status_code integer,                                   -- null where there was no answer
    error       text,
    next_try_at timestamptz,
    PRIMARY KEY (delivery_id, attempt)
);

-- What became of tries, ever; only grows.
CREATE TABLE webhook_tally (
    outcome text   PRIMARY KEY,
    tries   bigint NOT NULL
);

-- What was answered to a request with an Idempotency-Key, for those who ask again.
CREATE TABLE webhook_answers (
    key         text        PRIMARY KEY,
    fingerprint text        NOT NULL,
    body        bytea,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX webhook_answers_age ON webhook_answers (created_at);
