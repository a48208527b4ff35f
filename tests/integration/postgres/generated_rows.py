"""Large numbers of realistic rows for the audit tables, inserted without the drain."""

import psycopg

INSERT_SESSIONS = """
INSERT INTO sync_sessions
SELECT
    md5('s' || n)::uuid, 'e', 100, 'per_participant', 'completed', at, at, at + interval '50 min',
    at + interval '50 min', NULL, '{"project": "x"}'
FROM generate_series(1, %(sessions)s) AS n, LATERAL (SELECT timestamptz '2026-01-01' + n * interval '1 min' AS at) AS t;

INSERT INTO sync_participants
SELECT s.session_id, md5('p' || (n + side) %% 1000)::uuid, side, NULL, s.created_at, NULL, 1000, 50
FROM generate_series(1, %(sessions)s) AS n
CROSS JOIN generate_series(0, 1) AS side
JOIN sync_sessions AS s ON s.session_id = md5('s' || n)::uuid;

INSERT INTO sync_events (
    session_id, epoch, version, occurred_at, event_type, status, running_participant_id, command_id, payload_hash,
    snapshot
)
SELECT
    s.session_id, 'e', v, s.created_at + v * interval '30 s', 'cycle_switched',
    (CASE WHEN v = 100 THEN 'completed' WHEN v %% 25 = 0 THEN 'paused' ELSE 'running' END)::sync_status,
    CASE WHEN v < 100 AND v %% 25 <> 0 THEN md5('p' || (n + v %% 2) %% 1000)::uuid END,
    CASE WHEN v %% 2 = 0 THEN 'c' || v END, sha256(v::text::bytea), convert_to(repeat(md5(n::text), %(size)s), 'UTF8')
FROM generate_series(1, %(sessions)s) AS n
JOIN sync_sessions AS s ON s.session_id = md5('s' || n)::uuid
CROSS JOIN generate_series(1, 100) AS v;
"""

INSERT_CHARGES = """
INSERT INTO sync_charges
SELECT
    session_id, epoch, version + 1, running_participant_id, occurred_at, occurred_at + interval '30 s'
FROM sync_events
WHERE running_participant_id IS NOT NULL;

UPDATE sync_sessions SET charged_epoch = epoch, charged_version = version;
"""

INSERT_DELIVERIES = """
INSERT INTO webhook_deliveries (delivery_id, endpoint_id, session_id, epoch, version, event_type, status)
SELECT
    gen_random_uuid(), md5('w' || n %% 3)::uuid, md5('s' || n / 100)::uuid, 'e', n %% 100, 'cycle_switched',
    CASE WHEN n %% 100 = 0 THEN 'pending' ELSE 'delivered' END
FROM generate_series(1, %(deliveries)s) AS n;
"""


def insert_sessions(database_url: str, sessions: int, size: int = 4, *, with_charges: bool = True) -> None:
    """Insert sessions of 100 events each, one event in each minute, among a thousand participants.

    `size` is the size of each snapshot in units of 32 bytes. `with_charges` must be False for a database of a release
    that has no charges.
    """
    with psycopg.ClientCursor(psycopg.connect(database_url, autocommit=True)) as cursor:
        cursor.execute(INSERT_SESSIONS, {"sessions": sessions, "size": size})
        tables = "sync_sessions, sync_participants, sync_events"
        if with_charges:
            cursor.execute(INSERT_CHARGES)
            tables += ", sync_charges"
        cursor.execute(f"VACUUM ANALYZE {tables}".encode())
        cursor.connection.close()


def insert_deliveries(database_url: str, deliveries: int) -> None:
    """Insert deliveries to three endpoints. One delivery in a hundred is pending, at most one for each session."""
    with psycopg.ClientCursor(psycopg.connect(database_url, autocommit=True)) as cursor:
        cursor.execute(INSERT_DELIVERIES, {"deliveries": deliveries})
        cursor.execute("VACUUM ANALYZE webhook_deliveries")
        cursor.connection.close()
