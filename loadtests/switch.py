"""REST switch, beside a bare loop of the same two Redis trips.

The server runs as users run it: its own process, the worker beside it, audit and rate limiter on (limits set high).
The bare loop sends what one switch sends and nothing else: TIME, the load and the two counters, then the commit script
with a real payload. It runs twice: through redis-py's pool, as a program without this product would, and through this
product's shared connection, which is the harder measure. All three take turns in short rounds, so that what else the
machine does meanwhile meets them alike.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import uvloop
from redis.asyncio import BlockingConnectionPool, Redis

from loadtests.http_client import HttpConnection
from loadtests.started import DAY_MS, started_by_rest
from loadtests.stores import as_users_run_it, both
from loadtests.telling import percentile, tell
from synckairos.clock import creation, engine
from synckairos.clock.commands import Create, NewParticipant, Start, Switch
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.service.commits import build_version
from synckairos.store.commit_script import NewVersion
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.outbox_limits import OutboxLimits
from synckairos.store.rate_limits import COUNT_SCRIPT
from synckairos.store.shared_connection import RedisPipe
from synckairos.store.stored_session import FIELDS
from synckairos.wire.outbox_entry import Cause

CONCURRENCY = (1, 32)
ROUNDS = 3
LEGEND = {
    "rest": "POST /v1/sessions/{id}/switch on one server process, its worker beside it",
    "bare_redis_py": "the same two trips in a loop, through redis-py's connection pool",
    "bare_shared": "the same two trips in a loop, through this product's one shared connection",
    "rate_to_*": "rest's rate by the bare loop's; p50_to_*: rest's median latency by the bare loop's",
}

Worker = Callable[[], Awaitable[None]]


class Measured:
    """Latencies of one kind of worker, over all its rounds."""

    def __init__(self) -> None:
        self._elapsed_s = 0.0
        self._taken_s: list[float] = []

    async def run(self, workers: list[Worker], seconds: float) -> None:
        """Run each worker in a loop of its own for some seconds."""
        began_s = time.perf_counter()
        until_s = began_s + seconds

        async def loop(worker: Worker) -> None:
            while (asked_s := time.perf_counter()) < until_s:
                await worker()
                self._taken_s.append(time.perf_counter() - asked_s)

        await asyncio.gather(*(loop(worker) for worker in workers))
        self._elapsed_s += time.perf_counter() - began_s

    def figures(self) -> dict[str, float]:
        taken_s = self._taken_s
        return {
            "per_s": round(len(taken_s) / self._elapsed_s),
            "p50_ms": round(statistics.median(taken_s) * 1000, 3),
            "p99_ms": round(percentile(taken_s, 99) * 1000, 3),
        }


def rest_worker(connection: HttpConnection, share: list[str]) -> Worker:
    """Switch one after the other of its sessions over a connection of its own."""
    turn = 0

    async def switch() -> None:
        nonlocal turn
        status, answer = await connection.post(f"/v1/sessions/{share[turn % len(share)]}/switch")
        assert status == 200, answer
        turn += 1

    return switch


def real_step() -> NewVersion:
    """Return what a switch between two participants commits."""
    people = tuple(NewParticipant(str(uuid4()), total_time_ms=DAY_MS) for _ in range(2))
    made = creation.create(Create(SyncMode.PER_PARTICIPANT, people), str(uuid4()), "e" * 16, 0).state
    running = engine.apply(made, Start(), 1_000).transitions[-1].state
    return build_version(engine.apply(running, Switch(), 2_000).transitions[-1], Cause("anonymous", "switch"))


class Bare:
    """The two trips of a switch, without anything around them."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._commit = LuaScript("commit")
        self._bounds = OutboxLimits.from_settings(Settings()).script_arguments()
        self._step = real_step()

    def load(self, session_id: str) -> list[tuple[Any, ...]]:
        return [
            ("TIME",),
            ("HMGET", self._keys.session(session_id), *FIELDS),
            ("EVALSHA", COUNT_SCRIPT.sha, 1, self._keys.rate_limit("general:bare"), 60_000),
            ("EVALSHA", COUNT_SCRIPT.sha, 1, self._keys.rate_limit(f"switch:{session_id}"), 1_000),
        ]

    def commit(self, session_id: str, version: int) -> tuple[Any, ...]:
        keys, message = self._keys, self._step.message
        names = (
            *(keys.session(session_id), keys.history(session_id), keys.idempotency_records(session_id)),
            *(keys.deadlines(0), keys.outbox(0), keys.live_sessions(0), keys.outbox_bytes(0)),
        )
        now_ms = int(time.time() * 1000)
        base = (message.snapshot.epoch, version - 1, message.snapshot.tag) if version > 1 else ("", "", "")
        args = (
            *(session_id, *base, "", b"", 1, message.snapshot.epoch, "running", 0, now_ms + DAY_MS, 32),
            *(keys.feed_channel(session_id), keys.wake_up_channel, now_ms, *self._bounds),
            *(version, message.snapshot.tag, self._step.event, message.render_header(), message.body),
        )
        return ("EVALSHA", self._commit.sha, len(names), *names, *args)

    def scripts(self) -> list[tuple[Any, ...]]:
        return [("SCRIPT", "LOAD", self._commit.text), ("SCRIPT", "LOAD", COUNT_SCRIPT.text)]


