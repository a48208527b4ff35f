"""Socket commands use the requests, idempotency records and metrics of REST commands."""

import pytest

from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.model import SyncMode
from synckairos.principal import TIMEKEEPER
from synckairos.service.requests import CreateRequest
from synckairos.telemetry.metrics import COMMANDS
from tests.integration.realtime.instances import Instance
from tests.integration.realtime.v3_client import v3_client
from tests.integration.round_trips import RoundTrips


def outcomes(verb: str) -> dict[str, float]:
    """Return the number of counted commands of a kind, by outcome."""
    return {
        sample.labels["outcome"]: sample.value
        for metric in COMMANDS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["command"] == verb
    }


async def test_a_refused_command_takes_two_round_trips_and_is_counted_once(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        await client.request("COMMAND", session_id=session_id, command="pause")  # loads the scripts
        trips = RoundTrips(monkeypatch, instance.parts.pipe, session_id)
        before = outcomes("switch")
        refused = await client.request("COMMAND", session_id=session_id, command="switch")
    assert (refused["type"], refused["code"]) == ("ERROR", "INVALID_STATE_TRANSITION")
    assert trips.count == 2
    counted = {name: value - before.get(name, 0) for name, value in outcomes("switch").items()}
    assert {name: value for name, value in counted.items() if value} == {"refused": 1}


async def test_an_error_has_the_instant_of_the_version_that_the_command_was_refused_on(instance: Instance) -> None:
    session_id = await instance.create()
    updated_at_ms = (await instance.sessions.read(TIMEKEEPER, session_id)).session.updated_at_ms
    async with v3_client(instance) as client:
        command = {"id": "early", "session_id": session_id, "command": "switch"}
        first = await client.request("COMMAND", **command)
        await client.request("COMMAND", session_id=session_id, command="start")
        assert first["server_time_ms"] == updated_at_ms
        assert await client.request("COMMAND", **command) == first


async def test_ack_warns_of_arguments_without_effect_and_its_replay_too(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        command = {"id": "one", "session_id": session_id, "command": "start", "args": {"by": "board 7", "": None}}
        ack = await client.request("COMMAND", **command)
        assert (ack["type"], ack["version"]) == ("ACK", 2)
        assert [each["path"] for each in ack["warnings"]] == ["by", ""]
        assert await client.request("COMMAND", **command) == ack
        assert "warnings" not in await client.request("COMMAND", session_id=session_id, command="switch")


async def test_ack_of_an_exclusive_start_names_the_stopped_sessions_and_its_replay_too(instance: Instance) -> None:
    spec = Create(SyncMode.COUNT_UP, (NewParticipant("0198c0de-0000-7000-8000-00000000000a"),))
    ids = [(await instance.sessions.create(CreateRequest(TIMEKEEPER, spec))).session.session_id for _ in range(2)]
    async with v3_client(instance) as client:
        await client.request("COMMAND", session_id=ids[0], command="start")
        command = {"id": "one", "session_id": ids[1], "command": "start", "args": {"exclusive": True}}
        ack = await client.request("COMMAND", **command)
        assert (ack["type"], ack["version"]) == ("ACK", 2)
        assert ack["stopped"] == [{"session_id": ids[0], "version": 3}]
        assert await client.request("COMMAND", **command) == ack


async def test_switch_after_the_end_by_time_is_acknowledged_with_the_participant(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        await client.request("COMMAND", session_id=session_id, command="start")
        state = (await instance.sessions.read(TIMEKEEPER, session_id)).session
        first, second = (each.participant_id for each in state.participants)
        await instance.parts.rewind(session_id, 300_000)
        for command_id, args in (("a", {}), ("b", {"current_participant_id": first}), ("a", {})):
            ack = await client.request("COMMAND", id=command_id, session_id=session_id, command="switch", args=args)
            assert (ack["type"], ack["version"], ack["expired_participant_id"]) == ("ACK", 3, first)
        other = {"current_participant_id": second}
        refused = await client.request("COMMAND", session_id=session_id, command="switch", args=other)
        assert (refused["type"], refused["code"]) == ("ERROR", "INVALID_STATE_TRANSITION")
        ended = await client.request("COMMAND", session_id=session_id, command="complete")
        assert (ended["type"], ended["code"]) == ("ERROR", "INVALID_STATE_TRANSITION")
