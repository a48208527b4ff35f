"""Webhooks on the command line, as lines of text. What is done is the registry's."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from synckairos.config import Settings
from synckairos.errors import SyncKairosError, ValidationFailed
from synckairos.history.reader import open_pool
from synckairos.webhooks.address_guard import AddressGuard, AddressRefused
from synckairos.webhooks.records import WebhookDelivery, WebhookEndpoint
from synckairos.webhooks.registry import WebhookRegistry
from synckairos.wire.instants import render_instant
from synckairos.wire.request_bodies import parse_body
from synckairos.wire.webhooks import CreateWebhook, RotateSecret

LOOK_AGAIN_S = 0.1


class NotDelivered(SyncKairosError):
    """The test message wasn't accepted; everything about it was told before."""

    code = "NOT_DELIVERED"


async def add(settings: Settings, fields: Mapping[str, Any]) -> list[str]:
    """Register an endpoint; return its id and its secret, which is told this once. Raises ValidationFailed."""
    asked = parse_body(CreateWebhook, dict(fields))
    try:
        AddressGuard.of(settings).check_url(asked.url)
    except AddressRefused as refused:
        raise ValidationFailed.at("url", refused.message) from None
    async with _registry(settings) as registry:
        endpoint, secret = await registry.do(lambda work: work.create(asked))
    return [f"{endpoint.endpoint_id}  {endpoint.url}", f"    secret {secret}"]


async def list_endpoints(settings: Settings) -> list[str]:
    """Return what there is to say of every endpoint, oldest first."""
    async with _registry(settings) as registry:
        found = await registry.do(lambda work: work.endpoints())
    return [line for each in found for line in _told(each)]


async def remove(settings: Settings, webhook_id: str) -> None:
    """Delete an endpoint and its log. Raises NotFound."""
    async with _registry(settings) as registry:
        await registry.do(lambda work: work.endpoint(webhook_id))
        await registry.do(lambda work: work.delete(webhook_id))


async def rotate(settings: Settings, webhook_id: str, overlap_s: int) -> str:
    """Return an endpoint's new secret; the old ones sign beside it for `overlap_s` seconds.

    Raises NotFound, ValidationFailed.
    """
    asked = parse_body(RotateSecret, {"overlap_s": overlap_s})
    async with _registry(settings) as registry:
        return await registry.do(lambda work: work.rotate(webhook_id, asked.overlap_s))


async def deliveries(settings: Settings, webhook_id: str, status: str | None, limit: int) -> list[str]:
    """Return what an endpoint was told, newest first, each with its tries. Raises NotFound."""
    async with _registry(settings) as registry:
        page = await registry.do(lambda work: work.deliveries(webhook_id, status=status, limit=limit))
    return [line for each in page.items for line in _log(each)]


async def test(settings: Settings, webhook_id: str, timeout_s: float) -> list[str]:
    """Have a worker send a test message, and return how its first try went.

    Raises: NotFound, WebhookDisabled; NotDelivered where it wasn't accepted, or nobody sent it within `timeout_s`.
    """
    async with _registry(settings) as registry:
        queued = await registry.do(lambda work: work.test(webhook_id))
        sent = queued
        try:
            async with asyncio.timeout(timeout_s):
                while not sent.attempts:
                    await asyncio.sleep(LOOK_AGAIN_S)
                    sent = await registry.do(lambda work: work.delivery(webhook_id, queued.delivery_id))
        except TimeoutError:
            raise NotDelivered(f"No worker sent it within {timeout_s:g} s: is `synckairos worker` running?") from None
    lines = list(_log(sent))
    if sent.status != "delivered":
        raise NotDelivered("\n".join(lines))
    return lines


def _told(endpoint: WebhookEndpoint) -> Iterator[str]:
    state = "enabled" if endpoint.enabled else f"disabled: {endpoint.disabled_reason}"
    yield f"{endpoint.endpoint_id}  {endpoint.url}  ({state})"
    if endpoint.description:
        yield f"    {endpoint.description}"
    if endpoint.event_types is not None:
        yield f"    only {', '.join(endpoint.event_types)}"
    if endpoint.metadata is not None:
        yield f"    only where metadata contains {dict(endpoint.metadata)}"
    if endpoint.failing_since_ms is not None:
        yield f"    failing since {render_instant(endpoint.failing_since_ms)}"


def _log(delivery: WebhookDelivery) -> Iterator[str]:
    what = "a test" if delivery.session_id is None else f"session {delivery.session_id} version {delivery.version}"
    yield f"{delivery.delivery_id}  {delivery.event_type} of {what}: {delivery.status}"
    for each in delivery.attempts:
        went = f"answered {each.status_code}" if each.error is None else each.error
        again = "" if each.next_try_at_ms is None else f", next try {render_instant(each.next_try_at_ms)}"
        yield f"    {render_instant(each.at_ms)}  {went} after {each.duration_ms} ms{again}"


@asynccontextmanager
async def _registry(settings: Settings) -> AsyncIterator[WebhookRegistry]:
    pool = open_pool(settings)
    await pool.reach()
    async with pool:
        yield WebhookRegistry(pool)
