"""A sub-path of a public host, such as `/clock`, under which a proxy serves this server.

The proxy may pass the sub-path on or remove it: both forms of a path lead to the same operation. So probes that connect
directly need no sub-path. Everything that the server sends to clients has the sub-path.
"""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

_LOCAL_LINK = re.compile(rb'\b(href|src)="/(?!/)')


class SubPathApp:
    """Removes the sub-path from the paths of requests and sockets, and names it to the application as `root_path`."""

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


def public_path(scope: Scope, path: str) -> str:
    """Return a path of this server as clients see it, with the sub-path if there is one."""
    root_path: str = scope.get("root_path", "")
    return root_path + path


def add_sub_path(html: bytes, root_path: str) -> bytes:
    """Return a page whose links to this server have the sub-path."""
    return _LOCAL_LINK.sub(rb'\1="%b/' % root_path.encode(), html)
