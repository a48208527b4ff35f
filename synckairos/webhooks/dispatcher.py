"""Dispatcher: the loop of a worker that leases due deliveries, sends them, and saves the results.

If a worker dies during an attempt, its lease ends. Another worker then sends the message again.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from synckairos.backoff import Backoff, RetrySchedule
from synckairos.config import Settings
from synckairos.errors import InvalidStoredData, StoreUnavailable
from synckairos.telemetry import log, tracing
from synckairos.telemetry.invalid_data import reporting_invalid_data
from synckairos.telemetry.outages import SilentOutage, StoreOutage
from synckairos.webhooks.address_guard import AddressGuard
from synckairos.webhooks.delivery_queue import DeliveryQueue, DeliveryResult, open_delivery_queue
from synckairos.webhooks.metrics import ATTEMPT_DURATION
from synckairos.webhooks.records import DueDelivery
from synckairos.webhooks.sender import SendResult, WebhookSender
from synckairos.wire.webhooks import TEST_EVENT_TYPE, render_event_message, render_test_message

SCHEDULE_S = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds of delay before the second attempt, the third attempt and so on, as Standard Webhooks recommends.

The sum is a little more than three days.
"""

JITTER = 0.2
"""Maximum random extension of a delay, as a fraction of the delay.

Without this extension, deliveries that failed together would be sent again together.
"""

GIVE_UP_S = 5 * 86_400.0
"""Seconds of failures without a success after which an endpoint is disabled."""

POLL_S = 0.5
"""Maximum seconds between two queries for due deliveries."""

_REST_SHARE = 3.0
"""Time between two rounds of statements, as a multiple of the duration of the earlier round.

So the loop uses a quarter of one connection at most, and leaves more to others if Postgres is slow. Results that arrive
in the meantime are saved together.
"""

MAX_CONCURRENT_PER_ENDPOINT = 8
"""Maximum number of concurrent messages from all workers to one endpoint. For each session the maximum is one."""

MAX_CONCURRENT = 256
"""Maximum number of messages that this worker sends at the same time."""
_LEASE_MARGIN_S = 45.0
"""Seconds by which a lease lasts longer than the time limit of an attempt."""
_PRUNE_INTERVAL_S = 60.0
"""Seconds between two removals of old deliveries."""
_RETRY_AFTER_FAULT_S = 2.0
"""Maximum seconds of delay before the next query if Postgres is unreachable."""
_FREEING_OUTCOMES = frozenset({"delivered", "lapsed"})
"""Outcomes after which the worker looks for further deliveries at once. After other outcomes it waits for the poll."""
_BUSY = frozenset({429, 502, 503, 504})
"""HTTP statuses with which a receiver reports that it accepts no message at the moment."""

logger = log.get_logger(__name__)


async def run_dispatcher(settings: Settings, postgres_outage: StoreOutage | None = None) -> None:
    """Open a delivery queue and a sender, and send due deliveries until cancelled.

    If Postgres is unreachable, the function reports this to `postgres_outage`, and tries again until Postgres is
    reachable. If `postgres_outage` is None, it makes its own outage log.
    """
    async with (
        open_delivery_queue(settings.database_url, requires_roles=settings.auth == "required") as queue,
        WebhookSender(AddressGuard.from_settings(settings), timeout_s=settings.webhook_timeout_s) as sender,
    ):
        queue.pool.outage = postgres_outage or SilentOutage()
        lease_s = settings.webhook_timeout_s + _LEASE_MARGIN_S
        await Dispatcher(queue, sender, lease_s=lease_s, log_days=settings.webhook_log_days).run()


