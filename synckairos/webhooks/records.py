"""What webhooks are made of. Instants are whole milliseconds since the Unix epoch, durations whole milliseconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from synckairos.history.records import TrailEvent

Status = Literal["pending", "delivered", "failed"]


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Somebody who is told. `event_types` and `metadata` are None where nothing is left out.

    `failing_since_ms` is the first failure that no success followed. Its secrets are told only when they are made.
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
    """A message that was leased to be sent now. `event` is None for a test, and for what the audit no longer has."""

    delivery_id: str
    endpoint_id: str
    url: str
    secrets: tuple[str, ...]
    attempts: int
    tries: int
    event_type: str
    created_at_ms: int
    session_id: str | None
    event: TrailEvent | None


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One try, as the log has it."""

    attempt: int
    at_ms: int
    duration_ms: int
    status_code: int | None
    error: str | None
    next_try_at_ms: int | None


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """One message to one endpoint; `session_id`, `epoch` and `version` are None for a test."""

    delivery_id: str
    sequence: int
    session_id: str | None
    epoch: str | None
    version: int | None
    event_type: str
    status: Status
    created_at_ms: int
    due_at_ms: int | None
    attempts: tuple[DeliveryAttempt, ...]
