"""Load test of a switch by REST, compared with a bare loop of the same two round trips to Redis.

The server runs as in production: in a separate process, with a worker process, with the audit, and with (high) rate
limits. The bare loop sends only the Redis commands of one switch: TIME, the load and two token buckets, then the commit
script with a real payload. The loop has two variants. One uses the connection pool of redis-py, as a program without
this product would. The other uses the shared connection of this product, which is the harder comparison. Server and
variants take turns in short rounds, so that other load on the machine affects them equally.

With `--auth`, the test compares two servers on the same stores instead: one without authentication, and one that
requires tokens. Each connection has a token of its own, with the role `controller` and a grant for all sessions.
"""

import argparse
import asyncio
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Any
from uuid import uuid4

import uvloop
from pydantic import SecretStr
from redis.asyncio import BlockingConnectionPool, Redis

from loadtests.http_client import HttpConnection
from loadtests.report import percentile, print_result
from loadtests.sessions import DAY_MS, start_session_by_rest
from loadtests.stores import server_and_worker, valkey_and_postgres
from synckairos.clock import creation, engine
from synckairos.clock.commands import Create, NewParticipant, Start, Switch
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.identity.token_minting import mint_token
from synckairos.service.prepare_commit import build_version
from synckairos.store.commit_script import NewVersion
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.outbox_limits import OutboxLimits
from synckairos.store.rate_meter import RateMeter
from synckairos.store.rate_quotas import TAKE_SCRIPT, Quota, general_rate, switch_rate
from synckairos.store.shared_connection import RedisPipe
from synckairos.store.stored_session import SESSION_FIELDS
from synckairos.wire.outbox_entry import CommitCause
from tests.processes import spawn_server

CONCURRENCY = (1, 32)
ROUNDS = 3
LEGEND = {
    "rest": "POST /v1/sessions/{id}/switch on one server process, with one worker process",
    "bare_redis_py": "the same two round trips in a loop, with the connection pool of redis-py",
    "bare_shared": "the same two round trips in a loop, with the one shared connection of this product",
    "rate_to_*": "rate of REST divided by that of the bare loop; p50_to_*: the same for the median latencies",
}

AUTH_ROUNDS = 6
AUTH_LEGEND = {
    "none": "POST /v1/sessions/{id}/switch on one server process without authentication",
    "required": "the same on a server that requires tokens, with one token for each connection",
    "*_to_none": "rate and median latency with tokens divided by those without",
}

GENERAL, PRESSES = Quota(general_rate(1_000_000), "bare"), switch_rate(1_000_000)

SwitchOnce = Callable[[], Awaitable[None]]


class Latencies:
    """Latencies of one of the compared variants in all its rounds."""

    def __init__(self) -> None:
        self._elapsed_s = 0.0
        self._latencies_s: list[float] = []

    async def run_round(self, functions: list[SwitchOnce], seconds: float) -> None:
        """Call each function repeatedly, in a separate loop, for `seconds` seconds. Run all loops in parallel."""
        began_s = time.perf_counter()
        until_s = began_s + seconds

        async def loop(switch_once: SwitchOnce) -> None:
            while (sent_s := time.perf_counter()) < until_s:
                await switch_once()
                self._latencies_s.append(time.perf_counter() - sent_s)

        await asyncio.gather(*(loop(each) for each in functions))
        self._elapsed_s += time.perf_counter() - began_s

    @property
    def count(self) -> int:
        """Return the number of calls in all rounds."""
        return len(self._latencies_s)

    def figures(self) -> dict[str, float]:
        latencies_s = self._latencies_s
        return {
            "per_s": round(len(latencies_s) / self._elapsed_s),
            "p50_ms": round(statistics.median(latencies_s) * 1000, 3),
            "p99_ms": round(percentile(latencies_s, 99) * 1000, 3),
        }


def switch_by_rest(connection: HttpConnection, share: list[str]) -> SwitchOnce:
    """Return a function that switches the next session of `share` on one connection."""
    count = 0

    async def switch() -> None:
        nonlocal count
        status, answer = await connection.post(f"/v1/sessions/{share[count % len(share)]}/switch")
        assert status == 200, answer
        count += 1

    return switch


