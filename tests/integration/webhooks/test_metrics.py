"""Webhook metrics: they match the tables, and keep their values if Postgres is unavailable."""

from prometheus_client import REGISTRY

from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.pool import PostgresPool
from synckairos.principal import DEFAULT_TENANT
from synckairos.webhooks.metrics import WebhookGauges
from synckairos.webhooks.registry import WebhookRegistry
from synckairos.wire.webhooks import PatchWebhook
from tests.integration.webhooks.conftest import NO_DELAYS_S, Webhooks
from tests.integration.webhooks.receiver import Received, Receiver, answer
from tests.waiting import eventually


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"synckairos_webhook_{name}", labels)


async def test_metrics_show_queued_deliveries_attempts_and_disabled_endpoints(
    webhooks: Webhooks, receiver: Receiver
) -> None:
    async def fail_once(received: Received) -> bytes:
        return answer(204 if receiver.ids.count(received.message_id) > 1 else 500)

    receiver.answer_with = fail_once
    gauges = WebhookGauges(webhooks.registry)
    endpoint, _ = await webhooks.create_endpoint(receiver.url)
    await webhooks.play(moves=1)
    await webhooks.audit.rows("UPDATE webhook_deliveries SET due_at = now() - interval '1 hour' RETURNING 1")
    await gauges.refresh()
    assert value("pending_deliveries") == 3
    assert 3600 <= (value("oldest_due_seconds") or 0) < 3700
    assert value("disabled_endpoints") == 0

    async with webhooks.dispatching(schedule_s=NO_DELAYS_S):
        await eventually(lambda: webhooks.all_delivered(endpoint))
    await webhooks.registry.transact(
        DEFAULT_TENANT,
        lambda transaction: transaction.update_endpoint(endpoint.endpoint_id, PatchWebhook(enabled=False)),
    )
    await gauges.refresh()
    assert value("pending_deliveries") == value("oldest_due_seconds") == 0
    assert value("tries_total", outcome="failed") == value("tries_total", outcome="delivered") == 3
    assert value("disabled_endpoints") == 1

    async with PostgresPool(
        "postgresql://127.0.0.1:1/none", "test", access=cross_tenant_access(), max_connections=1, timeout_s=0.1
    ) as nowhere:
        await WebhookGauges(WebhookRegistry(nowhere)).refresh()
    assert value("disabled_endpoints") == 1
