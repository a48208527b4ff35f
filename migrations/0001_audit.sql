-- The audit: every version of every session once, and two projections of the newest.
-- Instants come from Redis TIME and are exact to the millisecond; durations are whole milliseconds.

CREATE TYPE sync_mode AS ENUM ('per_participant', 'per_cycle', 'per_group', 'global', 'count_up');
CREATE TYPE sync_status AS ENUM ('pending', 'running', 'paused', 'expired', 'completed', 'cancelled');

-- One row a version: what happened, who brought it about, and the session's document as it was published.
CREATE TABLE sync_events (
    session_id             uuid        NOT NULL,
    epoch                  text        NOT NULL,
    version                bigint      NOT NULL,
    occurred_at            timestamptz NOT NULL,
    event_type             text        NOT NULL,
    -- The state from here to the next version: hours and breaks are sums over these, so that nothing is counted twice.
    status                 sync_status NOT NULL,
    running_participant_id uuid,
    participant_id         uuid,
    group_id               text,
    time_used_ms           bigint,
    time_remaining_ms      bigint,
    actor                  text,
    command                text,
    args                   jsonb,
    -- What it takes to give a repeated command its answer again.
    command_id             text,
    fingerprint            text,
    expired_participant_id text,
    deleted                boolean     NOT NULL DEFAULT false,
    payload_hash           bytea       NOT NULL,
    snapshot               bytea       NOT NULL,
    recorded_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, epoch, version)
);

-- Compression is a matter of speed alone; not every server is built with lz4.
DO $$
BEGIN
    ALTER TABLE sync_events ALTER COLUMN snapshot SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;

-- The trail in order, time travel, and "the version after this one", over all epochs of a session.
CREATE INDEX sync_events_trail ON sync_events (session_id, occurred_at, version, epoch);
-- Whose hours: each stretch begins at such a row and ends at the next version.
CREATE INDEX sync_events_running ON sync_events (running_participant_id, session_id, occurred_at)
    WHERE running_participant_id IS NOT NULL;
CREATE INDEX sync_events_paused ON sync_events (session_id, occurred_at, version) WHERE status = 'paused';
CREATE INDEX sync_events_commands ON sync_events (session_id, occurred_at) WHERE command_id IS NOT NULL;

-- The newest version of each session. Only ever moved forward: by creation, then version.
CREATE TABLE sync_sessions (
    session_id   uuid        PRIMARY KEY,
    epoch        text        NOT NULL,
    version      bigint      NOT NULL,
    sync_mode    sync_mode   NOT NULL,
    status       sync_status NOT NULL,
    created_at   timestamptz NOT NULL,
    started_at   timestamptz,
    completed_at timestamptz,
    updated_at   timestamptz NOT NULL,
    deleted_at   timestamptz,
    metadata     jsonb       NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX sync_sessions_listed ON sync_sessions (created_at, session_id) WHERE deleted_at IS NULL;
CREATE INDEX sync_sessions_by_status ON sync_sessions (status, created_at, session_id) WHERE deleted_at IS NULL;

-- Who took part, as of the newest version in which they did; those who left stay.
CREATE TABLE sync_participants (
    session_id        uuid        NOT NULL,
    participant_id    uuid        NOT NULL,
    participant_index integer,
    group_id          text,
    began_at          timestamptz NOT NULL, -- the session's start, its creation while it has none
    left_at           timestamptz,
    time_used_ms      bigint      NOT NULL,
    cycle_count       integer     NOT NULL,
    PRIMARY KEY (session_id, participant_id)
) WITH (fillfactor = 80);

CREATE INDEX sync_participants_history ON sync_participants (participant_id, began_at, session_id);

-- A version that arrived a second time with other content: both are kept, somebody has to look.
CREATE TABLE sync_conflicts (
    session_id   uuid        NOT NULL,
    epoch        text        NOT NULL,
    version      bigint      NOT NULL,
    payload_hash bytea       NOT NULL,
    event        bytea       NOT NULL,
    snapshot     bytea       NOT NULL,
    noticed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, epoch, version, payload_hash)
);
