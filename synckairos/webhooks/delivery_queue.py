"""Queue of webhook deliveries in Postgres, with the operations of workers: claim, finish, release and prune."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from synckairos.errors import InvalidStoredData
from synckairos.history.records import TrailEvent
from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.time_limits import errors_without_details
from synckairos.postgres.transaction import Row, Transaction
from synckairos.telemetry.invalid_data import reporting_invalid_data
from synckairos.webhooks.records import DueDelivery
from synckairos.wire.charges_json import parse_charge_rows
from synckairos.wire.instants import datetime_to_ms

PAUSE_SHARE = 0.05
"""Pause of an endpoint after a failed attempt, as a share of the time since the first failure without a success."""

LONGEST_PAUSE_S = 60.0
"""Maximum seconds of such a pause. A receiver that asks for a longer pause gets it."""


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """Result of one attempt: the delivery's new status, and the consequences for its endpoint.

    - `outcome`: label of the attempt counter: `delivered`, `failed`, `gone` (the endpoint answered 410) or `lapsed`
      (no message was sent, because the audit no longer has the event).
    - `status`: new status of the delivery: `pending`, `delivered` or `failed`.
    - `next_s`: seconds until the next attempt; None if no further attempt is planned.
    - `pause_s`: seconds for which the endpoint gets no messages; None for no pause.
    - `gone`: whether the endpoint must be disabled, because it answered 410.

    The SQL statement `finish` uses each field by its name, so the names must not change.
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
    """Values for the webhook metrics.

    - `queued`: number of queued deliveries of enabled endpoints, at most 100,000.
    - `oldest_s`: seconds since the oldest queued delivery became due, without the deliveries of endpoints whose newest
      attempt failed; 0 if no delivery is due.
    - `disabled`: number of disabled endpoints.
    - `attempts`: number of all attempts after the creation of the tables, by outcome.
    """

    queued: int = 0
    oldest_s: float = 0.0
    disabled: int = 0
    attempts: dict[str, int] = field(default_factory=dict)


class DeliveryQueue:
    """Queue of deliveries.

    All methods raise StoreUnavailable if Postgres is unreachable, refuses the statement or is not migrated.
    """

    def __init__(self, pool: PostgresPool) -> None:
        self.pool = pool

    async def claim(self, *, per_endpoint: int, max_concurrent: int, limit: int, lease_s: float) -> list[DueDelivery]:
        """Lease at most `limit` due deliveries for `lease_s` seconds, and return them.

        `per_endpoint` is the maximum number of leases of all workers for one endpoint. It is lower if there are so many
        endpoints that all their leases together would exceed `max_concurrent`, but at least 1. It is 1 for an endpoint
        whose newest attempt failed. For each session of an endpoint there is at most one lease. An endpoint that is
        paused gets only test messages. If the stored data of a leased delivery are invalid, the delivery is reported
        and left out of the result.

        Uses two round trips if no delivery is due, otherwise four.
        """
        with errors_without_details():
            async with self.pool.transaction(access=cross_tenant_access()) as transaction:
                rows = await _claim(transaction, per_endpoint, max_concurrent, limit, lease_s)
        due: list[DueDelivery] = []
        for row in rows:
            with suppress(InvalidStoredData), reporting_invalid_data(f"webhook_deliveries {row[0]}"):
                due.append(_parse_due_delivery(row))
        return due

    async def release(self, delivery_ids: Sequence[str]) -> None:
        """End the leases of deliveries, so that other workers can lease them immediately.

        The caller must have leased these deliveries, and must not have saved a result for them.
        """
        await self._query("release", {"delivery_ids": list(delivery_ids)})

    async def save_results(
        self, attempts: Sequence[tuple[DueDelivery, DeliveryResult]], give_up_s: float
    ) -> dict[str, str]:
        """Save the results of attempts, in the order of their ends, and end the leases. Uses one round trip.

        Do nothing for a delivery whose lease expired and for which another worker saved a result. So the call can be
        repeated if its outcome is unknown. `give_up_s` is the number of seconds of failures without a success after
        which an endpoint is disabled. Return the reasons, as text, of the endpoints that these attempts disabled, by
        endpoint id.
        """
        values = {
            "delivery_id": [due.delivery_id for due, _ in attempts],
            "attempts": [due.attempts for due, _ in attempts],
            **{name: [getattr(result, name) for _, result in attempts] for name in DeliveryResult.__slots__},
        }
        rules = {"give_up_s": give_up_s, "pause_share": PAUSE_SHARE, "longest_pause_s": LONGEST_PAUSE_S}
        rows = await self._query("finish", values | rules)
        return {endpoint_id: reason for endpoint_id, reason in rows if reason is not None}

    async def prune(self, days: int) -> None:
        """Delete all deliveries that were created more than `days` days ago, whatever their status, one page at a time.

        Also delete expired secrets, and saved answers of idempotent requests that are older than a day.
        """
        await self._query("prune_secrets_and_answers", {})
        while await self._query("prune", {"days": days}):
            pass

    async def _query(self, name: str, values: dict[str, Any]) -> list[Row]:
        with errors_without_details():
            return await self.pool.fetch(_statement(name), values, access=cross_tenant_access())


