"""The one line on stdout by which a parent process learns that the server answers, and where."""

from collections.abc import Mapping

import orjson

MARK = b"SYNCKAIROS_READY "


def render_ready(url: str) -> bytes:
    """Render the line for a server at `url`, such as `http://127.0.0.1:3000`, without its newline."""
    return MARK + orjson.dumps({"http": url, "ws": url.replace("http", "ws", 1) + "/ws"})


def parse_ready(line: bytes) -> Mapping[str, str] | None:
    """Return the addresses, `http` and `ws`, if this is the line; else None."""
    if not line.startswith(MARK):
        return None
    found: dict[str, str] = orjson.loads(line.removeprefix(MARK))
    return found
