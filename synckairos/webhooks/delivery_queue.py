"""The queue of webhook deliveries in Postgres, as workers use it: claim, finish, release and prune."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from synckairos.errors import StoreUnavailable
from synckairos.history.records import TrailEvent
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.webhooks.records import DueDelivery
from synckairos.wire.instants import instant_ms


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """Result of one attempt: the delivery's new status, and the consequences for its endpoint.

    The SQL statement `finish` takes every field by its name. `next_s` is the number of seconds until the next attempt,
    None unless `status` is pending. `pause_s` is the number of seconds for which the endpoint gets no message. `gone`
    disables the endpoint.
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
    """State of the queue: queued deliveries, age of the oldest due delivery in seconds, and attempts by outcome.

    `queued` counts up to 100,000 and leaves out the deliveries of disabled endpoints. `attempts` counts all attempts
    since the tables were created.
    """

    queued: int = 0
    oldest_s: float = 0.0
    disabled: int = 0
    attempts: dict[str, int] = field(default_factory=dict)


class DeliveryQueue:
    """Queue of deliveries. Every method except `prune` is one round trip. Every method raises StoreUnavailable."""

    def __init__(self, pool: PostgresPool) -> None:
        self.pool = pool

    async def claim(self, *, per_endpoint: int, limit: int, lease_s: float) -> list[DueDelivery]:
        """Lease up to `limit` due deliveries, at most `per_endpoint` for an endpoint and one for a session."""
        rows = await self._query("claim", {"per_endpoint": per_endpoint, "limit": limit, "lease_s": lease_s})
        return [_parse_due_delivery(row) for row in rows]

    async def release(self, delivery_ids: Sequence[str]) -> None:
        """End the leases of deliveries that are not finished."""
        await self._query("release", {"delivery_ids": list(delivery_ids)})

    async def finish(self, due: DueDelivery, result: DeliveryResult, give_up_s: float) -> str | None:
        """Save the result of an attempt; return the reason if the attempt disabled the endpoint, else None."""
        rows = await self._query(
            "finish",
            {
                "delivery_id": due.delivery_id,
                "attempts": due.attempts,
                "accepted": result.status == "delivered",
                "give_up_s": give_up_s,
                **{name: getattr(result, name) for name in DeliveryResult.__slots__},
            },
        )
        return rows[0][0] if rows else None

    async def prune(self, days: int) -> None:
        """Delete deliveries older than `days`, one page at a time."""
        await self._query("prune_secrets_and_answers", {})
        while await self._query("prune", {"days": days}):
            pass

    async def _query(self, name: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        with translate_errors():
            async with self.pool.connection() as connection:
                cursor = await connection.execute(load_statements("webhooks.sql", __package__)[name], values)
                return await cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def open_delivery_queue(database_url: str, connections: int = 4) -> AsyncIterator[DeliveryQueue]:
    """Open a worker's connections, without waiting for Postgres to be reachable.

    Commits do not wait for the disk: a `finish` that a crash loses only sends its message a second time.
    """
    options = "-c statement_timeout=30s -c synchronous_commit=off"
    async with PostgresPool(database_url, "webhooks", max_connections=connections, options=options) as pool:
        yield DeliveryQueue(pool)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn every Postgres error into StoreUnavailable, whose text shows no details of the database."""
    try:
        yield
    except psycopg.Error as fault:
        if (fault.sqlstate or "").startswith("42"):
            raise StoreUnavailable("The database isn't up to date: run `synckairos migrate`") from fault
        raise StoreUnavailable("Postgres is not reachable; try again shortly", setting="DATABASE_URL") from fault


def _parse_due_delivery(row: tuple[Any, ...]) -> DueDelivery:
    delivery_id, endpoint_id, url, secrets, attempts, scheduled, event_type, created_at, session_id = row[:9]
    epoch, version, participant_id, group_id, actor, occurred_at, used_ms, remaining_ms, snapshot = row[9:]
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
            document=snapshot,
        )
    return DueDelivery(
        delivery_id=delivery_id,
        endpoint_id=endpoint_id,
        url=url,
        secrets=tuple(secrets),
        attempts=attempts,
        scheduled_attempts=scheduled,
        event_type=event_type,
        created_at_ms=instant_ms(created_at),
        session_id=session_id,
        event=event,
    )
