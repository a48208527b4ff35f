"""Webhook endpoints and deliveries as JSON values, for REST and for the command line."""

from typing import Any

from synckairos.webhooks.records import WebhookDelivery, WebhookEndpoint
from synckairos.wire.instants import render_instant


def endpoint_json(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """Return the JSON object of a webhook endpoint, for REST answers and the command line."""
    return {
        "webhook_id": endpoint.endpoint_id,
        "url": endpoint.url,
        "description": endpoint.description,
        "event_types": endpoint.event_types,
        "metadata": endpoint.metadata,
        "snapshots": endpoint.snapshots,
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": _instant(endpoint.failing_since_ms),
        "created_at": _instant(endpoint.created_at_ms),
        "updated_at": _instant(endpoint.updated_at_ms),
    }


def delivery_json(delivery: WebhookDelivery) -> dict[str, Any]:
    """Return the JSON object of a delivery with its attempts, for REST answers and the command line."""
    return {
        "delivery_id": delivery.delivery_id,
        "session_id": delivery.session_id,
        "epoch": delivery.epoch,
        "version": delivery.version,
        "event_type": delivery.event_type,
        "status": delivery.status,
        "created_at": _instant(delivery.created_at_ms),
        "next_try_at": _instant(delivery.due_at_ms),
        "attempts": [
            {
                "attempt": each.attempt,
                "at": _instant(each.at_ms),
                "duration_ms": each.duration_ms,
                "status_code": each.status_code,
                "error": each.error,
                "next_try_at": _instant(each.next_attempt_at_ms),
            }
            for each in delivery.attempts
        ],
    }


def _instant(at_ms: int | None) -> str | None:
    return None if at_ms is None else render_instant(at_ms)
