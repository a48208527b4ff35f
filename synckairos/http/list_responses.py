"""Bodies and headers of lists: JSON pages, rendered in pieces, and links to the next page."""

from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, urlencode

import orjson

from synckairos.http.request_response import RestRequest

JSON, CSV, NDJSON, SSE = "application/json", "text/csv", "application/x-ndjson", "text/event-stream"

CONTENT_TYPES = {JSON: b"application/json", CSV: b"text/csv; charset=utf-8", NDJSON: b"application/x-ndjson"}
"""The `Content-Type` of each format that is not a stream."""


def render_json_page(items: Iterable[bytes], next_cursor: str | None) -> Iterator[bytes]:
    """Yield the pieces of the JSON of a page. An item is read when its piece is requested."""
    return render_json_list(items, b',"next_cursor":%b}' % orjson.dumps(next_cursor))


def render_json_list(items: Iterable[bytes], end: bytes) -> Iterator[bytes]:
    """Yield the pieces of a JSON object with the items in its member `data`. `end` follows the list."""
    yield b'{"data":['
    separator = b""
    for item in items:
        yield separator + item
        separator = b","
    yield b"]" + end


def next_page_link(request: RestRequest, next_cursor: str | None) -> list[tuple[bytes, bytes]]:
    """Return the header `Link` to the next page of a list. Return no header if `next_cursor` is None."""
    if next_cursor is None:
        return []
    pairs = [pair for pair in parse_qsl(request.scope["query_string"].decode("ascii")) if pair[0] != "cursor"]
    query = urlencode([*pairs, ("cursor", next_cursor)])
    return [(b"link", f'<{request.to_public_path(request.scope["path"])}?{query}>; rel="next"'.encode())]
