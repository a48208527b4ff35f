"""Broken connections: commands take effect once, and states and events continue without a gap."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from synckairos.clock.commands import Create, NewParticipant, Start, Switch
from synckairos.clock.model import OnTimeout, SyncMode
from synckairos.clock.transition import EventType
from synckairos.config import Settings
from synckairos.principal import TIMEKEEPER
from synckairos.realtime.endpoint import DRAINING_RETRY_AFTER_S
from synckairos.service.requests import CreateRequest
from synckairos_client import Client
from synckairos_client.generated.wire.session_parser import parse_session
from tests.integration.client.proxy import proxy_to, target_of
from tests.integration.realtime.instances import CALLER, Instance, serving
from tests.processes import Process
from tests.waiting import eventually

DEADLINE_S = 30


async def test_command_whose_connection_breaks_before_the_ack_takes_effect_once(instance: Instance) -> None:
    session_id = await instance.create()
    async with proxy_to(instance.ws_url) as proxy, Client(proxy.url) as client, client.watch(session_id) as session:
        await session.command("start")
        for press in range(5):
            cut = False

            def before_the_ack(chunk: bytes) -> bool:
                nonlocal cut
                is_it = b'"ACK"' in chunk and not cut
                cut = cut or is_it
                return is_it

            proxy.should_cut = before_the_ack
            async with asyncio.timeout(DEADLINE_S):
                ack = await session.command("switch")
            assert ack.version == 3 + press
        assert proxy.connections >= 2
        await session.reach(7)
        assert session.state == parse_session((await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.document)
        assert session.state.version == 7


async def test_connection_attempt_to_a_silent_port_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with Client(f"ws://127.0.0.1:{silent.getsockname()[1]}/ws", open_timeout_s=0.2) as client:
            pending = asyncio.create_task(client.command(str(uuid4()), "start"))

            async def trouble() -> str | None:
                return client.trouble

            assert "timed out" in (await eventually(trouble, 5) or "")
            pending.cancel()


async def test_each_of_many_commands_takes_effect_once_on_a_breaking_connection(instance: Instance) -> None:
    session_id = await instance.create()
    async with proxy_to(instance.ws_url) as proxy, Client(proxy.url) as client, client.watch(session_id) as session:
        await session.command("start")
        acks = 0

        def every_seventh_ack(chunk: bytes) -> bool:
            nonlocal acks
            before, acks = acks, acks + chunk.count(b'"ACK"')
            return before // 7 != acks // 7

        proxy.should_cut = every_seventh_ack
        async with asyncio.timeout(DEADLINE_S):
            answers = await asyncio.gather(*(session.command("switch", expected_turn=None) for _ in range(30)))
        assert sorted(answer.version for answer in answers) == list(range(3, 33))
        assert proxy.connections > 1
        proxy.should_cut = lambda chunk: False
        assert (await session.reach(32)).version == 32


async def test_missed_versions_are_received_as_deltas_without_a_lost_event(
    instance: Instance, other_instance: Instance
) -> None:
    """Let cycles time out during a lost connection. Then let the client reconnect to another instance."""
    spec = Create(
        SyncMode.PER_CYCLE, (NewParticipant(str(uuid4())), NewParticipant(str(uuid4()))),
        time_per_cycle_ms=1_000, max_cycles=50, on_timeout=OnTimeout.ADVANCE,
    )  # fmt: skip
    session_id = str(uuid4())
    await instance.sessions.create(CreateRequest(CALLER, spec, session_id))
    async with proxy_to(instance.ws_url) as proxy, Client(proxy.url) as client, client.watch(session_id) as session:
        seen: list[tuple[int, int]] = []
        cycles: list[int] = []

        async def follow() -> None:
            async for update in session.updates():
                assert not update.has_gap
                assert [event.version for event in update.events] in ([], [update.state.version])
                seen.append((update.state.version, len(update.events)))
                cycles.extend(e.version for e in update.events if e.event_type == EventType.CYCLE_EXPIRED)
                if update.state.version >= 8:
                    return

        following = asyncio.create_task(follow())
        await instance.command(session_id, Start())
        await session.reach(2)
        proxy.target = target_of(other_instance.ws_url)
        proxy.cut()
        for version in (4, 6):
            await wait_for_version(instance, session_id, version)
            proxy.cut()
        await wait_for_version(instance, session_id, 8)
        async with asyncio.timeout(DEADLINE_S):
            await following
        assert [version for version, _ in seen] == list(range(1, 9))
        assert cycles == list(range(3, 9))


async def wait_for_version(instance: Instance, session_id: str, version: int) -> None:
    """Wait until a session has a version. Each read commits the overdue transitions of the session."""

    async def has_version() -> bool:
        return (await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.version >= version

    await eventually(has_version)


async def test_client_of_a_killed_server_continues_on_another_server(
    start_server: Callable[[Settings], Process], settings: Settings
) -> None:
    doomed, other = start_server(settings), start_server(settings)
    async with proxy_to(doomed.ws_url) as proxy, Client(proxy.url) as client, Client(other.ws_url) as author:
        session_id = await create_session(other)
        async with client.watch(session_id) as session, author.watch(session_id) as elsewhere:
            # A switch names the turn that its client has seen, so the author must have seen the start.
            await elsewhere.reach((await session.command("start")).version)
            gaps: list[bool] = []
            versions: list[int] = []

            async def follow() -> None:
                async for update in session.updates():
                    gaps.append(update.has_gap)
                    versions.append(update.state.version)
                    if update.state.version == 8:
                        return

            following = asyncio.create_task(follow())
            doomed.kill()
            for _ in range(5):
                await elsewhere.reach((await elsewhere.command("switch")).version)
            proxy.target = target_of(other.ws_url)
            async with asyncio.timeout(DEADLINE_S):
                assert (await session.command("switch", expected_turn=None)).version == 8
                await following
            assert versions[-6:] == list(range(3, 9))
            assert not any(gaps)
            await elsewhere.reach(8)
            assert session.state == elsewhere.state


async def create_session(server: Process) -> str:
    people = [{"participant_id": str(uuid4()), "total_time_ms": 300_000} for _ in range(2)]
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as rest:
        answer = await rest.post("/v1/sessions", json={"sync_mode": "per_participant", "participants": people})
    session_id: str = answer.raise_for_status().json()["data"]["session_id"]
    return session_id


async def test_client_reconnects_to_a_restarted_server(
    start_server: Callable[[Settings], Process], settings: Settings
) -> None:
    first = start_server(settings)
    session_id = await create_session(first)
    async with Client(first.base_url) as client, client.watch(session_id) as session:
        first.kill()
        starting = asyncio.create_task(session.command("start"))
        second = Process("serve", "--port", first.base_url.rpartition(":")[2], env=settings.to_environment_variables())
        try:
            await asyncio.to_thread(second.wait_ready)
            async with asyncio.timeout(DEADLINE_S):
                assert (await starting).version == 2
                await session.reach(2)
        finally:
            await asyncio.to_thread(second.stop)


async def test_client_of_a_draining_server_reconnects_after_goaway(settings: Settings) -> None:
    async with serving(settings) as stays:
        session_id = await stays.create()
        async with (
            serving(settings) as leaves,
            proxy_to(leaves.ws_url) as proxy,
            Client(proxy.url) as client,
            client.watch(session_id) as session,
        ):
            proxy.target = target_of(stays.ws_url)
            async with asyncio.timeout(DEADLINE_S):
                await leaves.hub.close_all_connections(1)
                await stays.command(session_id, Start())
                await session.reach(2)
                await stays.command(session_id, Switch())
                await session.reach(3)
            assert proxy.connections == 2


async def test_client_does_not_reconnect_before_retry_after(instance: Instance) -> None:
    session_id = await instance.create()
    instance.hub.is_draining = True
    async with proxy_to(instance.ws_url) as proxy, Client(proxy.url) as client:

        async def is_refused() -> bool:
            return client.trouble == "the server answers 503"

        watching = asyncio.create_task(version_of(client, session_id))
        await eventually(is_refused)
        instance.hub.is_draining = False
        async with asyncio.timeout(DEADLINE_S):
            assert await watching == 1
        first, second = proxy.connected_at
        assert second - first >= DRAINING_RETRY_AFTER_S


async def version_of(client: Client, session_id: str) -> int:
    async with client.watch(session_id) as session:
        return session.state.version


@asynccontextmanager
async def scripted(answers: Callable[[dict[str, Any]], list[dict[str, Any]]]) -> AsyncIterator[tuple[str, list[Any]]]:
    """Serve the answers of a script, and record the messages of the client. PINGs are answered but not recorded."""
    received: list[Any] = []

    async def serve_socket(socket: ServerConnection) -> None:
        try:
            async for text in socket:
                message = orjson.loads(text)
                if message["type"] == "PING":
                    pong = {"type": "PONG", "reply_to": message["id"], "t1": 0, "t2": 0, "error_ms": 0}
                    await socket.send(orjson.dumps(pong), text=True)
                    continue
                received.append(message)
                for answer in answers(message):
                    await socket.send(orjson.dumps(answer), text=True)
        except ConnectionClosed:
            pass

    async with serve(serve_socket, "127.0.0.1", 0, subprotocols=[Subprotocol("synckairos.v3")]) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", received


@pytest.mark.parametrize("from_version", [3, 1])
async def test_delta_with_a_gap_makes_the_client_subscribe_from_its_position(
    instance: Instance, from_version: int
) -> None:
    session_id = await instance.create()
    await instance.command(session_id, Start())
    document = orjson.loads((await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.document)
    name = {"session_id": session_id, "epoch": document["epoch"]}

    def answers(message: dict[str, Any]) -> list[dict[str, Any]]:
        if "version" not in message:
            sync = {"type": "STATE_SYNC", **name, "version": 2, "state": document}
            misfit = {
                "type": "STATE_DELTA",
                **name,
                "from_version": from_version,
                "version": 4,
                "patch": {"version": 4},
            }
            return [sync, misfit, misfit]
        patch = {"version": 5, "status": "paused"}
        return [{"type": "STATE_DELTA", **name, "from_version": 2, "version": 5, "recovered": True, "patch": patch}]

    async with scripted(answers) as (url, received), Client(url) as client, client.watch(session_id) as session:
        async with asyncio.timeout(DEADLINE_S):
            assert (await session.reach(5)).status == "paused"
        assert [each.get("version") for each in received] == [None, 2]
