"""Conversion of a server's HTTP or WebSocket URL to the URL of its WebSocket."""

from urllib.parse import urlsplit, urlunsplit

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


def socket_url(url: str) -> str:
    """Return the URL of the WebSocket, such as `ws://host:3000/ws` for `http://host:3000`. Raises ValueError."""
    parts = urlsplit(url)
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ValueError(f"{url} is not the URL of a server; an example is ws://127.0.0.1:3000/ws")
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") or "/ws", parts.query, ""))
