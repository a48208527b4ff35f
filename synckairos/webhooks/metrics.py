"""Prometheus metrics of webhooks. The values come from Postgres, so each instance reports the whole deployment."""

from collections.abc import Iterable

from prometheus_client import REGISTRY, Gauge
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from synckairos.errors import StoreUnavailable
from synckairos.webhooks.registry import WebhookRegistry

PENDING = Gauge(
    "synckairos_webhook_pending_deliveries", "Queued deliveries of enabled endpoints, counted up to 100,000"
)
OLDEST_AGE_SECONDS = Gauge(
    "synckairos_webhook_oldest_due_seconds", "Seconds since the oldest queued delivery became due; 0 if none is due"
)
DISABLED = Gauge(
    "synckairos_webhook_disabled_endpoints", "Disabled endpoints, whether disabled by failures or by request"
)


class _AttemptCounter(Collector):
    """Collector that exports the attempt counters of Postgres. A restart of a process does not reset these counters."""

    def __init__(self) -> None:
        self.attempts: dict[str, int] = {}

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(
            "synckairos_webhook_tries",
            "Delivery attempts by `outcome`: delivered, failed, gone or lapsed",
            labels=["outcome"],
        )
        for outcome, attempts in self.attempts.items():
            family.add_metric([outcome], attempts)
        yield family


_ATTEMPTS = _AttemptCounter()
REGISTRY.register(_ATTEMPTS)


class WebhookGauges:
    """Sets the webhook metrics of this process to values from Postgres.

    `/metrics` calls `refresh` before each answer.
    """

    def __init__(self, registry: WebhookRegistry) -> None:
        self._registry = registry

    async def refresh(self) -> None:
        """Update the metrics from Postgres. If Postgres is unavailable, keep the old values."""
        try:
            measured = await self._registry.measure_queue()
        except StoreUnavailable:
            return
        PENDING.set(measured.queued)
        OLDEST_AGE_SECONDS.set(measured.oldest_s)
        DISABLED.set(measured.disabled)
        _ATTEMPTS.attempts = measured.attempts
