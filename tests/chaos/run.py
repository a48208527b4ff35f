"""One run: clients use a fleet while faults happen, then the checker judges what they saw and what the stores have."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import psycopg

from synckairos.audit.verify import open_verifier
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.store.keys import Keys
from synckairos.store.shared_connection import RedisPipe
from tests.chaos.checker import Violation, count_lost, find_violations
from tests.chaos.faults import Fault
from tests.chaos.fleet import Fleet
from tests.chaos.history import AuditRow, History
from tests.chaos.workload import DEADLINE_S, Workload
from tests.waiting import eventually

COUNTDOWN_MS = (1_000, 2_500)
"""Milliseconds: bounds of the countdowns that run during a fault. The minimum is that of a budget."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a run. `converged_s` are the seconds from the end of the last fault until all stores agree."""

    operations: int
    lost: int
    converged_s: float
    violations: list[Violation]


async def run(
    fleet: Fleet,
    faults: Sequence[Fault],
    seed: int,
    *,
    sessions: int = 3,
    operations: int = 150,
) -> Result:
    """Run a workload while `faults` happen one after another, and judge it.

    `operations` is the number of operations of the clients before, between and after the faults. The same seed gives
    the same faults with the same durations. The scheduling of the processes is not repeatable.
    """
    rng, history = random.Random(seed), History()
    workload = Workload(fleet.balancer.http_url, random.Random(seed + 1), history)
    await workload.start_sessions(sessions, watchers=2)
    async with workload.running(switchers=2):
        await workload.wait_for_operations(operations)
        for fault in faults:
            for _ in range(2):
                await workload.start_countdown(rng.randint(*COUNTDOWN_MS))
            await fault.cause(fleet, rng)
            ended_s = time.monotonic()
            await workload.wait_for_operations(operations)
    await _converge(fleet, workload)
    converged_s = time.monotonic() - ended_s
    may_lose = any(each.may_lose for each in faults)
    violations = find_violations(history, may_lose=may_lose)
    violations += [Violation("error", output[-2_000:]) for output in fleet.tracebacks()]
    return Result(workload.operations.total(), count_lost(history), converged_s, violations)


async def _converge(fleet: Fleet, workload: Workload) -> None:
    """Wait until the countdowns have expired, Postgres has all versions, and the watchers have the newest state.

    Then note what the stores have.
    """
    history, settings = workload.history, fleet.settings
    countdowns = list(history.deadlines_ms)
    async with RedisPipe(fleet.redis.url, 5) as pipe:
        keys = Keys(settings.key_prefix, settings.partitions)

        async def are_expired() -> bool:
            found = [await pipe.call("HGET", keys.session(each), "status") for each in countdowns]
            return all(status in (b"expired", None) for status in found)

        async def is_drained() -> bool:
            return not await pipe.call("XLEN", keys.outbox(0))

        await eventually(are_expired, DEADLINE_S)
        await workload.read_stored([*workload.session_ids, *countdowns])
        await eventually(is_drained, DEADLINE_S)
    await workload.wait_for_watchers()
    async with await psycopg.AsyncConnection.connect(settings.database_url) as database:
        rows = await database.execute(
            "SELECT session_id::text, epoch, version, command_id, event_type, occurred_at,"
            " CASE WHEN whole_version IS NULL THEN snapshot ELSE sync_document(tenant, session_id, epoch, version) END"
            " FROM sync_events"
        )
        async for session_id, epoch, version, command_id, event_type, occurred_at, document in rows:
            occurred_ms = round(occurred_at.timestamp() * 1000)
            row = AuditRow(session_id, (epoch, version), command_id, event_type, occurred_ms, orjson.loads(document))
            history.audit.append(row)
    async with open_verifier(settings.database_url, OutageChargePolicy()) as verifier:
        for session_id in workload.session_ids:
            verified = await verifier.verify_session(session_id)
            faults = () if verified is None else verified.findings
            history.findings += [f"{session_id}: {each.kind} {each.text}" for each in faults if each.contradicts_audit]


def failed_run(error: Exception) -> Result:
    """Return the result of a run that ended with an error, such as an answer that no client expects."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return Result(0, 0, 0.0, [Violation("error", repr(error)[:2_000])])
