"""The faults of the matrix. Each fault ends before its function returns, so that the fleet can converge afterwards.

The pauses are of fixed length, because they are the durations of the faults.
"""

import asyncio
import random
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from synckairos.embedded import Valkey
from synckairos.store.shared_connection import RedisPipe
from tests.chaos.fleet import Fleet
from tests.earlier_releases import ROOT, EarlierRelease, Release
from tests.processes import Process
from tests.waiting import eventually

SUSPENDED_S = (0.3, 4.5)
"""Seconds that a process is suspended: minimum and maximum. Redis counts as away after `REDIS_TIMEOUT_S`."""

AWAY_S = (0.1, 1.5)
"""Seconds that a store or a network is away: minimum and maximum."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault. `cause` causes it and ends it. `may_lose`: whether it may lose acknowledged commands."""

    name: str
    cause: Callable[[Fleet, random.Random], Awaitable[None]]
    may_lose: bool = False
    is_quick: bool = False
    """Whether the short mix of `make test` can have this fault."""


async def _pause(rng: random.Random, bounds_s: tuple[float, float]) -> None:
    await asyncio.sleep(rng.uniform(*bounds_s))


async def kill_server(fleet: Fleet, rng: random.Random) -> None:
    await fleet.end_server(rng.choice(fleet.servers), kill=True)
    await fleet.start_server()


async def replace_server(fleet: Fleet, rng: random.Random) -> None:
    """Replace a server as a rolling restart does."""
    old = rng.choice(fleet.servers)
    await fleet.start_server()
    await fleet.end_server(old)


async def suspend_server(fleet: Fleet, rng: random.Random) -> None:
    await _suspend(rng.choice(fleet.servers), rng)


async def suspend_worker(fleet: Fleet, rng: random.Random) -> None:
    await _suspend(rng.choice(fleet.workers), rng)


async def _suspend(process: Process, rng: random.Random) -> None:
    process.send(signal.SIGSTOP)
    try:
        await _pause(rng, SUSPENDED_S)
    finally:
        process.send(signal.SIGCONT)


async def kill_worker(fleet: Fleet, rng: random.Random) -> None:
    await fleet.end_worker(rng.choice(fleet.workers), kill=True)
    await fleet.start_worker()


async def kill_redis(fleet: Fleet, rng: random.Random) -> None:
    await asyncio.to_thread(fleet.redis.kill)
    await _pause(rng, AWAY_S)
    await asyncio.to_thread(fleet.redis.start)


async def kill_redis_with_everysec(fleet: Fleet, rng: random.Random) -> None:
    async with RedisPipe(fleet.redis.url, 5) as pipe:
        await pipe.call("CONFIG", "SET", "appendfsync", "everysec")
    await _pause(rng, AWAY_S)
    await kill_redis(fleet, rng)


async def suspend_redis(fleet: Fleet, rng: random.Random) -> None:
    fleet.redis.suspend()
    try:
        await _pause(rng, SUSPENDED_S)
    finally:
        fleet.redis.resume()


async def cut_connections_of_redis(fleet: Fleet, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 3)):
        fleet.proxy.cut()
        await _pause(rng, (0.0, 0.3))


async def cut_network_of_redis(fleet: Fleet, rng: random.Random) -> None:
    target, fleet.proxy.target_url = fleet.proxy.target_url, "redis://127.0.0.1:1/0"
    try:
        fleet.proxy.cut()
        await _pause(rng, AWAY_S)
    finally:
        fleet.proxy.target_url = target


async def lose_feed_messages(fleet: Fleet, rng: random.Random) -> None:
    fleet.proxy.loses = lambda message: b":feed:" in message and rng.random() < 0.3
    try:
        await _pause(rng, AWAY_S)
    finally:
        fleet.proxy.loses = lambda message: False


async def fill_memory_of_redis(fleet: Fleet, rng: random.Random) -> None:
    async with RedisPipe(fleet.redis.url, 5) as pipe:
        await pipe.call("CONFIG", "SET", "maxmemory", "1mb")
        try:
            await _pause(rng, AWAY_S)
        finally:
            await pipe.call("CONFIG", "SET", "maxmemory", "0")


