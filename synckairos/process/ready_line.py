"""Format of the ready line: one line on stdout with which a server announces to its parent that it is ready.

The line contains the URLs of the server.
"""

from collections.abc import Mapping

import orjson

READY_PREFIX = b"SYNCKAIROS_READY "


def render_ready_line(url: str) -> bytes:
    """Return the ready line without a newline. `url` is the server's base URL, such as `http://127.0.0.1:3000`."""
    return READY_PREFIX + orjson.dumps({"http": url, "ws": url.replace("http", "ws", 1) + "/ws"})


def parse_ready_line(line: bytes) -> Mapping[str, str] | None:
    """Return the URLs of a ready line under the keys `http` and `ws`. Return None if `line` is not a ready line."""
    if not line.startswith(READY_PREFIX):
        return None
    urls: dict[str, str] = orjson.loads(line.removeprefix(READY_PREFIX))
    return urls
