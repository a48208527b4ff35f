"""REST switch, beside a bare loop of the same two Redis trips.

The server runs as users run it: its own process, the worker beside it, audit and rate limiter on (limits set high).
The bare loop sends what one switch sends and nothing else: TIME, HMGET, HGET-less load and count, then the commit
script with a real payload. It is run twice, through this product's shared connection and through redis-py's pool.
"""

import asyncio
import json
import shutil
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import orjson
import uvloop
from redis.asyncio import BlockingConnectionPool, Redis

from loadtests.http_client import HttpConnection
from synckairos.audit.migrate import migrate
from synckairos.config import Settings
from synckairos.embedded import Postgres, Valkey, make_data_dir
from synckairos.store.keys import Keys
from synckairos.store.limits import LIMIT
from synckairos.store.pipe import RedisPipe
from synckairos.store.redis import Script
from synckairos.store.sessions import FIELDS
from tests.processes import Process

SESSIONS = 256
CONCURRENCY = (1, 32)
SECONDS = 5.0

Worker = Callable[[int], Awaitable[None]]


async def measure(workers: list[Worker], seconds: float) -> dict[str, float]:
    """Run each worker in a loop of its own for some seconds; return the rate and the latency's median and p99."""
    until = time.perf_counter() + seconds
    taken: list[float] = []

    async def loop(worker: Worker) -> None:
        turn = 0
        while (began := time.perf_counter()) < until:
            await worker(turn)
            taken.append(time.perf_counter() - began)
            turn += 1

    began = time.perf_counter()
    await asyncio.gather(*(loop(worker) for worker in workers))
    elapsed = time.perf_counter() - began
    taken.sort()
    return {
        "per_s": round(len(taken) / elapsed),
        "p50_ms": round(statistics.median(taken) * 1000, 3),
        "p99_ms": round(taken[int(len(taken) * 0.99)] * 1000, 3),
    }


async def measure_rest(base_url: str, concurrency: int) -> dict[str, float]:
    """Switch `SESSIONS` running sessions over REST, each connection going round its own share of them."""
    setup = await HttpConnection.open(base_url)
    sessions = []
    for _ in range(SESSIONS):
        body = {
            "sync_mode": "per_participant",
            "participants": [{"participant_id": str(uuid4()), "total_time_ms": 86_400_000} for _ in range(2)],
        }
        status, answer = await setup.post("/v1/sessions", orjson.dumps(body))
        assert status == 201, answer
        sessions.append(orjson.loads(answer)["data"]["session_id"])
        status, answer = await setup.post(f"/v1/sessions/{sessions[-1]}/start")
        assert status == 200, answer
    await setup.close()

    def worker(connection: HttpConnection, share: list[str]) -> Worker:
        async def switch(turn: int) -> None:
            status, answer = await connection.post(f"/v1/sessions/{share[turn % len(share)]}/switch")
            assert status == 200, answer

        return switch

    connections = [await HttpConnection.open(base_url) for _ in range(concurrency)]
    shares = [sessions[at::concurrency] for at in range(concurrency)]
    figures = await measure([worker(c, s) for c, s in zip(connections, shares, strict=True)], SECONDS)
    for connection in connections:
        await connection.close()
    return figures


class Bare:
    """The two trips of a switch, without anything around them."""

    def __init__(self, keys: Keys, document: bytes) -> None:
        self._keys = keys
        self._commit = Script("commit")
        self._document = document

    def load(self, session_id: str) -> list[tuple[Any, ...]]:
        return [
            ("TIME",),
            ("HMGET", self._keys.session(session_id), *FIELDS),
            ("EVALSHA", LIMIT.sha, 1, self._keys.limit("general:bare"), 60_000),
            ("EVALSHA", LIMIT.sha, 1, self._keys.limit(f"switch:{session_id}"), 1_000),
        ]

    def commit(self, session_id: str, version: int) -> tuple[Any, ...]:
        keys = self._keys
        names = (
            *(keys.session(session_id), keys.history(session_id), keys.commands(session_id)),
            *(keys.deadlines(0), keys.outbox(0), keys.live(0)),
        )
        due_ms = int(time.time() * 1000) + 86_400_000
        base = ("e", version - 1) if version > 1 else ("", "")
        args = (
            *(session_id, *base, "", "", 1, "e", "running", 0, due_ms, 32, keys.feed(session_id), keys.wake, 1),
            *(version, b'{"event_type":"cycle_switched"}', self._document, self._document),
        )
        return ("EVALSHA", self._commit.sha, len(names), *names, *args)

    def load_script(self) -> list[tuple[Any, ...]]:
        return [("SCRIPT", "LOAD", self._commit.text), ("SCRIPT", "LOAD", LIMIT.text)]


