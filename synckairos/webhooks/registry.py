"""Who is told, and what they were told: for servers and the command line. What is sent is the dispatcher's business."""

import base64
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from uuid import uuid4

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from synckairos.errors import IdempotencyKeyReused, NotFound, TooManyWebhooks, WebhookDisabled
from synckairos.history.cursor import parse_cursor, render_cursor
from synckairos.history.records import Page
from synckairos.postgres.named_sql import load
from synckairos.postgres.pool import BoundedQueries, Pool
from synckairos.webhooks.delivery_queue import QueueMeasurements, named_errors
from synckairos.webhooks.records import DeliveryAttempt, WebhookDelivery, WebhookEndpoint
from synckairos.wire.instants import instant_ms
from synckairos.wire.webhooks import TEST, CreateWebhook, PatchWebhook

MAX_ENDPOINTS = 100
"""Endpoints there may be: the drain looks at each of them for every event."""

_TIMEOUT_S = 5.0
_LAST = 2**62

T = TypeVar("T")


class WebhookRegistry:
    """The webhooks' tables, a transaction at a time. Raises StoreUnavailable where Postgres doesn't do it now."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._questions = BoundedQueries()

    async def do(self, act: "Callable[[WebhookTransaction], Awaitable[T]]", timeout_s: float = _TIMEOUT_S) -> T:
        """Let `act` work in one transaction, and return what it returns; what it raises undoes it."""
        return await self._questions.within(timeout_s, self._transaction(act))

    async def do_once(
        self, key: str, fingerprint: str, act: "Callable[[WebhookTransaction], Awaitable[bytes]]"
    ) -> tuple[bytes, bool]:
        """Do it, unless it was done under this key; return the answer then given, and whether it is a replay.

        Answers are kept for a day. Raises IdempotencyKeyReused where the key stands for something else.
        """

        async def act_once(work: WebhookTransaction) -> tuple[bytes, bool]:
            if await work.run("reserve_answer", {"key": key, "fingerprint": fingerprint}):
                body = await act(work)
                await work.run("keep_answer", {"key": key, "body": body})
                return body, False
            ((known, body),) = await work.run("kept_answer", {"key": key})
            if known != fingerprint:
                raise IdempotencyKeyReused
            return body, True

        return await self.do(act_once)

    async def measure(self) -> QueueMeasurements:
        """Look how much waits."""

        async def look(work: WebhookTransaction) -> QueueMeasurements:
            (row,) = await work.run("measure", {})
            return QueueMeasurements(*row)

        return await self.do(look, timeout_s=1.0)

    async def _transaction(self, act: "Callable[[WebhookTransaction], Awaitable[T]]") -> T:
        with named_errors():
            async with self._pool.connection() as connection, connection.transaction():
                return await act(WebhookTransaction(connection))


class WebhookTransaction:
    """What can be done within a transaction. Raises NotFound where there is no such webhook or delivery."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    # -- endpoints ----------------------------------------------------------------------------------------------------

    async def create(self, asked: CreateWebhook) -> tuple[WebhookEndpoint, str]:
        """Make an endpoint; return it and its secret, which nobody is ever told again.

        Raises TooManyWebhooks. Whoever asks sees to it that the URL is allowed.
        """
        await self.run("one_at_a_time", {})
        ((count,),) = await self.run("count_endpoints", {})
        if count >= MAX_ENDPOINTS:
            raise TooManyWebhooks(MAX_ENDPOINTS)
        endpoint_id, secret = str(uuid4()), make_secret()
        await self.run("create_endpoint", {"endpoint_id": endpoint_id, **_columns(asked)})
        await self.run("add_secret", {"endpoint_id": endpoint_id, "secret": secret})
        return await self.endpoint(endpoint_id), secret

    async def endpoints(self) -> list[WebhookEndpoint]:
        """Return all endpoints, oldest first."""
        return [_endpoint(row) for row in await self.run("endpoints", {"endpoint_id": None})]

    async def endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        rows = await self.run("endpoints", {"endpoint_id": endpoint_id})
        if not rows:
            raise NotFound(f"Webhook {endpoint_id} not found")
        return _endpoint(rows[0])

    async def update(self, endpoint_id: str, asked: PatchWebhook) -> WebhookEndpoint:
        """Change what is named; the rest stays. Whoever asks sees to it that the URL is allowed."""
        values = {
            "endpoint_id": endpoint_id,
            "enabled": asked.enabled,
            "sets_event_types": "event_types" in asked.model_fields_set,
            "sets_metadata": "metadata" in asked.model_fields_set,
            **_columns(asked),
        }
        await self.run("update_endpoint", values)
        return await self.endpoint(endpoint_id)

    async def delete(self, endpoint_id: str) -> None:
        """Delete an endpoint and its log, also where it isn't there."""
        await self.run("delete_endpoint", {"endpoint_id": endpoint_id})
        await self.run("delete_deliveries", {"endpoint_id": endpoint_id})

    async def rotate(self, endpoint_id: str, overlap_s: int) -> str:
        """Make a new secret and return it; the old ones sign beside it for `overlap_s` seconds more."""
        await self.endpoint(endpoint_id)
        secret = make_secret()
        await self.run("expire_secrets", {"endpoint_id": endpoint_id, "overlap_s": overlap_s})
        await self.run("add_secret", {"endpoint_id": endpoint_id, "secret": secret})
        return secret

    # -- deliveries ---------------------------------------------------------------------------------------------------

    async def deliveries(
        self, endpoint_id: str, *, cursor: str | None = None, limit: int = 50, status: str | None = None
    ) -> Page[WebhookDelivery]:
        """Return a page of what an endpoint was told, newest first, each with its tries."""
        await self.endpoint(endpoint_id)
        (before,) = parse_cursor(cursor, int) if cursor else (_LAST,)
        values = {"endpoint_id": endpoint_id, "delivery_id": None, "before": before, "status": status}
        rows = await self.run("deliveries", {**values, "limit": limit + 1})
        items = tuple(_delivery(row) for row in rows[:limit])
        return Page(items, render_cursor(items[-1].sequence) if len(rows) > limit else None)

    async def delivery(self, endpoint_id: str, delivery_id: str) -> WebhookDelivery:
        values = {"endpoint_id": endpoint_id, "delivery_id": delivery_id, "before": _LAST, "status": None, "limit": 1}
        rows = await self.run("deliveries", values)
        if not rows:
            raise NotFound(f"Webhook {endpoint_id} has no delivery {delivery_id}")
        return _delivery(rows[0])

    async def test(self, endpoint_id: str) -> WebhookDelivery:
        """Have a message sent that is about nothing. Raises WebhookDisabled."""
        await self._enabled(endpoint_id)
        ((delivery_id,),) = await self.run("queue_test", {"endpoint_id": endpoint_id, "event_type": TEST})
        return await self.delivery(endpoint_id, delivery_id)

    async def resend(self, endpoint_id: str, delivery_id: str) -> WebhookDelivery:
        """Have a message sent again, whatever became of it. Raises WebhookDisabled."""
        await self._enabled(endpoint_id)
        await self.run("queue_again", {"endpoint_id": endpoint_id, "delivery_id": delivery_id})
        return await self.delivery(endpoint_id, delivery_id)

    async def _enabled(self, endpoint_id: str) -> None:
        if not (await self.endpoint(endpoint_id)).enabled:
            raise WebhookDisabled(endpoint_id)

    # -- asking -------------------------------------------------------------------------------------------------------

    async def run(self, name: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run one named statement and return its rows."""
        async with self._connection.cursor(binary=True) as cursor:
            await cursor.execute(load("webhooks.sql", __package__)[name], values)
            return await cursor.fetchall() if cursor.description else []


def make_secret() -> str:
    """Make a secret of 32 random bytes."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _columns(asked: CreateWebhook | PatchWebhook) -> dict[str, Any]:
    return {
        "url": asked.url,
        "description": asked.description,
        "event_types": asked.event_types,
        "metadata": None if asked.metadata is None else Jsonb(asked.metadata),
        "snapshots": asked.snapshots,
    }


def _endpoint(row: tuple[Any, ...]) -> WebhookEndpoint:
    endpoint_id, url, description, kinds, metadata, snapshots, enabled, reason, failing_since, made_at, changed_at = row
    return WebhookEndpoint(
        endpoint_id=endpoint_id,
        url=url,
        description=description,
        event_types=None if kinds is None else tuple(kinds),
        metadata=metadata,
        snapshots=snapshots,
        enabled=enabled,
        disabled_reason=reason,
        failing_since_ms=None if failing_since is None else instant_ms(failing_since),
        created_at_ms=instant_ms(made_at),
        updated_at_ms=instant_ms(changed_at),
    )


def _delivery(row: tuple[Any, ...]) -> WebhookDelivery:
    delivery_id, sequence, session_id, epoch, version, event_type, status, created_at, due_at, tries = row
    return WebhookDelivery(
        delivery_id=delivery_id,
        sequence=sequence,
        session_id=session_id,
        epoch=epoch,
        version=version,
        event_type=event_type,
        status=status,
        created_at_ms=instant_ms(created_at),
        due_at_ms=None if due_at is None else instant_ms(due_at),
        attempts=tuple(
            DeliveryAttempt(
                number, instant_ms(at), duration_ms, code, error, None if next_at is None else instant_ms(next_at)
            )
            for number, at, duration_ms, code, error, next_at in tries
        ),
    )
