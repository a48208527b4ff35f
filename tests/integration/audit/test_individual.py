"""Audit of sessions with individual clocks: replay, stored events, and the sums of charges."""

from uuid import uuid4

import pytest

from synckairos.audit.verify import open_verifier
from synckairos.clock.transition import EventType
from tests.integration.audit_parts import AuditParts
from tests.integration.audited_service import CHARGE, AuditedService
from tests.integration.random_individual_player import RandomIndividualPlayer
from tests.integration.random_player import RandomPlayer


@pytest.fixture
def service(audit: AuditParts) -> AuditedService:
    return AuditedService(audit)


async def test_random_sessions_with_individual_clocks_replay_without_findings(service: AuditedService) -> None:
    outcomes: set[str] = set()
    for seed in range(40):
        player = RandomIndividualPlayer(service.sessions, service.store, seed)
        await player.play(50)
        outcomes |= player.outcomes
    await service.audit.drain()
    async with open_verifier(service.audit.settings.database_url, CHARGE) as verifier:
        async for verified in verifier.verify_each_session():
            assert verified.findings == ()
    assert outcomes >= {
        *("start", "pause", "resume", "finish", "adjust", "add_participant", "remove_participant", "reopen"),
        *(
            "update_participant",
            "update_session",
            "announce",
            "screen",
            "complete",
            "cancel",
            "CANNOT_UNDO",
            "INVALID_STATE_TRANSITION",
            "VALIDATION_ERROR",
        ),
    }
    happened = {kind for (kind,) in await service.audit.rows("SELECT DISTINCT event_type FROM sync_events")}
    assert happened >= {
        *(EventType.PARTICIPANT_STARTED, EventType.PARTICIPANT_PAUSED, EventType.PARTICIPANT_RESUMED),
        *(EventType.PARTICIPANT_FINISHED, EventType.PARTICIPANT_EXPIRED, EventType.SESSION_EXPIRED),
        *(EventType.TIME_WARNING, EventType.OVERTIME_STARTED, EventType.SESSION_REOPENED),
    }
    shown = """
        SELECT sum((part->>'time_used_ms')::bigint)
        FROM sync_sessions AS s JOIN sync_events AS e USING (session_id, epoch, version),
            json_array_elements(convert_from(e.snapshot, 'UTF8')::json->'participants') AS part
    """
    charged = """
        SELECT sum(1000 * extract(epoch FROM c.ended_at - c.began_at))::bigint
        FROM sync_every_charge() AS c JOIN sync_sessions AS s USING (session_id, epoch)
        WHERE EXISTS (
            SELECT FROM sync_participants AS p
            WHERE p.session_id = c.session_id AND p.participant_id = c.participant_id AND p.left_at IS NULL
        ) AND NOT c.is_void AND c.began_at >= s.created_at AND NOT EXISTS (
            -- A participant that joins again begins with a used time of 0.
            SELECT FROM sync_events AS e
            WHERE e.session_id = c.session_id AND e.event_type = 'participant_removed'
                AND e.participant_id = c.participant_id AND e.version >= c.version
        )
    """
    assert await service.audit.rows(shown) == await service.audit.rows(charged)


async def test_event_of_several_participants_names_them_in_postgres(service: AuditedService) -> None:
    ids = [str(uuid4()) for _ in range(3)]
    people = [{"participant_id": each} for each in ids]
    player = RandomPlayer(service.sessions, service.store, 1)
    await player.create({"sync_mode": "individual", "participants": people, "total_time_ms": 60_000})
    await player.send("start", {})
    service.store.at_ms += 1_000
    await player.send("finish", {"participant_ids": ids[1:]})
    await service.audit.drain()
    rows = await service.audit.rows("SELECT participant_id::text, participant_ids FROM sync_events ORDER BY version")
    assert rows == [(None, None), (None, ids), (None, ids[1:])]
    (page,) = (await service.audit.history.read_events_page(player.session_id)).items[2:]
    assert page.participant_ids == tuple(ids[1:])
    assert [each.participant_id for each in page.charges] == sorted(ids[1:])
