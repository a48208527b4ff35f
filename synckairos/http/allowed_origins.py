"""Which web pages may use this server: one allow-list for CORS and for WebSocket upgrades alike.

Without authentication the browser's own rules are all that keeps a page somewhere from driving a server on loopback.
So whatever changes state is refused to foreign pages, and a name that resolves to us by somebody else's doing (DNS
rebinding) doesn't count as our own.
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
    b"ETag, Location, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Idempotency-Replayed, "
    b"SyncKairos-Audited-Version, X-Request-Id"
)
PREFLIGHT_MAX_AGE_S = b"600"

MAX_CACHED_DECISIONS = 1_024
"""Verdicts kept; anybody can send any header, so they are bounded."""

_DEFAULT_PORTS = {"http": 80, "https": 443}

K = TypeVar("K")


class AllowedOrigins:
    """The allow-list. Our own origin is on it by nature, `allowed` are those besides."""

    def __init__(self, allowed: Iterable[str] = (), checks_hosts: bool = True) -> None:
        """Take the origins allowed besides our own, and whether names nobody listed are refused as Host."""
        self._allowed = {_normal(origin) for origin in allowed}
        self._listed_hosts = {urlsplit(origin).hostname for origin in self._allowed}
        self._checks_hosts = checks_hosts
        self._verdicts: dict[tuple[bytes | None, bytes | None], bool] = {}
        self._hosts: dict[bytes, bool] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> "AllowedOrigins":
        """Make the list that the settings say.

        Names are guarded where only this machine should reach us, and wherever somebody made a list: a page whose name
        was made to point here (DNS rebinding) is its own origin, and only its name gives it away.
        """
        return cls(settings.allowed_origins, checks_hosts=not settings.exposed or bool(settings.allowed_origins))

    def admits(self, scope: Scope) -> bool:
        """Tell whether a request or upgrade comes from a page that may: none, our own, or one on the list."""
        origin = host = None
        for name, value in scope["headers"]:
            if name == b"origin":
                origin = value
            elif name == b"host":
                host = value
        return self.trusts_host(host) and (origin is None or self.allows_origin(origin, host))

    def trusts_host(self, host: bytes | None) -> bool:
        """Tell whether a Host header names us: an address, a plain name, or a name that is on the list.

        A name with a dot can be anybody's who lets it resolve to this machine.
        """
        if host is None or not self._checks_hosts:
            return True
        verdict = self._hosts.get(host)
        if verdict is None:
            verdict = _remember(self._hosts, host, self._is_ours(host))
        return verdict

    def _is_ours(self, host: bytes) -> bool:
        try:
            name = urlsplit(f"//{host.decode('ascii')}").hostname or ""
        except ValueError:
            return False
        if "." not in name or name.endswith(".localhost") or name in self._listed_hosts:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True

    def allows_origin(self, origin: bytes, host: bytes | None) -> bool:
        """Tell whether pages of this origin may use us; it is our own where it names the Host it is sent to."""
        verdict = self._verdicts.get((origin, host))
        if verdict is None:
            verdict = _remember(self._verdicts, (origin, host), self._is_on_list(origin, host))
        return verdict

    def _is_on_list(self, origin: bytes, host: bytes | None) -> bool:
        try:
            text = _normal(origin.decode("ascii"))
            if text in self._allowed:
                return True
            # The scheme isn't compared: behind a proxy that ends TLS we can't see the one the page was loaded by.
            scheme, _, rest = text.partition("://")
            own = _normal(f"{scheme}://{host.decode('ascii')}").partition("://")[2] if host else ""
        except ValueError:
            return False
        return scheme in _DEFAULT_PORTS and rest == own and self.trusts_host(host)

    def cors_headers(self, origin: bytes | None, host: bytes | None) -> list[tuple[bytes, bytes]]:
        """Return the CORS headers of an answer to a request from this origin."""
        headers = [(b"vary", b"Origin")]
        if origin is not None and self.trusts_host(host) and self.allows_origin(origin, host):
            headers += [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", EXPOSED_HEADERS),
            ]
        return headers

    def preflight_headers(self) -> list[tuple[bytes, bytes]]:
        """Return what an admitted preflight is told besides."""
        return [
            (b"access-control-allow-methods", ALLOWED_METHODS),
            (b"access-control-allow-headers", ALLOWED_HEADERS),
            (b"access-control-max-age", PREFLIGHT_MAX_AGE_S),
        ]


def _normal(origin: str) -> str:
    """Return an origin in lower case without its scheme's default port. Raises ValueError for what is none."""
    parts = urlsplit(origin.strip().lower())
    if not parts.hostname or parts.path or parts.query or parts.username is not None:
        raise ValueError(origin)
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port
    return f"{parts.scheme}://{name}" + ("" if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{port}")


def _remember(verdicts: dict[K, bool], key: K, verdict: bool) -> bool:
    if len(verdicts) >= MAX_CACHED_DECISIONS:
        verdicts.clear()
    verdicts[key] = verdict
    return verdict