@asynccontextmanager
async def open_delivery_queue(
    database_url: str, connections: int = 4, *, requires_roles: bool = False
) -> AsyncIterator[DeliveryQueue]:
    """Open a pool of at most `connections` connections, and yield the delivery queue of a worker.

    The pool is closed at the end of the block. The function does not wait until Postgres is reachable. Commits do not
    wait for the disk. If a crash of Postgres loses the result of an attempt, the message is only sent a second time.
    `requires_roles`: see `TransactionSettings`.
    """
    settings = {"statement_timeout": "30s", "synchronous_commit": "off"}
    async with PostgresPool(
        database_url, "webhooks", max_connections=connections, settings=settings, requires_roles=requires_roles
    ) as pool:
        yield DeliveryQueue(pool)


def _statement(name: str) -> bytes:
    return load_statements("webhooks.sql", __package__)[name]


async def _claim(
    transaction: Transaction, per_endpoint: int, max_concurrent: int, limit: int, lease_s: float
) -> list[Row]:
    """Lease due deliveries and return their rows.

    Three statements instead of one, because Postgres plans each statement again. The plans of the second and third
    statement cost more than the queries, and most polls need only the first one.
    """
    limits = {"per_endpoint": per_endpoint, "max_concurrent": max_concurrent}
    endpoints = await transaction.fetch(_statement("find_open_endpoints"), limits)
    if not endpoints:
        return []
    endpoint_ids, rooms, paused = map(list, zip(*endpoints, strict=True))
    open_endpoints = {"endpoint_ids": endpoint_ids, "rooms": rooms, "paused": paused}
    values = {**open_endpoints, "limit": limit, "lease_s": lease_s, "from_session_id": uuid4()}
    claimed = await transaction.fetch(_statement("claim"), values)
    if not claimed:
        return []
    return await transaction.fetch(_statement("read_claimed"), {"delivery_ids": [row[0] for row in claimed]})


def _parse_due_delivery(row: tuple[Any, ...]) -> DueDelivery:
    delivery_id, endpoint_id, url, secrets, attempts, scheduled, event_type, created_at, session_id = row[:9]
    epoch, version, participant_id, group_id, actor, occurred_at, used_ms, remaining_ms = row[9:17]
    snapshot, role, represented, record_name, charges, participant_ids = row[17:]
    event = None
    if occurred_at is not None:
        event = TrailEvent(
            epoch=epoch,
            version=version,
            event_type=event_type,
            occurred_at_ms=datetime_to_ms(occurred_at),
            participant_id=participant_id,
            group_id=group_id,
            actor=actor,
            time_used_ms=used_ms,
            time_remaining_ms=remaining_ms,
            document=snapshot,
            role=role,
            on_behalf_of=represented,
            charges=parse_charge_rows(charges),
            record_name=record_name,
            participant_ids=tuple(participant_ids or ()),
        )
    return DueDelivery(
        delivery_id=delivery_id,
        endpoint_id=endpoint_id,
        url=url,
        secrets=tuple(secrets),
        attempts=attempts,
        scheduled_attempts=scheduled,
        event_type=event_type,
        created_at_ms=datetime_to_ms(created_at),
        session_id=session_id,
        event=event,
    )
