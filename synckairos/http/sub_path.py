"""Support for a public sub-path, such as `/clock`, under which a proxy serves this server.

A path with the sub-path and the same path without it lead to the same operation. The proxy can therefore keep or remove
the sub-path, and probes that connect directly need no sub-path. All paths that the server sends to clients have the
sub-path.
"""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

_LOCAL_LINK = re.compile(rb'\b(href|src)="/(?!/)')


class SubPathApp:
    """ASGI middleware that removes the sub-path from `path` of HTTP and WebSocket scopes, and sets `root_path`."""

    def __init__(self, application: ASGIApp, root_path: str) -> None:
        self._application = application
        self._root_path = root_path
        self._beginning = f"{root_path}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            path: str = scope["path"]
            if path == self._root_path:
                path = "/"
            elif path.startswith(self._beginning):
                path = path[len(self._root_path) :]
            scope = {**scope, "path": path, "root_path": self._root_path}
        await self._application(scope, receive, send)


def to_public_path(scope: Scope, path: str) -> str:
    """Return `path` with the public sub-path of the request in front.

    `path` is a path of this server without the sub-path.
    """
    root_path: str = scope.get("root_path", "")
    return root_path + path


def add_sub_path(html: bytes, root_path: str) -> bytes:
    """Return the HTML page with the sub-path `root_path` in all links to this server."""
    return _LOCAL_LINK.sub(rb'\1="%b/' % root_path.encode(), html)
