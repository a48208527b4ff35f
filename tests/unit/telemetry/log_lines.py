"""Log lines as a test reads them."""

import io
from typing import Any

import orjson


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the members of each line in a stream of log lines."""
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]
