"""Messages of the v2 WebSocket dialect, with exactly the names and JSON members that v2 clients expect.

Each message to a client is a complete WebSocket frame. The session's state in a message is the stored document, with
unchanged bytes. Each `timestamp_ms` is the time of Redis in ms since the Unix epoch.
"""

from enum import StrEnum
from typing import Any

import orjson

from synckairos.errors import MalformedMessage, SyncKairosError
from synckairos.wire.websocket_frames import text_frame


class V2ClientMessage(StrEnum):
    """Type of a message from a client: `{"type": …}`. Other JSON members are ignored."""

    PING = "PING"
    RECONNECT = "RECONNECT"


def parse_v2_message(text: str | bytes) -> V2ClientMessage:
    """Parse a message from a client.

    Raises: MalformedMessage if the message is not a JSON object with a known type.
    """
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise MalformedMessage("A message must be a JSON object; this is not JSON") from None
    if not isinstance(message, dict):
        raise MalformedMessage('A message must be a JSON object such as {"type": "PING"}')
    try:
        return V2ClientMessage(message["type"])
    except (KeyError, ValueError):
        raise MalformedMessage("Unknown message type; PING and RECONNECT are known") from None


def connected_frame(session_id: str, timestamp_ms: int) -> bytes:
    """Return the CONNECTED frame, the first message of a connection."""
    return _frame(type="CONNECTED", sessionId=session_id, timestamp=timestamp_ms)


def state_sync_frame(session_id: str, timestamp_ms: int, document: bytes) -> bytes:
    """Return the STATE_SYNC frame with the full state, which is sent after CONNECTED and answers a RECONNECT."""
    return _state("STATE_SYNC", session_id, timestamp_ms, document)


def state_update_frame(session_id: str, timestamp_ms: int, document: bytes) -> bytes:
    """Return the STATE_UPDATE frame with the full state of a newer version."""
    return _state("STATE_UPDATE", session_id, timestamp_ms, document)


def session_deleted_frame(session_id: str, timestamp_ms: int) -> bytes:
    """Return the SESSION_DELETED frame."""
    return _frame(type="SESSION_DELETED", sessionId=session_id, timestamp=timestamp_ms)


def pong_frame(timestamp_ms: int) -> bytes:
    """Return the PONG frame, the answer to a PING."""
    return _frame(type="PONG", timestamp=timestamp_ms)


def error_frame(refusal: SyncKairosError) -> bytes:
    """Return the ERROR frame of a refusal."""
    return _frame(type="ERROR", code=refusal.code, message=refusal.message)


def _frame(**members: Any) -> bytes:
    return text_frame(orjson.dumps(members))


def _state(kind: str, session_id: str, timestamp_ms: int, document: bytes) -> bytes:
    head = f'{{"type":"{kind}","sessionId":"{session_id}","timestamp":{timestamp_ms},"state":'
    return text_frame(head.encode() + document + b"}")
