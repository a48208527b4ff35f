"""A session in `individual` for clients of v2: all its states fit v2's schemas, except the name of the mode."""

import asyncio
from uuid import uuid4

import httpx
import orjson
from websockets.asyncio.client import ClientConnection, connect

from synckairos.clock.commands import Command, Create, Finish, NewParticipant, Pause, Resume, Start
from synckairos.clock.model import SyncMode
from synckairos.service.requests import CommandRequest, CreateRequest
from tests.integration.realtime.instances import CALLER, Instance
from tests.integration.rest_server import RestServer
from tests.integration.v2.v2_client import V2Client
from tests.integration.v2.v2_schemas import Json, check_message, check_session

ALICE = "01980000-0000-7000-8000-00000000000a"
BOB = "01980000-0000-7000-8000-00000000000b"


def as_mode_of_v2(session: Json) -> Json:
    """Return a session in `individual` with a mode that v2 knows, so that v2's schemas apply to all other members."""
    assert session["sync_mode"] == "individual"
    return session | {"sync_mode": "global"}


async def take(client: ClientConnection) -> Json:
    """Receive the next message with a state, and check it by v2's schemas. Return the state."""
    async with asyncio.timeout(10):
        message: Json = orjson.loads(await client.recv())
    checked = check_message(message | {"state": as_mode_of_v2(message["state"])})
    state: Json = checked["state"]
    return state


async def execute(instance: Instance, session_id: str, command: Command) -> None:
    verb = type(command).__name__.lower()
    await instance.sessions.execute(CommandRequest(CALLER, session_id, command, verb))


async def test_socket_gets_each_state_of_individual_clocks(instance: Instance) -> None:
    people = (
        NewParticipant(ALICE, total_time_ms=60_000),
        NewParticipant(BOB, total_time_ms=60_000, time_factor=125),
    )
    session_id = str(uuid4())
    await instance.sessions.create(CreateRequest(CALLER, Create(SyncMode.INDIVIDUAL, people), session_id))
    async with connect(f"{instance.ws_url}?sessionId={session_id}", proxy=None) as client:
        assert check_message(orjson.loads(await client.recv()))["type"] == "CONNECTED"
        states = [await take(client)]
        for command in (
            Start(participant_ids=(ALICE,)),
            Pause(participant_ids=(ALICE,)),
            Resume(),
            Start(participant_ids=(BOB,)),
            Finish(participant_ids=(BOB,)),
            Finish(participant_ids=(ALICE,)),
        ):
            await execute(instance, session_id, command)
            states.append(await take(client))
        await client.send('{"type":"RECONNECT"}')
        states.append(await take(client))
    assert [each["status"] for each in states] == [
        "pending", "running", "paused", "running", "running", "running", "completed", "completed",
    ]  # fmt: skip
    assert {each["active_participant_id"] for each in states} == {None}
    assert {each["cycle_started_at"] for each in states} == {None}
    assert {row["is_active"] for each in states for row in each["participants"]} == {False}
    rows = [tuple(row["total_time_ms"] for row in each["participants"]) for each in states]
    assert rows == [(60_000, 75_000)] * len(states)
    anchors = [["anchor_at" in row for row in each["participants"]] for each in states[:6]]
    assert anchors == [[False, False], [True, False], [False, False], [True, False], [True, True], [True, False]]


async def test_commands_of_v2_without_a_body_concern_all_clocks_and_a_switch_is_refused(server: RestServer) -> None:
    people = [{"participant_id": each, "total_time_ms": 60_000} for each in (ALICE, BOB)]
    body = {"sync_mode": "individual", "participants": people}
    session = _data(await server.client.post("/v1/sessions", json=body), 201)
    path = f"/v1/sessions/{session['session_id']}"
    expected = {"start": ("running", "running"), "pause": ("paused", "paused"), "resume": ("running", "running")}
    for verb, statuses in expected.items():
        after = _data(await server.client.post(f"{path}/{verb}"), 200)
        assert (after["status"], *(row["status"] for row in after["participants"])) == (statuses[0], *statuses)
    status, error = await V2Client(server.client).refused(session, "switch")
    assert (status, error["code"]) == (400, "INVALID_STATE_TRANSITION")
    assert _data(await server.client.get(path), 200)["status"] == "running"
    assert _data(await server.client.post(f"{path}/complete"), 200)["status"] == "completed"


def _data(answer: httpx.Response, status: int) -> Json:
    """Check an answer with a session by v2's schemas, and return the session."""
    assert answer.status_code == status, answer.text
    return check_session(as_mode_of_v2(answer.json()["data"]))
