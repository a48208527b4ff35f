"""Messages of the dialect `synckairos.v3`: models of messages from clients, and frames of messages from the server.

Each message is one JSON object in one text frame. The functions that render messages return complete WebSocket frames.
States contain the stored bytes of the document. Answers to commands depend only on stored values, so a replay has the
same bytes.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from synckairos.clock.lag_compensation import LagReceipt
from synckairos.errors import MalformedMessage, SyncKairosError, ValidationFailed
from synckairos.wire.charges_json import charges_json
from synckairos.wire.command_bodies.table import COMMAND_BODIES
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.field_types import (
    ExpectedTurn,
    ExpectedVersion,
    Omittable,
    OnlyParticipantId,
    RepresentedParticipantId,
    StrictModel,
    Uuid,
)
from synckairos.wire.instants import render_instant
from synckairos.wire.json_decode import decode_json
from synckairos.wire.presence_counts import PresenceCounts
from synckairos.wire.problem_json import error_details
from synckairos.wire.session_json import receipt_json
from synckairos.wire.validation_faults import Fault, faults_from_pydantic, json_value_faults, raise_if_faults
from synckairos.wire.websocket_frames import text_frame

SUBPROTOCOL = "synckairos.v3"

MessageId = Annotated[
    str, Field(pattern=r"^[!-~]{1,255}\z", description="Id of the message: 1 to 255 visible ASCII characters")
]
"""The `id` of a message from a client. The answer repeats it in `reply_to`. For a COMMAND it is the command id."""

Tag = Annotated[str, Field(min_length=1, max_length=64, description="Random name of the exact content of this version")]
"""The tag of a version, which names its exact content.

A failover that loses versions issues their numbers again, with other content. The tag distinguishes these versions.
"""

ClaimedParticipantId = Annotated[
    Uuid,
    Field(
        description="Participant that this client represents, for presence. With authentication: the client's own id"
    ),
]
ReceivedVersion = Annotated[
    int, Field(ge=0, le=2**53 - 1, description="Version of the last state that the client received")
]
WantsPresence = Annotated[bool, Field(description="Whether to send PRESENCE messages. Default: true")]


class Subscribe(StrictModel):
    """Subscribes to a session. To resume, send `epoch`, `version` and `tag` of the last received state."""

    type: Literal["SUBSCRIBE"]
    id: Omittable[MessageId] = None
    session_id: Uuid
    epoch: Omittable[Annotated[str, Field(max_length=64)]] = None
    version: Omittable[ReceivedVersion] = None
    tag: Omittable[Tag] = None
    participant_id: Omittable[ClaimedParticipantId] = None
    presence: Omittable[WantsPresence] = None
    only: Omittable[OnlyParticipantId] = None

    @property
    def has_resume_point(self) -> bool:
        """Return whether the message has at least one of `epoch`, `version` and `tag`."""
        return (self.epoch, self.version, self.tag) != (None, None, None)


class Unsubscribe(StrictModel):
    """Ends the subscription to a session."""

    type: Literal["UNSUBSCRIBE"]
    id: Omittable[MessageId] = None
    session_id: Uuid


class Command(StrictModel):
    """Executes a command with the name and arguments of REST. A repeated `id` only gets the first answer again."""

    type: Literal["COMMAND"]
    id: MessageId
    session_id: Uuid
    command: Annotated[str, WithJsonSchema({"type": "string", "enum": list(COMMAND_BODIES)})]
    args: Annotated[dict[str, Any], Field(default_factory=dict)]
    expected_version: Omittable[ExpectedVersion] = None
    expected_turn: Omittable[ExpectedTurn] = None
    on_behalf_of: Omittable[RepresentedParticipantId] = None


def _as_given(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    validate(value)
    return value


class Ping(StrictModel):
    """Requests the server's time. The answer repeats `t0` unchanged."""

    type: Literal["PING"]
    id: Omittable[MessageId] = None
    t0: Annotated[float, WrapValidator(_as_given), Field(description="Any number, such as the client's time")]


Token = Annotated[str, Field(min_length=1, max_length=7_900, description="A token, as in `Authorization: Bearer`")]


class Auth(StrictModel):
    """Authenticates a connection whose handshake had no credential. Before it, only AUTH and PING are allowed."""

    type: Literal["AUTH"]
    id: Omittable[MessageId] = None
    token: Token


class Refresh(StrictModel):
    """Replaces the credential of the connection. The new token must have the same tenant, kind and subject."""

    type: Literal["REFRESH"]
    id: Omittable[MessageId] = None
    token: Token


ClientMessage = Subscribe | Unsubscribe | Command | Ping | Auth | Refresh

