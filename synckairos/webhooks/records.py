"""Data classes for webhook endpoints, deliveries and attempts.

Instants (`_at_ms`, `_since_ms`) are whole milliseconds since the Unix epoch. Durations are whole milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from synckairos.history.records import TrailEvent

DeliveryStatus = Literal["pending", "delivered", "failed"]


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """A webhook endpoint, without its secrets.

    - `event_types` and `metadata`: filters for events. None means no filter.
    - `snapshots`: whether messages contain the session's document.
    - `failing_since_ms`: instant of the first failure after the newest success. None if the newest attempt succeeded,
      or if there was no attempt.

    Only the answer to the request that creates a secret contains the secret.
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
    """A due delivery that a worker has leased and must send now.

    - `secrets`: the secrets with which the message is signed, in the form `whsec_` and base64.
    - `attempts`: number of all earlier attempts.
    - `scheduled_attempts`: number of earlier attempts after the delivery was queued or requeued the last time.
    - `event`: the event to send. None for a test message, and for an event that the audit does not have any more.
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
    """One attempt in the delivery log.

    - `at_ms`: begin of the attempt.
    - `status_code`: HTTP status of the receiver's answer; None without an answer.
    - `error`: reason of the failure; None if the receiver accepted the message.
    - `next_attempt_at_ms`: instant of the next attempt; None if no further attempt was planned.
    """

    attempt: int
    at_ms: int
    duration_ms: int
    status_code: int | None
    error: str | None
    next_attempt_at_ms: int | None


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """A delivery with its attempts: one message to one endpoint.

    A delivery that is created later has a larger `sequence`. `session_id`, `epoch` and `version` are None for a test
    message. `due_at_ms` is the instant of the next attempt; None if no further attempt is planned.
    """

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
