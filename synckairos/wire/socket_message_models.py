"""Pydantic models of WebSocket messages. AsyncAPI is generated from the models, and tests validate frames with them.

The models render nothing: `v3_messages.py` and `v2_messages.py` render the frames. The models of messages from v3
clients are in `v3_messages.py`. AsyncAPI includes these models too.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from synckairos.wire.field_types import Omittable
from synckairos.wire.response_models import ChargeView, EventTypeName, StoppedSessionView, Warnings
from synckairos.wire.session_view import Id, Instant, ReceiptView, SessionView
from synckairos.wire.v3_messages import MAX_EXPIRES_IN_MS, Tag

ServerTime = Annotated[int, Field(description="Time of Redis in ms since the Unix epoch")]
VersionNumber = Annotated[int, Field(ge=1)]
Epoch = Annotated[
    str, Field(description="Random id of the session's life in the store. Versions grow within one epoch")
]
ReplyTo = Annotated[str, Field(description="The `id` of the message that this message answers")]
JumpedFrom = Annotated[
    int, Field(description="The version that was sent before, if versions between them were skipped")
]
Recovered = Annotated[
    bool, Field(description="Whether the client receives all versions after the position in its SUBSCRIBE")
]
VersionAfter = Annotated[
    int, Field(ge=1, description="The session's version after the command; absent for UNSUBSCRIBE")
]
V2Id = Annotated[Id, Field(alias="sessionId", description="Id of the session")]


class StateSync(BaseModel):
    """The full state of the session, as the answer to a SUBSCRIBE."""

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
    """The full state of a newer version. It is sent if a STATE_DELTA is not possible or not smaller."""

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
    """The difference between two versions, as a merge patch.

    If the message answers a SUBSCRIBE and its patch is empty, the client already has the newest version.
    """

    type: Literal["STATE_DELTA"]
    session_id: Id
    version: VersionNumber
    server_time_ms: ServerTime
    epoch: Epoch
    tag: Omittable[Tag] = None
    from_version: Annotated[int, Field(ge=1, description="The version to which the patch applies")]
    reply_to: Omittable[ReplyTo] = None
    recovered: Omittable[Recovered] = None
    patch: dict[str, Any] = Field(
        description="Merge patch (RFC 7396) for the state in which `participants` and `groups` are objects by id"
    )


class Event(BaseModel):
    """An event that no command caused, such as a timeout. It is sent before the state that includes the event."""

    type: Literal["EVENT"]
    session_id: Id
    version: VersionNumber
    server_time_ms: ServerTime
    epoch: Epoch
    event_type: EventTypeName
    at: Instant = Field(description="Instant when the event took effect")
    participant_id: Omittable[Id] = None
    charges: Omittable[list[ChargeView]] = Field(
        default=None, description="Times that the event charges, one for each participant; absent if it charges no time"
    )
    participant_ids: Omittable[list[Id]] = Field(
        default=None, description="Participants that the event concerns; absent unless there are several"
    )


class Presence(BaseModel):
    """The clients that watch a session, on all instances.

    Sent after the answer to a SUBSCRIBE, and when these clients have changed.
    """

    type: Literal["PRESENCE"]
    session_id: Id
    server_time_ms: ServerTime
    clients: int = Field(ge=0, description="Number of connections that watch the session")
    roles: dict[str, int] = Field(
        description="Number of these connections by role. Roles without connections are absent"
    )
    participants: list[Id] = Field(
        max_length=1_000, description="Ids of the connected participants, without repetition"
    )


class Ack(BaseModel):
    """The answer to an accepted COMMAND or UNSUBSCRIBE. A COMMAND with a repeated `id` gets the same answer again."""

    type: Literal["ACK"]
    session_id: Id
    version: Omittable[VersionAfter] = None
    server_time_ms: ServerTime
    reply_to: ReplyTo
    epoch: Omittable[Epoch] = None
    expired_participant_id: Omittable[Id] = Field(
        default=None, description="The participant whose time ran out with this command; absent if no time ran out"
    )
    lag_receipt: Omittable[ReceiptView] = None
    stopped: Omittable[list[StoppedSessionView]] = Field(
        default=None, description="Sessions that a `start` with `exclusive` completed; absent for all other commands"
    )
    warnings: Omittable[Warnings] = None


class Error(BaseModel):
    """The refusal of a message. The connection stays open. The codes are the same as in REST."""

    type: Literal["ERROR"]
    session_id: Omittable[Id] = None
    server_time_ms: ServerTime
    reply_to: Omittable[ReplyTo] = None
    code: str
    message: str
    details: Any = Field(default=None, description="The same details as in REST. CONFLICT has the current `state`")


class Pong(BaseModel):
    """The answer to a PING, with the time of Redis when the PING arrived and when this answer was sent, in whole ms."""

    type: Literal["PONG"]
    server_time_ms: ServerTime
    reply_to: Omittable[ReplyTo] = None
    t0: float = Field(description="The `t0` of the PING")
    t1: Annotated[
        int, Field(description="Instant at which the PING arrived, by the time of Redis, in ms since the Unix epoch")
    ]
    t2: Annotated[
        int,
        Field(description="Instant at which this answer was sent, by the time of Redis, in ms since the Unix epoch"),
    ]
    error_ms: float | None = Field(
        description="Maximum error of `t1` and `t2` in ms; null if the instance has not measured it yet"
    )


class Goaway(BaseModel):
    """The instance stops, and will close the connection with 4000.

    The client should reconnect after `retry_after_ms`, which is a random delay.
    """

    type: Literal["GOAWAY"]
    server_time_ms: ServerTime
    retry_after_ms: int = Field(ge=0, description="Time to wait before the client reconnects, in ms")


class Authenticated(BaseModel):
    """The credential of the connection is valid.

    Sent after a handshake with a credential, and as the answer to an AUTH or REFRESH.
    """

    type: Literal["AUTHENTICATED"]
    server_time_ms: ServerTime
    reply_to: Omittable[ReplyTo] = None
    expires_in_ms: int = Field(
        ge=0,
        le=MAX_EXPIRES_IN_MS,
        description="Time until the credential ends, in ms. It is the maximum for a longer time or without an expiry",
    )


class Reauth(BaseModel):
    """The credential ends soon. The client should send REFRESH with a new token before `within_ms` are over."""

    type: Literal["REAUTH"]
    server_time_ms: ServerTime
    within_ms: int = Field(ge=0, description="Time until the credential ends, in ms")


class Unsubscribed(BaseModel):
    """The server ended a subscription, because the credential no longer reaches the session."""

    type: Literal["UNSUBSCRIBED"]
    session_id: Id
    server_time_ms: ServerTime
    code: str = Field(description="The reason as an error code: `FORBIDDEN`")


class V2Ping(BaseModel):
    """Requests a PONG."""

    type: Literal["PING"]


class V2Reconnect(BaseModel):
    """Requests the full state again."""

    type: Literal["RECONNECT"]


class V2Connected(BaseModel):
    """The first message of a connection."""

    type: Literal["CONNECTED"]
    session_id: V2Id
    timestamp: ServerTime


class V2StateSync(BaseModel):
    """The full state of the session. Sent after CONNECTED if the session exists, and as the answer to a RECONNECT."""

    type: Literal["STATE_SYNC"]
    session_id: V2Id
    timestamp: ServerTime
    state: SessionView


class V2StateUpdate(BaseModel):
    """The full state of a newer version."""

    type: Literal["STATE_UPDATE"]
    session_id: V2Id
    timestamp: ServerTime
    state: SessionView


class V2SessionDeleted(BaseModel):
    """The session was deleted. The server closes the connection after this message."""

    type: Literal["SESSION_DELETED"]
    session_id: V2Id
    timestamp: ServerTime


class V2Pong(BaseModel):
    """The answer to a PING."""

    type: Literal["PONG"]
    timestamp: ServerTime


class V2Error(BaseModel):
    """The refusal of a message. The connection stays open."""

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
    Authenticated,
    Reauth,
    Unsubscribed,
)
V2_SERVER_MESSAGES: tuple[type[BaseModel], ...] = (
    *(V2Connected, V2StateSync, V2StateUpdate, V2SessionDeleted, V2Pong, V2Error),
)
V2_CLIENT_MESSAGES: tuple[type[BaseModel], ...] = (V2Ping, V2Reconnect)