CLIENT_MESSAGES: dict[str, type[ClientMessage]] = {
    "SUBSCRIBE": Subscribe,
    "UNSUBSCRIBE": Unsubscribe,
    "COMMAND": Command,
    "PING": Ping,
    "AUTH": Auth,
    "REFRESH": Refresh,
}


MAX_EXPIRES_IN_MS = 2_000_000_000
"""Maximum of `expires_in_ms`, 23 days. Browsers run a timer with a delay of 2**31 ms or more at once."""

MAX_CREDENTIAL_CHARACTERS = 8_000
"""Maximum number of characters of an AUTH or REFRESH message."""

_CREDENTIAL_TYPE = re.compile(r'"type"\s*:\s*"(?:AUTH|REFRESH)"')
_COMMAND_TYPE = re.compile(r'"type"\s*:\s*"COMMAND"')


def may_be_command(text: str) -> bool:
    """Return whether a message is possibly a COMMAND, without parsing it.

    True can be wrong, because another member can contain the same text. False is correct unless the text writes `type`
    or `COMMAND` with JSON escapes.
    """
    return _COMMAND_TYPE.search(text) is not None


def may_have_token(text: str) -> bool:
    """Return whether a message is possibly an AUTH or REFRESH of an allowed length, without parsing it."""
    return len(text) <= MAX_CREDENTIAL_CHARACTERS and _CREDENTIAL_TYPE.search(text) is not None


