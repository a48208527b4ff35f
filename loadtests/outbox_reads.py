"""Load test of reads of a large outbox, as after an outage of the workers: how long Redis handles no other command.

The outbox has 200 MB of large entries. A read of an unknown session or participant is sent alone, so its duration is
the time for which Redis is blocked. The entries are written once as this release writes them, and once as an earlier
release did, without an index. The ratio of both shows what the index saves.
"""

import argparse
import asyncio
import statistics
import time
from uuid import uuid4

from loadtests.report import print_result
from loadtests.stores import valkey_only
from synckairos.config import Settings
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.shared_connection import RedisPipe

ENTRY_BYTES = 800_000
LEGEND = {
    "session_ms": "median time of a read of the entries of an unknown session (GET /v1/sessions/{id}/events)",
    "participant_ms": "median time of a search for the sessions of an unknown participant (GET …/time)",
    "ratio": "time without an index divided by time with it",
}


async def fill(pipe: RedisPipe, keys: Keys, total_bytes: int, *, is_indexed: bool) -> str:
    """Write a session with entries of `total_bytes` together to the outbox. Return its id."""
    session_id, document = str(uuid4()), b'{"padding":"%b"}' % (b"x" * ENTRY_BYTES)
    await pipe.call("DEL", keys.outbox(0), keys.indexed_outbox_entries(0), keys.outbox_participants(0))
    for version in range(1, 1 + total_bytes // ENTRY_BYTES):
        fields = ("session_id", session_id, "epoch", "e", "version", version, "event", "{}", "state", document)
        entry = await pipe.call("XADD", keys.outbox(0), "*", *fields, *(("previous", "") if is_indexed else ()))
        if is_indexed:
            await pipe.call("ZADD", keys.indexed_outbox_entries(0), entry.partition(b"-")[0], entry)
    return session_id


async def measure(outbox: Outbox, pipe: RedisPipe, reads: int) -> dict[str, float]:
    """Return the median times of both reads in ms."""
    session_id = str(uuid4())
    took_s: tuple[list[float], list[float]] = ([], [])
    for _ in range(reads):
        began_s = time.perf_counter()
        await outbox.read_session_entries(session_id)
        took_s[0].append(time.perf_counter() - began_s)
        began_s = time.perf_counter()
        await outbox.participant_session_names(str(uuid4()))
        took_s[1].append(time.perf_counter() - began_s)
    session_ms, participant_ms = (round(statistics.median(each) * 1000, 3) for each in took_s)
    return {"session_ms": session_ms, "participant_ms": participant_ms}


async def run(settings: Settings, total_bytes: int, reads: int) -> dict[str, object]:
    keys = Keys(settings.key_prefix)
    async with RedisPipe(settings.redis_url, 30) as pipe:
        outbox = Outbox(pipe, keys)
        await fill(pipe, keys, total_bytes, is_indexed=True)
        indexed = await measure(outbox, pipe, reads)
        await fill(pipe, keys, total_bytes, is_indexed=False)
        scanned = await measure(outbox, pipe, reads)
    ratio = round(scanned["participant_ms"] / indexed["participant_ms"], 1)
    return {"indexed": indexed, "written_by_an_earlier_release": scanned, "ratio": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure reads of a large outbox.")
    parser.add_argument("--bytes", type=int, default=200_000_000, help="Bytes in the outbox.")
    parser.add_argument("--reads", type=int, default=20, help="Number of reads of each kind.")
    options = parser.parse_args()
    with valkey_only() as settings:
        print_result("outbox_reads", asyncio.run(run(settings, options.bytes, options.reads)))
    print_result("outbox_reads legend", LEGEND)
