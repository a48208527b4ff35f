"""One allow-list for CORS and upgrades: our own origin, those listed, nobody else's, whatever a name resolves to."""

import pytest

from synckairos.config import Settings
from synckairos.http.allowed_origins import MAX_CACHED_DECISIONS, AllowedOrigins
from synckairos.http.caller_identity import CallerIdentity


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
def test_our_own_pages_and_listed_ones_may(origin: str | None, host: str | None) -> None:
    assert AllowedOrigins(["https://time.example"]).admits(scope(origin, host))


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
        # A name of somebody else's that resolves to this machine is not our own, asked with an Origin or without.
        ("http://rebound.example:3000", "rebound.example:3000"),
        (None, "rebound.example:3000"),
        (None, "rebound.example."),
        (None, "\xff.example"),
    ],
)
def test_others_may_not(origin: str | None, host: str | None) -> None:
    assert not AllowedOrigins(["https://time.example"]).admits(scope(origin, host))


def test_a_server_open_to_all_has_the_names_it_is_given() -> None:
    exposed = AllowedOrigins(checks_hosts=False)
    assert exposed.admits(scope("http://clock.example", "clock.example"))
    assert not exposed.admits(scope("http://evil.example", "clock.example"))


def test_settings_say_who_is_listed_and_whether_names_are_guarded() -> None:
    assert not AllowedOrigins.from_settings(Settings()).trusts_host(b"clock.example")
    assert AllowedOrigins.from_settings(Settings(allowed_origins=["https://clock.example"])).trusts_host(
        b"clock.example"
    )
    assert AllowedOrigins.from_settings(Settings(host="0.0.0.0", insecure=True)).trusts_host(b"clock.example")
    listed = Settings(host="0.0.0.0", insecure=True, allowed_origins=["http://localhost:3000"])
    assert not AllowedOrigins.from_settings(listed).trusts_host(b"clock.example")
    assert AllowedOrigins.from_settings(listed).trusts_host(b"localhost:3000")


def test_verdicts_are_remembered_within_bounds() -> None:
    origins = AllowedOrigins()
    for at in range(3 * MAX_CACHED_DECISIONS):
        assert not origins.allows_origin(b"http://evil%d.example" % at, b"localhost")
        assert not origins.trusts_host(b"evil%d.example" % at)
    assert origins.allows_origin(b"http://localhost", b"localhost")


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7, nonsense", "10.0.0.1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("", "198.51.100.7", ""),
    ],
)
def test_only_our_proxies_are_believed(peer: str, forwarded: str | None, address: str) -> None:
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    asked = {"type": "http", "client": (peer, 1) if peer else None, "headers": headers}
    assert CallerIdentity(["10.0.0.0/8"]).address_for(asked) == address
    assert CallerIdentity().principal_for(asked).address == peer
