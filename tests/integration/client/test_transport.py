"""The change of transport: from blocked WebSockets to an event stream, and back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Any, get_args
from uuid import uuid4

import pytest

from synckairos.config import Settings
from synckairos_client import (
    Client,
    ConnectionEnded,
    Forbidden,
    SessionNotFound,
    TooManyConnections,
    Unauthorized,
    Watch,
    sync,
)
from synckairos_client.generated.rest_types import CreateSession
from tests.integration.authentication import make_authenticator, make_token
from tests.integration.client.proxy import Proxy, Upgrades, proxy_to
from tests.integration.realtime.instances import Instance, serving
from tests.processes import Process
from tests.waiting import eventually

DEADLINE_S = 20

CLOCK: CreateSession = {
    "sync_mode": "per_participant",
    "participants": [{"participant_id": str(uuid4()), "total_time_ms": 300_000} for _ in range(2)],
}

BLOCKED = [way for way in get_args(Upgrades) if way != "passed"]


@asynccontextmanager
async def blocked_client(
    instance: Instance, way: Upgrades = "cut", **options: Any
) -> AsyncIterator[tuple[Proxy, Client, Watch]]:
    """Run a client that watches a session, in a network that blocks WebSockets."""
    session_id = await instance.create()
    async with asyncio.timeout(DEADLINE_S), proxy_to(instance.ws_url) as proxy:
        proxy.upgrades = way
        async with Client(proxy.url, **options) as client, client.watch(session_id) as watch:
            yield proxy, client, watch


@pytest.mark.parametrize("way", BLOCKED)
async def test_client_uses_an_event_stream_after_two_failed_upgrades(module_server: Process, way: Upgrades) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        proxy_to(module_server.ws_url) as proxy,
        Client(proxy.url) as client,
        Client(module_server.base_url) as other,
    ):
        proxy.upgrades = way
        session_id = (await other.api.sessions.create(CLOCK))["session_id"]
        async with client.watch(session_id) as watch:
            assert (client.transport, proxy.blocked_upgrades) == ("event-stream", 2)
            await watch.reach((await watch.command("start")).version)
            ack = await other.command(session_id, "switch")
            assert (await watch.reach(ack.version)).turn_number == 2
            assert watch.document == dict(await client.api.sessions.get(session_id))
            assert client.error_ms < 1_000
            remaining_ms = watch.remaining_ms()
            assert remaining_ms is not None
            assert remaining_ms > 200_000
        assert other.transport == "websocket"


async def test_client_returns_to_websockets_and_each_command_takes_effect_once(instance: Instance) -> None:
    async with blocked_client(instance, websocket_trial_s=0.05) as (proxy, client, watch):
        versions: list[int] = []

        async def follow() -> None:
            async for update in watch.updates():
                assert not update.has_gap
                versions.append(update.state.version)

        following = asyncio.create_task(follow())

        async def is_tried() -> bool:
            return proxy.blocked_upgrades > 3

        await watch.command("start")
        await eventually(is_tried)
        assert [client.transport] == ["event-stream"]
        proxy.upgrades = "passed"
        answered: list[int] = []
        while client.transport == "event-stream" or len(answered) < 20:
            answered.append((await watch.command("switch")).version)
        last = answered[-1]
        assert answered == list(range(3, 3 + len(answered)))
        await watch.reach(last)

        async def is_followed() -> bool:
            return bool(versions) and versions[-1] == last

        await eventually(is_followed)
        assert versions == sorted(set(versions))
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def test_many_and_large_commands_arrive_once_and_in_order(instance: Instance) -> None:
    async with blocked_client(instance, transport="event-stream") as (_, _, watch):
        names = [f"k{number}" for number in range(150)]
        await asyncio.gather(*(watch.command("update_metadata", {"metadata": {name: 1}}) for name in names))
        large = ['"' * 15_000 + str(number) for number in range(30)]
        acks = await asyncio.gather(
            *(watch.command("update_metadata", {"metadata": {"large": text}}) for text in large)
        )
        assert [ack.version for ack in acks] == list(range(152, 182))
        state = await watch.reach(181)
        assert state.metadata is not None
        assert {*names} <= {*state.metadata}
        assert state.metadata["large"] == large[-1]


async def test_broken_stream_resumes_without_a_lost_event(instance: Instance) -> None:
    async with blocked_client(instance, transport="event-stream") as (proxy, client, watch):
        await watch.reach((await watch.command("start")).version)
        updates = watch.updates()
        await anext(updates)
        proxy.cut()
        async with Client(instance.ws_url) as other:
            for _ in range(3):
                ack = await other.command(watch.session_id, "switch")
        seen: list[int] = []
        while not seen or seen[-1] < ack.version:
            update = await anext(updates)
            assert not update.has_gap
            seen.append(update.state.version)
        assert seen == [3, 4, 5]
        assert client.transport == "event-stream"


async def test_streams_need_the_token_of_the_client(settings: Settings) -> None:
    async with serving(settings, authenticator=make_authenticator(settings)) as guarded:
        token = make_token(role="admin")
        async with blocked_client(guarded, "refused", token=token) as (_, client, watch):
            assert (await watch.command("start")).version == 2
            assert client.transport == "event-stream"
        async with Client(guarded.ws_url, transport="event-stream", token="bad") as client:
            with pytest.raises(Unauthorized):
                await client.command(str(uuid4()), "start")


async def test_fresh_token_is_fetched_after_a_refusal_of_the_stream(settings: Settings) -> None:
    async with serving(settings, authenticator=make_authenticator(settings)) as guarded:
        tokens = ["expired", make_token(role="admin")]

        async def get_token() -> str:
            return tokens.pop(0)

        async with blocked_client(guarded, transport="event-stream", get_token=get_token) as (_, _, watch):
            assert (await watch.command("start")).version == 2
        assert tokens == []


async def test_stream_at_the_limit_of_connections_is_not_retried(settings: Settings) -> None:
    async with (
        serving(settings.model_copy(update={"ws_max_connections": 1})) as instance,
        blocked_client(instance, transport="event-stream"),
        Client(instance.ws_url, transport="event-stream") as another,
    ):
        with pytest.raises(TooManyConnections):
            await another.command(str(uuid4()), "start")


async def test_missing_session_ends_the_watch_and_the_stream_stays(instance: Instance) -> None:
    async with blocked_client(instance, transport="event-stream") as (_, client, watch):
        with pytest.raises(SessionNotFound):
            async with client.watch(str(uuid4())):
                pass
        assert (await watch.command("start")).version == 2
        assert len(instance.connections) == 1


@pytest.mark.parametrize(("status", "error"), [(404, ConnectionEnded), (403, Forbidden)])
async def test_server_that_refuses_both_transports_ends_the_client(status: int, error: type[Exception]) -> None:
    paths = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            paths.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with asyncio.timeout(DEADLINE_S), Client(url) as client:
            with pytest.raises(error):
                await client.command(str(uuid4()), "start")
    assert paths == [b"/ws", b"/ws", b"/v3/stream"]


async def test_older_server_without_streams_does_not_end_the_client_after_network_failures(instance: Instance) -> None:
    session_id = await instance.create()
    attempts = 0

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        with closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/v3/stream" in head:
                body = b'{"error": {"code": "NOT_FOUND"}}'
                writer.write(b"HTTP/1.1 404 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as broken, proxy_to(instance.ws_url) as proxy:
        target, proxy.target = proxy.target, broken.sockets[0].getsockname()
        async with asyncio.timeout(DEADLINE_S), Client(proxy.url) as client:
            watching = asyncio.create_task(version_of(client, session_id))

            async def has_tried_both() -> bool:
                return attempts >= 4

            await eventually(has_tried_both)
            proxy.target = target
            assert await watching == 1


async def version_of(client: Client, session_id: str) -> int:
    async with client.watch(session_id) as session:
        return session.state.version


async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await source.read(65_536):
            sink.write(chunk)
    sink.close()


async def test_stream_passes_the_tunnel_of_an_http_proxy(instance: Instance) -> None:
    targets = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            method, target, _ = (await reader.readuntil(b"\r\n\r\n")).decode().split(maxsplit=2)
            assert method == "CONNECT"
            targets.append(target)
            server_reader, server_writer = await asyncio.open_connection(*target.split(":"))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with closing(server_writer):
                await asyncio.gather(pass_on(reader, server_writer), pass_on(server_reader, writer))

    session_id = await instance.create()
    async with await asyncio.start_server(tunnel, "127.0.0.1", 0) as server:
        proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = Client(instance.ws_url, transport="event-stream", proxy=proxy)
        async with asyncio.timeout(DEADLINE_S), client, client.watch(session_id) as watch:
            assert (await watch.command("start")).version == 2
    assert set(targets) == {instance.base_url.removeprefix("http://")}
    assert len(targets) >= 2


def test_unknown_transport_is_refused() -> None:
    unknown: Any = "smoke"
    with pytest.raises(ValueError, match="auto, websocket or event-stream"):
        Client("ws://127.0.0.1/ws", transport=unknown)


async def test_synchronous_client_has_the_same_transports(instance: Instance) -> None:
    session_id = await instance.create()

    def press() -> tuple[int, str]:
        with sync.Client(instance.base_url, transport="event-stream") as client:
            return client.command(session_id, "start", timeout_s=DEADLINE_S).version, client.transport

    assert await asyncio.to_thread(press) == (2, "event-stream")
