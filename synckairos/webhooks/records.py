"""Records of webhook endpoints, deliveries and attempts. Instants and durations are whole milliseconds.

An instant counts from the Unix epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from synckairos.history.records import TrailEvent

DeliveryStatus = Literal["pending", "delivered", "failed"]


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """A webhook endpoint. `event_types` and `metadata` are filters, None if the endpoint gets everything.

    `failing_since_ms` is the first failure after the last success. Only the answer that creates a secret shows it.
    """

    endpoint_id: str
    url: str
    description: str
    event_types: tuple[str, ...] | None
    metadata: Mapping[str, Any] | None
    snapshots: bool
    enabled: bool
    disabled_reason: str | None
    failing_since_ms: int | None
    created_at_ms: int
    updated_at_ms: int


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A delivery leased to be sent now.

    `attempts` counts all attempts before this one, `scheduled_attempts` those since the delivery was last queued.
    `event` is None for a test message, and for an event that the audit no longer has.
    """

    delivery_id: str
    endpoint_id: str
    url: str
    secrets: tuple[str, ...]
    attempts: int
    scheduled_attempts: int
    event_type: str
    created_at_ms: int
    session_id: str | None
    event: TrailEvent | None


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt, as the delivery log keeps it. `error` is None if the receiver accepted the message."""

    attempt: int
    at_ms: int
    duration_ms: int
    status_code: int | None
    error: str | None
    next_attempt_at_ms: int | None


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """One message to one endpoint, with its attempts. A test message has no `session_id`, `epoch` and `version`."""

    delivery_id: str
    sequence: int
    session_id: str | None
    epoch: str | None
    version: int | None
    event_type: str
    status: DeliveryStatus
    created_at_ms: int
    due_at_ms: int | None
    attempts: tuple[DeliveryAttempt, ...]
