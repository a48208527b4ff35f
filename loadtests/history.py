"""Load test of history: the cost of a page of a participant's sessions, compared with a read of one session.

`recent` alternates two requests to a server: a bare read of one session, and a page of a participant's sessions that
was read before. The result is the ratio of the two medians. `first` reads pages that were not read before, from a
database with a million events.
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
from loadtests.report import print_result
from loadtests.sessions import start_session_by_rest
from loadtests.stores import server_and_worker, valkey_and_postgres
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


async def measure_get(connection: HttpConnection, path: str) -> float:
    """Send one GET request. Return its duration in milliseconds."""
    began = time.perf_counter()
    status, answer = await connection.get(path)
    taken = (time.perf_counter() - began) * 1000
    assert status == 200, answer
    return taken


async def play(connection: HttpConnection, participant_id: str, is_finished: bool) -> str:
    """Run a session of a participant with two turns and a pause. Return the session id."""
    session_id = await start_session_by_rest(connection, participant_id, metadata={"project": "load test"})
    for verb in ("switch", "pause", "resume", *(("complete",) if is_finished else ())):
        status, answer = await connection.post(f"/v1/sessions/{session_id}/{verb}")
        assert status == 200, answer
    return session_id


async def measure_recent(settings: Settings, sessions: int) -> dict[str, Any]:
    """Compare a page of `sessions` sessions with a read of one session. One session of the page is running."""
    with server_and_worker(settings) as server:
        connection = await HttpConnection.open(server.base_url)
        participant_id = str(uuid4())
        ids = [await play(connection, participant_id, number < sessions - 1) for number in range(sessions)]
        async with RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe:
            outbox = Outbox(pipe, Keys(settings.key_prefix, settings.partitions))
            await eventually(lambda: outbox.is_empty(0))
        bare, page = f"/v1/sessions/{ids[-1]}", f"/v1/participants/{participant_id}/sessions?limit={sessions}"
        rows = orjson.loads((await connection.get(page))[1])["data"]
        assert [row["session_id"] for row in rows] == ids[::-1]
        assert all(row["synced"] for row in rows)
        ratios, bare_ms, page_ms = [], [], []
        for _ in range(ROUNDS):
            # Alternate the two requests, so that other load on the machine affects both equally.
            pairs = [(await measure_get(connection, bare), await measure_get(connection, page)) for _ in range(READS)]
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
    """Measure first reads of pages whose sessions are too old for the cache in Redis."""
    insert_sessions(postgres.url, sessions, size=32)
    server = spawn_server(settings)
    try:
        connection = await HttpConnection.open(server.base_url)
        participant_ids = [UUID(md5(f"p{number}".encode(), usedforsecurity=False).hexdigest()) for number in range(300)]
        taken = [
            await measure_get(connection, f"/v1/participants/{each}/sessions?days=3650") for each in participant_ids
        ]
    finally:
        server.stop()
    return {"events": sessions * 100, "first_page_p50_ms": round(statistics.median(taken), 2)}


async def measure(options: argparse.Namespace) -> None:
    async with valkey_and_postgres() as (settings, postgres):
        for size in options.page:
            print_result("history recent", await measure_recent(settings, size))
        if options.sessions:
            print_result("history first", await measure_first(settings, postgres, options.sessions))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests history", description=__doc__)
    parser.add_argument("--page", type=int, nargs="*", default=[10, 50], help="sessions on a page")
    parser.add_argument("--sessions", type=int, default=10_000, help="sessions in Postgres, with a hundred events each")
    options = parser.parse_args()
    uvloop.run(measure(options))
