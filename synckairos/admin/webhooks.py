"""Implementation of the commands `synckairos webhooks …`. Results are lines of text.

Each function works on the endpoints of one tenant.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson

from synckairos.config import Settings
from synckairos.errors import SyncKairosError, ValidationFailed
from synckairos.history.reader import open_history_pool
from synckairos.principal import DEFAULT_TENANT
from synckairos.webhooks.address_guard import AddressGuard, AddressRefused
from synckairos.webhooks.records import WebhookDelivery, WebhookEndpoint
from synckairos.webhooks.records_json import delivery_json, endpoint_json
from synckairos.webhooks.registry import WebhookRegistry
from synckairos.wire.body_parser import parse_body
from synckairos.wire.instants import render_instant
from synckairos.wire.webhooks import CreateWebhook, RotateSecret

POLL_S = 0.1
"""Seconds between two checks whether a worker has sent a test message."""


class WebhookTestFailed(SyncKairosError):
    """The endpoint did not accept the test message, or no worker sent it in time. The text has the details."""

    code = "NOT_DELIVERED"


async def add_endpoint(settings: Settings, fields: Mapping[str, Any], tenant: str = DEFAULT_TENANT) -> list[str]:
    """Create an endpoint. Return lines with its id and its secret, which no other command prints.

    Raises: ValidationFailed, TooManyWebhooks.
    """
    body = parse_body(CreateWebhook, dict(fields))
    try:
        AddressGuard.from_settings(settings).check_url(body.url)
    except AddressRefused as refused:
        raise ValidationFailed.at_path("url", refused.message) from None
    async with _open_registry(settings) as registry:
        endpoint, secret = await registry.transact(tenant, lambda transaction: transaction.create_endpoint(body))
    return [f"{endpoint.endpoint_id}  {endpoint.url}", f"    secret {secret}"]


async def list_endpoints(settings: Settings, tenant: str = DEFAULT_TENANT, *, as_json: bool = False) -> list[str]:
    """Return lines of text that describe all endpoints of a tenant, oldest first.

    If `as_json` is True, return one line of JSON for each endpoint. The list is empty if there are no endpoints.
    """
    async with _open_registry(settings) as registry:
        found = await registry.transact(tenant, lambda transaction: transaction.list_endpoints())
    if as_json:
        return [orjson.dumps(endpoint_json(each)).decode() for each in found]
    return [line for each in found for line in _endpoint_lines(each)]


async def remove_endpoint(settings: Settings, webhook_id: str, tenant: str = DEFAULT_TENANT) -> None:
    """Delete an endpoint and its deliveries. Raises: NotFound."""
    async with _open_registry(settings) as registry:
        await registry.transact(tenant, lambda transaction: transaction.read_endpoint(webhook_id))
        await registry.transact(tenant, lambda transaction: transaction.delete_endpoint(webhook_id))


async def rotate_secret(settings: Settings, webhook_id: str, overlap_s: int, tenant: str = DEFAULT_TENANT) -> str:
    """Create a new signing secret for an endpoint and return it. For `overlap_s` seconds the old secrets stay in use.

    Raises: NotFound, ValidationFailed.
    """
    body = parse_body(RotateSecret, {"overlap_s": overlap_s})
    async with _open_registry(settings) as registry:
        return await registry.transact(
            tenant, lambda transaction: transaction.rotate_secret(webhook_id, body.overlap_s)
        )


async def list_deliveries(
    settings: Settings,
    webhook_id: str,
    status: str | None,
    limit: int,
    tenant: str = DEFAULT_TENANT,
    *,
    as_json: bool = False,
) -> list[str]:
    """Return lines of text that describe at most `limit` deliveries of an endpoint with their attempts, newest first.

    `status` is a filter; None means no filter. If `as_json` is True, return one line of JSON for each delivery.

    Raises: NotFound if there is no such endpoint.
    """
    async with _open_registry(settings) as registry:
        page = await registry.transact(
            tenant, lambda transaction: transaction.list_deliveries(webhook_id, status=status, limit=limit)
        )
    if as_json:
        return [orjson.dumps(delivery_json(each)).decode() for each in page.items]
    return [line for each in page.items for line in _delivery_lines(each)]


async def send_test_message(
    settings: Settings, webhook_id: str, timeout_s: float, tenant: str = DEFAULT_TENANT
) -> list[str]:
    """Enqueue a test message for an endpoint, wait for the first attempt of a worker, and describe this attempt.

    Return lines of text. `timeout_s` is the maximum wait in seconds.

    Raises:
        NotFound, WebhookDisabled: No message was enqueued.
        WebhookTestFailed: The first attempt failed, or no worker sent the message within `timeout_s` seconds. The
            message stays enqueued, so workers can still make further attempts.
    """
    async with _open_registry(settings) as registry:
        queued = await registry.transact(tenant, lambda transaction: transaction.enqueue_test(webhook_id))
        delivery = queued
        try:
            async with asyncio.timeout(timeout_s):
                while not delivery.attempts:
                    await asyncio.sleep(POLL_S)
                    delivery = await registry.transact(
                        tenant, lambda transaction: transaction.read_delivery(webhook_id, queued.delivery_id)
                    )
        except TimeoutError:
            raise WebhookTestFailed(
                f"No worker sent the message within {timeout_s:g} s: is `synckairos worker` running?"
            ) from None
    lines = list(_delivery_lines(delivery))
    if delivery.status != "delivered":
        raise WebhookTestFailed("\n".join(lines))
    return lines


def _endpoint_lines(endpoint: WebhookEndpoint) -> Iterator[str]:
    state = "enabled" if endpoint.enabled else f"disabled: {endpoint.disabled_reason}"
    yield f"{endpoint.endpoint_id}  {endpoint.url}  ({state})"
    if endpoint.description:
        yield f"    {endpoint.description}"
    if endpoint.event_types is not None:
        yield f"    only {', '.join(endpoint.event_types)}"
    if endpoint.metadata is not None:
        yield f"    only if metadata contains {dict(endpoint.metadata)}"
    if endpoint.failing_since_ms is not None:
        yield f"    failing since {render_instant(endpoint.failing_since_ms)}"


def _delivery_lines(delivery: WebhookDelivery) -> Iterator[str]:
    subject = "a test" if delivery.session_id is None else f"session {delivery.session_id} version {delivery.version}"
    yield f"{delivery.delivery_id}  {delivery.event_type} of {subject}: {delivery.status}"
    for each in delivery.attempts:
        result = f"answered {each.status_code}" if each.error is None else each.error
        next_at_ms = each.next_attempt_at_ms
        following = "" if next_at_ms is None else f", next attempt {render_instant(next_at_ms)}"
        yield f"    {render_instant(each.at_ms)}  {result} after {each.duration_ms} ms{following}"


@asynccontextmanager
async def _open_registry(settings: Settings) -> AsyncIterator[WebhookRegistry]:
    pool = open_history_pool(settings)
    await pool.check_reachable()
    async with pool:
        yield WebhookRegistry(pool)
