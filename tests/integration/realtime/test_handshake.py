"""What comes before a request or a socket: bounded in bytes, number and time."""

import asyncio
from uuid import uuid4

import pytest

from synckairos.realtime import handshake
from tests.integration.realtime.instances import Instance
from tests.integration.realtime.raw import raw_client


@pytest.mark.parametrize(
    "headers",
    [
        ["X-Long: " + "x" * 9_000],
        [f"X-{number}: y" for number in range(120)],
        [f"X-{number}: {'y' * 5_000}" for number in range(8)],
    ],
    ids=["long", "many", "much"],
)
async def test_too_many_headers_are_refused(instance: Instance, headers: list[str]) -> None:
    async with raw_client(instance.server.port) as client:
        assert b" 431 " in await client.upgrade(f"/ws?sessionId={uuid4()}", *headers)


async def test_a_handshake_near_the_bounds_is_fine(instance: Instance) -> None:
    headers = [f"X-{number}: {'y' * 300}" for number in range(80)] + ["X-Long: " + "x" * 7_900]
    async with raw_client(instance.server.port) as client:
        assert b" 101 " in await client.upgrade(f"/ws?sessionId={uuid4()}", *headers)


async def test_a_header_without_an_end_is_refused(instance: Instance) -> None:
    async with raw_client(instance.server.port) as client:
        await client.send(b"GET /ws HTTP/1.1\r\nX-Endless: ")
        for _ in range(16):
            await client.send(b"x" * 4_096)
        assert b" 431 " in await client.head()


@pytest.mark.parametrize("begun", [b"", b"GET /ws HTTP/1.1\r\nHost: a\r\nX-Slow: "])
async def test_headers_that_dont_come_are_not_awaited(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(handshake, "HEADERS_WITHIN_S", 0.1)
    async with raw_client(instance.server.port) as client:
        await client.send(begun)
        async with asyncio.timeout(5):
            assert await client.head() == b""
