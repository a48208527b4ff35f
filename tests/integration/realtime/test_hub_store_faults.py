"""Whatever happens between Redis and three instances, every watcher has the top version within 5 s of its end.

Watchers of both dialects and our own client, none of whom connects anew; each sees versions in order, and has in the
end what is stored.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import orjson
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from synckairos.client import Client
from synckairos.client.watch import Watch
from synckairos.clock.commands import Start, Switch, UpdateMetadata
from synckairos.config import Settings
from synckairos.embedded import Valkey
from synckairos.errors import StoreUnavailable
from synckairos.realtime.connection import SocketConnection
from synckairos.service.requests import Answer, CommandRequest
from synckairos.store.shared_connection import RedisPipe
from synckairos.wire.session_json import render_session
from tests.integration.client.proxy import proxy_to, target_of
from tests.integration.parts import open_parts
from tests.integration.realtime.instances import SOMEBODY, Instance, serving, take, watching
from tests.integration.realtime.store_proxy import StoreProxy, store_proxy
from tests.integration.realtime.v3_client import V3Client, joined, normal, shown, v3_client
from tests.waiting import eventually

HEALS_WITHIN_S = 5.0
FROZEN_S = 5.0
INSTANCES = 3


class Watcher:
    """A client that reads all that comes, and what it knows."""

    def __init__(self) -> None:
        self.versions: list[int] = []
        self.document = b""
        """What it has, made comparable to what is stored."""

    async def read_v2(self, client: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                if (state := (await take(client, 3600)).get("state")) is not None:
                    self.versions.append(state["version"])
                    self.document = shown(orjson.dumps(state))

    async def read_v3(self, client: V3Client, session_id: str) -> None:
        await client.send("SUBSCRIBE", session_id=session_id)
        with suppress(ConnectionClosed):
            while True:
                await client.take(3600)
                if (state := client.states.get(session_id)) is not None:
                    self.versions.append(state["version"])
                    self.document = normal(state)

    async def read_ours(self, session: Watch) -> None:
        async for update in session.updates():
            self.versions.append(update.state.version)
            self.document = shown(render_session(update.state))


class Crowd:
    """Instances behind one proxy, and who watches one session there."""

    def __init__(self, proxy: StoreProxy, instances: list[Instance], session_id: str) -> None:
        self.proxy = proxy
        self.instances = instances
        self.session_id = session_id
        self.watchers: list[Watcher] = []
        self.readers: list[asyncio.Task[None]] = []
        self.connections: set[SocketConnection] = set()

    async def switch(self, count: int = 1) -> None:
        """Change the session on one instance after the other."""
        for number in range(count):
            await self.instances[number % INSTANCES].command(self.session_id, Switch())

    async def stored(self) -> Answer:
        return await self.instances[0].sessions.read(self.session_id)

    async def is_whole(self) -> bool:
        try:
            stored = await self.stored()
        except StoreUnavailable:
            return False
        return all(each.document == shown(stored.snapshot.document) for each in self.watchers)

    async def heals(self) -> None:
        """Wait until all have what is stored, then see that nobody had to connect anew."""
        await eventually(self.is_whole, HEALS_WITHIN_S)
        assert not any(reader.done() for reader in self.readers)
        assert self.connected() == self.connections

    def connected(self) -> set[SocketConnection]:
        return {connection for each in self.instances for connection in each.connections}

    def saw_it_in_order(self) -> bool:
        return all(each.versions == sorted(each.versions) for each in self.watchers)


@asynccontextmanager
async def crowd(settings: Settings, redis_url: str) -> AsyncIterator[Crowd]:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(store_proxy(redis_url))
        settings = settings.model_copy(update={"redis_url": proxy.url, "queue_redis_url": proxy.url})
        instances = [await stack.enter_async_context(serving(settings)) for _ in range(INSTANCES)]
        session_id = await instances[0].create()
        await instances[0].command(session_id, Start())
        gathered = Crowd(proxy, instances, session_id)
        for instance in instances:
            v2 = await stack.enter_async_context(watching(instance, session_id))
            v3 = await stack.enter_async_context(v3_client(instance))
            client = await stack.enter_async_context(Client(instance.ws_url))
            session = await stack.enter_async_context(client.watch(session_id))
            watchers = Watcher(), Watcher(), Watcher()
            gathered.watchers += watchers
            reading = (watchers[0].read_v2(v2), watchers[1].read_v3(v3, session_id), watchers[2].read_ours(session))
            gathered.readers += map(asyncio.create_task, reading)
        await eventually(gathered.is_whole)
        gathered.connections = gathered.connected()
        try:
            yield gathered
        finally:
            for reader in gathered.readers:
                reader.cancel()
            await asyncio.wait(gathered.readers)


@pytest.fixture
def own_valkeys(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[tuple[Valkey, Valkey]]:
    """Give two Valkeys that a test may freeze and kill."""
    name = tmp_path_factory.mktemp("gap_proof").name
    with Valkey(data_dir / f"{name}-a") as first, Valkey(data_dir / f"{name}-b") as second:
        yield first, second


async def test_one_of_a_hundred_messages_lost(settings: Settings) -> None:
    chance = random.Random(7)
    async with crowd(settings, settings.redis_url) as gathered:
        feed = b":feed:"
        gathered.proxy.loses = lambda message: feed in message and chance.random() < 0.01
        await gathered.switch(300)
        assert gathered.proxy.lost > 0
        await gathered.heals()
        # The last one, lost to all of them: nothing that follows gives it away.
        gathered.proxy.loses = lambda message: feed in message
        await gathered.switch()
        gathered.proxy.loses = lambda message: False
        await gathered.heals()
        assert gathered.saw_it_in_order()


async def test_the_subscribers_connections_killed(settings: Settings) -> None:
    async with crowd(settings, settings.redis_url) as gathered:
        pipe = gathered.instances[0].parts.pipe
        for _ in range(3):
            assert await pipe.call("CLIENT", "KILL", "TYPE", "pubsub") >= INSTANCES
            await gathered.switch(5)
            await gathered.heals()
        assert gathered.saw_it_in_order()


@pytest.mark.slow
async def test_a_frozen_store(settings: Settings, own_valkeys: tuple[Valkey, Valkey]) -> None:
    frozen, _ = own_valkeys
    async with crowd(settings, frozen.url) as gathered:
        frozen.suspend()
        try:
            # Nobody is told whether this is done; the store does it when it wakes up.
            with pytest.raises(StoreUnavailable):
                await gathered.switch()
            await asyncio.sleep(FROZEN_S - settings.redis_timeout_s)  # not to wait for anything: this is the fault
            assert not any(each.feed.is_connected for each in gathered.instances)
        finally:
            frozen.resume()
        await gathered.heals()
        await gathered.switch(5)
        await gathered.heals()
        assert gathered.saw_it_in_order()


async def replicate(gathered: Crowd, primary: Valkey, replica: Valkey) -> int:
    """Make one Valkey the other's replica, wait until it has all there is, and return the session's version."""
    stored = await gathered.stored()
    async with RedisPipe(primary.url, 5) as at_primary, RedisPipe(replica.url, 5) as at_replica:
        await at_primary.call("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        await at_replica.call("REPLICAOF", "127.0.0.1", primary.port)

        async def is_replicated() -> bool:
            key = gathered.instances[0].parts.store.keys.session(gathered.session_id)
            return bool(await at_replica.call("HGET", key, "state") == stored.snapshot.document)

        await eventually(is_replicated)
    return stored.snapshot.version


async def promote(replica: Valkey) -> None:
    async with RedisPipe(replica.url, 5) as pipe:
        await pipe.call("REPLICAOF", "NO", "ONE")


async def issue_anew(settings: Settings, store: Valkey, session_id: str, count: int) -> None:
    """Go on where a store took over, as others do before we notice, and in another way than by switches."""
    async with open_parts(settings.model_copy(update={"redis_url": store.url})) as parts:
        for number in range(count):
            command = UpdateMetadata({"anew": number})
            await parts.sessions.execute(CommandRequest(SOMEBODY, session_id, command, "update_metadata"))


def fail_over(gathered: Crowd, primary: Valkey, replica: Valkey) -> None:
    primary.kill()
    gathered.proxy.target_url = replica.url
    gathered.proxy.cut()


@pytest.mark.slow
@pytest.mark.parametrize(("lost", "issued_anew"), [(0, 0), (3, 0), (3, 3), (3, 4)])
async def test_a_failover(settings: Settings, own_valkeys: tuple[Valkey, Valkey], lost: int, issued_anew: int) -> None:
    """Where the replica didn't get all there was, what everybody has in the end is what it has.

    Others may have gone on there before we noticed, and given versions anew that our watchers know differently.
    """
    primary, replica = own_valkeys
    async with crowd(settings, primary.url) as gathered:
        await gathered.switch(5)
        kept = await replicate(gathered, primary, replica)
        await promote(replica)
        await gathered.switch(lost)
        await eventually(gathered.is_whole)
        await issue_anew(settings, replica, gathered.session_id, issued_anew)
        fail_over(gathered, primary, replica)
        await gathered.heals()
        assert (await gathered.stored()).snapshot.version == kept + issued_anew
        assert gathered.saw_it_in_order() or lost
        await gathered.switch(5)
        await gathered.heals()


@pytest.mark.slow
@pytest.mark.parametrize("issued_anew", [3, 4])
async def test_who_was_away_over_a_failover(
    settings: Settings, own_valkeys: tuple[Valkey, Valkey], issued_anew: int
) -> None:
    """What they had was lost and its number issued anew: they get what is there, and nothing on top of their own."""
    primary, replica = own_valkeys
    async with crowd(settings, primary.url) as gathered:
        session_id, (first, second, third) = gathered.session_id, gathered.instances
        kept = await replicate(gathered, primary, replica)
        await promote(replica)
        await gathered.switch(3)
        lost = await joined(second, session_id)
        assert lost.place["version"] == kept + 3
        async with proxy_to(first.ws_url) as line, Client(line.url) as client, client.watch(session_id) as session:
            await session.reach(kept + 3)
            line.lead_nowhere()
            await issue_anew(settings, replica, session_id, issued_anew)
            fail_over(gathered, primary, replica)
            async with v3_client(second) as returning:

                async def is_told() -> bool:
                    answer = await returning.resume(session_id, lost)
                    assert answer.get("recovered") is not True
                    return bool(answer["type"] == "STATE_SYNC")

                await eventually(is_told, HEALS_WITHIN_S)
            updates = session.updates()
            assert (await anext(updates)).state.version == kept + 3
            line.target = target_of(third.ws_url)
            async with asyncio.timeout(2 * HEALS_WITHIN_S):
                update = await anext(updates)
            await updates.aclose()
            assert update.has_gap
            await eventually(gathered.is_whole, HEALS_WITHIN_S)
            assert shown(render_session(session.state)) == shown((await gathered.stored()).snapshot.document)
