"""Webhook formats: Pydantic models of requests and responses, and rendering of the messages to webhook endpoints."""

from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from synckairos.clock.transition import EventType
from synckairos.wire.event_json import RenderableEvent, event_json
from synckairos.wire.field_types import Metadata, Omittable, ShortText, StrictModel
from synckairos.wire.instants import render_instant
from synckairos.wire.query_parameters import PageQuery
from synckairos.wire.response_models import EventTypeName
from synckairos.wire.session_view import Id, Instant

DAY_S = 86_400
EVENT_TYPES = tuple(str(each) for each in EventType)


def _known_event_type(text: str) -> str:
    if text not in EVENT_TYPES:
        raise PydanticCustomError("kind", "should be one of {kinds}", {"kinds": ", ".join(EVENT_TYPES)})
    return text


Url = Annotated[str, Field(min_length=1, max_length=2_000, description="URL with https:// on the public internet")]
EventTypeFilter = Annotated[
    list[Annotated[str, AfterValidator(_known_event_type), WithJsonSchema({"type": "string", "enum": [*EVENT_TYPES]})]],
    Field(min_length=1, max_length=len(EVENT_TYPES), description="Event types to send. Default: all"),
]
MetadataFilter = Annotated[
    Metadata,
    Field(description="Filter: only events of sessions whose metadata contains these members. Default: all sessions"),
]

# -- requests ----------------------------------------------------------------------------------------------------------


class CreateWebhook(StrictModel):
    """A webhook endpoint to create. If `snapshots` is true, messages include the session's state after the event."""

    url: Url
    description: ShortText = ""
    event_types: Omittable[EventTypeFilter] = None
    metadata: Omittable[MetadataFilter] = None
    snapshots: bool = False


class PatchWebhook(StrictModel):
    """The members of a webhook endpoint to change. Absent members stay unchanged.

    Null removes a filter. `enabled: true` also removes `failing_since` and `disabled_reason`.
    """

    url: Omittable[Url] = None
    description: Omittable[ShortText] = None
    event_types: EventTypeFilter | None = None
    metadata: MetadataFilter | None = None
    snapshots: Omittable[bool] = None
    enabled: Omittable[bool] = None


class RotateSecret(StrictModel):
    """Replaces the secret of a webhook endpoint by a new secret, which signs all later messages.

    The old secrets also sign messages for at most `overlap_s` seconds more.
    """

    overlap_s: Annotated[
        int,
        Field(ge=0, le=30 * DAY_S, description="Seconds during which old secrets also sign messages. Default: one day"),
    ] = DAY_S


class EmptyBody(StrictModel):
    """A body without members: an empty JSON object, or no bytes."""


DeliveryStatus = Annotated[Literal["pending", "delivered", "failed"], Field(description="Status of the delivery")]


class DeliveriesQuery(PageQuery):
    """The query for the deliveries to a webhook endpoint, newest first."""

    status: Omittable[DeliveryStatus] = None


# -- responses ---------------------------------------------------------------------------------------------------------


class WebhookView(BaseModel):
    """A webhook endpoint."""

    webhook_id: Id
    url: str
    description: str
    event_types: list[EventTypeName] | None
    metadata: dict[str, Any] | None
    snapshots: bool
    enabled: bool
    disabled_reason: str | None
    failing_since: Instant | None = Field(
        description="Instant of the first failed attempt after the last successful attempt"
    )
    created_at: Instant
    updated_at: Instant


class WebhookAnswer(BaseModel):
    data: WebhookView


class WebhookList(BaseModel):
    data: list[WebhookView]
    next_cursor: str | None


SENT_ONCE = "Signing secret, `whsec_…`. It is returned only once; the member is absent in a replayed response"


class SecretView(BaseModel):
    """The new secret of a webhook endpoint."""

    webhook_id: Id
    secret: str = Field(default="", description=SENT_ONCE)


class SecretAnswer(BaseModel):
    data: SecretView


class WebhookCreatedView(WebhookView):
    """A new webhook endpoint with its secret."""

    secret: str = Field(default="", description=SENT_ONCE)


class WebhookCreated(BaseModel):
    data: WebhookCreatedView


class AttemptView(BaseModel):
    """One attempt to deliver a message to a webhook endpoint."""

    attempt: int = Field(description="Number of the attempt, from 1")
    at: Instant = Field(description="Instant when the attempt began")
    duration_ms: Annotated[int, Field(description="Duration of the attempt in ms")]
    status_code: int | None = Field(description="HTTP status of the answer; null without an answer")
    error: str | None = Field(description="Reason why the attempt failed; null if it succeeded")
    next_try_at: Instant | None = Field(description="Instant of the next attempt; null if there is none")


class DeliveryView(BaseModel):
    """A delivery: a message to a webhook endpoint, and its attempts. A test message has no session."""

    delivery_id: Id = Field(description="Id of the delivery; the header `webhook-id` of its message")
    session_id: Id | None
    epoch: str | None
    version: int | None
    event_type: str
    status: DeliveryStatus
    created_at: Instant
    next_try_at: Instant | None = Field(description="Instant of the next attempt; null if there is none")
    attempts: list[AttemptView] = Field(description="The attempts to deliver the message, oldest first")


class DeliveryAnswer(BaseModel):
    data: DeliveryView


class DeliveryPage(BaseModel):
    data: list[DeliveryView]
    next_cursor: str | None


# -- messages ----------------------------------------------------------------------------------------------------------

TEST_EVENT_TYPE = "webhook_test"
"""The event type of a message that only tests whether the webhook endpoint answers."""


def render_event_message(session_id: str, event: RenderableEvent) -> bytes:
    """Render the JSON body of the webhook message for an event.

    `data` is the event as in `event_json`, with actor and session id.

    The receiver is allowed to know the actor, because only callers with the role `admin` make webhook endpoints.
    """
    members = {"session_id": session_id, **event_json(event, shows_actor=True)}
    return _message(event.event_type, event.occurred_at_ms, members)


def render_test_message(webhook_id: str, at_ms: int) -> bytes:
    """Render the JSON body of a test message to a webhook endpoint. `at_ms` is its instant, ms since the Unix epoch."""
    return _message(TEST_EVENT_TYPE, at_ms, {"webhook_id": webhook_id})


def _message(kind: str, at_ms: int, data: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": kind, "timestamp": render_instant(at_ms), "data": data})
