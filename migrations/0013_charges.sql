-- Charges: the time that a version adds to the used time of a participant, from when to when. Time reports are sums over
-- charges. The drain writes them, and a worker fills in those of rows that earlier releases wrote.
CREATE TABLE sync_charges (
    session_id     uuid        NOT NULL,
    epoch          text        NOT NULL,
    version        bigint      NOT NULL,
    participant_id uuid        NOT NULL,
    began_at       timestamptz NOT NULL,
    ended_at       timestamptz NOT NULL,
    -- The version was lost, and the session was recovered from an earlier one. The charge does not count.
    is_void        boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (session_id, epoch, version, participant_id)
);

CREATE INDEX sync_charges_by_participant ON sync_charges (participant_id, ended_at);

-- The version up to which sync_charges has all charges of the session. If it is not the newest version, a worker fills in
-- the others. Earlier releases do not change these columns.
ALTER TABLE sync_sessions
    ADD COLUMN charged_epoch text,
    ADD COLUMN charged_version bigint;
