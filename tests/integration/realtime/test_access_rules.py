"""Each socket message and command with each role: executed, refused, or the answer for a missing session.

The table of access rules says what each role is allowed. `docs/reference/access.md` shows the same table.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, get_args
from uuid import uuid4

import pytest
from websockets.asyncio.client import connect

from synckairos.clock.commands import Command, Complete, Create, NewParticipant, Pause, Start, Switch
from synckairos.clock.model import SyncMode
from synckairos.clock.plan_item import PlanItem
from synckairos.config import Settings
from synckairos.principal import Principal, Role
from synckairos.service.access_rules import ACCESS_RULES
from synckairos.service.requests import CommandRequest, CreateRequest
from synckairos.wire.command_bodies.table import COMMAND_BODIES
from synckairos.wire.v3_messages import CLIENT_MESSAGES
from tests.integration.authentication import bearer, make_authenticator, make_token
from tests.integration.realtime.instances import Instance, receive, serving, watching
from tests.integration.realtime.v3_client import V3, V3Client
from tests.integration.round_trips import RoundTrips

ROLES: tuple[Role, ...] = get_args(Role)
ROLES_OF_GRANTS: tuple[Role, ...] = ("viewer", "participant", "controller")
WHITE, BLACK, NEWCOMER = str(uuid4()), str(uuid4()), str(uuid4())
ROOT = Principal.anonymous_admin()

ARGS: dict[str, dict[str, Any]] = {
    "start": {},
    "switch": {"current_participant_id": WHITE},
    "done": {"participant_id": WHITE},
    "finish": {},
    "pause": {"reason": "tea"},
    "resume": {},
    "adjust": {"delta_ms": 1_000},
    "complete": {},
    "cancel": {},
    "undo": {},
    "reopen": {},
    "amend": {"started_at": "2026-01-31T12:00:00Z"},
    "add_participant": {"participant_id": NEWCOMER, "total_time_ms": 60_000},
    "remove_participant": {"participant_id": BLACK},
    "update_participant": {"participant_id": BLACK, "display_name": "Anna"},
    "update_metadata": {"metadata": {"table": 7}},
    "update_session": {"labels": {"table": "7"}},
    "set_plan": {"plan": [{"time_ms": 60_000}, {"time_ms": 90_000}], "expected_version": 2},
    "announce": {"text": "Five minutes left"},
    "screen": {"mode": "blackout"},
    "delete": {},
}
"""Arguments with which each command succeeds on a session of `open_session`."""

SESSION_MESSAGES = ("SUBSCRIBE", "UNSUBSCRIBE", *(f"COMMAND {verb}" for verb in COMMAND_BODIES))
"""All messages that name a session."""


@pytest.fixture
async def instance(settings: Settings) -> AsyncIterator[Instance]:
    async with serving(settings, authenticator=make_authenticator(settings)) as served:
        yield served


@asynccontextmanager
async def signed_in(instance: Instance, role: Role, *reaches: str, **claims: Any) -> AsyncIterator[V3Client]:
    """Connect a caller that is WHITE, whose token has this role and reaches these sessions.

    `claims` are more claims of the token.
    """
    granted = {"grants": [{"sessions": list(reaches)}]} if reaches else {}
    token = make_token(**{"role": role, "participant_id": WHITE, **granted, **claims})
    async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=bearer(token)) as socket:
        client = V3Client(socket)
        assert (await client.receive())["type"] == "AUTHENTICATED"
        yield client


async def open_session(instance: Instance, verb: str) -> tuple[str, int]:
    """Create a session in a status in which a command succeeds. Return its id and its version.

    WHITE has the turn. For a resume, WHITE has paused the session. For an undo, BLACK has the turn. For a reopening,
    the session is completed. For an amendment, it is also a `count_up` session of WHITE alone. For a change of the
    plan, it has a plan. For a finish, it has individual clocks.
    """
    people = tuple(NewParticipant(each, total_time_ms=300_000) for each in (WHITE, BLACK))
    spec = Create(SyncMode.COUNT_UP, people[:1]) if verb == "amend" else Create(SyncMode.PER_PARTICIPANT, people)
    if verb == "set_plan":
        spec = Create(SyncMode.PER_CYCLE, people, plan=(PlanItem("1", 60_000),))
    if verb == "finish":
        spec = Create(SyncMode.INDIVIDUAL, people)
    created = await instance.sessions.create(CreateRequest(ROOT, spec))
    session_id, version = created.session.session_id, 1
    steps: list[tuple[str, Command]] = [] if verb == "start" else [("start", Start())]
    if verb == "resume":
        steps.append(("pause", Pause(taken_by=f"participant:{WHITE}")))
    if verb == "undo":
        steps.append(("switch", Switch()))
    if verb in ("reopen", "amend"):
        steps.append(("complete", Complete()))
    for name, command in steps:
        version = (await instance.sessions.execute(CommandRequest(ROOT, session_id, command, name))).snapshot.version
    return session_id, version


async def send(client: V3Client, message: str, session_id: str, **members: Any) -> dict[str, Any]:
    """Send a message of SESSION_MESSAGES. Return its answer."""
    kind, _, verb = message.partition(" ")
    if verb:
        members = {"command": verb, "args": ARGS[verb], **members}
    return await client.request(kind, **{"id": "m", "session_id": session_id, **members})


def without_time(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in answer.items() if name != "server_time_ms"}


def refusal(code: str, message: str, session_id: str) -> dict[str, Any]:
    return {"type": "ERROR", "session_id": session_id, "reply_to": "m", "code": code, "message": message}


def test_matrix_has_each_command_and_message() -> None:
    assert ARGS.keys() == COMMAND_BODIES.keys()
    assert {each.partition(" ")[0] for each in SESSION_MESSAGES} == CLIENT_MESSAGES.keys() - {"PING", "AUTH", "REFRESH"}


@pytest.mark.parametrize("verb", COMMAND_BODIES)
async def test_role_on_the_session_decides_about_a_command(instance: Instance, verb: str) -> None:
    rule = ACCESS_RULES[verb]
    for role in ROLES:
        session_id, version = await open_session(instance, verb)
        async with signed_in(instance, role, session_id) as client:
            answer = without_time(await send(client, f"COMMAND {verb}", session_id))
        if rule.allows(role):
            assert (answer["type"], answer["version"]) == ("ACK", version + 1), (role, answer)
            continue
        text = f"{verb} requires the role {rule.least} or a higher role on the session"
        assert answer == refusal("FORBIDDEN", text, session_id), role
        assert (await instance.sessions.read(ROOT, session_id)).snapshot.version == version


async def test_each_role_subscribes_and_unsubscribes(instance: Instance) -> None:
    session_id, version = await open_session(instance, "switch")
    for role in ROLES:
        async with signed_in(instance, role, session_id) as client:
            state = await send(client, "SUBSCRIBE", session_id)
            assert (state["type"], state["version"]) == ("STATE_SYNC", version), role
            ended = without_time(await send(client, "UNSUBSCRIBE", session_id))
            assert ended == {"type": "ACK", "session_id": session_id, "reply_to": "m"}, role


@pytest.mark.parametrize("granted", ROLES_OF_GRANTS)
async def test_lower_of_ceiling_and_grant_is_the_role_of_a_socket(instance: Instance, granted: Role) -> None:
    for ceiling in ROLES_OF_GRANTS:
        lower = min(ceiling, granted, key=ROLES.index)
        session_id, _ = await open_session(instance, "switch")
        grants = [{"sessions": [session_id], "role": granted}]
        async with signed_in(instance, ceiling, grants=grants) as client:
            for verb in ("adjust", "pause"):
                answer = await send(client, f"COMMAND {verb}", session_id, id=verb)
                expected = "ACK" if ACCESS_RULES[verb].allows(lower) else "ERROR"
                assert (answer["type"], answer.get("code")) == (expected, {"ERROR": "FORBIDDEN"}.get(expected)), ceiling


@pytest.mark.parametrize("message", SESSION_MESSAGES)
async def test_session_out_of_reach_answers_and_costs_the_same_as_a_missing_session(
    instance: Instance, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, version = await open_session(instance, message.partition(" ")[2])
    own, _ = await open_session(instance, "switch")
    stale = {"expected_version": 99} if message.startswith("COMMAND") else {}
    for role in ROLES_OF_GRANTS:
        answers = []
        for requested in (session_id, str(uuid4())):
            async with signed_in(instance, role, own, sub=f"another-{role}") as client:
                # With a subscription, the refusal of another subscription does not close the socket.
                await client.request("SUBSCRIBE", session_id=own)
                with monkeypatch.context() as patch:
                    trips = RoundTrips(patch, instance.parts.pipe, requested)
                    answer = without_time(await send(client, message, requested, **stale))
                answers.append((str(answer).replace(requested, "ID"), trips.count))
        missing = refusal("SESSION_NOT_FOUND", "Session ID not found", "ID")
        if message == "UNSUBSCRIBE":
            missing = {"type": "ACK", "session_id": "ID", "reply_to": "m"}
        assert answers == [(str(missing), 0)] * 2, role
    assert (await instance.sessions.read(ROOT, session_id)).snapshot.version == version


async def test_socket_whose_only_subscription_is_out_of_reach_is_closed_like_one_of_a_missing_session(
    instance: Instance,
) -> None:
    session_id, _ = await open_session(instance, "switch")
    for requested in (session_id, str(uuid4())):
        async with signed_in(instance, "controller", str(uuid4())) as client:
            assert (await send(client, "SUBSCRIBE", requested))["code"] == "SESSION_NOT_FOUND"
            await client.socket.wait_closed()
            assert (client.socket.close_code, client.socket.close_reason) == (4504, "no such session")
    assert not await instance.feed_channels()


@pytest.mark.parametrize("verb", COMMAND_BODIES)
async def test_repeated_command_id_is_replayed_only_while_its_caller_has_the_right(
    instance: Instance, verb: str
) -> None:
    session_id, _ = await open_session(instance, verb)
    async with signed_in(instance, "admin") as client:
        first = await send(client, f"COMMAND {verb}", session_id)
        assert await send(client, f"COMMAND {verb}", session_id) == first
    async with signed_in(instance, "viewer", session_id) as client:
        assert (await send(client, f"COMMAND {verb}", session_id))["code"] == "FORBIDDEN"
    async with signed_in(instance, "controller", str(uuid4())) as client:
        assert (await send(client, f"COMMAND {verb}", session_id))["code"] == "SESSION_NOT_FOUND"


async def test_messages_about_a_session_have_no_actor(instance: Instance) -> None:
    session_id, version = await open_session(instance, "switch")
    token = make_token(role="viewer", grants=[{"sessions": [session_id]}])
    messages = []
    async with (
        signed_in(instance, "viewer", session_id) as client,
        signed_in(instance, "admin", sub="referee-7f3") as referee,
    ):
        messages.append(await send(client, "SUBSCRIBE", session_id))
        known = client.known(session_id)
        for verb, members in (("switch", {"on_behalf_of": WHITE}), ("adjust", {}), ("complete", {})):
            version += 1
            messages.append(await send(referee, f"COMMAND {verb}", session_id, id=verb, **members))
            messages += await client.receive_until(session_id, version)
        messages.append(await client.resume(session_id, known))
        messages += await client.receive_until(session_id, version)
        messages += await v2_conversation(instance, session_id, token, 2)
        await send(referee, "COMMAND delete", session_id, id="delete")
        while messages[-1]["type"] != "EVENT":
            messages.append(await client.receive())
    assert {each["type"] for each in messages} >= {"CONNECTED", "STATE_SYNC", "STATE_DELTA", "EVENT", "ACK"}
    assert "referee-7f3" not in str(messages)
    assert "on_behalf_of" not in str(messages)


async def test_socket_without_a_credential_gets_only_the_answers_of_ping_and_auth(instance: Instance) -> None:
    session_id, version = await open_session(instance, "switch")
    async with connect(instance.ws_url, subprotocols=[V3], proxy=None) as socket:
        client = V3Client(socket)
        for requested in (session_id, str(uuid4())):
            for message in SESSION_MESSAGES:
                answer = without_time(await send(client, message, requested))
                assert answer == refusal("UNAUTHORIZED", "Send AUTH first", requested), message
        assert (await client.request("PING", t0=0))["type"] == "PONG"
        assert (await client.request("REFRESH", token=make_token(role="admin")))["code"] == "UNAUTHORIZED"
        assert (await client.request("AUTH", token=make_token(role="admin")))["type"] == "AUTHENTICATED"
    assert (await instance.sessions.read(ROOT, session_id)).snapshot.version == version


# -- the v2 dialect: a socket watches, and has no commands ------------------------------------------------------------


async def v2_conversation(instance: Instance, session_id: str, token: str, greetings: int) -> list[dict[str, Any]]:
    """Return all messages to a v2 client that sends each message of its dialect, and a command.

    `greetings` is the number of messages that the client gets before it sends a message.
    """
    received = []
    async with watching(instance, session_id, additional_headers=bearer(token)) as client:
        received += [await receive(client) for _ in range(greetings)]
        for message in ('{"type":"RECONNECT"}', '{"type":"COMMAND","command":"start"}', '{"type":"PING"}'):
            await client.send(message)
            received.append(await receive(client))
    return [{name: each for name, each in message.items() if name != "timestamp"} for message in received]


async def test_v2_socket_of_each_role_gets_states_and_executes_no_command(instance: Instance) -> None:
    session_id, version = await open_session(instance, "start")
    for role in ROLES:
        token = make_token(role=role, participant_id=WHITE, grants=[{"sessions": [session_id]}])
        received = await v2_conversation(instance, session_id, token, 2)
        assert [(each["type"], each.get("state", {}).get("version"), each.get("code")) for each in received] == [
            ("CONNECTED", None, None),
            ("STATE_SYNC", version, None),
            ("STATE_SYNC", version, None),
            ("ERROR", None, "MALFORMED_MESSAGE"),
            ("PONG", None, None),
        ], role
    assert (await instance.sessions.read(ROOT, session_id)).snapshot.version == version


async def test_v2_socket_out_of_reach_answers_and_costs_the_same_as_one_of_a_missing_session(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, _ = await open_session(instance, "start")
    for role in ROLES_OF_GRANTS:
        token = make_token(role=role, participant_id=WHITE, grants=[{"sessions": [str(uuid4())]}])
        found = []
        for requested in (session_id, str(uuid4())):
            with monkeypatch.context() as patch:
                trips = RoundTrips(patch, instance.parts.pipe, requested)
                received = await v2_conversation(instance, requested, token, 1)
            found.append((str(received).replace(requested, "ID"), trips.count))
        assert found[0] == found[1]
        assert [(each["type"], each.get("code")) for each in received] == [
            ("CONNECTED", None),
            ("ERROR", "SESSION_NOT_FOUND"),
            ("ERROR", "MALFORMED_MESSAGE"),
            ("PONG", None),
        ]
        assert found[0][1] == 0
    assert not await instance.feed_channels()
