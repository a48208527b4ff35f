"""Sockets of participants of an individual session: they get their own row alone, whatever they request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect

from synckairos.clock.commands import Adjust, Command, Create, Finish, NewParticipant, Start
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.service.requests import CommandRequest, CreateRequest
from synckairos.wire.document_merge_patch import parse_keyed_document
from synckairos.wire.participant_view import NO_PARTICIPANT, render_participant_view
from tests.integration.authentication import bearer, make_token
from tests.integration.realtime.instances import CALLER, CredentialLifeOptions, Instance, receive, serving, watching
from tests.integration.realtime.v3_client import V3, V3Client, normal

ALL = [{"sessions": ["*"]}]
PEOPLE = [f"01980000-0000-7000-8000-{number:012}" for number in range(40)]
ALICE, BOB = PEOPLE[:2]


@pytest.fixture
async def instance(settings: Settings) -> AsyncIterator[Instance]:
    async with serving(settings, credential_life=CredentialLifeOptions()) as opened:
        yield opened


@asynccontextmanager
async def client_of(instance: Instance, **claims: Any) -> AsyncIterator[V3Client]:
    """Connect a client whose token has these claims."""
    headers = bearer(make_token(grants=ALL, **claims))
    async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=headers) as socket:
        yield V3Client(socket)


async def execute(instance: Instance, session_id: str, verb: str, command: Command) -> int:
    """Execute a command as a controller. Return the version after it."""
    answer = await instance.sessions.execute(CommandRequest(CALLER, session_id, command, verb))
    return answer.snapshot.version


async def start_exam(instance: Instance) -> str:
    """Start a session of `PEOPLE` in which each second participant has extra time. Return its id."""
    people = tuple(
        NewParticipant(each, total_time_ms=3_600_000, time_factor=125 if at % 2 else 100)
        for at, each in enumerate(PEOPLE)
    )
    session_id = str(uuid4())
    await instance.sessions.create(CreateRequest(CALLER, Create(SyncMode.INDIVIDUAL, people), session_id))
    await execute(instance, session_id, "start", Start())
    return session_id


async def assert_view(instance: Instance, client: V3Client, session_id: str, only: str) -> None:
    document: bytes = await instance.parts.pipe.call("HGET", instance.parts.store.keys.session(session_id), "state")
    await client.receive_until(session_id, orjson.loads(document)["version"])
    view = parse_keyed_document(render_participant_view(document, only))
    assert normal(client.states[session_id]) == normal(view)


def assert_names_nobody_else(messages: list[Any], own: str) -> None:
    """Check that messages name no other participant."""
    text = orjson.dumps(messages).decode()
    assert [each for each in PEOPLE if each != own and each in text] == []


@pytest.mark.parametrize(
    ("role", "claims", "only"),
    [
        ("participant", {"participant_id": ALICE}, ALICE),
        ("viewer", {}, NO_PARTICIPANT),
    ],
)
async def test_a_client_below_controller_gets_its_own_row_alone(
    instance: Instance, role: str, claims: dict[str, str], only: str
) -> None:
    session_id = await start_exam(instance)
    async with client_of(instance, role=role, **claims) as client:
        received = [await client.request("SUBSCRIBE", session_id=session_id)]
        await assert_view(instance, client, session_id, only)
        known = client.known(session_id)
        for verb, command in (
            ("adjust", Adjust(60_000, (BOB,))),
            ("adjust", Adjust(-3_590_000, (ALICE, BOB))),
            ("finish", Finish(participant_ids=(BOB,))),
            ("finish", Finish(participant_ids=(ALICE,))),
        ):
            version = await execute(instance, session_id, verb, command)
            messages = await client.receive_until(session_id, version)
            assert len(orjson.dumps(messages[-1])) < 2_000
            received += messages
            await assert_view(instance, client, session_id, only)
        assert_names_nobody_else(received, only)
        refused = await client.request("SUBSCRIBE", session_id=session_id, only=BOB)
        assert (refused["type"], refused["code"]) == ("ERROR", "FORBIDDEN")
        client.states[session_id] = known.state
        resumed = await client.request("SUBSCRIBE", session_id=session_id, **known.position)
        assert resumed["recovered"] is True
        assert_names_nobody_else([resumed], only)
        await assert_view(instance, client, session_id, only)


async def test_events_by_time_name_nobody_else(instance: Instance) -> None:
    session_id = await start_exam(instance)
    async with (
        client_of(instance, role="participant", participant_id=ALICE) as alice,
        client_of(instance, role="controller", sub="host") as host,
    ):
        for client in (alice, host):
            await client.request("SUBSCRIBE", session_id=session_id)
        await execute(instance, session_id, "adjust", Adjust(-3_599_999 - 900_000, (BOB,)))
        await execute(instance, session_id, "adjust", Adjust(-3_599_999, (ALICE,)))

        # A read commits what is due.
        async def read() -> int:
            return (await instance.sessions.read(CALLER, session_id)).snapshot.version

        version = 0
        while {"expired"} != {host.states[session_id]["participants"][each]["status"] for each in (ALICE, BOB)}:
            version = await read()
            await host.receive_until(session_id, version)
        await alice.receive_until(session_id, version)
        assert {each for event in host.events for each in _named(event)} == {ALICE, BOB}
        assert {each for event in alice.events for each in _named(event)} == {ALICE}
        assert_names_nobody_else(alice.events, ALICE)
        await assert_view(instance, alice, session_id, ALICE)


def _named(event: dict[str, Any]) -> set[str]:
    return {*event.get("participant_ids", ()), *([event["participant_id"]] if "participant_id" in event else ())}


async def test_a_conflict_shows_the_own_row_alone(instance: Instance) -> None:
    session_id = await start_exam(instance)
    async with client_of(instance, role="participant", participant_id=ALICE) as client:
        answer = await client.request("COMMAND", session_id=session_id, command="pause", expected_version=1)
        assert (answer["code"], len(answer["details"]["state"]["participants"])) == ("CONFLICT", 1)
        assert_names_nobody_else([answer], ALICE)


async def test_controllers_get_all_rows_or_the_row_that_they_request(instance: Instance) -> None:
    session_id = await start_exam(instance)
    async with client_of(instance, role="controller") as client:
        answer = await client.request("SUBSCRIBE", session_id=session_id)
        assert len(answer["state"]["participants"]) == len(PEOPLE)
        await client.request("SUBSCRIBE", session_id=session_id, only=BOB)
        await assert_view(instance, client, session_id, BOB)
        version = await execute(instance, session_id, "adjust", Adjust(60_000, (BOB,)))
        await client.receive_until(session_id, version)
        await assert_view(instance, client, session_id, BOB)


async def test_refresh_with_a_lower_role_ends_the_other_rows(instance: Instance) -> None:
    session_id = await start_exam(instance)
    async with client_of(instance, role="controller", participant_id=ALICE) as client:
        await client.receive()
        await client.request("SUBSCRIBE", session_id=session_id)
        token = make_token(grants=ALL, role="participant", participant_id=ALICE)
        assert (await client.request("REFRESH", token=token))["type"] == "AUTHENTICATED"
        version = await execute(instance, session_id, "adjust", Adjust(60_000, (BOB,)))
        (update,) = await client.receive_until(session_id, version)
        assert update["type"] == "STATE_UPDATE"
        assert_names_nobody_else([update], ALICE)
        await assert_view(instance, client, session_id, ALICE)


async def test_v2_connections_get_the_same_views(instance: Instance) -> None:
    session_id = await start_exam(instance)
    headers = bearer(make_token(grants=ALL, role="participant", participant_id=ALICE))
    async with watching(instance, session_id, additional_headers=headers) as socket:
        messages = [await _receive_raw(socket) for _ in range(2)]
        await execute(instance, session_id, "adjust", Adjust(60_000, (BOB,)))
        messages.append(await _receive_raw(socket))
        await socket.send('{"type":"RECONNECT"}')
        messages.append(await _receive_raw(socket))
    assert [each["type"] for each in messages] == ["CONNECTED", "STATE_SYNC", "STATE_UPDATE", "STATE_SYNC"]
    assert all([row["participant_id"] for row in each["state"]["participants"]] == [ALICE] for each in messages[1:])
    assert_names_nobody_else(messages, ALICE)


async def _receive_raw(socket: ClientConnection) -> dict[str, Any]:
    return await receive(socket)
