"""Webhooks: what may be asked about them, what comes back, and the messages themselves."""

from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from synckairos.clock.model import EventType
from synckairos.wire.event_json import EventRow, event_json
from synckairos.wire.field_types import Metadata, Omittable, ShortText, StrictModel
from synckairos.wire.instants import render_instant
from synckairos.wire.query_parameters import PageQuery
from synckairos.wire.response_models import EventTypeName, Id, Instant, Ms

DAY_S = 86_400
EVENT_TYPES = tuple(str(each) for each in EventType)


def _known_kind(text: str) -> str:
    if text not in EVENT_TYPES:
        raise PydanticCustomError("kind", "should be one of {kinds}", {"kinds": ", ".join(EVENT_TYPES)})
    return text


Url = Annotated[str, Field(min_length=1, max_length=2_000, description="https, on the public internet")]
EventTypeFilter = Annotated[
    list[Annotated[str, AfterValidator(_known_kind), WithJsonSchema({"type": "string", "enum": [*EVENT_TYPES]})]],
    Field(min_length=1, max_length=len(EVENT_TYPES), description="Only these; left out: all"),
]
MetadataFilter = Annotated[Metadata, Field(description="Only sessions whose metadata contains this; left out: all")]

# -- asked ------------------------------------------------------------------------------------------------------------


class CreateWebhook(StrictModel):
    """Somebody who wants to be told. `snapshots` sends the session along, as each event left it."""

    url: Url
    description: ShortText = ""
    event_types: Omittable[EventTypeFilter] = None
    metadata: Omittable[MetadataFilter] = None
    snapshots: bool = False


class PatchWebhook(StrictModel):
    """What is to be changed; a filter that is null filters no more. Enabling forgets what failed before."""

    url: Omittable[Url] = None
    description: Omittable[ShortText] = None
    event_types: EventTypeFilter | None = None
    metadata: MetadataFilter | None = None
    snapshots: Omittable[bool] = None
    enabled: Omittable[bool] = None


class RotateSecret(StrictModel):
    """A new secret; the old ones sign too, for so long."""

    overlap_s: Annotated[int, Field(ge=0, le=30 * DAY_S, description="Seconds; a day by default")] = DAY_S


class EmptyBody(StrictModel):
    """An empty object, or nothing at all."""


class DeliveriesQuery(PageQuery):
    """What an endpoint was told, newest first."""

    status: Omittable[Literal["pending", "delivered", "failed"]] = None


# -- answered ---------------------------------------------------------------------------------------------------------


class WebhookView(BaseModel):
    webhook_id: Id
    url: str
    description: str
    event_types: list[EventTypeName] | None
    metadata: dict[str, Any] | None
    snapshots: bool
    enabled: bool
    disabled_reason: str | None
    failing_since: Instant | None = Field(description="The first failure that no success followed")
    created_at: Instant
    updated_at: Instant


class WebhookAnswer(BaseModel):
    data: WebhookView


class WebhookList(BaseModel):
    data: list[WebhookView]
    next_cursor: str | None


class SecretView(BaseModel):
    webhook_id: Id
    secret: str = Field(description="`whsec_…`, told this once")


class SecretAnswer(BaseModel):
    data: SecretView


class WebhookCreatedView(WebhookView):
    secret: str = Field(description="`whsec_…`, told this once")


class WebhookCreated(BaseModel):
    data: WebhookCreatedView


class AttemptView(BaseModel):
    attempt: int
    at: Instant
    duration_ms: Ms
    status_code: int | None = Field(description="null where there was no answer")
    error: str | None
    next_try_at: Instant | None


class DeliveryView(BaseModel):
    """A message. `delivery_id` is its `webhook-id`; a test is about no session."""

    delivery_id: Id
    session_id: Id | None
    epoch: str | None
    version: int | None
    event_type: str
    status: Literal["pending", "delivered", "failed"]
    created_at: Instant
    next_try_at: Instant | None
    attempts: list[AttemptView]


class DeliveryAnswer(BaseModel):
    data: DeliveryView


class DeliveryPage(BaseModel):
    data: list[DeliveryView]
    next_cursor: str | None


# -- sent -------------------------------------------------------------------------------------------------------------

TEST_EVENT_TYPE = "webhook_test"
"""The type of a message that only asks whether somebody is there."""


def render_message(session_id: str, event: EventRow) -> bytes:
    """Render what an endpoint is told of an event: `data` is the event as the trail shows it, and whose it is."""
    return _message(event.event_type, event.occurred_at_ms, {"session_id": session_id, **event_json(event)})


def render_test_message(webhook_id: str, at_ms: int) -> bytes:
    """Render a message that only asks whether somebody is there."""
    return _message(TEST_EVENT_TYPE, at_ms, {"webhook_id": webhook_id})


def _message(kind: str, at_ms: int, data: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": kind, "timestamp": render_instant(at_ms), "data": data})