async def measure_bare(url: str, document: bytes, concurrency: int, *, stock: bool) -> dict[str, float]:
    """Run the bare trips: through redis-py's pool (`stock`), or through the shared connection."""
    bare = Bare(Keys(prefix=f"bare{uuid4().hex[:8]}"), document)
    async with RedisPipe(url, 5) as pipe:
        await pipe.call_many(bare.load_script())
        redis = Redis.from_pool(BlockingConnectionPool.from_url(url, max_connections=concurrency))

        async def together(commands: list[tuple[Any, ...]]) -> list[Any]:
            async with redis.pipeline(transaction=False) as batch:
                for command in commands:
                    batch.execute_command(*command)
                replies: list[Any] = await batch.execute()
                return replies

        call_many = together if stock else pipe.call_many
        counts: dict[str, int] = {}

        def worker(share: list[str]) -> Worker:
            async def switch(turn: int) -> None:
                session_id = share[turn % len(share)]
                await call_many(bare.load(session_id))
                counts[session_id] = counts.get(session_id, 0) + 1
                (reply,) = await call_many([bare.commit(session_id, counts[session_id])])
                assert reply[0] == b"ok", reply

            return switch

        sessions = [str(uuid4()) for _ in range(SESSIONS)]
        figures = await measure([worker(sessions[at::concurrency]) for at in range(concurrency)], SECONDS)
        await redis.aclose()
    return figures


async def run() -> dict[str, Any]:
    """Start the stores, the server and the worker; measure; return the figures."""
    data = make_data_dir()
    try:
        with Valkey(data / "valkey") as valkey, Postgres(data / "postgres", durable=False) as postgres:
            await migrate(postgres.url)
            settings = Settings(
                port=0,
                redis_url=valkey.url,
                database_url=postgres.url,
                rate_limit_general=10**9,
                rate_limit_switch=10**9,
                log_level="warning",
            )
            worker = Process("worker", env=settings.environ())
            server = Process("serve", env=settings.environ()).wait_ready()
            try:
                return await _figures(server.base_url, valkey.url)
            finally:
                server.stop()
                worker.stop()
    finally:
        shutil.rmtree(data, ignore_errors=True)


async def _figures(base_url: str, redis_url: str) -> dict[str, Any]:
    connection = await HttpConnection.open(base_url)
    participants = [{"participant_id": str(uuid4()), "total_time_ms": 60_000} for _ in range(2)]
    body = orjson.dumps({"sync_mode": "per_participant", "participants": participants})
    _, answer = await connection.post("/v1/sessions", body)
    document = orjson.dumps(orjson.loads(answer)["data"])
    await connection.close()
    figures: dict[str, Any] = {"benchmark": "switch", "sessions": SESSIONS}
    for concurrency in CONCURRENCY:
        rest = await measure_rest(base_url, concurrency)
        bare = await measure_bare(redis_url, document, concurrency, stock=False)
        stock = await measure_bare(redis_url, document, concurrency, stock=True)
        figures[f"concurrency_{concurrency}"] = {
            "rest": rest,
            "bare_shared_connection": bare,
            "bare_redis_py": stock,
            "rate_to_bare": round(rest["per_s"] / bare["per_s"], 3),
            "rate_to_bare_redis_py": round(rest["per_s"] / stock["per_s"], 3),
            "p50_to_bare": round(rest["p50_ms"] / bare["p50_ms"], 2),
            "p50_to_bare_redis_py": round(rest["p50_ms"] / stock["p50_ms"], 2),
        }
    return figures


def main() -> None:
    print(json.dumps(uvloop.run(run())))
