"""Load test of the caches of participants' lists, with fewer caches in Redis (docs/inside/decisions/0009).

Each variant is a server with separate stores. The results are medians, and ratios within one run. Three costs are
measured: a recent page compared with a bare read of one session, a recent page directly after the drain of a change,
and the second read of an older page compared with its first read.

`python -m loadtests.history_caches serve VARIANT` runs the server of one variant.
"""

import argparse
import statistics
import sys
from collections.abc import Awaitable, Callable
from hashlib import md5
from typing import Any
from uuid import UUID, uuid4

import orjson
import uvloop

from loadtests.history import measure_get, play
from loadtests.http_client import HttpConnection
from loadtests.report import print_result
from loadtests.stores import valkey_and_postgres
from synckairos.config import Settings
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.shared_connection import RedisPipe
from tests.integration.postgres.generated_rows import insert_sessions
from tests.processes import Process
from tests.waiting import eventually

VARIANTS = ("all caches", "no ready rows", "no summaries", "read cache alone", "no read cache")
READS = 400
ROUNDS = 3
CHANGES = 40
OLDER_PAGES = 200


def serve(variant: str) -> None:
    """Run a server without the caches that the variant excludes."""
    from synckairos.cli import main as run_command
    from synckairos.history.participant_sessions.cache import ParticipantSessionCache
    from synckairos.store import participant_sessions
    from synckairos.store.participant_sessions import ParticipantSessionStore
    from synckairos.store.read_cache import ReadCache

    async def do_nothing(*_: Any, **__: Any) -> None:
        """Replace a read or write that this variant does not have."""

    async def run_always(
        _: ReadCache, kind: str, id_: str, query: str, run_query: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        return await run_query()

    def patch(owner: Any, name: str, value: Any) -> None:
        assert hasattr(owner, name), name
        setattr(owner, name, value)

    if variant in ("no ready rows", "no summaries", "read cache alone"):
        patch(participant_sessions, "MAX_READY_ROW_BYTES", 0)
    if variant == "no summaries":
        patch(ParticipantSessionStore, "acquire_summary_leases", do_nothing)
        patch(ParticipantSessionStore, "fill_summaries", do_nothing)
    if variant == "read cache alone":
        patch(ParticipantSessionCache, "page", do_nothing)
        patch(ParticipantSessionCache, "fill_from_postgres", do_nothing)
    if variant == "no read cache":
        patch(ReadCache, "read_through", run_always)
    run_command(["serve", "--port", "0"])


async def measure_variant(settings: Settings, variant: str, sessions: int) -> dict[str, Any]:
    """Measure one variant. The newest session of the participant runs; all other sessions have ended."""
    environ = settings.to_environment_variables()
    worker = Process("worker", env=environ)
    server = Process(variant, env=environ, command=(sys.executable, "-m", "loadtests.history_caches", "serve"))
    try:
        connection = await HttpConnection.open(server.wait_ready().base_url)
        participant_id = str(uuid4())
        ids = [await play(connection, participant_id, number < sessions - 1) for number in range(sessions)]
        bare, page = f"/v1/sessions/{ids[-1]}", f"/v1/participants/{participant_id}/sessions?limit={sessions}"
        async with RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe:
            outbox = Outbox(pipe, Keys(settings.key_prefix, settings.partitions))

            async def is_drained() -> bool:
                return await outbox.is_empty(0)

            await eventually(is_drained)
            rows = orjson.loads((await connection.get(page))[1])["data"]
            assert [row["session_id"] for row in rows] == ids[::-1]
            ratios: list[float] = []
            for _ in range(ROUNDS):
                # Alternate the requests, so that other load on the machine affects both equally.
                pairs = [
                    (await measure_get(connection, bare), await measure_get(connection, page)) for _ in range(READS)
                ]
                bare_ms, page_ms = (statistics.median(column) for column in zip(*pairs, strict=True))
                ratios.append(page_ms / bare_ms)
            after_change_ms: list[float] = []
            for _ in range(CHANGES):
                assert (await connection.post(f"/v1/sessions/{ids[-1]}/switch"))[0] == 200
                await eventually(is_drained)
                after_change_ms.append(await measure_get(connection, page))
        people = [UUID(md5(f"p{number}".encode(), usedforsecurity=False).hexdigest()) for number in range(OLDER_PAGES)]
        older = [f"/v1/participants/{each}/sessions?days=3650" for each in people]
        first_ms = [await measure_get(connection, path) for path in older]
        again_ms = [await measure_get(connection, path) for path in older]
    finally:
        server.stop()
        worker.stop()
    return {
        "variant": variant,
        "sessions_on_the_page": sessions,
        "recent_page_ratio": round(statistics.median(ratios), 2),
        "page_after_change_p50_ms": round(statistics.median(after_change_ms), 2),
        "older_first_p50_ms": round(statistics.median(first_ms), 2),
        "older_again_ratio": round(statistics.median(again_ms) / statistics.median(first_ms), 2),
    }


async def measure(options: argparse.Namespace) -> None:
    for size in options.page:
        for _ in range(options.runs):
            for variant in options.variant or VARIANTS:
                async with valkey_and_postgres() as (settings, postgres):
                    insert_sessions(postgres.url, options.sessions, size=32)
                    print_result("history caches", await measure_variant(settings, variant, size))


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
        return
    parser = argparse.ArgumentParser(prog="python -m loadtests history_caches", description=__doc__)
    parser.add_argument("--page", type=int, nargs="*", default=[10, 50], help="sessions on the page")
    parser.add_argument("--sessions", type=int, default=2_000, help="past sessions in Postgres, of 100 events each")
    parser.add_argument("--runs", type=int, default=1, help="runs of each variant")
    parser.add_argument("--variant", nargs="*", choices=VARIANTS, help="only these variants")
    uvloop.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
