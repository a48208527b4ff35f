"""Faults of one session in the store: its requests get an error. After the fault the client gets all versions."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from synckairos.clock.commands import Start
from tests.integration.realtime.instances import Instance, receive, watching
from tests.integration.realtime.v3_client import v3_client


@asynccontextmanager
async def failing(instance: Instance, session_id: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Let each load of a session fail by a fault of the program inside the block."""
    load = instance.parts.store.load

    async def fail(loaded_id: str, *args: Any, **options: Any) -> Any:
        if loaded_id == session_id:
            raise RuntimeError("a fault of the program")
        return await load(loaded_id, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(instance.parts.store, "load", fail)
        yield


@asynccontextmanager
async def corrupted(instance: Instance, session_id: str) -> AsyncIterator[None]:
    """Replace a session's Redis key by a string inside the block."""
    pipe, key = instance.parts.pipe, instance.parts.store.keys.session(session_id)
    await pipe.call("RENAME", key, f"{key}:kept")
    await pipe.call("SET", key, "no session")
    try:
        yield
    finally:
        await pipe.call("RENAME", f"{key}:kept", key)


def fault(
    code: str, instance: Instance, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> AbstractAsyncContextManager[None]:
    """Return the fault whose requests get the error `code`."""
    if code == "INTERNAL_ERROR":
        return failing(instance, session_id, monkeypatch)
    return corrupted(instance, session_id)


@pytest.mark.parametrize("code", ["INTERNAL_ERROR", "STORE_UNAVAILABLE"])
async def test_v3_requests_get_an_error_and_work_afterwards(
    code: str, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, other_id = await instance.create(), await instance.create()
    async with v3_client(instance) as client:
        async with fault(code, instance, session_id, monkeypatch):
            await client.send("SUBSCRIBE", id="s", session_id=session_id)
            await client.send("COMMAND", id="c", session_id=session_id, command="start")
            await client.send("SUBSCRIBE", id="o", session_id=other_id)
            answers = [await client.receive() for _ in range(3)]
            assert [(each["reply_to"], each.get("code")) for each in answers] == [
                *(("s", code), ("c", code), ("o", None))
            ]
        assert (await client.request("COMMAND", id="c", session_id=session_id, command="start"))["version"] == 2
        assert (await client.request("SUBSCRIBE", session_id=session_id))["version"] == 2


@pytest.mark.parametrize("code", ["INTERNAL_ERROR", "STORE_UNAVAILABLE"])
async def test_v2_watcher_gets_the_state_after_the_error(
    code: str, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await instance.create()
    async with watching(instance, session_id) as early:
        assert [(await receive(early))["type"] for _ in range(2)] == ["CONNECTED", "STATE_SYNC"]
        async with AsyncExitStack() as stack:
            async with fault(code, instance, session_id, monkeypatch):
                late = await stack.enter_async_context(watching(instance, session_id))
                assert (await receive(late))["type"] == "CONNECTED"
                await early.send('{"type":"RECONNECT"}')
                assert (await receive(early))["code"] == code
            assert (await receive(late))["state"]["version"] == 1
            await instance.command(session_id, Start())
            assert [(await receive(each))["state"]["version"] for each in (early, late)] == [2, 2]
