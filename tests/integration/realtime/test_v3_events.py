"""EVENT messages of `synckairos.v3`: sent before the state of their version, and again to a resuming client."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from synckairos.clock.commands import Command, Create, NewParticipant, Pause, Resume, Start
from synckairos.clock.model import OnTimeout, RestRule, SyncMode
from synckairos.config import Settings
from synckairos.principal import TIMEKEEPER
from synckairos.service.requests import CommandRequest, CreateRequest
from tests.integration.realtime.instances import CALLER, Instance, serving
from tests.integration.realtime.v3_client import v3_client


async def start_expiring(instance: Instance) -> tuple[str, list[str]]:
    """Start a session with three participants whose budgets expire in turn. Return session id and participant ids."""
    ids = [str(uuid4()) for _ in range(3)]
    people = tuple(NewParticipant(each, total_time_ms=10_000) for each in ids)
    spec = Create(SyncMode.PER_PARTICIPANT, people, on_timeout=OnTimeout.ADVANCE)
    session_id = (await instance.sessions.create(CreateRequest(CALLER, spec))).session.session_id
    await instance.command(session_id, Start())
    return session_id, ids


async def test_expiry_event_is_sent_before_the_state_that_it_causes(instance: Instance) -> None:
    session_id, ids = await start_expiring(instance)
    async with v3_client(instance) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        await instance.parts.rewind(session_id, 25_000)
        await instance.sessions.read(TIMEKEEPER, session_id)  # this read commits the overdue transitions
        received = await client.receive_until(session_id, 4)
        assert [(each["type"], each["version"]) for each in received] == [
            ("EVENT", 3),
            ("STATE_DELTA", 3),
            ("EVENT", 4),
            ("STATE_DELTA", 4),
        ]
        events = [each for each in received if each["type"] == "EVENT"]
        assert [each["event_type"] for each in events] == ["participant_expired"] * 2
        assert [each["participant_id"] for each in events] == ids[:2]
        assert all(each["at"].endswith("Z") for each in events)


async def test_resuming_client_gets_the_missed_events(instance: Instance, other_instance: Instance) -> None:
    session_id, ids = await start_expiring(instance)
    async with v3_client(instance) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        known = client.states[session_id]
    await instance.parts.rewind(session_id, 15_000)
    await instance.sessions.read(TIMEKEEPER, session_id)
    async with v3_client(other_instance) as client:
        client.states[session_id] = known
        await client.send("SUBSCRIBE", session_id=session_id, epoch=known["epoch"], version=known["version"])
        received = await client.receive_until(session_id, 3)
        assert [each["type"] for each in received] == ["EVENT", "STATE_DELTA"]
        assert received[0]["participant_id"] == ids[0]
        assert received[1]["recovered"] is True


async def test_begin_of_a_rest_is_an_event(instance: Instance) -> None:
    working_day = (datetime.now(UTC) + timedelta(days=4)).isoweekday()
    rest = RestRule(tuple(day for day in range(1, 8) if day != working_day))
    spec = Create(SyncMode.PER_PARTICIPANT, _people(), rest=rest)
    session_id = (await instance.sessions.create(CreateRequest(CALLER, spec))).session.session_id
    async with v3_client(instance) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        await instance.command(session_id, Start())
        received = await client.receive_until(session_id, 3)
    assert [(each["type"], each["version"]) for each in received] == [
        ("STATE_DELTA", 2),
        ("EVENT", 3),
        ("STATE_DELTA", 3),
    ]
    assert received[1]["event_type"] == "session_paused"


@pytest.mark.parametrize("edition", [1, 2])
async def test_end_of_a_pause_after_its_maximum_is_an_event_of_the_second_edition(
    settings: Settings, edition: int
) -> None:
    async with serving(settings.model_copy(update={"clock_edition": edition})) as instance:
        session_id = await instance.create()
        async with v3_client(instance) as client:
            await client.request("SUBSCRIBE", session_id=session_id)
            await instance.command(session_id, Start())
            await _execute(instance, session_id, "pause", Pause(max_ms=1))
            version = 3
            while version == 3:  # a read commits what is due
                version = (await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.version
            await _execute(instance, session_id, "pause", Pause())
            await _execute(instance, session_id, "resume", Resume())
            await client.receive_until(session_id, 6)
            events = [(each["event_type"], each["version"]) for each in client.events]
    assert events == ([("session_resumed", 4)] if edition == 2 else [])


def _people() -> tuple[NewParticipant, ...]:
    return tuple(NewParticipant(str(uuid4()), total_time_ms=300_000) for _ in range(2))


async def _execute(instance: Instance, session_id: str, verb: str, command: Command) -> None:
    await instance.sessions.execute(CommandRequest(CALLER, session_id, command, verb))
