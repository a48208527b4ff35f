"""Prometheus metrics of webhooks.

The values come from Postgres, so each instance reports the whole deployment. The durations are those of one worker.
"""

from synckairos.errors import StoreUnavailable
from synckairos.telemetry.metric_types import ONLY_WORKERS, MetricDefiner
from synckairos.webhooks.registry import WebhookRegistry

_webhooks = MetricDefiner("Webhooks")

PENDING = _webhooks.gauge(
    "synckairos_webhook_pending_deliveries",
    "Webhook deliveries to enabled endpoints that are not sent yet, counted up to 100,000",
    scope="store",
)
OLDEST_AGE_SECONDS = _webhooks.gauge(
    "synckairos_webhook_oldest_due_seconds",
    "Seconds for which the oldest pending webhook delivery has been due; 0 if none is due. Endpoints that are "
    "disabled, or whose newest attempt failed, do not count",
    scope="store",
)
DISABLED = _webhooks.gauge(
    "synckairos_webhook_disabled_endpoints",
    "Webhook endpoints that are disabled, by failures or by a request",
    scope="store",
)
ATTEMPTS = _webhooks.stored_counter(
    "synckairos_webhook_tries_total",
    "Attempts to send a webhook. `outcome` is `delivered`, `failed`, `gone` (the receiver answered 410) or `lapsed` "
    "(the event no longer exists)",
    {"outcome": 4},
)
ATTEMPT_DURATION = _webhooks.histogram(
    "synckairos_webhook_attempt_duration_seconds",
    "Seconds of one attempt of this worker to send a webhook, from the connection to the end of the answer. `outcome` "
    "is `delivered`, `failed`, `gone` or `lapsed`",
    {"outcome": 4},
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60),
    processes=ONLY_WORKERS,
)


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
        ATTEMPTS.set_values({(outcome,): attempts for outcome, attempts in measured.attempts.items()})
