"""The messages of `synckairos.v3`, one JSON object a text frame: what clients may send, as models, and what they get.

Every message to a client is a whole WebSocket frame; states, and answers that must come out the same each time, are
spliced from bytes that exist.
"""

from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from synckairos.clock.lag_compensation import LagReceipt
from synckairos.errors import MalformedMessage, SyncKairosError, ValidationFailed
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.field_types import ExpectedVersion, Omittable, StrictModel, Uuid
from synckairos.wire.instants import render_instant
from synckairos.wire.json_decode import decode_json
from synckairos.wire.presence_counts import PresenceCounts
from synckairos.wire.problem_json import error_details
from synckairos.wire.request_bodies import COMMAND_BODIES
from synckairos.wire.session_json import receipt_json
from synckairos.wire.validation_faults import faults_from_pydantic, json_faults, raise_faults
from synckairos.wire.websocket_frames import text_frame

SUBPROTOCOL = "synckairos.v3"

MessageId = Annotated[str, Field(pattern=r"^[!-~]{1,255}\z", description="1 to 255 visible ASCII characters")]
"""Answers name it in `reply_to`; a COMMAND's is what an Idempotency-Key is to REST."""

Tag = Annotated[str, Field(min_length=1, max_length=64, description="Which of the states of that epoch and version")]
"""A failover that loses versions issues their numbers again, with other content: the tag names the content."""

ClaimedParticipantId = Annotated[
    Uuid,
    Field(
        description="The participant that this client is, for the presence of others. With `AUTH=none` the server "
        "trusts it"
    ),
]
WantsPresence = Annotated[bool, Field(description="Whether to send PRESENCE messages. Default: true")]


class Subscribe(StrictModel):
    """Watch a session, from a position on where one is known: `epoch`, `version` and `tag` of the last state seen."""

    type: Literal["SUBSCRIBE"]
    id: Omittable[MessageId] = None
    session_id: Uuid
    epoch: Omittable[Annotated[str, Field(max_length=64)]] = None
    version: Omittable[ExpectedVersion] = None
    tag: Omittable[Tag] = None
    participant_id: Omittable[
        Annotated[Uuid, Field(description="Who this is, to others; believed while AUTH=none")]
    ] = None
    presence: Omittable[Annotated[bool, Field(description="Whether to be told who is there; true where left out")]] = (
        None
    )

    @property
    def has_position(self) -> bool:
        return (self.epoch, self.version, self.tag) != (None, None, None)


class Unsubscribe(StrictModel):
    """Watch a session no longer."""

    type: Literal["UNSUBSCRIBE"]
    id: Omittable[MessageId] = None
    session_id: Uuid


class Command(StrictModel):
    """Do something to a session, by REST's verb and arguments. Sent again with the same id, it is answered the same."""

    type: Literal["COMMAND"]
    id: MessageId
    session_id: Uuid
    command: Annotated[str, WithJsonSchema({"type": "string", "enum": list(COMMAND_BODIES)})]
    args: Annotated[dict[str, Any], Field(default_factory=dict)]
    expected_version: Omittable[ExpectedVersion] = None


