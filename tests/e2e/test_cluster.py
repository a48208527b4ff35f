"""A store that is a Redis Cluster: sessions, watchers, deadlines and audit go on after failovers and moves of slots."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import orjson
import pytest
from websockets.asyncio.client import connect

from synckairos.admin import doctor
from synckairos.admin.outbox_drain import drain_outbox
from synckairos.admin.store_copy import copy_store
from synckairos.config import Settings
from synckairos.embedded import Postgres, Valkey
from synckairos.errors import StoreMisconfigured
from synckairos.store.cluster_slots import slot_of_key
from synckairos.store.connect import check_store_settings, make_pipe, make_redis_client
from synckairos.store.feed import Feed
from synckairos.store.keys import Keys
from synckairos.store.permissions import Permissions
from synckairos.store.rate_quotas import Quota, make_rate
from synckairos.store.sessions import SessionStore
from synckairos.store.tenant_data import TenantData
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.snapshot import SessionSnapshot
from tests.clusters import PRIMARIES, ClusterSetup, running_cluster
from tests.conftest import copied_database
from tests.e2e.conversation import DEADLINE_S, Conversation, conversation
from tests.e2e.test_instances import request, v3
from tests.integration.data_loss import create_started, switch
from tests.integration.parts import open_parts
from tests.integration.realtime.instances import receive_presence
from tests.processes import Process
from tests.redis_server import running_valkey
from tests.waiting import eventually

pytestmark = pytest.mark.slow

PARTITIONS = 16


@dataclass(frozen=True, slots=True)
class Fleet:
    """Two servers and a worker on a Cluster, with the job queue on a Redis of its own."""

    store: ClusterSetup
    settings: Settings
    keys: Keys
    server: Process
    other_server: Process

    def slot_of(self, session_id: str) -> int:
        """Return the slot of the partition of a session in the default tenant."""
        return slot_of_key(self.keys.session(session_id))


async def _read_keys(settings: Settings) -> Keys:
    async with make_pipe(settings.redis_url, 1) as pipe:
        return await check_store_settings(pipe, Keys(settings.key_prefix, settings.partitions))


@pytest.fixture(scope="module")
def fleet(postgres: Postgres, template_database: str, data_dir: Path, valkey: Valkey) -> Iterator[Fleet]:
    with ExitStack() as stack:
        folder = data_dir / f"cluster-{uuid4().hex[:8]}"
        prefix = f"cluster-{uuid4().hex[:8]}"
        # All processes run as a user that has only the permissions which `doctor` names.
        rule = Permissions(Keys(prefix), store=True, queue=False, is_cluster=True).render_acl_rule("clock")
        user = rule.removeprefix("ACL SETUSER ").replace(">PASSWORD", ">secret")
        store = stack.enter_context(running_cluster(folder, f"user {user}"))
        settings = Settings(
            redis_url=store.url.replace("://", "://clock:secret@"),
            queue_redis_url=valkey.url,
            key_prefix=prefix,
            partitions=PARTITIONS,
            database_url=stack.enter_context(copied_database(postgres, template_database)),
            archive_url=str(folder / "archive"),
            drain_timeout_s=0,
            redis_timeout_s=1,
        )
        processes = [
            Process(*command, env=settings.to_environment_variables())
            for command in (("serve", "--port", "0"), ("serve", "--port", "0"), ("worker",))
        ]
        for process in processes:
            stack.callback(process.stop)
        for server in processes[:2]:
            server.wait_ready()
        yield Fleet(store, settings, asyncio.run(_read_keys(settings)), *processes[:2])


async def becomes_ready(server: Process) -> None:
    """Wait until the server says that it is ready."""
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as rest:

        async def is_ready() -> bool:
            return (await rest.get("/ready")).status_code == 200

        await eventually(is_ready, DEADLINE_S)


@asynccontextmanager
async def conversations(fleet: Fleet) -> AsyncIterator[list[Conversation]]:
    """Create sessions until each primary has one of them. Yield one session for each primary."""
    found: dict[int, Conversation] = {}
    async with AsyncExitStack() as stack:
        while len(found) < PRIMARIES:
            talk = await stack.enter_async_context(conversation(fleet.server, fleet.settings))
            found.setdefault(fleet.store.primary_of_slot(fleet.slot_of(talk.session_id)).port, talk)
        yield [*found.values()]


async def test_doctor_describes_the_cluster(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in fleet.settings.to_environment_variables().items():
        monkeypatch.setenv(name, value)
    checks = {check.name: check for check in await doctor.run_checks()}
    found = checks["redis cluster"]
    assert found.passed
    assert found.result == "3 primaries serve 16384 of 16384 slots, 0 of them without a replica"
    assert "+ssubscribe" in checks["redis permissions"].result
    assert "+cluster|slots" in checks["redis permissions"].result
    assert checks["redis maxmemory-policy"].passed
    assert checks["partitions"].passed


async def test_every_feature_works_on_all_primaries(fleet: Fleet) -> None:
    async with conversations(fleet) as talks:
        for talk in talks:
            await talk.command("switch")
        await asyncio.gather(*(talk.use_everything() for talk in talks))
        await asyncio.gather(*(talk.wait_for_audit() for talk in talks))


async def test_watcher_of_another_instance_receives_each_version(fleet: Fleet) -> None:
    async with (
        conversation(fleet.server, fleet.settings) as talk,
        connect(f"{fleet.other_server.ws_url}?sessionId={talk.session_id}", proxy=None) as watcher,
    ):
        first, versions = talk.version, list[int]()
        for _ in range(3):
            await talk.command("switch")
        async with asyncio.timeout(DEADLINE_S):
            while not versions or versions[-1] < talk.version:
                message = orjson.loads(await watcher.recv())
                versions += [state["version"]] if (state := message.get("state")) else []
        assert versions == [*range(versions[0], first + 4)]


class Versions:
    """A listener of the feed that keeps all versions, and counts the versions that it did not receive one by one."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.resyncs = 0

    def on_feed_message(self, session_name: str, message: FeedMessage) -> None:
        self.received.append(message.snapshot.version)

    def on_feed_resync(self, session_name: str, snapshot: SessionSnapshot, went_back: bool) -> None:
        self.resyncs += 1

    def on_session_missing(self, session_name: str) -> None:
        self.resyncs += 1


