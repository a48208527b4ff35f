"""REST route that draws the QR code of a link to the demo page, by which another device joins the same session."""

import asyncio
import re
from typing import Annotated

import segno
from pydantic import Field

from synckairos.errors import ValidationFailed
from synckairos.http.allowed_origins import AllowedOrigins
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.store.rate_limits import RateLimits
from synckairos.wire.field_types import StrictModel

QR_CODE_PATH = "/demo-qr.svg"

MAX_LINK_BYTES = 180
"""Bytes of the longest link. It fills a code of version 9 (53 modules), which is still easy to scan."""

CACHE_S = 86_400
"""Seconds for which a browser may keep a code. The code of a link never changes."""

_LINK = r"(https?://[A-Za-z0-9.:\[\]_-]+)(?:{root_path})?/demo(?:[/?][!-~]*)?"
"""A link to the demo page, with or without the sub-path: the page is served at both paths."""

BORDER = 4
"""Modules of the light border that a reader needs around the code (ISO/IEC 18004)."""

_DARK, _LIGHT = "#10160f", "#fffef8"


class QrCodeQuery(StrictModel):
    """`link` is the complete URL of the demo page, with its query string."""

    link: Annotated[str, Field(min_length=1, max_length=MAX_LINK_BYTES)]


class QrCodeRoutes:
    """The operation that draws a QR code.

    It draws only links to the demo page of this server or of a listed origin. So it cannot be used to give a foreign
    link the appearance of one from this server.
    """

    def __init__(self, origins: AllowedOrigins, rate_limits: RateLimits, root_path: str = "") -> None:
        """Create the routes. `root_path` is the public sub-path."""
        self._link = re.compile(_LINK.format(root_path=re.escape(root_path)))
        self._demo_path = f"{root_path}/demo"
        self._origins = origins
        self._rate_limits = rate_limits

    def operations(self) -> list[Operation]:
        """Return the operation for the table. It has no summary: it belongs to the demo page and not to the API."""
        return [Operation("GET", QR_CODE_PATH, self.draw, "", "")]

    async def draw(self, request: RestRequest) -> RestResponse:
        query = request.read_query(QrCodeQuery)
        link = self._link.fullmatch(query.link)
        if link is None or not self._origins.allows_origin(link[1].encode(), request.headers.get(b"host")):
            raise ValidationFailed.at("link", f"should be a link to {self._demo_path} of this server")
        await self._rate_limits.count(request.meter)
        # A code takes milliseconds. A thread lets the event loop serve other requests meanwhile.
        svg = await asyncio.to_thread(render_qr_code, query.link)
        headers = [
            (b"cache-control", b"private, max-age=%d" % CACHE_S),
            (b"content-security-policy", b"default-src 'none'"),
        ]
        return RestResponse(svg, content_type=b"image/svg+xml", headers=headers)


def render_qr_code(link: str) -> bytes:
    """Return the QR code of a link as SVG, with error correction M and one unit of length for each module."""
    modules = segno.make_qr(link, error="m", boost_error=False).matrix
    size = len(modules) + 2 * BORDER
    squares = (
        f"M{x} {y}h1v1h-1z"
        for y, row in enumerate(modules, start=BORDER)
        for x, is_dark in enumerate(row, start=BORDER)
        if is_dark
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" shape-rendering="crispEdges">'
        f'<rect width="{size}" height="{size}" fill="{_LIGHT}"/><path fill="{_DARK}" d="{"".join(squares)}"/></svg>'
    ).encode()
