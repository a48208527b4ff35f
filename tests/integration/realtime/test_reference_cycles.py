"""Ended sockets and refused requests leave no reference cycles, so garbage collections have little to do.

A collection stops the whole instance. Without cycles, Python frees each object when its last reference ends.
"""

import gc
from collections import Counter
from collections.abc import Iterator

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.server import ServerProtocol

from synckairos.config import Settings
from synckairos.errors import SyncKairosError
from synckairos.realtime.connection import SocketConnection
from synckairos.revocations import credential_ends
from synckairos.server.direct_write_websocket import BoundedWebSocketProtocol
from tests.integration.authentication import bearer, make_authenticator, make_token
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.realtime.instances import receive, serving, watching
from tests.integration.realtime.v3_client import V3, V3Client
from tests.integration.rest_server import chess_body, open_rest_server
from tests.waiting import eventually

KINDS = (BoundedWebSocketProtocol, ServerProtocol, SocketConnection, SyncKairosError)
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def before() -> Iterator[Counter[str]]:
    """Free no cycles during the test. Return the number of objects of `KINDS` by type."""
    gc.collect()
    gc.disable()
    try:
        yield count_objects()
    finally:
        gc.enable()


def count_objects() -> Counter[str]:
    """Return the number of objects of `KINDS` by type."""
    return Counter(type(each).__name__ for each in gc.get_objects() if issubclass(type(each), KINDS))


async def expect_freed(before: Counter[str]) -> None:
    """Wait until all objects of `KINDS` that are newer than `before` are freed."""

    async def are_freed() -> bool:
        return not count_objects() - before

    try:
        await eventually(are_freed, deadline_s=5)
    except AssertionError:
        pytest.fail(f"cycles keep {count_objects() - before}")


async def test_ended_and_refused_sockets_are_freed(
    settings: Settings, before: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credential_ends, "STALE_ITEMS", 0)  # so that the queue of ends keeps no ended sockets
    one_each = settings.model_copy(update={"ws_max_connections_per_address": 1})
    async with serving(one_each, authenticator=make_authenticator(settings)) as instance:
        session_id = await instance.create()
        good = bearer(make_token(role="admin"))
        for _ in range(2):
            async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=good) as socket:
                client = V3Client(socket)
                assert (await client.request("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"
                assert (await client.request("SUBSCRIBE", session_id=UNKNOWN))["code"] == "SESSION_NOT_FOUND"
                pause = {"session_id": session_id, "command": "pause", "args": {}}
                assert (await client.request("COMMAND", **pause))["code"] == "INVALID_STATE_TRANSITION"
                async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=good) as second:
                    with pytest.raises(ConnectionClosed):
                        await receive(second)
                    assert second.close_code == 4520
                with pytest.raises(InvalidStatus):
                    async with watching(instance, session_id, additional_headers=good):
                        pass
            await instance.wait_until_unused()
            async with watching(instance, session_id, additional_headers=good) as v2:
                assert (await receive(v2))["type"] == "CONNECTED"
            await instance.wait_until_unused()
            with pytest.raises(InvalidStatus):
                async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=bearer("a.b.c")):
                    pass
        await expect_freed(before)


async def test_refusals_of_requests_are_freed(settings: Settings, before: Counter[str]) -> None:
    admin, viewer = as_caller("root"), as_caller("eve", role="viewer")
    async with open_rest_server(settings, caller_identity=NamedCallers()) as server:
        made = (await server.client.post("/v1/sessions", json=chess_body(), headers=admin)).json()["data"]
        path = f"/v1/sessions/{made['session_id']}"
        for url, body, caller, status in (
            (f"{path}/resume", {}, admin, 400),
            (f"{path}/pause", {"reason": 5}, admin, 400),
            (f"{path}/switch", {}, viewer, 403),
            (f"/v1/sessions/{UNKNOWN}/switch", {}, admin, 404),
            ("/v1/sessions", {**chess_body(), "session_id": made["session_id"]}, admin, 409),
            ("/v1/nothing", {}, admin, 404),
        ):
            headers = {**caller, "Idempotency-Key": f"{url}-{status}"}
            answers = [await server.client.post(url, json=body, headers=headers) for _ in range(2)]
            assert [each.status_code for each in answers] == [status] * 2, (url, answers[0].text)
        await expect_freed(before)
