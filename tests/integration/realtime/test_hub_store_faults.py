"""Faults between Redis and three instances. 5 s after the end of a fault, each watcher has the newest version.

The watchers are clients of both dialects and of the Python client. No watcher reconnects. Each watcher gets the
versions in order and ends with the stored document.
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

from synckairos.clock.commands import Start, Switch, UpdateMetadata, VersionPrecondition
from synckairos.config import Settings
from synckairos.embedded import Valkey
from synckairos.errors import PreconditionFailed, StoreUnavailable, VersionConflict
from synckairos.principal import TIMEKEEPER
from synckairos.realtime.connection import SocketConnection
from synckairos.service.requests import CommandRequest, SessionResult
from synckairos.store.shared_connection import RedisPipe
from synckairos.wire.snapshot import SessionSnapshot
from synckairos_client import Client
from synckairos_client.watched_session import Watch
from tests.integration.client.proxy import proxy_to, target_of
from tests.integration.parts import open_parts
from tests.integration.realtime.instances import CALLER, Instance, receive, serving, watching
from tests.integration.realtime.store_proxy import StoreProxy, store_proxy
from tests.integration.realtime.v3_client import V3Client, normal, shown, subscribe_and_leave, v3_client
from tests.waiting import eventually

RECOVERS_WITHIN_S = 5.0
FROZEN_S = 5.0
INSTANCES = 3


class Watcher:
    """Reads all messages of one client. Keeps the versions and the newest document."""

    def __init__(self) -> None:
        self.versions: list[int] = []
        self.document = b""
        """The newest document, in the form of `shown`."""

    async def read_v2(self, client: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                if (state := (await receive(client, 3600)).get("state")) is not None:
                    self.versions.append(state["version"])
                    self.document = shown(orjson.dumps(state))

    async def read_v3(self, client: V3Client, session_id: str) -> None:
        await client.send("SUBSCRIBE", session_id=session_id)
        with suppress(ConnectionClosed):
            while True:
                await client.receive(3600)
                if (state := client.states.get(session_id)) is not None:
                    self.versions.append(state["version"])
                    self.document = normal(state)

    async def read_python_client(self, session: Watch) -> None:
        async for update in session.updates():
            self.versions.append(update.state.version)
            self.document = shown(orjson.dumps(session.document))


class Cluster:
    """Instances behind one store proxy, and the watchers of one session."""

    def __init__(self, proxy: StoreProxy, instances: list[Instance], session_id: str) -> None:
        self.proxy = proxy
        self.instances = instances
        self.session_id = session_id
        self.watchers: list[Watcher] = []
        self.readers: list[asyncio.Task[None]] = []
        self.connections: set[SocketConnection] = set()

    async def switch(self, count: int = 1) -> None:
        """Change the session on the instances in turn, `count` times."""
        for number in range(count):
            await self.instances[number % INSTANCES].command(self.session_id, Switch())

    async def stored(self) -> SessionResult:
        return await self.instances[0].sessions.read(TIMEKEEPER, self.session_id)

    async def is_consistent(self) -> bool:
        try:
            stored = await self.stored()
        except StoreUnavailable:
            return False
        return all(each.document == shown(stored.snapshot.document) for each in self.watchers)

    async def check_recovers(self) -> None:
        """Wait until all watchers have the stored document. Then check that no client reconnected."""
        await eventually(self.is_consistent, RECOVERS_WITHIN_S)
        assert not any(reader.done() for reader in self.readers)
        assert self.connected() == self.connections

    def connected(self) -> set[SocketConnection]:
        return {connection for each in self.instances for connection in each.connections}

    def saw_versions_in_order(self) -> bool:
        return all(each.versions == sorted(each.versions) for each in self.watchers)


@asynccontextmanager
async def running_cluster(settings: Settings, redis_url: str) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(store_proxy(redis_url))
        settings = settings.model_copy(update={"redis_url": proxy.url, "queue_redis_url": proxy.url})
        instances = [await stack.enter_async_context(serving(settings)) for _ in range(INSTANCES)]
        session_id = await instances[0].create()
        await instances[0].command(session_id, Start())
        cluster = Cluster(proxy, instances, session_id)
        for instance in instances:
            v2 = await stack.enter_async_context(watching(instance, session_id))
            v3 = await stack.enter_async_context(v3_client(instance))
            client = await stack.enter_async_context(Client(instance.ws_url))
            session = await stack.enter_async_context(client.watch(session_id))
            watchers = Watcher(), Watcher(), Watcher()
            cluster.watchers += watchers
            reading = (
                watchers[0].read_v2(v2),
                watchers[1].read_v3(v3, session_id),
                watchers[2].read_python_client(session),
            )
            cluster.readers += map(asyncio.create_task, reading)
        await eventually(cluster.is_consistent)
        cluster.connections = cluster.connected()
        try:
            yield cluster
        finally:
            for reader in cluster.readers:
                reader.cancel()
            await asyncio.wait(cluster.readers)


@pytest.fixture
def own_valkeys(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[tuple[Valkey, Valkey]]:
    """Start two Valkey servers that a test is allowed to freeze and kill."""
    name = tmp_path_factory.mktemp("store_faults").name
    with Valkey(data_dir / f"{name}-a") as first, Valkey(data_dir / f"{name}-b") as second:
        yield first, second


async def test_watchers_recover_when_one_of_100_feed_messages_is_lost(settings: Settings) -> None:
    chance = random.Random(7)
    async with running_cluster(settings, settings.redis_url) as cluster:
        feed = b":feed:"
        cluster.proxy.loses = lambda message: feed in message and chance.random() < 0.01
        await cluster.switch(300)
        assert cluster.proxy.lost > 0
        await cluster.check_recovers()
        # All instances lose the last message, so no later message shows the gap.
        cluster.proxy.loses = lambda message: feed in message
        await cluster.switch()
        cluster.proxy.loses = lambda message: False
        await cluster.check_recovers()
        assert cluster.saw_versions_in_order()


async def test_watchers_recover_when_the_subscriber_connections_are_killed(settings: Settings) -> None:
    async with running_cluster(settings, settings.redis_url) as cluster:
        pipe = cluster.instances[0].parts.pipe
        for _ in range(3):
            assert await pipe.call("CLIENT", "KILL", "TYPE", "pubsub") >= INSTANCES
            await cluster.switch(5)
            await cluster.check_recovers()
        assert cluster.saw_versions_in_order()


@pytest.mark.slow
async def test_watchers_recover_after_a_frozen_store(settings: Settings, own_valkeys: tuple[Valkey, Valkey]) -> None:
    frozen, _ = own_valkeys
    async with running_cluster(settings, frozen.url) as cluster:
        frozen.suspend()
        try:
            # The caller does not know the outcome. The store executes the command when it continues.
            with pytest.raises(StoreUnavailable):
                await cluster.switch()
            await asyncio.sleep(
                FROZEN_S - settings.redis_timeout_s
            )  # a wait of fixed length, because this is the duration of the fault
            assert not any(each.feed.is_connected for each in cluster.instances)
        finally:
            frozen.resume()
        await cluster.check_recovers()
        await cluster.switch(5)
        await cluster.check_recovers()
        assert cluster.saw_versions_in_order()


async def replicate(cluster: Cluster, primary: Valkey, replica: Valkey) -> int:
    """Make one Valkey a replica of the other, and wait until it is in sync. Return the session's version."""
    stored = await cluster.stored()
    async with RedisPipe(primary.url, 5) as at_primary, RedisPipe(replica.url, 5) as at_replica:
        await at_primary.call("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        await at_replica.call("REPLICAOF", "127.0.0.1", primary.port)

        async def is_replicated() -> bool:
            key = cluster.instances[0].parts.store.keys.session(cluster.session_id)
            return bool(await at_replica.call("HGET", key, "state") == stored.snapshot.document)

        await eventually(is_replicated)
    return stored.snapshot.version


async def promote(replica: Valkey) -> None:
    async with RedisPipe(replica.url, 5) as pipe:
        await pipe.call("REPLICAOF", "NO", "ONE")


async def reissue_versions(settings: Settings, store: Valkey, session_id: str, count: int) -> None:
    """Commit versions on the promoted store, as other instances do first.

    They are committed by another command than switch, so that their content differs from the lost versions.
    """
    async with open_parts(settings.model_copy(update={"redis_url": store.url})) as parts:
        for number in range(count):
            command = UpdateMetadata({"anew": number})
            await parts.sessions.execute(CommandRequest(CALLER, session_id, command, "update_metadata"))


def fail_over(cluster: Cluster, primary: Valkey, replica: Valkey) -> None:
    primary.kill()
    cluster.proxy.target_url = replica.url
    cluster.proxy.cut()


async def check_conditions_on_a_lost_version_fail(cluster: Cluster, lost: SessionSnapshot) -> None:
    by_version = VersionPrecondition(version=lost.version)
    by_etag = VersionPrecondition(etags=((lost.version, lost.epoch),))
    for instance in cluster.instances:
        for condition, refusal in ((by_version, VersionConflict), (by_etag, PreconditionFailed)):
            request = CommandRequest(CALLER, cluster.session_id, Switch(), "switch", precondition=condition)
            with pytest.raises(refusal):
                await instance.sessions.execute(request)


@pytest.mark.slow
@pytest.mark.parametrize(("lost", "reissued"), [(0, 0), (3, 0), (3, 3), (3, 4)])
async def test_watchers_recover_after_a_failover(
    settings: Settings, own_valkeys: tuple[Valkey, Valkey], lost: int, reissued: int
) -> None:
    """If the replica lacks versions, the session continues under a new epoch, and all watchers end with it.

    Other instances can have issued the lost version numbers again, with other content than the watchers have.
    """
    primary, replica = own_valkeys
    async with running_cluster(settings, primary.url) as cluster:
        await cluster.switch(5)
        kept = await replicate(cluster, primary, replica)
        await promote(replica)
        await cluster.switch(lost)
        await eventually(cluster.is_consistent)
        before = (await cluster.stored()).snapshot
        await reissue_versions(settings, replica, cluster.session_id, reissued)
        fail_over(cluster, primary, replica)
        await cluster.check_recovers()
        if lost:

            async def has_new_epoch() -> bool:
                return (await cluster.stored()).snapshot.epoch != before.epoch

            await eventually(has_new_epoch, RECOVERS_WITHIN_S)
            await cluster.check_recovers()
        stored = (await cluster.stored()).snapshot
        assert (stored.epoch != before.epoch) == bool(lost)
        assert stored.version == (kept + max(lost, reissued) + 1 if lost else kept)
        if lost:
            await check_conditions_on_a_lost_version_fail(cluster, before)
        assert cluster.saw_versions_in_order() or lost
        await cluster.switch(5)
        await cluster.check_recovers()


@pytest.mark.slow
@pytest.mark.parametrize("reissued", [3, 4])
async def test_client_that_was_disconnected_during_a_failover_gets_the_new_state(
    settings: Settings, own_valkeys: tuple[Valkey, Valkey], reissued: int
) -> None:
    """The store lost the client's version and issued its number again. The client must get the full state."""
    primary, replica = own_valkeys
    async with running_cluster(settings, primary.url) as cluster:
        session_id, (first, second, third) = cluster.session_id, cluster.instances
        kept = await replicate(cluster, primary, replica)
        await promote(replica)
        await cluster.switch(3)
        lost = await subscribe_and_leave(second, session_id)
        assert lost.position["version"] == kept + 3
        async with proxy_to(first.ws_url) as line, Client(line.url) as client, client.watch(session_id) as session:
            await session.reach(kept + 3)
            line.block()
            await reissue_versions(settings, replica, session_id, reissued)
            fail_over(cluster, primary, replica)
            async with v3_client(second) as returning:

                async def gets_full_state() -> bool:
                    answer = await returning.resume(session_id, lost)
                    assert answer.get("recovered") is not True
                    return bool(answer["type"] == "STATE_SYNC")

                await eventually(gets_full_state, RECOVERS_WITHIN_S)
            updates = session.updates()
            assert (await anext(updates)).state.version == kept + 3
            line.target = target_of(third.ws_url)
            async with asyncio.timeout(2 * RECOVERS_WITHIN_S):
                update = await anext(updates)
            await updates.aclose()
            assert update.has_gap
            await eventually(cluster.is_consistent, RECOVERS_WITHIN_S)
            assert shown(orjson.dumps(session.document)) == shown((await cluster.stored()).snapshot.document)
