"""Origins of web pages that may use this server: one allow-list for CORS and for WebSocket upgrades.

Without authentication only the browser's rules stop a foreign page from using a server on loopback. So requests that
change state are refused for foreign pages. A foreign domain name that resolves to this server (DNS rebinding) does not
count as the server's own origin.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit

from starlette.types import Scope

from synckairos.config import Settings

ALLOWED_METHODS = b"GET, HEAD, POST, PATCH, DELETE, OPTIONS"
ALLOWED_HEADERS = b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, X-Request-Id"
EXPOSED_HEADERS = (
    b"Allow, ETag, Link, Location, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, "
    b"Idempotency-Replayed, SyncKairos-Audited-Version, SyncKairos-History, X-Request-Id"
)
"""Headers of responses that a script of another origin may read. A test compares them with all headers that are sent.

A browser shows further headers without this list, such as `Content-Type`.
"""

PREFLIGHT_MAX_AGE_S = b"600"

MAX_CACHED_DECISIONS = 1_024
"""Number of cached decisions. It is bounded because clients can send any number of different headers."""

_DEFAULT_PORTS = {"http": 80, "https": 443}

K = TypeVar("K")


class AllowedOrigins:
    """The allow-list. It always includes the server's own origin."""

    def __init__(self, allowed: Iterable[str] = (), checks_hosts: bool = True) -> None:
        """Create the list. `allowed` are additional origins; `checks_hosts` refuses unlisted names in Host."""
        self._allowed = {_normalize(origin) for origin in allowed}
        self._listed_hosts = {urlsplit(origin).hostname for origin in self._allowed}
        self._checks_hosts = checks_hosts
        self._origin_decisions: dict[tuple[bytes | None, bytes | None], bool] = {}
        self._host_decisions: dict[bytes, bool] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> "AllowedOrigins":
        """Build the list from the settings.

        Host names are checked if the server listens on loopback only, or if origins are configured. In an attack by
        DNS rebinding the page is of the same origin as its requests; only its host name shows that it is foreign.
        """
        return cls(settings.allowed_origins, checks_hosts=not settings.exposed or bool(settings.allowed_origins))

    def admits(self, scope: Scope) -> bool:
        """Return whether a request or upgrade is allowed: it has no Origin, the server's own, or a listed one."""
        origin = host = None
        for name, value in scope["headers"]:
            if name == b"origin":
                origin = value
            elif name == b"host":
                host = value
        return self.trusts_host(host) and (origin is None or self.allows_origin(origin, host))

    def trusts_host(self, host: bytes | None) -> bool:
        """Return whether a Host header names this server: an IP address, `localhost` or a listed name.

        Other names are not trusted: the owner of any domain can let it resolve to this server. Names without a dot are
        no exception, because a local network may complete or resolve them. Only HTTP/1.0 has requests without a Host.
        """
        if host is None or not self._checks_hosts:
            return True
        decision = self._host_decisions.get(host)
        if decision is None:
            decision = _cache_decision(self._host_decisions, host, self._names_this_server(host))
        return decision

    def _names_this_server(self, host: bytes) -> bool:
        try:
            name = urlsplit(f"//{host.decode('ascii')}").hostname or ""
        except ValueError:
            return False
        if name == "localhost" or name.endswith(".localhost") or name in self._listed_hosts:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True

    def allows_origin(self, origin: bytes, host: bytes | None) -> bool:
        """Return whether pages of this origin are allowed.

        An origin that equals the Host of its request is the server's own.
        """
        decision = self._origin_decisions.get((origin, host))
        if decision is None:
            decision = _cache_decision(self._origin_decisions, (origin, host), self._is_own_or_listed(origin, host))
        return decision

    def _is_own_or_listed(self, origin: bytes, host: bytes | None) -> bool:
        try:
            text = _normalize(origin.decode("ascii"))
            if text in self._allowed:
                return True
            # The scheme is not compared: behind a proxy that terminates TLS the page's scheme is unknown.
            scheme, _, rest = text.partition("://")
            own = _normalize(f"{scheme}://{host.decode('ascii')}").partition("://")[2] if host else ""
        except ValueError:
            return False
        return scheme in _DEFAULT_PORTS and rest == own and self.trusts_host(host)

    def cors_headers(self, origin: bytes | None, host: bytes | None) -> list[tuple[bytes, bytes]]:
        """Return the CORS headers of a response to a request from this origin."""
        headers = [(b"vary", b"Origin")]
        if origin is not None and self.trusts_host(host) and self.allows_origin(origin, host):
            headers += [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", EXPOSED_HEADERS),
            ]
        return headers

    def preflight_headers(self) -> list[tuple[bytes, bytes]]:
        """Return the additional headers of a response to an allowed preflight request."""
        return [
            (b"access-control-allow-methods", ALLOWED_METHODS),
            (b"access-control-allow-headers", ALLOWED_HEADERS),
            (b"access-control-max-age", PREFLIGHT_MAX_AGE_S),
        ]


def _normalize(origin: str) -> str:
    """Return an origin in lower case, without the default port of its scheme. Raises ValueError if it is invalid."""
    parts = urlsplit(origin.strip().lower())
    if not parts.hostname or parts.path or parts.query or parts.username is not None:
        raise ValueError(origin)
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port
    return f"{parts.scheme}://{name}" + ("" if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{port}")


def _cache_decision(decisions: dict[K, bool], key: K, decision: bool) -> bool:
    if len(decisions) >= MAX_CACHED_DECISIONS:
        decisions.clear()
    decisions[key] = decision
    return decision
