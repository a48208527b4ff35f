"""Address of a caller: with and without trusted proxies, as IPv4 and as IPv6."""

from typing import Any

import pytest

from synckairos.http.client_address import CallerResolver, parse_address

PROXIES = ["10.0.0.0/8", "2001:db8:ffff::/48"]


def scope(peer: str, *headers: tuple[str, str]) -> dict[str, Any]:
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    return {"type": "http", "client": (peer, 1) if peer else None, "headers": encoded}


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7, [2001:db8:ffff::2]:8080", "198.51.100.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7, nonsense", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9:5100", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.10:5100", "203.0.113.10"),
        ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::/64"),
        ("10.0.0.1", "[2001:db8:0:1::1]", "2001:db8:0:1::/64"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::/64"),
        ("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "[::ffff:198.51.100.7]:80", "198.51.100.7"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("2001:db8:ffff::1", "198.51.100.7", "198.51.100.7"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("", "198.51.100.7", ""),
    ],
)
def test_x_forwarded_for_counts_only_behind_trusted_proxies(peer: str, forwarded: str | None, address: str) -> None:
    headers = [] if forwarded is None else [("x-forwarded-for", forwarded)]
    assert CallerResolver(PROXIES).address_for(scope(peer, *headers)) == address
    assert CallerResolver().principal_for(scope(peer, *headers)).address == CallerResolver().address_for(scope(peer))


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("for=198.51.100.7", "198.51.100.7"),
        ('For="198.51.100.7:47011";proto=https', "198.51.100.7"),
        ('proto=https;by=203.0.113.43; for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::/64"),
        ("for=203.0.113.9, for=198.51.100.7;proto=http", "198.51.100.7"),
        ("for=198.51.100.7, for=10.0.0.2", "198.51.100.7"),
        ("for=_hidden", "10.0.0.1"),
        ("for=unknown", "10.0.0.1"),
        ("proto=https", "10.0.0.1"),
        ('for=203.0.113.9;host=", for="198.51.100.7"', "198.51.100.7"),
    ],
)
def test_forwarded_header_counts_behind_trusted_proxies(forwarded: str, address: str) -> None:
    given = scope("10.0.0.1", ("forwarded", forwarded))
    assert CallerResolver(PROXIES).address_for(given) == address
    assert CallerResolver().address_for(given) == "10.0.0.1"


def test_forwarded_header_is_ignored_beside_x_forwarded_for() -> None:
    given = scope("10.0.0.1", ("forwarded", "for=203.0.113.9"), ("x-forwarded-for", "198.51.100.7"))
    assert CallerResolver(PROXIES).address_for(given) == "198.51.100.7"


def test_repeated_x_forwarded_for_headers_are_one_list() -> None:
    given = scope("10.0.0.1", ("x-forwarded-for", "198.51.100.7"), ("x-forwarded-for", "10.0.0.2"))
    assert CallerResolver(PROXIES).address_for(given) == "198.51.100.7"


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("::FFFF:0A00:0005", "10.0.0.5"),
        ("2001:DB8::5", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_peer_of_a_dual_stack_listener_has_one_address(peer: str, address: str) -> None:
    assert CallerResolver().address_for(scope(peer)) == address


def test_addresses_of_one_ipv6_network_are_one_client() -> None:
    identity = CallerResolver()
    assert len({identity.address_for(scope(f"2001:db8::{at:x}:1")) for at in range(1, 30)}) == 1
    assert identity.address_for(scope("2001:db8:0:1::1")) != identity.address_for(scope("2001:db8::1"))


@pytest.mark.parametrize("trusted", ["10.0.0.0/8", "::ffff:10.0.0.0/104", "::ffff:10.0.0.1"])
@pytest.mark.parametrize("peer", ["10.0.0.1", "::ffff:10.0.0.1"])
def test_mapped_ipv4_addresses_and_networks_match_plain_ones(trusted: str, peer: str) -> None:
    given = scope(peer, ("x-forwarded-for", "198.51.100.7"))
    assert CallerResolver([trusted]).address_for(given) == "198.51.100.7"


@pytest.mark.parametrize(
    "text", ["", "nonsense", "1.2.3", "1.2.3.4.5:80", "[1.2.3.4", "[]:80", "2001:db8::1:", "_hidden:80", "\u0661.1.1.1"]
)
def test_text_that_is_no_address_is_not_parsed(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("peer", "forwarded", "origin"),
    [
        pytest.param("192.0.2.1", None, "http://clock.example:3000", id="direct"),
        pytest.param("192.0.2.1", "https", "http://clock.example:3000", id="client that claims https"),
        pytest.param("10.0.0.1", "https", "https://clock.example:3000", id="proxy with https"),
        pytest.param("10.0.0.1", "http", "http://clock.example:3000", id="proxy with http"),
        pytest.param("10.0.0.1", "gopher", "http://clock.example:3000", id="proxy with another scheme"),
        pytest.param("10.0.0.1", None, "http://clock.example:3000", id="proxy without a scheme"),
    ],
)
def test_origin_has_the_scheme_that_a_trusted_proxy_states(peer: str, forwarded: str | None, origin: str) -> None:
    headers = [("host", "clock.example:3000")] + ([("x-forwarded-proto", forwarded)] if forwarded else [])
    assert CallerResolver(PROXIES).origin_for(scope(peer, *headers)) == origin
