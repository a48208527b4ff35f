"""Load test of an outage of Postgres: no change is refused, all changes are audited later, and the worker catches up.

A server and a worker run as processes, and Postgres is durable. The load test kills Postgres. Then it makes all changes
that `--rate` gives in `--minutes`, as fast as the server accepts them. When Postgres runs again, changes continue at
`--rate` until the audit has caught up. The load test prints the numbers of acknowledged, audited, missing and refused
changes, the size of the outbox, and the speed of the worker compared with the rate of changes.
"""

import argparse
import asyncio
import time
from collections import Counter
from itertools import count
from typing import Any

import psycopg
import uvloop

from loadtests.http_client import HttpConnection
from loadtests.report import print_result
from loadtests.sessions import start_session_by_rest
from loadtests.stores import server_and_worker, valkey_and_postgres
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.outbox_limits import OutboxLimits
from synckairos.store.shared_connection import RedisPipe
from tests.waiting import eventually

CATCH_UP_TIMEOUT_S = 300


class Load:
    """Load of switches. Counts the acknowledged versions by session, and the refused requests."""

    def __init__(self, base_url: str, sessions: list[str]) -> None:
        self._base_url = base_url
        self._sessions = sessions
        self.acknowledged = Counter(dict.fromkeys(sessions, 2))  # two versions: the session was created and started
        self.refused = 0

    async def switch_fast(self, changes: int, concurrency: int) -> None:
        """Make `changes` switches as fast as possible, on `concurrency` connections."""
        shares = [self._sessions[first::concurrency] for first in range(concurrency)]
        await asyncio.gather(*(self._switch_share(share, changes // concurrency) for share in shares))

    async def switch_at_rate(self, rate: int) -> None:
        """Make `rate` switches per second until cancelled. Complete the current switch at the end."""
        connection = await HttpConnection.open(self._base_url)
        began = time.perf_counter()
        for number in count(1):
            await asyncio.shield(self._switch(connection, self._sessions[number % len(self._sessions)]))
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))

    async def _switch_share(self, sessions: list[str], changes: int) -> None:
        connection = await HttpConnection.open(self._base_url)
        for number in range(changes):
            await self._switch(connection, sessions[number % len(sessions)])
        connection.close()

    async def _switch(self, connection: HttpConnection, session_id: str) -> None:
        status, _ = await connection.post(f"/v1/sessions/{session_id}/switch")
        if status == 200:
            self.acknowledged[session_id] += 1
        else:
            self.refused += 1


async def measure(rate: int, minutes: float, concurrency: int) -> dict[str, Any]:
    async with valkey_and_postgres() as (settings, postgres):
        with server_and_worker(settings) as server:
            connection = await HttpConnection.open(server.base_url)
            sessions = [await start_session_by_rest(connection) for _ in range(concurrency * 8)]
            connection.close()
            load = Load(server.base_url, sessions)
            async with RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe:
                outbox = Outbox(
                    pipe, Keys(settings.key_prefix, settings.partitions), OutboxLimits.from_settings(settings)
                )
                await eventually(lambda: outbox.is_empty(0))
                await asyncio.to_thread(postgres.kill)
                began = time.perf_counter()
                await load.switch_fast(int(rate * minutes * 60), concurrency)
                built_s = time.perf_counter() - began
                backlog = await outbox.measure_backlog()
                drained = backlog.tally.drained
                await asyncio.to_thread(postgres.start)
                began = time.perf_counter()
                switching = asyncio.create_task(load.switch_at_rate(rate))
                # Changes continue, so the outbox is never empty. The audit has caught up if the outbox has less than
                # one second of changes.
                await eventually(lambda: has_caught_up(outbox, rate), CATCH_UP_TIMEOUT_S)
                taken_s = time.perf_counter() - began
                drained = (await outbox.measure_backlog()).tally.drained - drained
                switching.cancel()
                await asyncio.wait([switching])
                await eventually(lambda: outbox.is_empty(0))
            with psycopg.connect(postgres.url) as database:
                rows = database.execute(
                    "SELECT session_id::text, count(*) FROM sync_events GROUP BY 1 HAVING count(*) = max(version)"
                )
                audited: dict[str, int] = dict(rows.fetchall())
    acknowledged = load.acknowledged
    return {
        "backlog": backlog.entries,
        "backlog_bytes": backlog.bytes,
        "fullness": round(backlog.fullness, 3),
        "built_per_s": round(backlog.entries / built_s),
        "acknowledged": acknowledged.total(),
        "audited": sum(audited.values()),
        "missing": (acknowledged - Counter(audited)).total(),
        "audited_but_not_acknowledged": (Counter(audited) - acknowledged).total(),
        "refused": load.refused,
        "caught_up_s": round(taken_s, 1),
        "caught_up_per_s": round(drained / taken_s),
        "to_input_rate": round(drained / taken_s / rate, 1),
    }


async def has_caught_up(outbox: Outbox, rate: int) -> bool:
    return (await outbox.measure_backlog()).entries < rate


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests postgres_outage", description=__doc__)
    parser.add_argument("--rate", type=int, default=300, help="changes per second")
    parser.add_argument("--minutes", type=float, default=10, help="minutes without Postgres")
    parser.add_argument("--concurrency", type=int, default=32, help="connections during the outage")
    options = parser.parse_args()
    figures = uvloop.run(measure(options.rate, options.minutes, options.concurrency))
    print_result("postgres_outage", figures)