class Dispatcher:
    """Sends due deliveries of one queue. Any number of dispatchers can use the same queue at the same time."""

    def __init__(
        self,
        queue: DeliveryQueue,
        sender: WebhookSender,
        *,
        lease_s: float,
        log_days: int = 30,
        schedule_s: Sequence[float] = SCHEDULE_S,
        give_up_s: float = GIVE_UP_S,
        per_endpoint: int = MAX_CONCURRENT_PER_ENDPOINT,
        max_concurrent: int = MAX_CONCURRENT,
        poll_s: float = POLL_S,
    ) -> None:
        """Create a dispatcher.

        - `lease_s`: seconds of a lease. Must be more than the time limit of `sender.send`.
        - `log_days`: days for which deliveries stay in the delivery log.
        - `schedule_s`: see `SCHEDULE_S`.
        - `give_up_s`: see `GIVE_UP_S`.
        - `per_endpoint`: see `MAX_CONCURRENT_PER_ENDPOINT`.
        - `max_concurrent`: see `MAX_CONCURRENT`.
        - `poll_s`: see `POLL_S`.
        """
        self._queue = queue
        self._sender = sender
        self._lease_s = lease_s
        self._log_days = log_days
        self._schedule_s = tuple(schedule_s)
        self._retries = RetrySchedule(schedule_s, jitter=JITTER)
        self._give_up_s = give_up_s
        self._per_endpoint = per_endpoint
        self._max_concurrent = max_concurrent
        self._poll_s = poll_s
        self._sending: dict[str, asyncio.Task[None]] = {}
        """Tasks of the running attempts, by delivery id."""
        self._finished: list[tuple[DueDelivery, DeliveryResult]] = []
        """Deliveries with the results of ended attempts that are not saved yet, in the order of the ends."""
        self._finished_one = asyncio.Event()
        self._fault_backoff = Backoff(longest_s=_RETRY_AFTER_FAULT_S)

    async def run(self) -> None:
        """Send due deliveries until cancelled.

        At cancellation the results of ended attempts are saved. The leases of unfinished deliveries are ended, so that
        other workers can send these deliveries immediately.
        """
        pruning = asyncio.create_task(self._prune_log(), name="webhook log")
        try:
            await self._run_rounds()
        finally:
            unfinished = set(self._sending)
            tasks = [pruning, *self._sending.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            unfinished -= {due.delivery_id for due, _ in self._finished}
            with suppress(StoreUnavailable):
                if self._finished:
                    await self._queue.save_results(self._finished, self._give_up_s)
                if unfinished:
                    await self._queue.release(list(unfinished))

    async def _run_rounds(self) -> None:
        """Save results and lease further deliveries, until cancelled.

        A round begins when an attempt ends, and at the latest `poll_s` seconds after the last query for deliveries.
        """
        query_at_s = 0.0
        while True:
            began_s = time.monotonic()
            self._finished_one.clear()
            if await self._save_finished() or began_s >= query_at_s:
                query_at_s = time.monotonic() + await self._claim_and_start()
            await asyncio.sleep(min(_REST_SHARE * (time.monotonic() - began_s), self._poll_s))
            with suppress(TimeoutError):
                async with asyncio.timeout(query_at_s - time.monotonic()):
                    await self._finished_one.wait()

    async def _save_finished(self) -> bool:
        """Save the results of ended attempts. Return whether the worker must look for further deliveries at once.

        If Postgres does not save the results, their leases end later, and the messages are sent again.
        """
        if not self._finished:
            return False
        attempts = list(self._finished)
        try:
            disabled = await self._queue.save_results(attempts, self._give_up_s)
        except StoreUnavailable as fault:
            disabled = {}
            for due, _ in attempts:
                logger.info("webhook will be sent again", delivery_id=due.delivery_id, error=str(fault.__cause__))
        del self._finished[: len(attempts)]
        for endpoint_id, reason in disabled.items():
            logger.warning("webhook endpoint disabled", endpoint_id=endpoint_id, reason=reason)
        return any(result.outcome in _FREEING_OUTCOMES for _, result in attempts)

    async def _claim_and_start(self) -> float:
        """Lease due deliveries and start a task for each. Return the seconds to wait before the next call."""
        free = self._max_concurrent - len(self._sending)
        if free <= 0:
            return self._poll_s
        try:
            claimed = await self._queue.claim(
                per_endpoint=self._per_endpoint, max_concurrent=self._max_concurrent, limit=free, lease_s=self._lease_s
            )
        except StoreUnavailable as fault:
            self._queue.pool.outage.report_unreachable("webhooks", fault.__cause__ or fault)
            return self._fault_backoff.next_s()
        self._queue.pool.outage.report_reachable("webhooks")
        self._fault_backoff.reset()
        for due in claimed:
            self._sending[due.delivery_id] = asyncio.create_task(self._deliver(due), name="webhook")
        return self._poll_s

    async def _deliver(self, due: DueDelivery) -> None:
        began_ns = time.time_ns()
        try:
            sent = await self._send(due)
            result = self._evaluate(due, sent)
            if (recorder := tracing.active) is not None and due.event is not None and due.session_id is not None:
                version = tracing.VersionId(due.session_id, due.event.epoch, due.event.version)
                described = {"synckairos.delivery_id": due.delivery_id, "synckairos.outcome": result.outcome}
                recorder.record_stages("webhook", (version,), began_ns, **described)
            if sent is not None:
                ATTEMPT_DURATION.labels(result.outcome).observe(sent.duration_ms / 1000)
            self._finished.append((due, result))
        except Exception:
            logger.exception("webhook failed", delivery_id=due.delivery_id)
        finally:
            del self._sending[due.delivery_id]
            self._finished_one.set()

    async def _send(self, due: DueDelivery) -> SendResult | None:
        """Send the message of a delivery.

        Returns None and sends no message if the audit does not have the event, or has the event with an invalid
        document.
        """
        if due.event is not None and due.session_id is not None:
            try:
                with reporting_invalid_data(f"sync_events {due.session_id}"):
                    body = render_event_message(due.session_id, due.event)
            except InvalidStoredData:
                return None
        elif due.event_type == TEST_EVENT_TYPE:
            body = render_test_message(due.endpoint_id, due.created_at_ms)
        else:
            return None
        return await self._sender.send(due.url, due.secrets, due.delivery_id, body)

    def _evaluate(self, due: DueDelivery, sent: SendResult | None) -> DeliveryResult:
        """Return the result of an attempt: the delivery's new status and the delay until the next attempt.

        `sent` is the result of `_send`.
        """
        if sent is None:
            return DeliveryResult("lapsed", "failed", None, "the audit no longer has this event", 0)
        common = (sent.status_code, sent.error, sent.duration_ms)
        if sent.accepted:
            return DeliveryResult("delivered", "delivered", *common)
        if sent.status_code == 410:
            return DeliveryResult("gone", "failed", *common, gone=True)
        delay_s = self._retries.delay_s(due.scheduled_attempts)
        is_last = delay_s is None
        pause_s = None
        if sent.status_code in _BUSY:
            pause_s = self._schedule_s[0] if sent.retry_after_s is None else sent.retry_after_s
        if delay_s is not None and sent.retry_after_s is not None:
            delay_s = max(delay_s, sent.retry_after_s)
        return DeliveryResult("failed", "failed" if is_last else "pending", *common, next_s=delay_s, pause_s=pause_s)

    async def _prune_log(self) -> None:
        """Every minute until cancelled, delete deliveries that are older than `log_days` days."""
        while True:
            with suppress(StoreUnavailable):
                await self._queue.prune(self._log_days)
            await asyncio.sleep(_PRUNE_INTERVAL_S)
