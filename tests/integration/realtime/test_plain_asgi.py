"""The same on a server that offers nothing but ASGI."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from synckairos.clock.commands import Delete, Start, Switch
from synckairos.config import Settings
from tests.integration.realtime.instances import Instance, serving, take, take_until, watching
from tests.waiting import eventually


@pytest.fixture
async def plain(settings: Settings) -> AsyncIterator[Instance]:
    async with serving(settings, ws="websockets-sansio") as served:
        yield served


async def test_a_watcher_sees_a_session_through(plain: Instance) -> None:
    session_id = await plain.create()
    async with watching(plain, session_id) as client:
        assert [(await take(client))["type"] for _ in range(2)] == ["CONNECTED", "STATE_SYNC"]
        await plain.command(session_id, Start())
        await plain.command(session_id, Switch())
        assert (await take_until(client, 3))[-1]["type"] == "STATE_UPDATE"
        for sent, answer in (("PING", "PONG"), ("RECONNECT", "STATE_SYNC"), ("NOPE", "ERROR")):
            await client.send(f'{{"type":"{sent}"}}')
            assert (await take(client))["type"] == answer
        await client.send(b"binary")
        assert (await take(client))["type"] == "ERROR"
        await plain.command(session_id, Delete())
        assert (await take(client))["type"] == "SESSION_DELETED"
        with pytest.raises(ConnectionClosed):
            await take(client)
        assert client.close_code == 1000


async def test_who_leaves_is_forgotten(plain: Instance) -> None:
    async with watching(plain, str(uuid4())) as client:
        await take(client)

    async def look() -> bool:
        return not plain.hub.connections and not plain.hub.watched_sessions

    await eventually(look)


async def test_a_foreign_origin_is_refused(plain: Instance) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with watching(plain, str(uuid4()), origin="https://evil.example"):
            pass
    assert refused.value.response.status_code == 403