async def kill_postgres(fleet: Fleet, rng: random.Random) -> None:
    await asyncio.to_thread(fleet.postgres.kill)
    await _pause(rng, AWAY_S)
    await asyncio.to_thread(fleet.postgres.start)


@asynccontextmanager
async def _following_replica(fleet: Fleet) -> AsyncIterator[Valkey]:
    """Start a replica of the fleet's Redis. Yield the replica when it has all data. Afterwards it is the only Redis."""
    former = fleet.redis
    replica = Valkey(former.data_dir.with_name(f"{former.data_dir.name}-replica"), appendfsync="always")
    await asyncio.to_thread(replica.start)
    async with RedisPipe(replica.url, 5) as pipe, RedisPipe(former.url, 5) as primary:
        await primary.call("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        await pipe.call("REPLICAOF", "127.0.0.1", former.port)

        async def has_synced() -> bool:
            return b"master_link_status:up" in await pipe.call("INFO", "replication")

        await eventually(has_synced)
        yield replica
    fleet.redis = replica
    fleet.proxy.target_url = replica.url
    fleet.proxy.cut()
    await asyncio.to_thread(former.stop)


async def fail_over_without_loss(fleet: Fleet, rng: random.Random) -> None:
    async with _following_replica(fleet) as replica:
        # Without clients, the primary has no more writes. So the replica soon has all of them.
        target, fleet.proxy.target_url = fleet.proxy.target_url, "redis://127.0.0.1:1/0"
        fleet.proxy.cut()
        async with RedisPipe(replica.url, 5) as pipe, RedisPipe(target, 5) as primary:

            async def has_all_writes() -> bool:
                offsets = [await each.call("INFO", "replication") for each in (primary, pipe)]
                ahead, behind = (text.split(b"master_repl_offset:")[1].split(b"\r\n")[0] for text in offsets)
                return bool(ahead == behind)

            await eventually(has_all_writes)
            await pipe.call("REPLICAOF", "NO", "ONE")


async def fail_over_with_loss(fleet: Fleet, rng: random.Random) -> None:
    """Promote a replica that lacks the newest writes of the primary."""
    async with _following_replica(fleet) as replica:
        async with RedisPipe(replica.url, 5) as pipe:
            await pipe.call("REPLICAOF", "NO", "ONE")
        await _pause(rng, AWAY_S)  # the primary acknowledges writes that the replica does not get


async def run_previous_release(fleet: Fleet, rng: random.Random) -> None:
    """Let the release of the previous commit serve and drain beside this one, as in a rolling upgrade."""
    command = ("git", "-C", str(ROOT), "rev-parse", "HEAD~1")
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    tree = fleet.redis.data_dir.with_name(f"release-{rng.randrange(1 << 32):08x}")
    release = await asyncio.to_thread(EarlierRelease, Release(done.stdout.strip(), "the previous commit"), Path(tree))
    old_worker, old_server = await asyncio.gather(fleet.start_worker(release.tree), fleet.start_server(release.tree))
    await _pause(rng, AWAY_S)
    await fleet.end_server(old_server)
    await fleet.end_worker(old_worker)


FAULTS = (
    Fault("server killed", kill_server, is_quick=True),
    Fault("server suspended", suspend_server),
    Fault("server replaced", replace_server),
    Fault("worker killed", kill_worker),
    Fault("worker suspended", suspend_worker),
    Fault("Redis killed, appendfsync always", kill_redis, is_quick=True),
    Fault("Redis killed, appendfsync everysec", kill_redis_with_everysec, may_lose=True),
    Fault("Redis suspended", suspend_redis),
    Fault("connections to Redis cut", cut_connections_of_redis, is_quick=True),
    Fault("network to Redis cut", cut_network_of_redis),
    Fault("feed messages lost", lose_feed_messages, is_quick=True),
    Fault("memory of Redis full", fill_memory_of_redis),
    Fault("Postgres killed", kill_postgres),
    Fault("failover of Redis without loss", fail_over_without_loss),
    Fault("failover of Redis with loss", fail_over_with_loss, may_lose=True),
    Fault("previous commit's release beside this one", run_previous_release),
)
