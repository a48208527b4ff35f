"""Random bytes and wrong types in every key, channel and table of a live store hurt no other session."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
import orjson
import psycopg
import pytest
from redis.exceptions import ResponseError
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from synckairos.config import Settings
from synckairos.store.shared_connection import RedisPipe
from tests.processes import Process
from tests.waiting import eventually

SEED = 20261130
ROUNDS = 5
SHORT_MS = 3_000
"""Milliseconds that the session has whose deadline is in the middle of the rounds."""

Start = Callable[[Settings], Process]


@pytest.fixture
def processes(start_server: Start, settings: Settings) -> Iterator[tuple[Process, Process]]:
    """Start a server and a worker on one store."""
    worker = Process("worker", env=settings.to_environment_variables())
    yield start_server(settings), worker
    worker.stop()


@pytest.fixture
async def rest(processes: tuple[Process, Process]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=processes[0].base_url, trust_env=False, timeout=10) as client:
        yield client


class Caller:
    """A session with two participants, and its caller, who checks that each switch makes the next version."""

    def __init__(self, rest: httpx.AsyncClient, total_ms: int = 600_000) -> None:
        self.rest = rest
        self.session_id = str(uuid4())
        self.people = [str(uuid4()), str(uuid4())]
        self.version = 0
        self.total_ms = total_ms

    @property
    def path(self) -> str:
        return f"/v1/sessions/{self.session_id}"

    async def start(self) -> None:
        people = [{"participant_id": each, "total_time_ms": self.total_ms} for each in self.people]
        body = {"session_id": self.session_id, "sync_mode": "per_participant", "participants": people}
        (await self.rest.post("/v1/sessions", json=body)).raise_for_status()
        await self.command("start")

    async def command(self, verb: str) -> httpx.Response:
        key = {"Idempotency-Key": str(uuid4())}
        answer = (await self.rest.post(f"{self.path}/{verb}", headers=key)).raise_for_status()
        again = (await self.rest.post(f"{self.path}/{verb}", headers=key)).raise_for_status()
        assert again.json()["data"] == answer.json()["data"], "the repeated command is replayed"
        state = (await self.rest.get(self.path)).raise_for_status().json()["data"]
        assert state["version"] > self.version
        self.version = state["version"]
        return answer

    async def fill_caches(self) -> None:
        """Read and reserve as much as a caller can, so that every kind of key exists."""
        for path in (f"{self.path}/events", *(f"/v1/participants/{each}/sessions" for each in self.people)):
            await self.rest.get(path)
            await self.rest.get(path)
        await self.rest.get("/v1/sessions")


class Attacker:
    """Writes random data over keys and channels, from a seed."""

    def __init__(self, pipe: RedisPipe, prefix: str, spared: list[str]) -> None:
        self._pipe = pipe
        self._prefix = prefix
        self._spared = spared
        self._random = random.Random(SEED)
        self.kinds: set[str] = set()

    async def attack_all(self) -> None:
        """Write over each key once, and publish to each channel."""
        for key in await self._keys():
            await self._attack(key)
        channels = await self._pipe.call("PUBSUB", "CHANNELS", f"{self._prefix}:*")
        for channel in (*channels, f"{self._prefix}:wake".encode()):
            for message in (self._bytes(), b"", b"9" * 400, b'{"session_id":[],"epoch":{},"version":"x"}\n{'):
                await self._pipe.call("PUBLISH", channel, message)

    async def _keys(self) -> list[bytes]:
        found: set[bytes] = set()
        cursor = b"0"
        while True:
            cursor, keys = await self._pipe.call("SCAN", cursor, "MATCH", f"{self._prefix}:*", "COUNT", 1000)
            found |= {key for key in keys if not any(each.encode() in key for each in self._spared)}
            if int(cursor) == 0:
                return sorted(found)

    async def _attack(self, key: bytes) -> None:
        if key == f"{self._prefix}:store".encode():
            return  # the number of partitions: a process that starts refuses any other
        self.kinds.add(key.partition(b"}:")[2].partition(b":")[0].decode())
        kind = await self._pipe.call("TYPE", key)
        if self._random.random() < 0.4:
            await self._pipe.call_many([("DEL", key), self._create(key, kind)])
            return
        for command in self._damage(key, kind, await self._fields(key, kind)):
            with suppress(ResponseError):  # a process changed the key meanwhile
                await self._pipe.call(*command)

    async def _fields(self, key: bytes, kind: bytes) -> list[bytes]:
        return await self._pipe.call("HKEYS", key) if kind == b"hash" else []

    def _create(self, key: bytes, kind: bytes) -> tuple[Any, ...]:
        """Return a command that creates the key with another type."""
        others = {
            b"string": ("SET", key, self._bytes()),
            b"list": ("RPUSH", key, self._bytes()),
            b"hash": ("HSET", key, self._bytes(), self._bytes()),
            b"zset": ("ZADD", key, self._score(), self._bytes()),
            b"stream": ("XADD", key, "*", self._bytes(), self._bytes()),
        }
        others.pop(kind, None)
        return self._random.choice(list(others.values()))

    def _damage(self, key: bytes, kind: bytes, fields: list[bytes]) -> list[tuple[Any, ...]]:
        """Return commands that leave the type of the key and put random data into it."""
        match kind:
            case b"hash":
                some = [each for each in fields if self._random.random() < 0.5] or [self._bytes()]
                return [("HSET", key, each, self._bytes()) for each in some]
            case b"zset":
                return [("ZADD", key, self._score(), self._bytes()) for _ in range(3)]
            case b"list":
                return [("RPUSH", key, self._bytes()), ("LPUSH", key, self._bytes())]
            case b"stream":
                names = ("session_id", "epoch", "version", "event", "state")
                whole = [part for name in names for part in (name, self._bytes())]
                return [("XADD", key, "*", *whole), ("XADD", key, "*", self._bytes(), self._bytes())]
            case _:
                return [("SET", key, self._bytes())]

    def _bytes(self) -> bytes:
        length = self._random.choice((0, 1, 7, 60, 400))
        return self._random.choice((self._random.randbytes(length), b"1" * length, b'{"a":' + b"[" * length, b"-1e999"))

    def _score(self) -> str:
        return self._random.choice(("-inf", "+inf", "0", "1e308", "-1e308", "17"))


@asynccontextmanager
async def watch(server: Process, session_id: str) -> AsyncIterator[ClientConnection]:
    async with connect(server.ws_url, subprotocols=[Subprotocol("synckairos.v3")], proxy=None) as socket:
        await socket.send(orjson.dumps({"type": "SUBSCRIBE", "id": "1", "session_id": session_id}).decode())
        yield socket


async def wait_for_version(socket: ClientConnection, version: int) -> None:
    """Receive until the watcher has this version."""
    async with asyncio.timeout(10):
        while orjson.loads(await socket.recv()).get("version", 0) < version:
            pass


def damage_rows(database_url: str, session_ids: list[str]) -> None:
    """Write random data into rows that Postgres accepts: documents, instants, parameters of jobs, deliveries."""
    rng = random.Random(SEED)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for session_id in session_ids:
            connection.execute(
                "UPDATE sync_events SET snapshot = %s, occurred_at = 'infinity' WHERE session_id = %s",
                (rng.randbytes(50), session_id),
            )
        connection.execute("UPDATE webhook_deliveries SET created_at = 'infinity'")
        connection.execute("""INSERT INTO background_jobs (type, params) VALUES ('archive', '[1]'), ('?', '"x"')""")


async def test_invalid_data_in_every_key_channel_and_row_leaves_other_sessions_and_all_processes_alone(
    processes: tuple[Process, Process], rest: httpx.AsyncClient, settings: Settings
) -> None:
    server, _ = processes
    steady, timed = Caller(rest), Caller(rest, SHORT_MS)
    victims = [Caller(rest) for _ in range(3)]
    for each in (steady, *victims):
        await each.start()
    for each in victims:
        await each.fill_caches()
    spared = [each for one in (steady, timed) for each in (one.session_id, *one.people)]
    async with RedisPipe(settings.redis_url, 5) as pipe, watch(server, steady.session_id) as socket:
        attacker = Attacker(pipe, settings.key_prefix, spared)
        await wait_for_version(socket, steady.version)
        await timed.start()
        async with watch(server, victims[0].session_id):
            for at in range(ROUNDS):
                await attacker.attack_all()
                await steady.command("switch")
                await wait_for_version(socket, steady.version)
                for each in victims:
                    await each.rest.get(each.path)
                    await each.rest.post(f"{each.path}/switch", headers={"Idempotency-Key": str(uuid4())})
                    await each.fill_caches()
                if at == ROUNDS // 2:
                    damage_rows(settings.database_url, [each.session_id for each in victims[:2]])
        state = await eventually(lambda: has_expired(timed))
        assert state is not None
        late_ms = ms(state["session_completed_at"]) - ms(state["created_at"]) - SHORT_MS
        assert late_ms < 3_000, "the deadline of an untouched session is kept"
        assert {"session", "history", "commands", "deadlines", "live", "generation"} <= attacker.kinds
    await steady.command("switch")
    await eventually(lambda: is_audited(steady))
    answer = await rest.get("/v1/sessions")
    assert answer.status_code == 200, server.output
    listed = answer.json()["data"]
    assert steady.session_id in [each["session_id"] for each in listed]
    metrics = (await rest.get("/metrics")).raise_for_status().text
    assert "synckairos_invalid_stored_data_total{" in metrics
    assert "stored data is invalid" in server.output
    for process in processes:
        assert process.child.returncode is None, process.output


async def has_expired(caller: Caller) -> dict[str, Any] | None:
    state: dict[str, Any] = (await caller.rest.get(caller.path)).raise_for_status().json()["data"]
    return state if state["status"] == "expired" else None


async def is_audited(caller: Caller) -> bool:
    events = (await caller.rest.get(f"{caller.path}/events", params={"limit": 200})).raise_for_status().json()["data"]
    return any(each["version"] == caller.version for each in events)


def ms(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp() * 1000
