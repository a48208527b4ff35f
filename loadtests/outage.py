"""Ten minutes without Postgres: nothing refused, everything acknowledged audited, and how fast that is caught up with.

A server and a worker as processes, Postgres durable. Postgres is killed; then so many changes are made as come in at
`--rate` a second in `--minutes`, as fast as the server takes them. When Postgres is back, changes go on coming at that
rate until the audit has caught up. Prints what was acknowledged, audited, missing and refused, how full the outbox was,
and how fast the worker was against the rate.
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
from loadtests.started import started_by_rest
from loadtests.stores import as_users_run_it, both
from loadtests.telling import tell
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.outbox_limits import OutboxLimits
from synckairos.store.shared_connection import RedisPipe
from tests.waiting import eventually

PATIENCE_S = 300


class People:
    """Switch sessions and count what became of it: `acknowledged` versions by session, `refused` answers."""

    def __init__(self, base_url: str, sessions: list[str]) -> None:
        self._base_url = base_url
        self._sessions = sessions
        self.acknowledged = Counter(dict.fromkeys(sessions, 2))  # created and started
        self.refused = 0

    async def hurry(self, changes: int, concurrency: int) -> None:
        """Make so many changes as fast as they are answered, on so many connections."""
        await asyncio.gather(*(self._switch(changes // concurrency, at, concurrency) for at in range(concurrency)))

    async def walk(self, rate: int) -> None:
        """Make `rate` changes a second, evenly, until cancelled; the change under way is ended."""
        connection = await HttpConnection.open(self._base_url)
        began = time.perf_counter()
        for number in count(1):
            await asyncio.shield(self._change(connection, self._sessions[number % len(self._sessions)]))
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))

    async def _switch(self, changes: int, first: int, step: int) -> None:
        connection = await HttpConnection.open(self._base_url)
        mine = self._sessions[first::step]
        for number in range(changes):
            await self._change(connection, mine[number % len(mine)])
        connection.close()

    async def _change(self, connection: HttpConnection, session_id: str) -> None:
        status, _ = await connection.post(f"/v1/sessions/{session_id}/switch")
        if status == 200:
            self.acknowledged[session_id] += 1
        else:
            self.refused += 1


async def measure(rate: int, minutes: float, concurrency: int) -> dict[str, Any]:
    async with both() as (settings, postgres):
        with as_users_run_it(settings) as server:
            connection = await HttpConnection.open(server.base_url)
            sessions = [await started_by_rest(connection) for _ in range(concurrency * 8)]
            connection.close()
            people = People(server.base_url, sessions)
            async with RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe:
                outbox = Outbox(
                    pipe, Keys(settings.key_prefix, settings.partitions), OutboxLimits.from_settings(settings)
                )
                await eventually(lambda: outbox.is_empty(0))
                await asyncio.to_thread(postgres.kill)
                began = time.perf_counter()
                await people.hurry(int(rate * minutes * 60), concurrency)
                built_s = time.perf_counter() - began
                backlog = await outbox.measure_backlog()
                drained = backlog.tally.drained
                await asyncio.to_thread(postgres.start)
                began = time.perf_counter()
                walking = asyncio.create_task(people.walk(rate))
                # Changes still come: caught up is whoever is no more than one rest of the drain behind.
                await eventually(lambda: is_close(outbox, rate), PATIENCE_S)
                taken_s = time.perf_counter() - began
                drained = (await outbox.measure_backlog()).tally.drained - drained
                walking.cancel()
                await asyncio.wait([walking])
                await eventually(lambda: outbox.is_empty(0))
            with psycopg.connect(postgres.url) as database:
                rows = database.execute(
                    "SELECT session_id::text, count(*) FROM sync_events GROUP BY 1 HAVING count(*) = max(version)"
                )
                audited: dict[str, int] = dict(rows.fetchall())
    acknowledged = people.acknowledged
    return {
        "backlog": backlog.entries,
        "backlog_bytes": backlog.bytes,
        "fullness": round(backlog.fullness, 3),
        "built_per_s": round(backlog.entries / built_s),
        "acknowledged": acknowledged.total(),
        "audited": sum(audited.values()),
        "missing": (acknowledged - Counter(audited)).total(),
        "beyond_acknowledged": (Counter(audited) - acknowledged).total(),
        "refused": people.refused,
        "caught_up_s": round(taken_s, 1),
        "caught_up_per_s": round(drained / taken_s),
        "to_input_rate": round(drained / taken_s / rate, 1),
    }


async def is_close(outbox: Outbox, rate: int) -> bool:
    return (await outbox.measure_backlog()).entries < rate


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests outage", description=__doc__)
    parser.add_argument("--rate", type=int, default=300, help="changes a second that come in")
    parser.add_argument("--minutes", type=float, default=10, help="that Postgres is away")
    parser.add_argument("--concurrency", type=int, default=32, help="connections that build the backlog")
    options = parser.parse_args()
    figures = uvloop.run(measure(options.rate, options.minutes, options.concurrency))
    tell("outage", figures)
