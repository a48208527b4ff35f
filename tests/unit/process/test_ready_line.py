"""Ready line: a rendered line is parsed to its URLs, and any other line is refused."""

import pytest

from synckairos.process.ready_line import parse_ready_line, render_ready_line


def test_rendered_line_parses_to_both_urls() -> None:
    assert parse_ready_line(render_ready_line("http://127.0.0.1:3000") + b"\n") == {
        "http": "http://127.0.0.1:3000",
        "ws": "ws://127.0.0.1:3000/ws",
    }


@pytest.mark.parametrize("line", [b"", b"\n", b"ready", b" SYNCKAIROS_READY {}"])
def test_any_other_line_parses_to_none(line: bytes) -> None:
    assert parse_ready_line(line) is None
