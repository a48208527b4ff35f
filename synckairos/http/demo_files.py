"""Static files of the demo page. The links in its HTML get the public sub-path of this server."""

import hashlib
from importlib import resources
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

from synckairos.http.sub_path import add_sub_path

_INDEX = "index.html"

_HEADERS = {
    "content-security-policy": "default-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    # The modules of the page must be of one release, so a browser must ask whether its copies are still current.
    "cache-control": "no-cache",
}
"""Headers of all responses under `/demo`."""


class DemoFiles(StaticFiles):
    """Static files of the demo page. The HTML with the sub-path is rendered one time, at construction."""

    def __init__(self, root_path: str) -> None:
        super().__init__(directory=demo_folder(), html=True)
        self._page = add_sub_path((demo_folder() / _INDEX).read_bytes(), root_path)
        self._etag = f'"{hashlib.md5(self._page, usedforsecurity=False).hexdigest()}"'

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file at `path` of the demo page.

        Overrides Starlette's method, because the HTML comes from memory.
        """
        response = await self._get_response(path, scope)
        response.headers.update(_HEADERS)
        return response

    async def _get_response(self, path: str, scope: Scope) -> Response:
        if path not in (".", _INDEX) or scope["method"] not in ("GET", "HEAD"):
            return await super().get_response(path, scope)
        response = Response(self._page, media_type="text/html", headers={"etag": self._etag})
        if self.is_not_modified(response.headers, Headers(scope=scope)):
            return NotModifiedResponse(response.headers)
        return response


def demo_folder() -> Path:
    """Return the path of the folder with the files of the demo page."""
    return Path(str(resources.files("synckairos.http").joinpath("static", "demo")))
