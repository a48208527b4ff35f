"""The calculator agrees with real stores within 30 %: bytes of Redis for a session, and bytes of Postgres."""

import pytest

from synckairos.admin.capacity import DAY_S, STORED_VERSIONS, Workload, estimate_capacity, redis_bytes_of_session
from synckairos.clock.commands import Create, NewParticipant, Switch
from synckairos.clock.model import SyncMode
from synckairos.principal import Principal
from synckairos.service.requests import CommandRequest
from tests.integration.audit_parts import AuditParts
from tests.integration.parts import Parts

SESSIONS = 8
_TABLES = """
    SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
    WHERE relkind = 'r' AND starts_with(relname, 'sync_')
"""


async def measure_redis(parts: Parts) -> int:
    """Return the bytes of all keys of the test in Redis."""
    found, cursor = 0, b"0"
    while True:
        cursor, keys = await parts.pipe.call("SCAN", cursor, "MATCH", f"{parts.store.keys.prefix}:*", "COUNT", 1_000)
        sizes = await parts.pipe.call_many([("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys])
        found += sum(size or 0 for size in sizes)
        if cursor == b"0":
            return found


@pytest.mark.parametrize(("participants", "has_command_ids"), [(2, False), (20, True)])
async def test_calculated_bytes_are_within_30_percent_of_the_measured_bytes(
    parts: Parts, audit: AuditParts, participants: int, has_command_ids: bool
) -> None:
    people = [f"00000000-0000-4000-8000-{number:012}" for number in range(SESSIONS * participants)]
    spec = [
        Create(
            SyncMode.PER_PARTICIPANT,
            tuple(NewParticipant(each, total_time_ms=DAY_S * 1_000) for each in people[first::SESSIONS]),
        )
        for first in range(SESSIONS)
    ]
    await audit.drain()
    ((before,),) = await audit.rows(_TABLES)
    ids = [await parts.start_session(each) for each in spec]
    for number in range(STORED_VERSIONS):
        for session_id in ids:
            command_id = f"00000000-0000-4000-8000-{number:012}" if has_command_ids else None
            request = CommandRequest(
                Principal.anonymous_admin(), session_id, Switch(), "switch", command_id=command_id, fingerprint="f" * 43
            )
            await parts.sessions.execute(request)
    await audit.drain()
    ((after,),) = await audit.rows(_TABLES)
    load = Workload(
        sessions=SESSIONS,
        new_sessions_per_day=SESSIONS,
        switches_per_s=SESSIONS * STORED_VERSIONS / DAY_S,
        participants=participants,
        has_command_ids=has_command_ids,
    )
    redis_ratio = redis_bytes_of_session(load) * SESSIONS / await measure_redis(parts)
    postgres_ratio = estimate_capacity(load).postgres_bytes_per_day / (after - before)
    assert redis_ratio == pytest.approx(1, abs=0.3)
    assert postgres_ratio == pytest.approx(1, abs=0.3)
