"""What workers take out of Postgres to send, and what they write down of how it went."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from synckairos.errors import StoreUnavailable
from synckairos.history.records import TrailEvent
from synckairos.postgres.named_sql import load
from synckairos.postgres.pool import Pool
from synckairos.webhooks.records import DueDelivery
from synckairos.wire.instants import instant_ms


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What a try means: the delivery's new status, and what it says of the endpoint.

    `next_s` is when to try again, where the status is pending; `pause_s` how long the endpoint wants to be left alone.
    """

    outcome: str
    status: str
    status_code: int | None
    error: str | None
    duration_ms: int
    next_s: float | None = None
    pause_s: float | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class QueueMeasurements:
    """How much waits, how long the oldest has been due, in seconds, and what became of every try there ever was.

    `waiting` is counted up to 100,000. Endpoints that are disabled wait for nobody.
    """

    waiting: int = 0
    oldest_s: float = 0.0
    disabled: int = 0
    tries: dict[str, int] = field(default_factory=dict)


class DeliveryQueue:
    """The queue of messages. Every method is one round trip and raises StoreUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, *, at_once: int, limit: int, lease_s: float) -> list[DueDelivery]:
        """Lease up to `limit` messages that are due, never more than `at_once` an endpoint and one a session."""
        rows = await self._run("claim", {"at_once": at_once, "limit": limit, "lease_s": lease_s})
        return [_due(row) for row in rows]

    async def release(self, delivery_ids: Sequence[str]) -> None:
        """Give back what was leased and isn't finished."""
        await self._run("release", {"delivery_ids": list(delivery_ids)})

    async def finish(self, due: DueDelivery, verdict: DeliveryResult, give_up_s: float) -> str | None:
        """Write down how a try went; return why its endpoint was disabled by it, None where it wasn't."""
        rows = await self._run(
            "finish",
            {
                "delivery_id": due.delivery_id,
                "attempts": due.attempts,
                "accepted": verdict.status == "delivered",
                "give_up_s": give_up_s,
                **{name: getattr(verdict, name) for name in DeliveryResult.__slots__},
            },
        )
        return rows[0][0] if rows else None

    async def prune(self, days: int) -> None:
        """Delete what is older than the log is kept, a page at a time."""
        await self._run("prune_rest", {})
        while await self._run("prune", {"days": days}):
            pass

    async def _run(self, name: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        with named_errors():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(load("webhooks.sql", __package__)[name], values)
                return await cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def open_delivery_queue(database_url: str, connections: int = 4) -> AsyncIterator[DeliveryQueue]:
    """Open connections for a worker; doesn't wait for Postgres.

    They don't wait for the disk either: a finish that is lost in a crash is a message sent once more.
    """
    options = "-c statement_timeout=30s -c synchronous_commit=off"
    async with Pool(database_url, "webhooks", connections=connections, options=options) as pool:
        yield DeliveryQueue(pool)


@contextmanager
def named_errors() -> Iterator[None]:
    """Turn every fault of Postgres into StoreUnavailable, whose text tells nobody more than that."""
    try:
        yield
    except psycopg.Error as fault:
        if (fault.sqlstate or "").startswith("42"):
            raise StoreUnavailable("The database isn't up to date: run `synckairos migrate`") from fault
        raise StoreUnavailable("Postgres is not reachable; try again shortly") from fault


def _due(row: tuple[Any, ...]) -> DueDelivery:
    delivery_id, endpoint_id, url, secrets, attempts, tries, event_type, created_at, session_id, epoch, version = row[
        :11
    ]
    participant_id, group_id, actor, occurred_at, used_ms, remaining_ms, snapshot = row[11:]
    event = None
    if occurred_at is not None:
        event = TrailEvent(
            epoch=epoch,
            version=version,
            event_type=event_type,
            occurred_at_ms=instant_ms(occurred_at),
            participant_id=participant_id,
            group_id=group_id,
            actor=actor,
            time_used_ms=used_ms,
            time_remaining_ms=remaining_ms,
            state=snapshot,
        )
    return DueDelivery(
        delivery_id,
        endpoint_id,
        url,
        tuple(secrets),
        attempts,
        tries,
        event_type,
        instant_ms(created_at),
        session_id,
        event,
    )
