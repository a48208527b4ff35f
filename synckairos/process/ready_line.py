"""The ready line: one line on stdout by which a parent process learns that the server is ready, and its URLs."""

from collections.abc import Mapping

import orjson

READY_PREFIX = b"SYNCKAIROS_READY "


def render_ready(url: str) -> bytes:
    """Render the ready line of a server at `url`, such as `http://127.0.0.1:3000`, without a newline."""
    return READY_PREFIX + orjson.dumps({"http": url, "ws": url.replace("http", "ws", 1) + "/ws"})


def parse_ready(line: bytes) -> Mapping[str, str] | None:
    """Return the URLs `http` and `ws` of a ready line, or None for any other line."""
    if not line.startswith(READY_PREFIX):
        return None
    urls: dict[str, str] = orjson.loads(line.removeprefix(READY_PREFIX))
    return urls
