-- Work that isn't a command's: what is to be done, who does it, and what became of it.

CREATE TYPE job_status AS ENUM ('queued', 'running', 'done', 'failed');

CREATE TABLE background_jobs (
    job_id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type        text        NOT NULL,
    params      jsonb       NOT NULL DEFAULT '{}',
    status      job_status  NOT NULL DEFAULT 'queued',
    attempts    integer     NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 3),
    -- Of two jobs with the same name here, only one is ever open.
    once        text,
    due_at      timestamptz NOT NULL DEFAULT now(),
    -- Who works on it, and until when it is taken to be alive without a further sign.
    worker      text,
    lease_until timestamptz,
    result      jsonb,
    error       text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    finished_at timestamptz,
    duration_ms bigint
);

CREATE INDEX background_jobs_due ON background_jobs (due_at, job_id) WHERE status = 'queued';
CREATE INDEX background_jobs_leased ON background_jobs (lease_until) WHERE status = 'running';
CREATE INDEX background_jobs_finished ON background_jobs (finished_at) WHERE status IN ('done', 'failed');
CREATE UNIQUE INDEX background_jobs_once ON background_jobs (once) WHERE status IN ('queued', 'running');

-- Sessions as objects in cold storage: one row a life of a session, which is told by its creation.
CREATE TYPE archive_status AS ENUM ('processing', 'ready', 'failed');

CREATE TABLE sync_archives (
    session_id     uuid           NOT NULL,
    created_at     timestamptz    NOT NULL, -- the session's creation
    status         archive_status NOT NULL,
    -- What the object holds: everything up to this version.
    epoch          text,
    version        bigint,
    session_status sync_status,
    deleted        boolean        NOT NULL DEFAULT false,
    finished_at    timestamptz,
    path           text,
    size_bytes     bigint,
    checksum       bytea, -- SHA-256 of the object
    events         bigint,
    first_at       timestamptz, -- the oldest and the newest of them
    last_at        timestamptz,
    error          text,
    requested_at   timestamptz    NOT NULL DEFAULT now(),
    archived_at    timestamptz,
    -- When retention took the session's rows away: from then on the object is all there is.
    removed_at     timestamptz,
    PRIMARY KEY (session_id, created_at)
);

CREATE INDEX sync_archives_removed ON sync_archives (last_at) WHERE removed_at IS NOT NULL;

-- Who is to be archived next. Neither column changes while a session runs, so its updates stay cheap.
CREATE INDEX sync_sessions_finished ON sync_sessions (coalesce(deleted_at, completed_at), session_id)
    WHERE coalesce(deleted_at, completed_at) IS NOT NULL;

-- Rows arrive nearly in the order of their instants, so a range of time is a range of pages.
CREATE INDEX sync_events_occurred ON sync_events USING brin (occurred_at);
