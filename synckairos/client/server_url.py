"""Conversion of the HTTP or WebSocket URL of a server to the URL of its WebSocket."""

from urllib.parse import urlsplit, urlunsplit

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


def socket_url(url: str) -> str:
    """Return the URL of the server's WebSocket, such as `wss://host/clock/ws` for `https://host/clock`.

    A path that ends with `/ws` is already the path of the WebSocket. Any other path is a sub-path of the server.

    Raises: ValueError if `url` is not the URL of a server.
    """
    parts = urlsplit(url)
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ValueError(f"{url} is not the URL of a server; an example is ws://127.0.0.1:3000/ws")
    path = parts.path.rstrip("/")
    return urlunsplit((scheme, parts.netloc, path if path.endswith("/ws") else f"{path}/ws", parts.query, ""))
