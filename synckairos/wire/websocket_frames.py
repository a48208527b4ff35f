"""WebSocket frames a server sends, as bytes (RFC 6455, section 5.2): unmasked, never fragmented, never compressed.

A frame built here once is written to any number of sockets. Parses nothing: what clients send is the server's business.
"""


def ping_frame(payload: bytes) -> bytes:
    """Frame a ping; its payload has at most 125 bytes."""
    return bytes((0x89, len(payload))) + payload


PING_FRAME = ping_frame(b"")


def text_frame(payload: bytes) -> bytes:
    """Frame UTF-8 text."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def text_payload(frame: bytes) -> bytes:
    """Return the text of what `text_frame` made."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


def close_frame(code: int, reason: str) -> bytes:
    """Frame a close; the reason has at most 123 bytes."""
    payload = code.to_bytes(2, "big") + reason.encode()
    return bytes((0x88, len(payload))) + payload
