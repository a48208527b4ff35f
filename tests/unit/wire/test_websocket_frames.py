"""WebSocket frames, checked by parsing them with the library `websockets` (RFC 6455)."""

import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from synckairos.wire.websocket_frames import PING_FRAME, extract_text_payload, text_frame


def parsed(frame: bytes) -> Frame:
    reader = StreamReader()
    reader.feed_data(frame)
    reading = Frame.parse(reader.read_exact, mask=False)
    try:
        next(reading)
    except StopIteration as end:
        result: Frame = end.value
        assert not reader.buffer
        return result
    raise AssertionError("not a whole frame")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 300_000])
def test_a_text_of_any_size_is_one_text_frame(size: int) -> None:
    frame = text_frame(b"x" * size)
    assert parsed(frame) == Frame(Opcode.TEXT, b"x" * size)
    assert extract_text_payload(frame) == b"x" * size


def test_the_ping_frame_is_an_empty_ping() -> None:
    assert parsed(PING_FRAME) == Frame(Opcode.PING, b"")
