"""Sockets of callers without a grant: a session out of reach is like a session that does not exist."""

from typing import Any
from uuid import uuid4

from synckairos.config import Settings
from synckairos.principal import SessionGrant
from tests.integration.realtime.instances import receive, serving, watching
from tests.integration.realtime.v3_client import v3_client
from tests.principals import make_principal

STRANGER = make_principal("controller", grants=())


def without_ids(message: dict[str, Any], session_id: str) -> dict[str, Any]:
    text = str({name: each for name, each in message.items() if name not in ("server_time_ms", "reply_to")})
    return {"text": text.replace(session_id, "ID")}


async def test_v3_subscription_and_command_out_of_reach_are_refused_like_those_of_a_missing_session(
    settings: Settings,
) -> None:
    async with serving(settings, principal=STRANGER) as instance:
        existing = await instance.create()
        refusals = []
        for session_id in (existing, str(uuid4())):
            async with v3_client(instance) as client:
                commanded = await client.request("COMMAND", session_id=session_id, command="start", args={})
                subscribed = await client.request("SUBSCRIBE", session_id=session_id)
                await client.socket.wait_closed()
                refusals.append(
                    [*(without_ids(each, session_id) for each in (commanded, subscribed)), client.socket.close_code]
                )
        assert refusals[0] == refusals[1]
        assert refusals[0][2] == 4504
        assert not await instance.feed_channels()


async def test_v2_socket_of_a_session_out_of_reach_stays_open_without_a_state(settings: Settings) -> None:
    async with serving(settings, principal=STRANGER) as instance:
        session_id = await instance.create()
        async with watching(instance, session_id) as client:
            assert (await receive(client))["type"] == "CONNECTED"
            await client.send('{"type": "RECONNECT"}')
            refused = await receive(client)
            assert (refused["type"], refused["code"]) == ("ERROR", "SESSION_NOT_FOUND")
            await client.send('{"type": "PING"}')
            assert (await receive(client))["type"] == "PONG"
            assert not await instance.feed_channels()


async def test_viewer_of_one_session_watches_it_and_is_not_allowed_to_change_it(settings: Settings) -> None:
    session_id = str(uuid4())
    grant = SessionGrant(session_ids=frozenset({session_id}), labels=frozenset(), all_sessions=False, role="viewer")
    async with serving(settings, principal=make_principal("controller", grants=(grant,))) as instance:
        await instance.create(session_id)
        other = await instance.create()
        async with v3_client(instance) as client:
            assert (await client.request("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"
            refused = await client.request("COMMAND", session_id=session_id, command="start", args={})
            assert (refused["type"], refused["code"]) == ("ERROR", "FORBIDDEN")
            missing = await client.request("COMMAND", session_id=other, command="start", args={})
            assert (missing["type"], missing["code"]) == ("ERROR", "SESSION_NOT_FOUND")
