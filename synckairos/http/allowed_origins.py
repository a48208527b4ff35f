"""Allow-list of the origins whose web pages can use this server, for CORS and for WebSocket upgrades.

Without authentication only the browser's rules protect a server on loopback from foreign web pages. The server
therefore refuses requests of foreign pages that change state. A domain name of an attacker can resolve to this server
(DNS rebinding). Such a name does not count as the origin of this server.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from starlette.types import Scope

from synckairos.config import Settings
from synckairos.stored_credentials.page_tenants import PageTenants

ALLOWED_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
ALLOWED_HEADERS = (
    b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, On-Behalf-Of, X-Request-Id"
)
EXPOSED_HEADERS = (
    b"Allow, ETag, Link, Location, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, "
    b"Idempotency-Replayed, SyncKairos-Audited-Version, SyncKairos-History, WWW-Authenticate, X-Request-Id"
)
"""Names of response headers that scripts of another origin can read, in addition to headers such as `Content-Type`.

A test compares this list with the headers that the server sends.
"""

PREFLIGHT_MAX_AGE_S = b"600"
"""Seconds for which a browser is allowed to cache the answer to a preflight request."""

MAX_CACHED_DECISIONS = 1_024
"""Maximum number of cached decisions.

The cache has a limit because clients can send any number of different headers.
"""

_DEFAULT_PORTS = {"http": 80, "https": 443}

K = TypeVar("K")
D = TypeVar("D")


class TenantOrigins(Protocol):
    """The origins of tenants. See `ActiveTenants`."""

    @property
    def all_origins(self) -> frozenset[str]:
        """Return the origins of all tenants that have origins of their own."""

    @property
    def tenants_with_origins(self) -> Mapping[str, tuple[str, ...]]:
        """Return the origins of each tenant that has origins of its own. Another object after each change."""


class AllowedOrigins:
    """Allow-list of origins. It always includes the origin of this server.

    Before the tenant of a request is known, the origins of all tenants are allowed. Afterwards the origins of its
    tenant decide, see `allows_tenant`.
    """

    def __init__(self, allowed: Iterable[str] = (), checks_hosts: bool = True) -> None:
        """Create the allow-list.

        `allowed` are origins in addition to this server's origin. If `checks_hosts` is True, a `Host` header with an
        unlisted name is refused.
        """
        self._allowed = {_normalize(origin) for origin in allowed}
        self._listed_hosts = {urlsplit(origin).hostname for origin in self._allowed}
        self._checks_hosts = checks_hosts
        self._tenants: TenantOrigins | None = None
        self._tenant_origins: frozenset[str] = frozenset()
        """The origins of all tenants at the last decision that is cached."""
        self._origin_decisions: dict[tuple[bytes | None, bytes | None], bool] = {}
        self._host_decisions: dict[bytes, bool] = {}
        self._ruling_origins: Mapping[str, tuple[str, ...]] = {}
        """The origins of tenants at the last rule that is cached."""
        self._page_tenants: dict[bytes, PageTenants] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> "AllowedOrigins":
        """Build the allow-list from the settings.

        `Host` is checked if the server listens on loopback only, or if origins are configured. The check stops DNS
        rebinding: for the browser, the attacker's page and this server have the same origin. Only the name in `Host`
        shows the attack.
        """
        return cls(
            settings.allowed_origins, checks_hosts=not settings.is_exposed_to_network or bool(settings.allowed_origins)
        )

    def use_tenants(self, tenants: TenantOrigins) -> None:
        """Allow also the origins of these tenants from now on."""
        self._tenants = tenants

    def allows_tenant(self, tenant: str, scope: Scope) -> bool:
        """Return whether the page that sent a request is allowed to use the data of a tenant.

        See `tenants_of_page`.
        """
        page = self.tenants_of_page(scope)
        return page is None or page.allows(tenant)

    def tenants_of_page(self, scope: Scope) -> PageTenants | None:
        """Return the tenants whose data the page that sent a request is allowed to use. None means all tenants.

        Allowed are the origin of this server, and the origins of the tenant. A tenant without own origins has the
        origins of the setting. A request without `Origin` does not come from a web page, so it is allowed. So is an
        origin that no tenant has: `allows_origin` decides about it.
        """
        if self._tenants is None:
            return None
        origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
        host = next((value for name, value in scope["headers"] if name == b"host"), None)
        if origin is None or not self.allows_origin(origin, host) or self._is_own(origin, host):
            return None
        if self._tenants.tenants_with_origins is not self._ruling_origins:
            self._ruling_origins = self._tenants.tenants_with_origins
            self._page_tenants.clear()
        found = self._page_tenants.get(origin)
        if found is None:
            rule = self._find_page_tenants(_normalize(origin.decode("ascii")))
            found = _cache_decision(self._page_tenants, origin, rule)
        return found

    def _find_page_tenants(self, origin: str) -> PageTenants:
        """Return the tenants that accept pages of a normalized origin."""
        assert self._tenants is not None
        with_origins = self._tenants.tenants_with_origins.items()
        listing = frozenset(name for name, own in with_origins if any(_normalize(each) == origin for each in own))
        if origin not in self._allowed:
            return PageTenants(listing, are_allowed=True)
        return PageTenants(frozenset(name for name, _ in with_origins if name not in listing), are_allowed=False)

    def allows_request(self, scope: Scope) -> bool:
        """Return whether both the `Host` and the `Origin` of a request or WebSocket upgrade are allowed.

        See `allows_host` and `allows_origin`. If the request has no `Origin`, only `Host` is checked, because such a
        request does not come from a web page.
        """
        origin = host = None
        for name, value in scope["headers"]:
            if name == b"origin":
                origin = value
            elif name == b"host":
                host = value
        return self.allows_host(host) and (origin is None or self.allows_origin(origin, host))

    def allows_host(self, host: bytes | None) -> bool:
        """Return whether requests with this `Host` header are allowed.

        Always True if `checks_hosts` was False, or if `host` is None (an HTTP/1.0 request without `Host`). Otherwise
        the header must have an IP address, `localhost`, a name that ends with `.localhost`, or the host name of a
        listed origin.

        All other names are refused, because the owner of a domain can let its name resolve to this server. Names
        without a dot are also refused, because a local network can resolve them.
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
        """Return whether web pages of this origin are allowed to use this server.

        Allowed are listed origins and this server's origin. An origin counts as this server's origin if two conditions
        are true: its host and port are equal to the request's `Host`, and `allows_host` accepts `Host`. The scheme of
        the two is not compared. `host` is None if the request has no `Host`.
        """
        if self._tenants is not None and self._tenants.all_origins is not self._tenant_origins:
            self._tenant_origins = self._tenants.all_origins
            self._origin_decisions.clear()
        decision = self._origin_decisions.get((origin, host))
        if decision is None:
            decision = _cache_decision(self._origin_decisions, (origin, host), self._is_own_or_listed(origin, host))
        return decision

    def _is_own_or_listed(self, origin: bytes, host: bytes | None) -> bool:
        try:
            text = _normalize(origin.decode("ascii"))
        except ValueError:
            return False
        if text in self._allowed or any(text == _normalize(each) for each in self._tenant_origins):
            return True
        return self._is_own(origin, host)

    def _is_own(self, origin: bytes, host: bytes | None) -> bool:
        """Return whether an origin is that of this server. See `allows_origin`."""
        try:
            text = _normalize(origin.decode("ascii"))
            # Do not compare the scheme. Behind a proxy that terminates TLS, the scheme of the page is unknown here.
            scheme, _, rest = text.partition("://")
            own = _normalize(f"{scheme}://{host.decode('ascii')}").partition("://")[2] if host else ""
        except ValueError:
            return False
        return scheme in _DEFAULT_PORTS and rest == own and self.allows_host(host)

    def cors_headers(self, origin: bytes | None, host: bytes | None) -> list[tuple[bytes, bytes]]:
        """Return the CORS headers of a response to a request with this `Origin` and `Host`.

        `origin` and `host` are None if the request does not have the header. If `origin` is None, or if `Host` or
        `Origin` is not allowed, return only the header `Vary`.
        """
        headers = [(b"vary", b"Origin")]
        if origin is not None and self.allows_host(host) and self.allows_origin(origin, host):
            headers += [
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", EXPOSED_HEADERS),
            ]
        return headers

    def preflight_headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that the response to an allowed preflight request has in addition to `cors_headers`."""
        return [
            (b"access-control-allow-methods", ALLOWED_METHODS),
            (b"access-control-allow-headers", ALLOWED_HEADERS),
            (b"access-control-max-age", PREFLIGHT_MAX_AGE_S),
        ]


def _normalize(origin: str) -> str:
    """Return an origin in lower case and without the default port of its scheme.

    Raises: ValueError if `origin` is not an origin.
    """
    parts = urlsplit(origin.strip().lower())
    if not parts.hostname or parts.path or parts.query or parts.username is not None:
        raise ValueError(origin)
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port
    return f"{parts.scheme}://{name}" + ("" if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{port}")


def _cache_decision(decisions: dict[K, D], key: K, decision: D) -> D:
    if len(decisions) >= MAX_CACHED_DECISIONS:
        decisions.clear()
    decisions[key] = decision
    return decision
