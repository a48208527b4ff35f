"""Static files of the demo page. The links in its HTML get the public sub-path of this server."""

import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

from synckairos.http.sub_path import add_sub_path

_INDEX = "index.html"


class DemoFiles(StaticFiles):
    """Static files of the demo page. The HTML with the sub-path is rendered one time, at construction."""

    def __init__(self, root_path: str, page_headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Take the public sub-path and the headers of all responses, see `build_page_headers`."""
        super().__init__(directory=demo_folder(), html=True)
        self._page = add_sub_path((demo_folder() / _INDEX).read_bytes(), root_path)
        self._headers = {name.decode(): value.decode() for name, value in page_headers}
        self._etag = f'"{hashlib.md5(self._page, usedforsecurity=False).hexdigest()}"'

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file at `path` of the demo page.

        Overrides Starlette's method, because the HTML comes from memory.
        """
        response = await self._get_response(path, scope)
        response.headers.update(self._headers)
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
