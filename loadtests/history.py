"""History: what a page of somebody's recent sessions costs beside a look at one session, and what older ones cost.

`recent` asks a server over HTTP, in turns: a bare session read, and a page of a participant's sessions once it was
asked for; the ratio of the two medians counts. `first` is a page that nobody asked for before, of an archive with a
million events.
"""

import argparse
import statistics
import time
from hashlib import md5
from typing import Any
from uuid import UUID, uuid4

import orjson
import uvloop

from loadtests.http_client import HttpConnection
from loadtests.started import started_by_rest
from loadtests.stores import as_users_run_it, both
from loadtests.telling import tell
from synckairos.config import Settings
from synckairos.embedded import Postgres
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.shared_connection import RedisPipe
from tests.integration.postgres.generated_rows import insert_sessions
from tests.processes import spawn_server
from tests.waiting import eventually

READS = 1_000
ROUNDS = 3


async def timed(connection: HttpConnection, path: str) -> float:
    """Ask once; return how long it took, in ms."""
    began = time.perf_counter()
    status, answer = await connection.get(path)
    taken = (time.perf_counter() - began) * 1000
    assert status == 200, answer
    return taken


async def play(connection: HttpConnection, person: str, is_over: bool) -> str:
    """Make a session that somebody takes part in, with two turns and a break; return its id."""
    session_id = await started_by_rest(connection, person, metadata={"project": "load test"})
    for verb in ("switch", "pause", "resume", *(("complete",) if is_over else ())):
        status, answer = await connection.post(f"/v1/sessions/{session_id}/{verb}")
        assert status == 200, answer
    return session_id


async def measure_recent(settings: Settings, sessions: int) -> dict[str, Any]:
    """Compare pages of `sessions` sessions, one of them running, with reads of that one."""
    with as_users_run_it(settings) as server:
        connection = await HttpConnection.open(server.base_url)
        person = str(uuid4())
        ids = [await play(connection, person, at < sessions - 1) for at in range(sessions)]
        async with RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe:
            outbox = Outbox(pipe, Keys(settings.key_prefix, settings.partitions))
            await eventually(lambda: outbox.is_empty(0))
        bare, page = f"/v1/sessions/{ids[-1]}", f"/v1/participants/{person}/sessions?limit={sessions}"
        rows = orjson.loads((await connection.get(page))[1])["data"]
        assert [row["session_id"] for row in rows] == ids[::-1]
        assert all(row["synced"] for row in rows)
        ratios, bare_ms, page_ms = [], [], []
        for _ in range(ROUNDS):
            # In turns, so that whatever else the machine does falls on both.
            pairs = [(await timed(connection, bare), await timed(connection, page)) for _ in range(READS)]
            bare_ms.append(statistics.median(each for each, _ in pairs))
            page_ms.append(statistics.median(each for _, each in pairs))
            ratios.append(page_ms[-1] / bare_ms[-1])
    return {
        "sessions_on_the_page": sessions,
        "bare_read_p50_ms": round(statistics.median(bare_ms), 3),
        "recent_page_p50_ms": round(statistics.median(page_ms), 3),
        "ratio": round(statistics.median(ratios), 2),
        "rounds": [round(each, 2) for each in ratios],
    }


async def measure_first(settings: Settings, postgres: Postgres, sessions: int) -> dict[str, Any]:
    """Ask for pages that nobody asked for before, of sessions too old for Redis."""
    insert_sessions(postgres.url, sessions, size=32)
    server = spawn_server(settings)
    try:
        asking = await HttpConnection.open(server.base_url)
        people = [UUID(md5(f"p{at}".encode(), usedforsecurity=False).hexdigest()) for at in range(300)]
        taken = [await timed(asking, f"/v1/participants/{person}/sessions?days=3650") for person in people]
    finally:
        server.stop()
    return {"events": sessions * 100, "first_page_p50_ms": round(statistics.median(taken), 2)}


async def measure(options: argparse.Namespace) -> None:
    async with both() as (settings, postgres):
        for size in options.page:
            tell("history recent", await measure_recent(settings, size))
        if options.sessions:
            tell("history first", await measure_first(settings, postgres, options.sessions))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests history", description=__doc__)
    parser.add_argument("--page", type=int, nargs="*", default=[10, 50], help="sessions on a page")
    parser.add_argument("--sessions", type=int, default=10_000, help="in the archive, a hundred events each")
    options = parser.parse_args()
    uvloop.run(measure(options))