def parse_v3_message(text: str) -> ClientMessage:
    """Parse a message of a client into its model.

    Raises:
        MalformedMessage: the message is not a JSON object with a known type.
        ValidationFailed: JSON members are wrong; the error lists every fault.
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
        raise_if_faults(list(json_value_faults(message)))
        return model.model_validate(message)
    except ValidationError as error:
        raise ValidationFailed(faults_from_pydantic(error)) from None


def extract_message_id(text: str) -> str | None:
    """Return the `id` of a message that is refused, None if the text is not a JSON object or its `id` is not a text.

    The ERROR message repeats this id in `reply_to`. The form of the id is not checked.
    """
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, str) else None


# -- server messages ---------------------------------------------------------------------------------------------------


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
    """Return the STATE_SYNC or STATE_UPDATE frame with a full state.

    `document` is the session's document as stored. An empty `tag` means an unknown tag, and the frame then has no tag.
    `more` can contain `reply_to`, `recovered` and `from_version` (the version that was sent before this version).
    """
    head = _envelope(kind, session_id, version, server_time_ms) | _position(epoch, tag) | more
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
    """Return the STATE_DELTA frame with a merge patch from `from_version` to `version`.

    `patch` is JSON, see `document_merge_patch.py`. `tag` is the tag of `version`, empty if unknown. `more` can contain
    `reply_to` and `recovered`.
    """
    head = _envelope("STATE_DELTA", session_id, version, server_time_ms) | _position(epoch, tag)
    return _frame(head | {"from_version": from_version} | more | {"patch": orjson.Fragment(patch)})


def event_frame(message: FeedMessage, server_time_ms: int) -> bytes:
    """Return the EVENT frame of a version. The frame does not contain the state after the event."""
    snapshot = message.snapshot
    members = _envelope("EVENT", message.session_id, snapshot.version, server_time_ms)
    members |= {"epoch": snapshot.epoch, "event_type": message.event_type, "at": render_instant(message.at_ms)}
    if message.participant_id is not None:
        members["participant_id"] = message.participant_id
    if message.participant_ids:
        members["participant_ids"] = message.participant_ids
    if message.charges:
        members["charges"] = charges_json(message.charges)
    return _frame(members)


def presence_frame(session_id: str, server_time_ms: int, present: PresenceCounts) -> bytes:
    """Return the PRESENCE frame with the counts of all watchers of a session."""
    members: dict[str, Any] = {"type": "PRESENCE", "session_id": session_id, "server_time_ms": server_time_ms}
    return _frame(
        members | {"clients": present.total_clients, "roles": present.roles, "participants": present.participants}
    )


def command_ack_frame(
    command_id: str,
    session_id: str,
    epoch: str,
    version: int,
    at_ms: int,
    expired_participant_id: str | None,
    lag_receipt: LagReceipt | None,
    warnings: Sequence[Fault] = (),
    stopped: Sequence[Any] | None = None,
) -> bytes:
    """Return the ACK frame for an accepted COMMAND.

    `epoch` and `version` are those of the session after the command. `expired_participant_id` and `lag_receipt` are
    None if the answer does not have them. `warnings` lists the arguments without effect. `stopped` has the sessions
    that an exclusive start completed, None for all other commands. A replay must have the same bytes, so the time in
    the frame is `at_ms`, the instant of the version.
    """
    members = _envelope("ACK", session_id, version, at_ms) | {"reply_to": command_id, "epoch": epoch}
    if expired_participant_id is not None:
        members["expired_participant_id"] = expired_participant_id
    if lag_receipt is not None:
        members["lag_receipt"] = receipt_json(lag_receipt)
    if stopped is not None:
        members["stopped"] = stopped
    if warnings:
        members["warnings"] = warnings
    return _frame(members)


def subscription_ack_frame(message_id: str, session_id: str, server_time_ms: int) -> bytes:
    """Return the ACK frame for an accepted UNSUBSCRIBE. `message_id` is the `id` of the UNSUBSCRIBE."""
    return _frame({"type": "ACK", "session_id": session_id, "server_time_ms": server_time_ms, "reply_to": message_id})


def error_frame(
    refusal: SyncKairosError, server_time_ms: int, reply_to: str | None = None, session_id: str | None = None
) -> bytes:
    """Return the ERROR frame of a refusal. `reply_to` is the id of the refused message, None if its id is not known.

    `session_id` is the session that the message named, None to omit it.
    """
    members: dict[str, Any] = {"type": "ERROR"}
    if session_id is not None:
        members["session_id"] = session_id
    members["server_time_ms"] = server_time_ms
    if reply_to is not None:
        members["reply_to"] = reply_to
    members |= {"code": refusal.code, "message": refusal.message}
    if (details := error_details(refusal)) is not None:
        members["details"] = details
    return _frame(members)


def pong_frame(ping: Ping, received_ms: int, sent_ms: int, error_ms: float) -> bytes:
    """Return the PONG frame, the answer to a PING.

    `received_ms` and `sent_ms` are instants by the time of Redis. `error_ms` is the maximum error of this instance's
    estimate of the time of Redis. It must be infinite before the first measurement, and the JSON then has null.
    """
    members: dict[str, Any] = {"type": "PONG", "server_time_ms": sent_ms}
    if ping.id is not None:
        members["reply_to"] = ping.id
    return _frame(members | {"t0": ping.t0, "t1": received_ms, "t2": sent_ms, "error_ms": round(error_ms, 3)})


def authenticated_frame(expires_in_ms: int | None, server_time_ms: int, reply_to: str | None = None) -> bytes:
    """Return the AUTHENTICATED frame. `expires_in_ms` is the time until the credential of the connection ends.

    It is None for a credential without an expiry. The frame has at most `MAX_EXPIRES_IN_MS`.

    `reply_to` is the `id` of the AUTH or REFRESH that the frame answers, None after a handshake with a credential.
    """
    members: dict[str, Any] = {"type": "AUTHENTICATED", "server_time_ms": server_time_ms}
    if reply_to is not None:
        members["reply_to"] = reply_to
    rest_ms = MAX_EXPIRES_IN_MS if expires_in_ms is None else min(expires_in_ms, MAX_EXPIRES_IN_MS)
    return _frame(members | {"expires_in_ms": rest_ms})


def reauth_frame(within_ms: int, server_time_ms: int) -> bytes:
    """Return the REAUTH frame, which requests a REFRESH because the credential ends within `within_ms` milliseconds."""
    return _frame({"type": "REAUTH", "server_time_ms": server_time_ms, "within_ms": within_ms})


def unsubscribed_frame(session_id: str, code: str, server_time_ms: int) -> bytes:
    """Return the UNSUBSCRIBED frame, with which the server ends a subscription.

    `code` is the reason as an error code.
    """
    members = {"type": "UNSUBSCRIBED", "session_id": session_id, "server_time_ms": server_time_ms, "code": code}
    return _frame(members)


def goaway_frame(retry_after_ms: int, server_time_ms: int) -> bytes:
    """Return the GOAWAY frame, which announces the stop of the instance.

    `retry_after_ms` is the delay in ms that the client should wait before it reconnects.
    """
    return _frame({"type": "GOAWAY", "server_time_ms": server_time_ms, "retry_after_ms": retry_after_ms})


def _envelope(kind: str, session_id: str, version: int, server_time_ms: int) -> dict[str, Any]:
    return {"type": kind, "session_id": session_id, "version": version, "server_time_ms": server_time_ms}


def _position(epoch: str, tag: str) -> dict[str, str]:
    return {"epoch": epoch, "tag": tag} if tag else {"epoch": epoch}


def _frame(members: dict[str, Any]) -> bytes:
    return text_frame(orjson.dumps(members))
