"""REST route that draws a QR code of a link to a page. A device that scans it joins the session."""

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
"""Maximum bytes of a link. The longest link needs a QR code of version 9 (53 modules), which is easy to scan."""

CACHE_S = 86_400
"""Seconds for which a browser is allowed to cache a QR code. The QR code of a link never changes."""

_LINK = r'(https?://[A-Za-z0-9.:\[\]_-]+)(?:{root_path})?/(?:demo|view|control|desk|agenda)(?:[/?][!"$-~]*)?'
"""Pattern of a link to the demo page or a page of a session.

The sub-path is optional, because the page is served at both paths.
"""

_LINK_FRAGMENT = r"(?:#link=[!-~]*)?"
"""Pattern of a fragment with the secret of a link."""

BORDER = 4
"""Width in modules of the light border that a scanner needs around the QR code (ISO/IEC 18004)."""

_DARK, _LIGHT = "#10160f", "#fffef8"


class QrCodeQuery(StrictModel):
    """Query of the QR code route. `link` is the complete URL of a page with its query string."""

    link: Annotated[str, Field(min_length=1, max_length=MAX_LINK_BYTES)]


class DrawQrCode(StrictModel):
    """Body of the QR code route. `link` is the complete URL of a page. Its fragment can have the secret of a link."""

    link: Annotated[str, Field(min_length=1, max_length=MAX_LINK_BYTES)]


class QrCodeRoutes:
    """REST operations that draw a QR code. GET has the link in its query, and POST in its body.

    A link with a secret is drawn only by POST, because URLs are in logs and caches. The operations accept only links
    to the demo page and to pages of sessions, of this server or of an allowed origin. An attacker therefore cannot
    present a foreign link as a QR code of this server.
    """

    def __init__(self, origins: AllowedOrigins, rate_limits: RateLimits, root_path: str = "") -> None:
        """Create the routes. `root_path` is the public sub-path, such as `/clock`. Empty if there is no sub-path."""
        link = _LINK.format(root_path=re.escape(root_path))
        self._link, self._secret_link = re.compile(link), re.compile(link + _LINK_FRAGMENT)
        self._paths = ", ".join(f"{root_path}/{name}" for name in ("demo", "view", "control", "desk", "agenda"))
        self._origins = origins
        self._rate_limits = rate_limits

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class. They have no summary, because they are parts of the pages."""
        return [
            Operation("GET", QR_CODE_PATH, "qr_code", self.draw, "", ""),
            Operation("POST", QR_CODE_PATH, "qr_code", self.draw_body, "", ""),
        ]

    async def draw(self, request: RestRequest) -> RestResponse:
        """Answer the request for a QR code: draw the link of the query as SVG."""
        query = request.read_query(QrCodeQuery)
        return await self._draw(request, query.link, self._link, b"private, max-age=%d" % CACHE_S)

    async def draw_body(self, request: RestRequest) -> RestResponse:
        """Answer the request for a QR code: draw the link of the body as SVG. Browsers do not keep the answer."""
        body = await request.read_body(DrawQrCode)
        return await self._draw(request, body.link, self._secret_link, b"no-store")

    async def _draw(self, request: RestRequest, text: str, pattern: re.Pattern[str], caching: bytes) -> RestResponse:
        link = pattern.fullmatch(text)
        if link is None or not self._origins.allows_origin(link[1].encode(), request.headers.get(b"host")):
            raise ValidationFailed.at_path("link", f"should be a link to one of {self._paths} of this server")
        await self._rate_limits.count(request.meter)
        # Rendering takes milliseconds. It runs in a thread, so that the event loop serves other requests.
        svg = await asyncio.to_thread(render_qr_code, text)
        headers = [(b"cache-control", caching), (b"content-security-policy", b"default-src 'none'")]
        return RestResponse(svg, content_type=b"image/svg+xml", headers=headers)


def render_qr_code(link: str) -> bytes:
    """Return the QR code of a link as SVG. The error correction level is M. One module has the size of one SVG unit."""
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
