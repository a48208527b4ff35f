"""WebSocket frames from the server as bytes (RFC 6455, section 5.2): unmasked, not fragmented, not compressed.

A caller can build a frame once and write it to any number of sockets. The package `server` parses the frames from
clients.
"""


def ping_frame(payload: bytes) -> bytes:
    """Build a ping frame. `payload` must have at most 125 bytes; a longer payload makes an invalid frame."""
    return bytes((0x89, len(payload))) + payload


PING_FRAME = ping_frame(b"")
"""A ping frame without payload."""


def text_frame(payload: bytes) -> bytes:
    """Build a text frame. `payload` must be UTF-8 and can have any length."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def extract_text_payload(frame: bytes) -> bytes:
    """Return the payload of a frame that `text_frame` has built."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


def close_frame(code: int, reason: str) -> bytes:
    """Build a close frame. `reason` must have at most 123 bytes in UTF-8; a longer reason makes an invalid frame."""
    payload = code.to_bytes(2, "big") + reason.encode()
    return bytes((0x88, len(payload))) + payload


def is_text_frame(frame: bytes) -> bool:
    """Return whether a frame is a text frame. `frame` must come from a function of this module."""
    return frame[0] == 0x81


def ping_payload(frame: bytes) -> bytes:
    """Return the payload of a frame that `ping_frame` has built."""
    return frame[2:]
