"""Server-Sent Events of the fallback transport: events for WebSocket frames, and events of the transport itself.

A message of the server is an event without a name. Its data is the JSON text of the WebSocket message.
"""

import orjson

from synckairos.wire.websocket_frames import extract_text_payload, is_text_frame, ping_payload


def event_for_frame(frame: bytes) -> bytes:
    """Return the event that carries a text frame or a ping frame. Other frames are not possible here.

    The data of an event `ping` is the payload of the ping frame as hexadecimal digits. The client must send it back.
    """
    if not is_text_frame(frame):
        return b"event: ping\ndata: %b\n\n" % ping_payload(frame).hex().encode()
    text = extract_text_payload(frame)
    if b"\n" in text or b"\r" in text:  # line breaks separate the lines of an event, and in JSON they are whitespace
        text = text.replace(b"\n", b" ").replace(b"\r", b" ")
    return b"data: %b\n\n" % text


def open_event(stream_id: str) -> bytes:
    """Return the first event of a stream. Its data has the id with which the client sends frames."""
    return b"event: open\ndata: %b\n\n" % orjson.dumps({"stream_id": stream_id})


def received_event(sequence: int) -> bytes:
    """Return the event that confirms all batches of the client up to the number `sequence`."""
    return b"event: received\ndata: %d\n\n" % sequence


def close_event(code: int, reason: str) -> bytes:
    """Return the last event of a stream. It has the close code and the reason of a close frame."""
    return b"event: close\ndata: %b\n\n" % orjson.dumps({"code": code, "reason": reason})
