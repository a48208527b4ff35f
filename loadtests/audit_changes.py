"""Load test of changes in the audit: bytes of a large session in the outbox and in Postgres, and times of its writes.

A session of 1,000 participants switches 1,000 times, once with documents only (clock edition 1) and once with changes.
No worker runs meanwhile. Then one drain writes all versions.
"""

import argparse
import asyncio
import time
from uuid import uuid4

from loadtests.report import print_result
from loadtests.stores import valkey_and_postgres
from synckairos.audit.verify import open_verifier
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.config import Settings
from tests.integration.audit_parts import open_audit_parts
from tests.integration.large_session import LargeSession
from tests.integration.parts import open_parts

LEGEND = {
    "document_bytes": "bytes of the newest document",
    "switch_ms": "mean time of a switch, in an instance without sockets",
    "outbox_bytes": "bytes in the entries of the outbox before the drain",
    "postgres_bytes": "bytes of the documents and splices in Postgres, as stored after compression",
    "drained_per_s": "versions that one drain writes to Postgres in a second",
    "newest_ms": "time to read the newest version from Postgres",
    "trail_per_s": "versions that pages of the audit trail read with their documents in a second",
    "verified_per_s": "versions that the verification replays in a second",
}


async def measure(settings: Settings, participants: int, switches: int) -> dict[str, float]:
    async with open_parts(settings) as parts, open_audit_parts(settings) as audit:
        session = await LargeSession.start(parts, participants)
        began_s = time.perf_counter()
        await session.switch(switches)
        switched_s = time.perf_counter() - began_s
        outbox_bytes = int(await parts.pipe.call("GET", parts.store.keys.outbox_bytes(0)))
        began_s = time.perf_counter()
        drained = await audit.drain()
        drained_s = time.perf_counter() - began_s
        ((postgres_bytes,),) = await audit.rows(
            "SELECT sum(pg_column_size(snapshot))::bigint FROM sync_events WHERE session_id = %s", session.session_id
        )
        began_s = time.perf_counter()
        found = await audit.history.read_latest_version(session.session_id)
        newest_s = time.perf_counter() - began_s
        if found is None or found.snapshot.document != session.newest:
            raise AssertionError("Postgres has another document than Redis")
        began_s = time.perf_counter()
        cursor, read = None, 0
        while read == 0 or cursor is not None:
            page = await audit.history.read_events_page(session.session_id, cursor=cursor, limit=200, snapshots=True)
            cursor, read = page.next_cursor, read + len(page.items)
        trail_s = time.perf_counter() - began_s
        began_s = time.perf_counter()
        async with open_verifier(settings.database_url, OutageChargePolicy()) as verifier:
            verified = await verifier.verify_session(session.session_id)
        verified_s = time.perf_counter() - began_s
        if verified is None or verified.findings or not verified.versions == read == drained:
            raise AssertionError("the verification or the trail lacks versions, or found a fault")
    return {
        "document_bytes": len(session.newest),
        "switch_ms": round(switched_s * 1000 / switches, 2),
        "outbox_bytes": outbox_bytes,
        "postgres_bytes": postgres_bytes,
        "drained_per_s": round(drained / drained_s),
        "newest_ms": round(newest_s * 1000, 1),
        "trail_per_s": round(read / trail_s),
        "verified_per_s": round(verified.versions / verified_s),
    }


async def run(participants: int, switches: int) -> dict[str, object]:
    found: dict[str, object] = {}
    async with valkey_and_postgres() as (settings, _):
        for name, edition in (("documents", 1), ("changes", 2)):
            update = {"clock_edition": edition, "key_prefix": f"load{uuid4().hex[:8]}"}
            found[name] = await measure(settings.model_copy(update=update), participants, switches)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the audit of a large session with and without changes.")
    parser.add_argument("--participants", type=int, default=1_000)
    parser.add_argument("--switches", type=int, default=1_000)
    options = parser.parse_args()
    print_result("audit_changes", asyncio.run(run(options.participants, options.switches)))
    print_result("audit_changes legend", LEGEND)
