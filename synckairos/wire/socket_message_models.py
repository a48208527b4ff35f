"""What comes over a socket, as models: AsyncAPI describes messages by them, and tests hold the rendered frames to them.

Nothing is rendered through them: frames are spliced in `v3.py` and `v2.py`. What clients send is validated by the
models in `v3.py`, which stand in the description unchanged.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from synckairos.wire.field_types import Omittable
from synckairos.wire.response_models import EventTypeName, Id, Instant, ReceiptView, SessionView
from synckairos.wire.v3_messages import Tag

ServerTime = Annotated[int, Field(description="Redis time, ms since the Unix epoch")]
VersionNumber = Annotated[int, Field(ge=1)]
Epoch = Annotated[str, Field(description="Which history the versions belong to")]
ReplyTo = Annotated[str, Field(description="The `id` of what this answers")]
JumpedFrom = Annotated[int, Field(description="The version sent before, where others in between were skipped")]
Recovered = Annotated[bool, Field(description="Whether a SUBSCRIBE with a position got all it had missed")]


ExpiredParticipantId = Annotated[
    Id, Field(description="The participant whose time ran out with this command; absent if no time ran out")
]
V2Id = Annotated[Id, Field(alias="sessionId")]


class StateSync(BaseModel):
    """The state, in answer to a SUBSCRIBE."""

    type: Literal["STATE_SYNC"]
    session_id: Id
    version: VersionNumber
    server_time_ms: ServerTime
    epoch: Epoch
    tag: Omittable[Tag] = None
    reply_to: Omittable[ReplyTo] = None
    recovered: Omittable[Recovered] = None
    state: SessionView


class StateUpdate(BaseModel):
    """A newer state as a whole, where no delta is smaller."""

    type: Literal["STATE_UPDATE"]
    session_id: Id
    version: VersionNumber
    server_time_ms: ServerTime
    epoch: Epoch
    tag: Omittable[Tag] = None
    reply_to: Omittable[ReplyTo] = None
    recovered: Omittable[Recovered] = None
    from_version: Omittable[JumpedFrom] = None
    state: SessionView


class StateDelta(BaseModel):
    """What differs between two versions. An empty patch says that nothing was missed."""

    type: Literal["STATE_DELTA"]
    session_id: Id
    version: VersionNumber
    server_time_ms: ServerTime
    epoch: Epoch
    tag: Omittable[Tag] = None
    from_version: VersionNumber
    reply_to: Omittable[ReplyTo] = None
    recovered: Omittable[Recovered] = None
    patch: dict[str, Any] = Field(
        description="A merge patch (RFC 7396) on the state with `participants` and `groups` as objects by their ids"
    )


class Event(BaseModel):
    """What happened by itself, before the state that shows it."""

    type: Literal["EVENT"]
    session_id: Id
    version: VersionNumber
    server_time_ms: ServerTime
    epoch: Epoch
    event_type: EventTypeName
    at: Instant
    participant_id: Omittable[Id] = None


class Presence(BaseModel):
    """Who is connected to a session, on all instances: after the first answer to a SUBSCRIBE, and when it changes."""

    type: Literal["PRESENCE"]
    session_id: Id
    server_time_ms: ServerTime
    clients: int = Field(ge=0, description="Connections that watch the session")
    roles: dict[str, int] = Field(description="The same by role; those that are 0 are left out")
    participants: list[Id] = Field(max_length=1_000, description="The participants among them, each once")


class Ack(BaseModel):
    """A COMMAND was carried out, or an UNSUBSCRIBE. The same bytes each time a command is sent again."""

    type: Literal["ACK"]
    session_id: Id
    version: Omittable[Annotated[VersionNumber, Field(description="A command's: the session's version after it")]] = (
        None
    )
    server_time_ms: ServerTime
    reply_to: ReplyTo
    epoch: Omittable[Epoch] = None
    expired_participant_id: Omittable[ExpiredParticipantId] = None
    lag_receipt: Omittable[ReceiptView] = None


class Error(BaseModel):
    """Something was refused; the connection stays. Codes are REST's."""

    type: Literal["ERROR"]
    session_id: Omittable[Id] = None
    server_time_ms: ServerTime
    reply_to: Omittable[ReplyTo] = None
    code: str
    message: str
    details: Any = Field(default=None, description="As REST has it; for CONFLICT with the `state` that won")


class Pong(BaseModel):
    """Redis time when a PING came and when its answer left, cut to whole ms."""

    type: Literal["PONG"]
    server_time_ms: ServerTime
    reply_to: Omittable[ReplyTo] = None
    t0: float = Field(description="As it was sent")
    t1: ServerTime
    t2: ServerTime
    error_ms: float | None = Field(description="How far off the instance itself may be; null before it knows")


class Goaway(BaseModel):
    """The instance stops: its clients are closed with 4000, and come back after a wait that is spread."""

    type: Literal["GOAWAY"]
    server_time_ms: ServerTime
    retry_after_ms: int = Field(ge=0)


class V2Ping(BaseModel):
    type: Literal["PING"]


class V2Reconnect(BaseModel):
    """Ask for the state once more."""

    type: Literal["RECONNECT"]


class V2Connected(BaseModel):
    """The greeting."""

    type: Literal["CONNECTED"]
    session_id: V2Id
    timestamp: ServerTime


class V2StateSync(BaseModel):
    """The state: after the greeting if the session exists, and in answer to a RECONNECT."""

    type: Literal["STATE_SYNC"]
    session_id: V2Id
    timestamp: ServerTime
    state: SessionView


class V2StateUpdate(BaseModel):
    """A newer state."""

    type: Literal["STATE_UPDATE"]
    session_id: V2Id
    timestamp: ServerTime
    state: SessionView


class V2SessionDeleted(BaseModel):
    """The session is gone; the socket is closed."""

    type: Literal["SESSION_DELETED"]
    session_id: V2Id
    timestamp: ServerTime


class V2Pong(BaseModel):
    type: Literal["PONG"]
    timestamp: ServerTime


class V2Error(BaseModel):
    """Something was refused; the connection stays."""

    type: Literal["ERROR"]
    code: str
    message: str


V3_SERVER_MESSAGES: tuple[type[BaseModel], ...] = (
    StateSync,
    StateUpdate,
    StateDelta,
    Event,
    Presence,
    Ack,
    Error,
    Pong,
    Goaway,
)
V2_SERVER_MESSAGES: tuple[type[BaseModel], ...] = (
    *(V2Connected, V2StateSync, V2StateUpdate, V2SessionDeleted, V2Pong, V2Error),
)
V2_CLIENT_MESSAGES: tuple[type[BaseModel], ...] = (V2Ping, V2Reconnect)
