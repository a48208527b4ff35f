"""Allow-list for CORS and upgrades: the server's origin and listed origins are allowed, other origins are refused."""

import ast
from pathlib import Path

import pytest

from synckairos import http
from synckairos.config import Settings
from synckairos.http.allowed_origins import EXPOSED_HEADERS, MAX_CACHED_DECISIONS, AllowedOrigins


def scope(origin: str | None = None, host: str | None = "127.0.0.1:3000", **more: object) -> dict[str, object]:
    headers = [(b"origin", origin.encode())] if origin is not None else []
    if host is not None:
        headers.append((b"host", host.encode()))
    return {"type": "websocket", "headers": headers} | more


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "127.0.0.1:3000"),
        (None, None),
        ("http://127.0.0.1:3000", "127.0.0.1:3000"),
        ("http://localhost:3000", "localhost:3000"),
        ("http://LOCALHOST:3000", "localhost:3000"),
        ("http://[::1]:3000", "[::1]:3000"),
        ("http://clock.localhost", "clock.localhost"),
        ("http://localhost", "localhost:80"),
        ("https://localhost", "localhost"),
        ("https://time.example", "127.0.0.1:3000"),
        ("https://time.example", "time.example"),
        ("https://time.example:443", "time.example"),
    ],
)
def test_own_and_listed_origins_are_allowed(origin: str | None, host: str | None) -> None:
    assert AllowedOrigins(["https://time.example"]).allows_request(scope(origin, host))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "127.0.0.1:3000"),
        ("http://127.0.0.1:4000", "127.0.0.1:3000"),
        ("http://127.0.0.1", "127.0.0.1:3000"),
        ("http://localhost:3000", "127.0.0.1:3000"),
        ("http://127.0.0.1:3000", None),
        ("http://time.example", "127.0.0.1:3000"),
        ("https://time.example.evil.example", "127.0.0.1:3000"),
        ("https://eviltime.example", "127.0.0.1:3000"),
        ("null", "127.0.0.1:3000"),
        ("", "127.0.0.1:3000"),
        ("file://", "127.0.0.1:3000"),
        ("chrome-extension://127.0.0.1:3000", "127.0.0.1:3000"),
        ("http://127.0.0.1:3000/path", "127.0.0.1:3000"),
        ("http://user@127.0.0.1:3000", "127.0.0.1:3000"),
        ("http://127.0.0.1:99999", "127.0.0.1:3000"),
        ("http://[::1", "127.0.0.1:3000"),
        # A foreign name that resolves to this machine (DNS rebinding) is refused, with and without an Origin.
        ("http://rebound.example:3000", "rebound.example:3000"),
        (None, "rebound.example:3000"),
        (None, "rebound.example."),
        # A local network can resolve a name without a dot, for example with its search domain.
        ("http://intranet:3000", "intranet:3000"),
        (None, "intranet"),
        (None, ""),
        (None, "notlocalhost"),
        (None, "\xff.example"),
    ],
)
def test_other_origins_and_foreign_hosts_are_refused(origin: str | None, host: str | None) -> None:
    assert not AllowedOrigins(["https://time.example"]).allows_request(scope(origin, host))


def test_server_without_host_checks_accepts_every_name_as_its_own() -> None:
    exposed = AllowedOrigins(checks_hosts=False)
    assert exposed.allows_request(scope("http://clock.example", "clock.example"))
    assert not exposed.allows_request(scope("http://evil.example", "clock.example"))


def test_hosts_are_checked_on_loopback_and_if_origins_are_listed() -> None:
    assert not AllowedOrigins.from_settings(Settings()).allows_host(b"clock.example")
    assert AllowedOrigins.from_settings(Settings(allowed_origins=["https://clock.example"])).allows_host(
        b"clock.example"
    )
    assert AllowedOrigins.from_settings(Settings(host="0.0.0.0", insecure=True)).allows_host(b"clock.example")
    listed = Settings(host="0.0.0.0", insecure=True, allowed_origins=["http://localhost:3000"])
    assert not AllowedOrigins.from_settings(listed).allows_host(b"clock.example")
    assert not AllowedOrigins.from_settings(listed).allows_host(b"server:3000")
    assert AllowedOrigins(["http://server:3000"]).allows_host(b"server:3000")
    assert AllowedOrigins.from_settings(listed).allows_host(b"localhost:3000")


def test_cached_decisions_are_bounded() -> None:
    origins = AllowedOrigins()
    for at in range(3 * MAX_CACHED_DECISIONS):
        assert not origins.allows_origin(b"http://evil%d.example" % at, b"localhost")
        assert not origins.allows_host(b"evil%d.example" % at)
    assert origins.allows_origin(b"http://localhost", b"localhost")


READABLE_WITHOUT_LISTING = {"cache-control", "content-language", "content-length", "content-type", "last-modified"}
"""Response headers that a browser shows to each allowed origin (Fetch, "CORS-safelisted response-header name")."""

FOR_BROWSERS_AND_PROXIES = {
    *("connection", "content-security-policy", "referrer-policy", "upgrade", "vary", "x-accel-buffering"),
    *("x-content-type-options",),
}
"""Response headers that no script needs."""


def sent_headers() -> set[str]:
    """Return the names of all headers that the code of the package `http` contains, as pairs of bytes."""
    found = set()
    for module in Path(http.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            match node:
                case ast.Tuple(elts=[ast.Constant(value=bytes(name)), _]):
                    found.add(name.decode())
    return {name for name in found if not name.startswith("access-control-")}


def test_pages_of_other_origins_can_read_all_headers_that_scripts_need() -> None:
    exposed = {name.strip().lower() for name in EXPOSED_HEADERS.decode().split(",")}
    assert {"link", "synckairos-history", "etag", "ratelimit-remaining"} <= exposed
    assert exposed == sent_headers() - READABLE_WITHOUT_LISTING - FOR_BROWSERS_AND_PROXIES