CallMany = Callable[[list[tuple[Any, ...]]], Awaitable[list[Any]]]


def bare_worker(bare: Bare, call_many: CallMany, share: list[str]) -> Worker:
    """Do the bare trips for one after the other of its sessions, which begin to exist with the first."""
    turn = 0

    async def switch() -> None:
        nonlocal turn
        session_id, version = share[turn % len(share)], turn // len(share) + 1
        await call_many(bare.load(session_id))
        (reply,) = await call_many([bare.commit(session_id, version)])
        assert reply[0] == b"ok", reply
        turn += 1

    return switch


def through(redis: Redis) -> CallMany:
    """Return a call of several commands at once through redis-py."""

    async def call_many(commands: list[tuple[Any, ...]]) -> list[Any]:
        async with redis.pipeline(transaction=False) as batch:
            for command in commands:
                batch.execute_command(*command)
            replies: list[Any] = await batch.execute()
            return replies

    return call_many


async def compare(base_url: str, redis_url: str, concurrency: int, sessions: int, seconds: float) -> dict[str, Any]:
    """Measure all three in turns; return their figures and ratios."""

    def shares(ids: list[str]) -> list[list[str]]:
        return [ids[at::concurrency] for at in range(concurrency)]

    async with AsyncExitStack() as stack:
        pipe = await stack.enter_async_context(RedisPipe(redis_url, 5))
        redis = Redis.from_pool(BlockingConnectionPool.from_url(redis_url, max_connections=concurrency))
        stack.push_async_callback(redis.aclose)
        connections = [await HttpConnection.open(base_url) for _ in range(concurrency)]
        for connection in connections:
            stack.callback(connection.close)
        started = [await started_by_rest(connections[0]) for _ in range(sessions)]
        workers = {"rest": [rest_worker(c, share) for c, share in zip(connections, shares(started), strict=True)]}
        for name, call_many in (("bare_redis_py", through(redis)), ("bare_shared", pipe.call_many)):
            bare = Bare(Keys(prefix=f"bare{uuid4().hex[:8]}"))
            await pipe.call_many(bare.scripts())
            ids = [str(uuid4()) for _ in range(sessions)]
            workers[name] = [bare_worker(bare, call_many, share) for share in shares(ids)]
        measured = {name: Measured() for name in workers}
        for _ in range(ROUNDS):
            for name, some in workers.items():
                await measured[name].run(some, seconds / ROUNDS)
    figures: dict[str, Any] = {name: each.figures() for name, each in measured.items()}
    rest = figures["rest"]
    for name in ("bare_redis_py", "bare_shared"):
        figures[f"rate_to_{name}"] = round(rest["per_s"] / figures[name]["per_s"], 3)
        figures[f"p50_to_{name}"] = round(rest["p50_ms"] / figures[name]["p50_ms"], 2)
    return figures


async def run(sessions: int, seconds: float) -> dict[str, Any]:
    """Start the stores, the server and the worker; measure; return the figures."""
    async with both(durable=False) as (settings, _):
        with as_users_run_it(settings) as server:
            return {
                f"concurrency_{concurrency}": await compare(
                    server.base_url, settings.redis_url, concurrency, sessions, seconds
                )
                for concurrency in CONCURRENCY
            }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests switch", description=__doc__)
    parser.add_argument("--sessions", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=6, help="for each measure and concurrency, in three rounds")
    options = parser.parse_args()
    figures = uvloop.run(run(options.sessions, options.seconds))
    tell("switch", {"sessions": options.sessions, **figures, "legend": LEGEND})
