"""What webhooks tell Prometheus: the whole of them, as Postgres has it, from any server."""

from collections.abc import Iterable

from prometheus_client import REGISTRY, Gauge
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from synckairos.errors import StoreUnavailable
from synckairos.webhooks.registry import WebhookRegistry

PENDING = Gauge("synckairos_webhook_pending_deliveries", "Messages that wait to be delivered, counted up to 100,000")
OLDEST_AGE_SECONDS = Gauge("synckairos_webhook_oldest_due_seconds", "How long the oldest of them has been due; 0: none")
DISABLED = Gauge("synckairos_webhook_disabled_endpoints", "Endpoints that were disabled, by us or by request")


class _Tallied(Collector):
    """Shows the counters of Postgres; they only grow, over every restart."""

    def __init__(self) -> None:
        self.tries: dict[str, int] = {}

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(
            "synckairos_webhook_tries",
            "Tries to deliver: `outcome` is delivered, failed, gone or lapsed",
            labels=["outcome"],
        )
        for outcome, tries in self.tries.items():
            family.add_metric([outcome], tries)
        yield family


_TALLIED = _Tallied()
REGISTRY.register(_TALLIED)


class WebhookGauges:
    """Keeps the numbers as they are in Postgres."""

    def __init__(self, registry: WebhookRegistry) -> None:
        self._registry = registry

    async def refresh(self) -> None:
        """Measure, for the next scrape. While Postgres is away the numbers stay: the audit's own must not wait."""
        try:
            measured = await self._registry.measure()
        except StoreUnavailable:
            return
        PENDING.set(measured.waiting)
        OLDEST_AGE_SECONDS.set(measured.oldest_s)
        DISABLED.set(measured.disabled)
        _TALLIED.tries = measured.tries
