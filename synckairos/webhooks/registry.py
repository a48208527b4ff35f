"""Registry of webhook endpoints and their deliveries in Postgres, for the REST API and the command line."""

import base64
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from uuid import uuid4

from psycopg.types.json import Jsonb

from synckairos.errors import IdempotencyKeyReused, NotFound, TooManyWebhooks, WebhookDisabled
from synckairos.history.page_cursor import parse_cursor, render_cursor
from synckairos.history.records import Page
from synckairos.postgres.access import cross_tenant_access, tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.time_limits import TRANSACTION_TIMEOUT_S, TimeLimitedTransactions
from synckairos.postgres.transaction import Transaction
from synckairos.webhooks.delivery_queue import QueueMeasurements
from synckairos.webhooks.records import DeliveryAttempt, WebhookDelivery, WebhookEndpoint
from synckairos.wire.instants import datetime_to_ms
from synckairos.wire.webhooks import TEST_EVENT_TYPE, CreateWebhook, PatchWebhook

MAX_ENDPOINTS = 100
"""Maximum number of webhook endpoints of a tenant.

The limit exists because the drain compares each event with each endpoint of its tenant.
"""

_MAX_SEQUENCE = 2**62
"""A number that is larger than the `sequence` of each delivery."""

T = TypeVar("T")


class WebhookRegistry:
    """Runs transactions on the webhook tables.

    All methods raise StoreUnavailable if Postgres is unreachable, too slow or not migrated.
    """

    def __init__(self, pool: PostgresPool, *, max_endpoints: int = MAX_ENDPOINTS) -> None:
        self._max_endpoints = max_endpoints
        self._transactions = TimeLimitedTransactions(pool)

    async def transact(
        self,
        tenant: str,
        action: "Callable[[WebhookTransaction], Awaitable[T]]",
        timeout_s: float = TRANSACTION_TIMEOUT_S,
    ) -> T:
        """Run `action` in one transaction of at most `timeout_s` seconds, and return the result of `action`.

        The transaction reaches only endpoints and deliveries of `tenant`.

        An exception of `action` rolls the transaction back. If StoreUnavailable is raised, for example because the time
        is over, the outcome is unknown.
        """

        async def run(transaction: Transaction) -> T:
            return await action(WebhookTransaction(transaction, tenant, self._max_endpoints))

        return await self._transactions.transact(tenant_access(tenant), run, timeout_s)

    async def transact_idempotently(
        self, tenant: str, key: str, fingerprint: str, action: "Callable[[WebhookTransaction], Awaitable[bytes]]"
    ) -> tuple[bytes, bool]:
        """Run `action` in one transaction of `tenant`, and save its answer for a day under the idempotency key `key`.

        If an answer is already saved under `key`, `action` is not called. Return the answer as bytes, and whether it is
        a saved answer of an earlier call. If `action` raises, nothing is saved and nothing is changed.

        Raises: IdempotencyKeyReused if the saved answer belongs to another fingerprint.
        """

        async def run_once(transaction: WebhookTransaction) -> tuple[bytes, bool]:
            if await transaction.query("reserve_answer", {"key": key, "fingerprint": fingerprint}):
                body = await action(transaction)
                await transaction.query("save_answer", {"key": key, "body": body})
                return body, False
            ((saved_fingerprint, body),) = await transaction.query("read_answer", {"key": key})
            if saved_fingerprint != fingerprint:
                raise IdempotencyKeyReused
            return body, True

        return await self.transact(tenant, run_once)

    async def measure_queue(self) -> QueueMeasurements:
        """Read the values for the webhook metrics from Postgres, and return them. The time limit is one second."""

        async def read(transaction: Transaction) -> QueueMeasurements:
            statement = load_statements("webhooks.sql", __package__)["measure"]
            (row,) = await transaction.fetch(statement, {}, binary=True)
            return QueueMeasurements(*row)

        return await self._transactions.transact(cross_tenant_access(), read, timeout_s=1.0)


