-- Further charges of one version to the same participant. A version whose times a caller stated charges several times, with
-- breaks between them. sync_charges has the first of them, because earlier releases rely on its primary key.
CREATE TABLE sync_further_charges (
    session_id     uuid        NOT NULL,
    epoch          text        NOT NULL,
    version        bigint      NOT NULL,
    participant_id uuid        NOT NULL,
    began_at       timestamptz NOT NULL,
    ended_at       timestamptz NOT NULL,
    PRIMARY KEY (session_id, epoch, version, participant_id, began_at)
);

CREATE INDEX sync_further_charges_by_participant ON sync_further_charges (participant_id, ended_at);

-- All charges. A further charge is void if the first charge of its version to its participant is void.
CREATE VIEW sync_all_charges AS
SELECT session_id, epoch, version, participant_id, began_at, ended_at, is_void FROM sync_charges
UNION ALL
SELECT f.session_id, f.epoch, f.version, f.participant_id, f.began_at, f.ended_at, c.is_void
FROM sync_further_charges AS f
JOIN sync_charges AS c USING (session_id, epoch, version, participant_id);