@asynccontextmanager
async def watched(fleet: Fleet, session_id: str) -> AsyncIterator[Versions]:
    """Watch a session over a feed of this process."""
    settings, keys, versions = fleet.settings, fleet.keys, Versions()
    async with make_pipe(settings.redis_url, 1) as pipe, make_redis_client(settings.redis_url, 1) as redis:
        feed = Feed(redis, pipe, keys, session_ttl_s=settings.session_ttl_s)
        task = asyncio.create_task(feed.run(versions))
        try:
            await feed.watch(session_id)
            loaded = await SessionStore(pipe, keys, settings.history_length).load(session_id)
            assert loaded.snapshot is not None
            feed.set_initial_snapshot(session_id, loaded.snapshot)
            yield versions
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("atomically", [True, False], ids=["at once", "key by key"])
async def test_no_turn_is_lost_and_no_version_is_missed_while_a_slot_moves(fleet: Fleet, atomically: bool) -> None:
    async with (
        conversation(fleet.server, fleet.settings) as talk,
        watched(fleet, talk.session_id) as versions,
        httpx.AsyncClient(base_url=fleet.other_server.base_url, trust_env=False) as rest,
    ):
        slot = fleet.slot_of(talk.session_id)
        source = fleet.store.primary_of_slot(slot)
        target = next(node for node in fleet.store.primaries() if node is not source)
        acknowledged: list[int] = []

        async def switch() -> bool:
            response = await rest.post(f"/v1/sessions/{talk.session_id}/switch", headers=headers)
            assert response.status_code in (200, 503), response.text
            if response.status_code == 200:
                acknowledged.append(response.json()["data"]["version"])
            return response.status_code == 200

        move = asyncio.create_task(asyncio.to_thread(fleet.store.move_slot, slot, target, atomically=atomically))
        while not move.done() or len(acknowledged) < 20:
            headers = {"Idempotency-Key": uuid4().hex}
            await eventually(switch, DEADLINE_S)
        await move
        assert acknowledged == [*range(talk.version + 1, talk.version + 1 + len(acknowledged))]

        async def is_complete() -> bool:
            return versions.received[-1:] == acknowledged[-1:]

        await eventually(is_complete, DEADLINE_S)
        assert versions.received == acknowledged
        assert versions.resyncs == 0
        talk.version = acknowledged[-1]
        await talk.receive_version()
        await talk.command("complete")
        await talk.wait_for_audit()
    assert "Traceback" not in fleet.server.output + fleet.other_server.output


async def test_presence_counts_the_watchers_of_all_instances(fleet: Fleet) -> None:
    async with (
        conversation(fleet.server, fleet.settings) as talk,
        v3(fleet.server) as one,
        v3(fleet.other_server) as another,
    ):
        for client in (one, another):
            await request(client, "SUBSCRIBE", id="s", session_id=talk.session_id)
        for client in (one, another):
            assert (await receive_presence(client, 3))["roles"] == {"viewer": 3}


async def test_rate_limits_count_the_requests_of_all_instances(fleet: Fleet) -> None:
    url, rate = fleet.settings.redis_url, make_rate("test", 3, 3_600, 3, "requests", "")
    async with make_pipe(url, 1) as one, make_pipe(url, 1) as another:
        for owner in map(str, range(8)):  # the buckets are on all primaries
            quota = Quota(rate, owner)
            commands = [quota.make_take_tokens_command(fleet.keys, 1)] * 2
            assert [taken for taken, *_ in await one.call_many(commands)] == [1, 1]
            assert [taken for taken, *_ in await another.call_many(commands)] == [1, 0]


