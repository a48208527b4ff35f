"""Static files of the pages: HTML with the public sub-path of this server in its links, and code without comments."""

import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

from synckairos.http.sub_path import add_sub_path

_INDEX = "index"

_COMMON_HEAD = b"<!-- head.html -->"  # The file static/head.html replaces this line: tags that most pages have.

_CODE_TYPES = {".js": "text/javascript", ".css": "text/css"}

# Comments that have lines of their own. The file demo/sdk.js is minified, so it has no other comments.
_COMMENT_LINES = re.compile(rb"^[ \t]*(?://.*|/\*(?:[^*]|\*(?!/))*\*/[ \t]*)\n", re.MULTILINE)

_SESSION_ID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


class PageFiles(StaticFiles):
    """Static files of one folder. Its HTML and its code are rendered one time, at construction.

    The HTML gets the sub-path. The code loses its comments, which are about a fifth of it.
    """

    def __init__(
        self,
        folder: Path,
        root_path: str,
        page_headers: Sequence[tuple[bytes, bytes]],
        session_page: str | None = None,
        index: Path | None = None,
    ) -> None:
        """Take the folder, the public sub-path and the headers of all responses, see `build_page_headers`.

        `session_page` is the name, without `.html`, of the page for paths that are session ids. None if the folder has
        no such page. `index` is the HTML file for the path of the folder itself. None: the folder has an `index.html`.
        """
        super().__init__(directory=folder, html=True)
        self._pages = {each.stem: read_page(each, root_path) for each in folder.glob("*.html")}
        if index is not None:
            self._pages[_INDEX] = read_page(index, root_path)
        self._code = {
            each.relative_to(folder).as_posix(): (_COMMENT_LINES.sub(b"", each.read_bytes()), _CODE_TYPES[each.suffix])
            for each in folder.rglob("*")
            if each.suffix in _CODE_TYPES
        }
        self._headers = {name.decode(): value.decode() for name, value in page_headers}
        self._session_page = session_page

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file at `path` of the folder, or the page of this name without `.html`.

        Overrides Starlette's method, because HTML and code come from memory.
        """
        response = await self._get_response(path, scope)
        response.headers.update(self._headers)
        return response

    async def _get_response(self, path: str, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            return await super().get_response(path, scope)
        page = await self.find_page(path)
        if page is not None:
            content, media_type = page, "application/json" if path.endswith(".json") else "text/html"
        elif path in self._code:
            content, media_type = self._code[path]
        else:
            return await super().get_response(path, scope)
        etag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        response = Response(content, media_type=media_type, headers={"etag": etag})
        if self.is_not_modified(response.headers, Headers(scope=scope)):
            return NotModifiedResponse(response.headers)
        return response

    async def find_page(self, path: str) -> bytes | None:
        """Return a page from memory. None if `path` is no page, but perhaps a file of the folder."""
        return self._pages.get(self._page_name(path))

    def _page_name(self, path: str) -> str:
        if path == ".":
            return _INDEX
        if self._session_page is not None and _SESSION_ID.fullmatch(path):
            return self._session_page
        return path.removesuffix(".html")


def page_folder(name: str) -> Path:
    """Return the path of the folder with the static files of the pages under `/{name}`, such as `demo`."""
    return Path(str(resources.files("synckairos.http").joinpath("static", name)))


def read_page(file: Path, root_path: str) -> bytes:
    """Return the HTML of a page with the tags of `static/head.html`, and with the sub-path `root_path` in its links."""
    return add_sub_path(add_common_head(file.read_bytes()), root_path)


def add_common_head(html: bytes) -> bytes:
    """Return the HTML of a page with the tags of `static/head.html` in place of their comment."""
    return html.replace(_COMMON_HEAD, page_folder("head.html").read_bytes().strip())
