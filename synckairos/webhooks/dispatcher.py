"""Takes what is due and sends it, for as long as a worker runs. Must not raise: nobody else waits for a webhook.

A message is leased while it is under way, so a worker may die anywhere: the lease ends, and it is sent again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from synckairos.config import Settings
from synckairos.errors import StoreUnavailable
from synckairos.telemetry import log
from synckairos.webhooks.address_guard import AddressGuard
from synckairos.webhooks.delivery_queue import DeliveryQueue, DeliveryResult, open_delivery_queue
from synckairos.webhooks.records import DueDelivery
from synckairos.webhooks.sender import SendResult, WebhookSender, with_jitter
from synckairos.wire.webhooks import TEST, render_message, render_test

SCHEDULE_S = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds before each further try, after Standard Webhooks; together a little over three days."""

GIVE_UP_S = 5 * 86_400.0
"""An endpoint where nothing but failures happened for so long is disabled."""

POLL_S = 0.5
"""Seconds between two looks for what is due."""

AT_ONCE = 8
"""Messages under way to one endpoint, over all workers; of one session never more than one."""

_IN_ALL = 256  # messages under way from this worker
_LEASE_BEYOND_S = 45.0
_PRUNE_EVERY_S = 60.0
_AFTER_FAULT_S = 2.0
_BUSY = frozenset({429, 502, 503, 504})  # "not now", for every message to the endpoint

logger = log.get(__name__)


async def run_dispatcher(settings: Settings) -> None:
    """Send until cancelled. A Postgres that is away, at the start too, is waited for."""
    async with (
        open_delivery_queue(settings.database_url) as outgoing,
        WebhookSender(AddressGuard.of(settings), timeout_s=settings.webhook_timeout_s) as sender,
    ):
        lease_s = settings.webhook_timeout_s + _LEASE_BEYOND_S
        await Dispatcher(outgoing, sender, lease_s=lease_s, log_days=settings.webhook_log_days).run()


class Dispatcher:
    """Sends what is due. Any number may run anywhere."""

    def __init__(
        self,
        outgoing: DeliveryQueue,
        sender: WebhookSender,
        *,
        lease_s: float,
        log_days: int = 30,
        schedule_s: Sequence[float] = SCHEDULE_S,
        give_up_s: float = GIVE_UP_S,
        at_once: int = AT_ONCE,
        poll_s: float = POLL_S,
    ) -> None:
        """Take the queue and what sends; a lease must last longer than a message may take."""
        self._outgoing = outgoing
        self._sender = sender
        self._lease_s = lease_s
        self._log_days = log_days
        self._schedule_s = tuple(schedule_s)
        self._give_up_s = give_up_s
        self._at_once = at_once
        self._poll_s = poll_s
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()
        self._interrupted = False

    async def run(self) -> None:
        """Send until cancelled; what is under way then is given back, and sent again by the next one."""
        pruning = asyncio.create_task(self._prune(), name="webhook log")
        try:
            while True:
                self._news.clear()
                pause_s = await self._take()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._news.wait()
        finally:
            unfinished = list(self._under_way)
            tasks = [pruning, *self._under_way.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if unfinished:
                with suppress(StoreUnavailable):
                    await self._outgoing.release(unfinished)

    async def _take(self) -> float:
        """Begin to send what is due; return how long to wait for more, unless something is finished before."""
        room = _IN_ALL - len(self._under_way)
        if room <= 0:
            return self._poll_s
        try:
            found = await self._outgoing.claim(at_once=self._at_once, limit=room, lease_s=self._lease_s)
        except StoreUnavailable as fault:
            if not self._interrupted:
                logger.warning("webhooks interrupted", error=fault.message, cause=repr(fault.__cause__))
            self._interrupted = True
            return _AFTER_FAULT_S
        if self._interrupted:
            logger.info("webhooks go on")
            self._interrupted = False
        for due in found:
            self._under_way[due.delivery_id] = asyncio.create_task(self._deliver(due), name="webhook")
        return self._poll_s

    async def _deliver(self, due: DueDelivery) -> None:
        try:
            verdict = self._judge(due, await self._send(due))
            reason = await self._outgoing.finish(due, verdict, self._give_up_s)
        except StoreUnavailable as fault:
            logger.info("webhook will be sent again", delivery_id=due.delivery_id, error=str(fault.__cause__))
        except Exception:
            logger.exception("webhook failed", delivery_id=due.delivery_id)
        else:
            if reason is not None:
                logger.warning("webhook endpoint disabled", endpoint_id=due.endpoint_id, reason=reason)
        finally:
            del self._under_way[due.delivery_id]
            self._news.set()

    async def _send(self, due: DueDelivery) -> SendResult | None:
        """Send a message; None where there is nothing to send any more."""
        if due.event is not None and due.session_id is not None:
            body = render_message(due.session_id, due.event)
        elif due.event_type == TEST:
            body = render_test(due.endpoint_id, due.created_at_ms)
        else:
            return None
        return await self._sender.send(due.url, due.secrets, due.delivery_id, body)

    def _judge(self, due: DueDelivery, sent: SendResult | None) -> DeliveryResult:
        """Decide what a try means."""
        if sent is None:
            return DeliveryResult("lapsed", "failed", None, "the audit no longer has this event", 0)
        told = (sent.status_code, sent.error, sent.duration_ms)
        if sent.accepted:
            return DeliveryResult("delivered", "delivered", *told)
        if sent.status_code == 410:
            return DeliveryResult("gone", "failed", *told, gone=True)
        is_last = due.tries >= len(self._schedule_s)
        delay_s = None if is_last else with_jitter(self._schedule_s[due.tries])
        pause_s = None
        if sent.status_code in _BUSY:
            pause_s = self._schedule_s[0] if sent.retry_after_s is None else sent.retry_after_s
        if delay_s is not None and sent.retry_after_s is not None:
            delay_s = max(delay_s, sent.retry_after_s)
        return DeliveryResult("failed", "failed" if is_last else "pending", *told, next_s=delay_s, pause_s=pause_s)

    async def _prune(self) -> None:
        """Keep the log within its age."""
        while True:
            with suppress(StoreUnavailable):
                await self._outgoing.prune(self._log_days)
            await asyncio.sleep(_PRUNE_EVERY_S)