async def test_search_and_deletion_find_the_keys_of_all_primaries(fleet: Fleet) -> None:
    keys, names = fleet.keys, {f"club-of-test/{uuid4()}" for _ in range(40)}
    async with make_pipe(fleet.settings.redis_url, 1) as pipe:
        await pipe.call_many([("HSET", keys.summary(name), "of", "x") for name in (*names, "default-of-test")])
        pattern = f"{keys.prefix}:*digest:*of-test*"
        found = {key.decode().rpartition(":")[2] async for some in pipe.scan(pattern, 10) for key in some}
        assert found == names | {"default-of-test"}
        partition = keys.partition_of("default-of-test")
        of_partition = {name for name in found if keys.partition_of(name) == partition}
        pattern = f"{keys.summary_prefix(partition)}*of-test*"
        assert {
            key.decode().rpartition(":")[2] async for some in pipe.scan(pattern, 10) for key in some
        } == of_partition
        assert await TenantData(pipe, keys).delete("club-of-test") == 40
        assert await pipe.call("EXISTS", keys.summary("default-of-test")) == 1
        for node in fleet.store.primaries():
            assert not any("club-of-test" in key for key in node.ask("KEYS", "*"))
        await pipe.call("DEL", keys.summary("default-of-test"))


async def test_sessions_are_recovered_after_all_primaries_lost_their_data(fleet: Fleet) -> None:
    async with conversations(fleet) as talks:
        for talk in talks:
            await talk.command("switch")
        await asyncio.gather(*(talk.wait_for_audit() for talk in talks))
        for node in fleet.store.primaries():
            assert node.ask("FLUSHALL") == ["OK"]
            assert node.ask("SCRIPT", "FLUSH") == ["OK"]
        for talk in talks:
            await talk.command("switch")
        await asyncio.gather(*(talk.wait_for_audit() for talk in talks))


@pytest.mark.parametrize("fault", ["planned failover", "suspended primary", "killed primary"])
async def test_sessions_watchers_deadlines_and_audit_go_on_after_a_failover(fleet: Fleet, fault: str) -> None:
    async with conversations(fleet) as talks:
        slot = fleet.slot_of(talks[0].session_id)
        former = fleet.store.primary_of_slot(slot)
        due_ms = 1_000 if fault == "planned failover" else 1_500
        countdowns = [await talks[0].start_countdown(due_ms) for _ in range(4)]
        if fault == "planned failover":
            fleet.store.replica_of(former).ask("CLUSTER", "FAILOVER")
        elif fault == "suspended primary":
            former.suspend()
        else:
            former.kill()
        await asyncio.to_thread(fleet.store.wait_for_other_primary, slot, former)
        if fault == "suspended primary":
            former.resume()  # it serves its slots until it hears from the other nodes
        await becomes_ready(fleet.server)
        for talk in talks:
            await talk.command("switch")
        await asyncio.gather(*(talks[0].wait_for_expiry(each) for each in countdowns))
        if fault == "killed primary":
            former.start()
        else:
            await asyncio.to_thread(fleet.store.wait_until_complete)
        await asyncio.gather(*(talk.wait_for_audit() for talk in talks))
    assert "Traceback" not in fleet.server.output


async def test_store_of_one_node_is_copied_to_a_cluster(fleet: Fleet, data_dir: Path) -> None:
    folder = data_dir / f"copy-{uuid4().hex[:8]}"
    folder.mkdir()
    with running_valkey(folder) as source:
        changes = {"redis_url": f"redis://127.0.0.1:{source.port}", "key_prefix": f"copy-{uuid4().hex[:8]}"}
        settings = fleet.settings.model_copy(update={**changes, "partitions": 1})
        async with open_parts(settings) as parts:
            names = [await create_started(parts) for _ in range(20)]
            documents = [await parts.pipe.call("HGET", parts.store.keys.session(name), "state") for name in names]
        own = settings.model_copy(update={"queue_redis_url": settings.redis_url})
        with pytest.raises(StoreMisconfigured, match="QUEUE_REDIS_URL"):
            await copy_store(own, fleet.store.url, 64, lambda _: None)
        result = await copy_store(settings, fleet.store.url, 64, lambda _: None)
        assert result is not None
        assert result.sessions == 20
        moved = settings.model_copy(update={"redis_url": fleet.store.url, "partitions": 64})
        async with open_parts(moved) as parts:
            keys = parts.store.keys
            assert [await parts.pipe.call("HGET", keys.session(name), "state") for name in names] == documents
            for name in names:
                await switch(parts, name)
        assert await drain_outbox(moved) == 3 * 20
        with pytest.raises(StoreMisconfigured, match="cannot be copied"):
            await copy_store(moved, settings.redis_url, None, lambda _: None)
