"""Fixtures for webhooks on the stores of one test: a receiver, the registry, and dispatchers with short waits."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import pytest

from synckairos.clock.commands import Start, Switch
from synckairos.history.reader import open_history_pool
from synckairos.principal import DEFAULT_TENANT
from synckairos.webhooks.address_guard import AddressGuard
from synckairos.webhooks.delivery_queue import open_delivery_queue
from synckairos.webhooks.dispatcher import GIVE_UP_S, MAX_CONCURRENT, SCHEDULE_S, Dispatcher
from synckairos.webhooks.records import WebhookDelivery, WebhookEndpoint
from synckairos.webhooks.registry import WebhookRegistry
from synckairos.webhooks.sender import WebhookSender
from synckairos.wire.webhooks import CreateWebhook
from tests.integration.audit_parts import AuditParts
from tests.integration.session_committer import SessionLife, chess
from tests.integration.webhooks.receiver import Receiver
from tests.waiting import eventually

T0 = 1_700_000_000_000
LOOPBACK = AddressGuard((ip_network("127.0.0.0/8"),), http=True)
NO_DELAYS_S = (0.0,) * 9


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The webhook registry, and the audit, whose drain creates the deliveries."""

    audit: AuditParts
    registry: WebhookRegistry

    async def create_endpoint(self, url: str, **fields: Any) -> tuple[WebhookEndpoint, str]:
        body = CreateWebhook(url=url, **fields)
        return await self.registry.transact(DEFAULT_TENANT, lambda transaction: transaction.create_endpoint(body))

    async def read_endpoint(self, endpoint: WebhookEndpoint) -> WebhookEndpoint:
        return await self.registry.transact(
            DEFAULT_TENANT, lambda transaction: transaction.read_endpoint(endpoint.endpoint_id)
        )

    async def rotate_secret(self, endpoint: WebhookEndpoint, overlap_s: int) -> str:
        return await self.registry.transact(
            DEFAULT_TENANT, lambda transaction: transaction.rotate_secret(endpoint.endpoint_id, overlap_s)
        )

    async def deliveries(self, endpoint: WebhookEndpoint) -> tuple[WebhookDelivery, ...]:
        """Return the deliveries of an endpoint, newest first."""
        page = await self.registry.transact(
            DEFAULT_TENANT, lambda transaction: transaction.list_deliveries(endpoint.endpoint_id, limit=200)
        )
        return page.items

    async def all_delivered(self, endpoint: WebhookEndpoint) -> bool:
        return all(each.status == "delivered" for each in await self.deliveries(endpoint))

    async def play(self, moves: int = 0, **more: Any) -> SessionLife:
        """Create a session, start it, switch it `moves` times, and drain its events to Postgres."""
        life = await self.audit.committer.create(chess(**more), T0)
        await self.audit.committer.apply(life, Start(), T0 + 1)
        for move in range(moves):
            await self.audit.committer.apply(life, Switch(), T0 + 2 + move)
        await self.audit.drain()
        return life

    @asynccontextmanager
    async def dispatching(
        self,
        *,
        schedule_s: Sequence[float] = SCHEDULE_S,
        timeout_s: float = 10,
        give_up_s: float = GIVE_UP_S,
        log_days: int = 30,
        max_concurrent: int = MAX_CONCURRENT,
    ) -> AsyncIterator[Dispatcher]:
        """Run a dispatcher inside the block."""
        async with (
            open_delivery_queue(self.audit.settings.database_url) as queue,
            WebhookSender(LOOPBACK, timeout_s=timeout_s) as sender,
        ):
            dispatcher = Dispatcher(
                queue,
                sender,
                lease_s=60,
                schedule_s=schedule_s,
                give_up_s=give_up_s,
                log_days=log_days,
                max_concurrent=max_concurrent,
                poll_s=0.02,
            )
            task = asyncio.create_task(dispatcher.run())
            try:
                yield dispatcher
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def webhooks(audit: AuditParts) -> AsyncIterator[Webhooks]:
    async with open_history_pool(audit.settings) as pool:
        yield Webhooks(audit, WebhookRegistry(pool))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as opened:
        yield opened


async def wait_for_requests(receiver: Receiver, count: int) -> None:
    """Wait until a receiver has received `count` requests."""

    async def has_enough() -> bool:
        return len(receiver.received) >= count

    await eventually(has_enough)