class WebhookTransaction:
    """Operations on endpoints and deliveries of one tenant inside one transaction.

    All methods with an `endpoint_id` or `delivery_id`, except `delete_endpoint`, raise NotFound if the endpoint or the
    delivery does not exist.
    """

    def __init__(self, transaction: Transaction, tenant: str, max_endpoints: int) -> None:
        self._transaction = transaction
        self._tenant = tenant
        self._max_endpoints = max_endpoints

    # -- endpoints ----------------------------------------------------------------------------------------------------

    async def create_endpoint(self, fields: CreateWebhook) -> tuple[WebhookEndpoint, str]:
        """Create an endpoint, and return it with its signing secret. The secret cannot be read again later.

        The method does not check the URL. The caller must call `AddressGuard.check_url` before.

        Raises: TooManyWebhooks if the maximum number of endpoints exists already.
        """
        await self.query("lock_endpoint_count", {})
        ((count,),) = await self.query("count_endpoints", {})
        if count >= self._max_endpoints:
            raise TooManyWebhooks(self._max_endpoints)
        endpoint_id, secret = str(uuid4()), make_signing_secret()
        await self.query("create_endpoint", {"endpoint_id": endpoint_id, **_columns(fields)})
        await self.query("add_secret", {"endpoint_id": endpoint_id, "secret": secret})
        return await self.read_endpoint(endpoint_id), secret

    async def list_endpoints(self) -> list[WebhookEndpoint]:
        """Return all endpoints, oldest first."""
        return [_parse_endpoint(row) for row in await self.query("read_endpoints", {"endpoint_id": None})]

    async def read_endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        """Return one endpoint."""
        rows = await self.query("read_endpoints", {"endpoint_id": endpoint_id})
        if not rows:
            raise NotFound(f"Webhook {endpoint_id} not found")
        return _parse_endpoint(rows[0])

    async def update_endpoint(self, endpoint_id: str, fields: PatchWebhook) -> WebhookEndpoint:
        """Change those fields of an endpoint that are set in `fields`, and return the changed endpoint.

        The method does not check a new URL. The caller must call `AddressGuard.check_url` before.
        """
        values = {
            "endpoint_id": endpoint_id,
            "enabled": fields.enabled,
            "sets_event_types": "event_types" in fields.model_fields_set,
            "sets_metadata": "metadata" in fields.model_fields_set,
            **_columns(fields),
        }
        await self.query("update_endpoint", values)
        return await self.read_endpoint(endpoint_id)

    async def delete_endpoint(self, endpoint_id: str) -> None:
        """Delete an endpoint and its deliveries. Do nothing if there is no endpoint with this id."""
        await self.query("delete_endpoint", {"endpoint_id": endpoint_id})
        await self.query("delete_deliveries", {"endpoint_id": endpoint_id})

    async def rotate_secret(self, endpoint_id: str, overlap_s: int) -> str:
        """Create a new signing secret for an endpoint and return it.

        For `overlap_s` seconds messages are signed with the new secret and with the old secrets.
        """
        await self.read_endpoint(endpoint_id)
        secret = make_signing_secret()
        await self.query("expire_secrets", {"endpoint_id": endpoint_id, "overlap_s": overlap_s})
        await self.query("add_secret", {"endpoint_id": endpoint_id, "secret": secret})
        return secret

    # -- deliveries ---------------------------------------------------------------------------------------------------

    async def list_deliveries(
        self, endpoint_id: str, *, cursor: str | None = None, limit: int = 50, status: str | None = None
    ) -> Page[WebhookDelivery]:
        """Return a page of an endpoint's deliveries with their attempts, newest delivery first.

        `cursor` is the `next_cursor` of the previous page; None for the first page. `limit` is the maximum number of
        deliveries. `status` is a filter; None means no filter.

        Raises: ValidationFailed if the cursor is invalid.
        """
        await self.read_endpoint(endpoint_id)
        (before,) = parse_cursor(cursor, int) if cursor else (_MAX_SEQUENCE,)
        values = {"endpoint_id": endpoint_id, "delivery_id": None, "before": before, "status": status}
        rows = await self.query("read_deliveries", {**values, "limit": limit + 1})
        items = tuple(_parse_delivery(row) for row in rows[:limit])
        return Page(items, render_cursor(items[-1].sequence) if len(rows) > limit else None)

    async def read_delivery(self, endpoint_id: str, delivery_id: str) -> WebhookDelivery:
        """Return one delivery of an endpoint, with its attempts."""
        values = {"endpoint_id": endpoint_id, "delivery_id": delivery_id, "before": _MAX_SEQUENCE, "status": None}
        rows = await self.query("read_deliveries", {**values, "limit": 1})
        if not rows:
            raise NotFound(f"Webhook {endpoint_id} has no delivery {delivery_id}")
        return _parse_delivery(rows[0])

    async def enqueue_test(self, endpoint_id: str) -> WebhookDelivery:
        """Enqueue a test message and return its delivery. Raises: WebhookDisabled if the endpoint is disabled."""
        await self._require_enabled(endpoint_id)
        ((delivery_id,),) = await self.query(
            "enqueue_test", {"endpoint_id": endpoint_id, "event_type": TEST_EVENT_TYPE}
        )
        return await self.read_delivery(endpoint_id, delivery_id)

    async def requeue(self, endpoint_id: str, delivery_id: str) -> WebhookDelivery:
        """Make a delivery of any status due now, restart its schedule of attempts, and return the delivery.

        A leased delivery, of which an attempt is running, is returned unchanged.

        Raises: WebhookDisabled if the endpoint is disabled. NotFound if there is no such endpoint or delivery.
        """
        await self._require_enabled(endpoint_id)
        await self.query("requeue", {"endpoint_id": endpoint_id, "delivery_id": delivery_id})
        return await self.read_delivery(endpoint_id, delivery_id)

    async def _require_enabled(self, endpoint_id: str) -> None:
        if not (await self.read_endpoint(endpoint_id)).enabled:
            raise WebhookDisabled(endpoint_id)

    async def query(self, name: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run the statement `name` of `webhooks.sql` with `values` and the tenant, and return its rows."""
        statement = load_statements("webhooks.sql", __package__)[name]
        return await self._transaction.fetch(statement, {**values, "tenant": self._tenant}, binary=True)


def make_signing_secret() -> str:
    """Return a new signing secret of 32 random bytes in the format of Standard Webhooks: `whsec_` and base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _columns(fields: CreateWebhook | PatchWebhook) -> dict[str, Any]:
    return {
        "url": fields.url,
        "description": fields.description,
        "event_types": fields.event_types,
        "metadata": None if fields.metadata is None else Jsonb(fields.metadata),
        "snapshots": fields.snapshots,
    }


def _parse_endpoint(row: tuple[Any, ...]) -> WebhookEndpoint:
    endpoint_id, url, description, event_types, metadata, snapshots, enabled, reason, *instants = row
    failing_since, created_at, updated_at = instants
    return WebhookEndpoint(
        endpoint_id=endpoint_id,
        url=url,
        description=description,
        event_types=None if event_types is None else tuple(event_types),
        metadata=metadata,
        snapshots=snapshots,
        enabled=enabled,
        disabled_reason=reason,
        failing_since_ms=None if failing_since is None else datetime_to_ms(failing_since),
        created_at_ms=datetime_to_ms(created_at),
        updated_at_ms=datetime_to_ms(updated_at),
    )


def _parse_delivery(row: tuple[Any, ...]) -> WebhookDelivery:
    delivery_id, sequence, session_id, epoch, version, event_type, status, created_at, due_at, attempts = row
    return WebhookDelivery(
        delivery_id=delivery_id,
        sequence=sequence,
        session_id=session_id,
        epoch=epoch,
        version=version,
        event_type=event_type,
        status=status,
        created_at_ms=datetime_to_ms(created_at),
        due_at_ms=None if due_at is None else datetime_to_ms(due_at),
        attempts=tuple(
            DeliveryAttempt(
                number,
                datetime_to_ms(at),
                duration_ms,
                code,
                error,
                None if next_at is None else datetime_to_ms(next_at),
            )
            for number, at, duration_ms, code, error, next_at in attempts
        ),
    )
