"""The line by which a parent learns where the server is."""

import pytest

from synckairos.process.ready_line import parse_ready, render_ready


def test_it_survives_the_way() -> None:
    assert parse_ready(render_ready("http://127.0.0.1:3000") + b"\n") == {
        "http": "http://127.0.0.1:3000",
        "ws": "ws://127.0.0.1:3000/ws",
    }


@pytest.mark.parametrize("line", [b"", b"\n", b"ready", b" SYNCKAIROS_READY {}"])
def test_other_lines_are_not_it(line: bytes) -> None:
    assert parse_ready(line) is None
