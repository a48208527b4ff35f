"""Socket commands of a caller with the role `participant`, and socket commands with `on_behalf_of`."""

from uuid import uuid4

import orjson

from synckairos.clock.commands import Create, NewParticipant, Pause, Start
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.principal import Principal
from synckairos.service.requests import CommandRequest, CreateRequest
from tests.integration.realtime.instances import Instance, serving
from tests.integration.realtime.v3_client import v3_client
from tests.principals import make_principal

WHITE, BLACK = str(uuid4()), str(uuid4())


async def start_session(instance: Instance) -> str:
    people = tuple(NewParticipant(each, total_time_ms=300_000) for each in (WHITE, BLACK))
    spec = Create(SyncMode.PER_PARTICIPANT, people, lag_compensation=True)
    session_id = (await instance.sessions.create(CreateRequest(Principal.anonymous_admin(), spec))).session.session_id
    await instance.sessions.execute(CommandRequest(Principal.anonymous_admin(), session_id, Start(), "start"))
    return session_id


async def test_socket_command_of_a_participant_ends_only_its_own_turn(settings: Settings) -> None:
    participant = make_principal("participant", participant_id=WHITE)
    async with serving(settings, principal=participant) as instance, v3_client(instance) as client:
        session_id = await start_session(instance)
        pressed = await client.request("COMMAND", session_id=session_id, command="switch", args={"lag_ms": 900})
        assert (pressed["type"], pressed["lag_receipt"]["trusted_lag_ms"]) == ("ACK", 0)  # not measured yet
        late = await client.request("COMMAND", session_id=session_id, command="switch", args={})
        assert (late["type"], late["code"]) == ("ERROR", "NOT_ACTIVE_PARTICIPANT")
        foreign = await client.request("COMMAND", session_id=session_id, command="switch", args={}, on_behalf_of=BLACK)
        assert (foreign["type"], foreign["code"]) == ("ERROR", "FORBIDDEN")


async def test_claim_of_a_participant_counts_after_a_measurement_on_its_socket(settings: Settings) -> None:
    participant = make_principal("participant", participant_id=WHITE)
    async with serving(settings, principal=participant) as instance, v3_client(instance) as client:
        session_id = await start_session(instance)
        await client.request("SUBSCRIBE", session_id=session_id)  # starts the measurement
        await client.request("PING", t0=0)  # the server's ping is answered before this message
        pressed = await client.request("COMMAND", session_id=session_id, command="switch", args={"lag_ms": 50})
        assert pressed["lag_receipt"]["trusted_lag_ms"] == 50


async def test_socket_command_and_rest_request_on_behalf_of_a_participant_have_one_fingerprint(
    settings: Settings,
) -> None:
    referee = make_principal("controller", "referee")
    async with serving(settings, principal=referee) as instance, v3_client(instance) as client:
        session_id = await start_session(instance)
        members = {"id": "press-17", "session_id": session_id, "command": "switch"}
        pressed = await client.request("COMMAND", args={}, on_behalf_of=WHITE, **members)
        assert pressed["type"] == "ACK"
        again = await client.request("COMMAND", args={"on_behalf_of": WHITE}, **members)
        assert orjson.dumps(again) == orjson.dumps(pressed)
        other = await client.request("COMMAND", args={}, **members)
        assert (other["type"], other["code"]) == ("ERROR", "IDEMPOTENCY_KEY_REUSED")
        missing = await client.request(
            "COMMAND", session_id=session_id, command="pause", args={}, on_behalf_of=str(uuid4())
        )
        assert (missing["type"], missing["code"]) == ("ERROR", "PARTICIPANT_NOT_FOUND")


async def test_participant_on_a_socket_does_not_lift_the_pause_of_the_referee(settings: Settings) -> None:
    participant = make_principal("participant", participant_id=WHITE)
    async with serving(settings, principal=participant) as instance, v3_client(instance) as client:
        session_id = await start_session(instance)
        for pause in (Pause("rain"), Pause("tea", taken_by=f"participant:{WHITE}")):
            await instance.sessions.execute(CommandRequest(Principal.anonymous_admin(), session_id, pause, "pause"))
        refused = await client.request("COMMAND", session_id=session_id, command="resume", args={"reason": "rain"})
        assert (refused["type"], refused["code"]) == ("ERROR", "FORBIDDEN")
        assert (await client.request("COMMAND", session_id=session_id, command="resume", args={}))["type"] == "ACK"
        state = (await client.request("SUBSCRIBE", session_id=session_id))["state"]
        assert (state["status"], [each["reason"] for each in state["pauses"]]) == ("paused", ["rain"])
        refused = await client.request("COMMAND", session_id=session_id, command="resume", args={})
        assert (refused["type"], refused["code"]) == ("ERROR", "FORBIDDEN")