def build_switch() -> NewVersion:
    """Return the version that a switch between two participants commits."""
    participants = tuple(NewParticipant(str(uuid4()), total_time_ms=DAY_MS) for _ in range(2))
    created = creation.create(Create(SyncMode.PER_PARTICIPANT, participants), str(uuid4()), "e" * 16, 0).state
    running = engine.apply(created, Start(), 1_000).all_transitions[-1].state
    return build_version(engine.apply(running, Switch(), 2_000).all_transitions[-1], CommitCause("anonymous", "switch"))


class BareSwitch:
    """The Redis commands of the two round trips of a switch."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._commit = LuaScript("commit")
        self._outbox_limits = OutboxLimits.from_settings(Settings()).script_arguments()
        self._version = build_switch()

    def load_commands(self, session_id: str) -> list[tuple[Any, ...]]:
        return [
            ("TIME",),
            ("HMGET", self._keys.session(session_id), *SESSION_FIELDS),
            *RateMeter.for_press(GENERAL, Quota(PRESSES, session_id)).build_count_commands(self._keys),
        ]

    def commit_command(self, session_id: str, version: int) -> tuple[Any, ...]:
        keys, message = self._keys, self._version.message
        names = (
            *(keys.session(session_id), keys.history(session_id), keys.idempotency_records(session_id)),
            *(keys.deadlines(0), keys.outbox(0), keys.live_sessions(0), keys.outbox_bytes(0)),
            *(keys.indexed_outbox_entries(0), keys.outbox_participants(0), keys.outbox_tenants(0)),
        )
        now_ms = int(time.time() * 1000)
        base = (message.snapshot.epoch, version - 1, message.snapshot.tag) if version > 1 else ("", "", "")
        args = (
            *(session_id, *base, "", b"", 1, message.snapshot.epoch, "running", 0, now_ms + DAY_MS, 32),
            *(keys.feed_channel(session_id), keys.wake_up_channel, now_ms, *self._outbox_limits, 0, "", b""),
            *(version, message.snapshot.tag, self._version.event, message.render_header(), message.document_or_splices),
            "",
        )
        return ("EVALSHA", self._commit.sha, len(names), *names, *args)

    def script_load_commands(self) -> list[tuple[Any, ...]]:
        return [("SCRIPT", "LOAD", self._commit.text), ("SCRIPT", "LOAD", TAKE_SCRIPT.text)]


CallMany = Callable[[list[tuple[Any, ...]]], Awaitable[list[Any]]]


def switch_bare(bare: BareSwitch, call_many: CallMany, share: list[str]) -> SwitchOnce:
    """Return a function that makes the two round trips of a switch for the next session of `share`.

    The first call for a session creates the session.
    """
    count = 0

    async def switch() -> None:
        nonlocal count
        session_id, version = share[count % len(share)], count // len(share) + 1
        await call_many(bare.load_commands(session_id))
        (reply,) = await call_many([bare.commit_command(session_id, version)])
        assert reply[0] == b"ok", reply
        count += 1

    return switch


def pipeline_caller(redis: Redis) -> CallMany:
    """Return a function that sends several commands in one round trip with redis-py."""

    async def call_many(commands: list[tuple[Any, ...]]) -> list[Any]:
        async with redis.pipeline(transaction=False) as batch:
            for command in commands:
                batch.execute_command(*command)
            replies: list[Any] = await batch.execute()
            return replies

    return call_many


async def compare(base_url: str, redis_url: str, concurrency: int, sessions: int, seconds: float) -> dict[str, Any]:
    """Measure the three variants in turn. Return their figures and ratios."""

    def shares(ids: list[str]) -> list[list[str]]:
        return [ids[first::concurrency] for first in range(concurrency)]

    async with AsyncExitStack() as stack:
        pipe = await stack.enter_async_context(RedisPipe(redis_url, 5))
        redis = Redis.from_pool(BlockingConnectionPool.from_url(redis_url, max_connections=concurrency))
        stack.push_async_callback(redis.aclose)
        connections = [await HttpConnection.open(base_url) for _ in range(concurrency)]
        for connection in connections:
            stack.callback(connection.close)
        started = [await start_session_by_rest(connections[0]) for _ in range(sessions)]
        variants = {
            "rest": [
                switch_by_rest(connection, share)
                for connection, share in zip(connections, shares(started), strict=True)
            ]
        }
        for name, call_many in (("bare_redis_py", pipeline_caller(redis)), ("bare_shared", pipe.call_many)):
            bare = BareSwitch(Keys(prefix=f"bare{uuid4().hex[:8]}"))
            await pipe.call_many(bare.script_load_commands())
            ids = [str(uuid4()) for _ in range(sessions)]
            variants[name] = [switch_bare(bare, call_many, share) for share in shares(ids)]
        latencies = {name: Latencies() for name in variants}
        for _ in range(ROUNDS):
            for name, functions in variants.items():
                await latencies[name].run_round(functions, seconds / ROUNDS)
    figures: dict[str, Any] = {name: each.figures() for name, each in latencies.items()}
    rest = figures["rest"]
    for name in ("bare_redis_py", "bare_shared"):
        figures[f"rate_to_{name}"] = round(rest["per_s"] / figures[name]["per_s"], 3)
        figures[f"p50_to_{name}"] = round(rest["p50_ms"] / figures[name]["p50_ms"], 2)
    return figures


async def compare_authentication(
    without: str, required: str, secret: SecretStr, concurrency: int, sessions: int, seconds: float
) -> dict[str, Any]:
    """Measure switches on the servers without and with authentication in turn. Return their figures and ratios.

    `without` and `required` are the base URLs of the servers.
    """
    signing = Settings(jwt_secret=secret)

    def make_token(subject: str, role: str) -> str:
        grants = [{"sessions": ["*"]}]
        now_ms = time.time_ns() // 1_000_000
        return mint_token(signing, now_ms, subject=subject, role=role, grants=grants, ttl_s=3_600)[0]

    async with AsyncExitStack() as stack:

        async def switches(base_url: str, admin: str | None, tokens: list[str | None]) -> list[SwitchOnce]:
            creator = await HttpConnection.open(base_url, admin)
            stack.callback(creator.close)
            started = [await start_session_by_rest(creator) for _ in range(sessions)]
            functions = []
            for first, token in enumerate(tokens):
                connection = await HttpConnection.open(base_url, token)
                stack.callback(connection.close)
                functions.append(switch_by_rest(connection, started[first::concurrency]))
            return functions

        tokens: list[str | None] = [make_token(f"player-{n}", "controller") for n in range(concurrency)]
        variants = {
            "none": await switches(without, None, [None] * concurrency),
            "required": await switches(required, make_token("backend", "admin"), tokens),
        }
        latencies = {name: Latencies() for name in variants}
        for number in range(AUTH_ROUNDS):
            # The order changes, so that no variant always runs after the other.
            for name in sorted(variants, reverse=number % 2 == 1):
                await latencies[name].run_round(variants[name], seconds / AUTH_ROUNDS)
    figures: dict[str, Any] = {name: each.figures() for name, each in latencies.items()}
    none, with_tokens = figures["none"], figures["required"]
    figures["rate_to_none"] = round(with_tokens["per_s"] / none["per_s"], 3)
    figures["p50_to_none"] = round(with_tokens["p50_ms"] / none["p50_ms"], 2)
    return figures


async def run_with_authentication(sessions: int, seconds: float) -> dict[str, Any]:
    """Start stores, two servers and a worker, and compare the servers. Return the figures."""
    async with valkey_and_postgres(durable=False) as (settings, _):
        secret = SecretStr(secrets.token_urlsafe(48))
        with server_and_worker(settings) as without, ExitStack() as stack:
            required = spawn_server(settings.model_copy(update={"auth": "required", "jwt_secret": secret}))
            stack.callback(required.stop)
            return {
                f"concurrency_{concurrency}": await compare_authentication(
                    without.base_url, required.base_url, secret, concurrency, sessions, seconds
                )
                for concurrency in CONCURRENCY
            }


async def run(sessions: int, seconds: float) -> dict[str, Any]:
    """Start stores, server and worker, and measure. Return the figures."""
    async with valkey_and_postgres(durable=False) as (settings, _):
        with server_and_worker(settings) as server:
            return {
                f"concurrency_{concurrency}": await compare(
                    server.base_url, settings.redis_url, concurrency, sessions, seconds
                )
                for concurrency in CONCURRENCY
            }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests switch", description=__doc__)
    parser.add_argument("--sessions", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=6, help="seconds of each variant and concurrency")
    parser.add_argument("--auth", action="store_true", help="compare servers without and with authentication")
    options = parser.parse_args()
    measure = run_with_authentication if options.auth else run
    figures = uvloop.run(measure(options.sessions, options.seconds))
    legend = AUTH_LEGEND if options.auth else LEGEND
    print_result("switch", {"sessions": options.sessions, **figures, "legend": legend})