def _as_given(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    validate(value)
    return value


class Ping(StrictModel):
    """Ask what time it is; `t0` comes back as it is."""

    type: Literal["PING"]
    id: Omittable[MessageId] = None
    t0: Annotated[float, WrapValidator(_as_given)]


ClientMessage = Subscribe | Unsubscribe | Command | Ping

CLIENT_MESSAGES: dict[str, type[ClientMessage]] = {
    "SUBSCRIBE": Subscribe,
    "UNSUBSCRIBE": Unsubscribe,
    "COMMAND": Command,
    "PING": Ping,
}


def parse_v3_message(text: str) -> ClientMessage:
    """Parse a client's message.

    Raises:
        MalformedMessage: it isn't a JSON object of a known type.
        ValidationFailed: its members are wrong; lists every fault.
    """
    try:
        message = decode_json(text.encode()) if text else None
    except ValidationFailed as malformed:
        raise MalformedMessage(f"A message must be a JSON object: {malformed.details[0]['message']}") from None
    except UnicodeEncodeError:
        raise MalformedMessage("A message must be a JSON object: not valid Unicode") from None
    if not isinstance(message, dict):
        raise MalformedMessage('A message must be a JSON object such as {"type": "PING", "t0": 0}')
    kind = message.get("type")
    model = CLIENT_MESSAGES.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise MalformedMessage(f"Unknown message type; {', '.join(CLIENT_MESSAGES)} are known")
    try:
        raise_faults(list(json_faults(message)))
        return model.model_validate(message)
    except ValidationError as error:
        raise ValidationFailed(faults_from_pydantic(error)) from None


def read_message_id(text: str) -> str | None:
    """Return the id of a message that couldn't be parsed, where it has one, so that the error can name it."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, str) else None


# -- what clients get -------------------------------------------------------------------------------------------------


def state_frame(
    kind: Literal["STATE_SYNC", "STATE_UPDATE"],
    session_id: str,
    epoch: str,
    tag: str,
    version: int,
    server_time_ms: int,
    document: bytes,
    **more: Any,
) -> bytes:
    """Frame a full state. `more` are `reply_to`, `recovered` and `from_version` (the one it jumped from).

    An empty `tag` is one that nobody knows.
    """
    head = _envelope(kind, session_id, version, server_time_ms) | _place(epoch, tag) | more
    return text_frame(orjson.dumps(head)[:-1] + b',"state":' + document + b"}")


def state_delta_frame(
    session_id: str,
    epoch: str,
    tag: str,
    from_version: int,
    version: int,
    server_time_ms: int,
    patch: bytes,
    **more: Any,
) -> bytes:
    """Frame a merge patch between two versions (see `delta.py`), JSON; `tag` is the later one's, empty where unknown.

    `more` are `reply_to` and `recovered`.
    """
    head = _envelope("STATE_DELTA", session_id, version, server_time_ms) | _place(epoch, tag)
    return _frame(head | {"from_version": from_version} | more | {"patch": orjson.Fragment(patch)})


def event_frame(message: FeedMessage, server_time_ms: int) -> bytes:
    """Frame what happened, apart from the state that shows it."""
    told = _envelope("EVENT", message.session_id, message.snapshot.version, server_time_ms)
    told |= {"epoch": message.snapshot.epoch, "event_type": message.event_type, "at": render_instant(message.at_ms)}
    if message.participant_id is not None:
        told["participant_id"] = message.participant_id
    return _frame(told)


def presence_frame(session_id: str, server_time_ms: int, present: PresenceCounts) -> bytes:
    """Frame who is connected to a session."""
    told: dict[str, Any] = {"type": "PRESENCE", "session_id": session_id, "server_time_ms": server_time_ms}
    return _frame(told | {"clients": present.clients, "roles": present.roles, "participants": present.participants})


def command_ack_frame(
    command_id: str,
    session_id: str,
    epoch: str,
    version: int,
    at_ms: int,
    expired_participant_id: str | None,
    lag_receipt: LagReceipt | None,
) -> bytes:
    """Frame the answer to an accepted command: the same bytes each time, so its time is the version's own."""
    told = _envelope("ACK", session_id, version, at_ms) | {"reply_to": command_id, "epoch": epoch}
    if expired_participant_id is not None:
        told["expired_participant_id"] = expired_participant_id
    if lag_receipt is not None:
        told["lag_receipt"] = receipt_json(lag_receipt)
    return _frame(told)


def ack_frame(message_id: str, session_id: str, server_time_ms: int) -> bytes:
    """Frame the answer to what changes no session."""
    return _frame({"type": "ACK", "session_id": session_id, "server_time_ms": server_time_ms, "reply_to": message_id})


def error_frame(
    refusal: SyncKairosError, server_time_ms: int, reply_to: str | None = None, session_id: str | None = None
) -> bytes:
    told: dict[str, Any] = {"type": "ERROR"}
    if session_id is not None:
        told["session_id"] = session_id
    told["server_time_ms"] = server_time_ms
    if reply_to is not None:
        told["reply_to"] = reply_to
    told |= {"code": refusal.code, "message": refusal.message}
    if (details := error_details(refusal)) is not None:
        told["details"] = details
    return _frame(told)


def pong_frame(asked: Ping, received_ms: int, sent_ms: int, error_ms: float) -> bytes:
    """Frame Redis time at which a PING came and its answer left, ms; this instance knows it to ± `error_ms`.

    Before it knows it at all, the error is infinite: null.
    """
    told: dict[str, Any] = {"type": "PONG", "server_time_ms": sent_ms}
    if asked.id is not None:
        told["reply_to"] = asked.id
    return _frame(told | {"t0": asked.t0, "t1": received_ms, "t2": sent_ms, "error_ms": round(error_ms, 3)})


def goaway_frame(retry_after_ms: int, server_time_ms: int) -> bytes:
    return _frame({"type": "GOAWAY", "server_time_ms": server_time_ms, "retry_after_ms": retry_after_ms})


def _envelope(kind: str, session_id: str, version: int, server_time_ms: int) -> dict[str, Any]:
    return {"type": kind, "session_id": session_id, "version": version, "server_time_ms": server_time_ms}


def _place(epoch: str, tag: str) -> dict[str, str]:
    return {"epoch": epoch, "tag": tag} if tag else {"epoch": epoch}


def _frame(members: dict[str, Any]) -> bytes:
    return text_frame(orjson.dumps(members))
