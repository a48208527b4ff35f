"""Conversion between the HTTP URL of a server and the URL of its WebSocket."""

from urllib.parse import urlsplit, urlunsplit

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


def socket_url(url: str) -> str:
    """Return the URL of the server's WebSocket, such as `wss://host/clock/ws` for `https://host/clock`.

    A path that ends with `/ws` is already the path of the WebSocket. Any other path is a sub-path of the server.

    Raises: ValueError if `url` is not the URL of a server.
    """
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # malformed IPv6 address, or a port that is no number or is out of range
        is_valid = False
    if not is_valid:
        raise ValueError(f"{url} is not the URL of a server; an example is http://127.0.0.1:3000")
    path = parts.path.rstrip("/")
    path = path if path.endswith("/ws") else f"{path}/ws"
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


def server_url(url: str) -> str:
    """Return the HTTP base URL of the server with the WebSocket `url`.

    For example, `ws://host:3000/ws` becomes `http://host:3000`.
    """
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.removesuffix("/ws"), "", ""))
