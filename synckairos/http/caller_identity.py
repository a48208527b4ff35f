"""Identity of a caller: the client address of a request, behind trusted proxies, and its principal."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

from synckairos.principal import Principal

IPV6_CLIENT_PREFIX = 64
"""Bits of an IPv6 address that identify a client: the smallest network of a subscriber (RFC 6177).

One client can use all addresses of its network. So limits count the network and not the single address.
"""

MAX_CACHED_ADDRESSES = 4_096
"""Number of parsed addresses that are cached. It is bounded because clients have any number of addresses."""

_MAPPED_IPV4 = IPv6Network("::ffff:0:0/96")
"""IPv4 addresses as a dual-stack socket reports them: `::ffff:10.0.0.5` is 10.0.0.5 (RFC 4291, section 2.5.5.2)."""

_BRACKETED_IPV6 = re.compile(r"\[([^\]]*)\](?::\S*)?")
_IPV4_WITH_PORT = re.compile(r"([0-9]+(?:\.[0-9]+){3}):[^:\s]*")
_FORWARDED_FOR = re.compile(r"(?:^|;)\s*for\s*=\s*([^;]*)", re.IGNORECASE)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class CallerIdentity:
    """Finds the principal of a request. Without authentication every caller is anonymous and has the role `admin`."""

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        """Create it. `trusted_proxies` are the networks whose `X-Forwarded-For` or `Forwarded` is trusted."""
        self._proxies: list[Network] = [_parse_network(each) for each in trusted_proxies]

    def principal_for(self, scope: Scope) -> Principal:
        """Return the principal of a request or WebSocket upgrade."""
        return Principal(address=self.address_for(scope))

    def address_for(self, scope: Scope) -> str:
        """Return the address by which limits count the client: an IPv4 address, or the /64 network of an IPv6 address.

        The client is the nearest host that is not a trusted proxy. The address is empty for a Unix socket.
        """
        peer: str = (scope.get("client") or ("", 0))[0]
        address = parse_address(peer)
        if address is None:
            return peer
        if self._proxies and self._is_proxy(address):
            address = self._client_behind_proxies(scope, address)
        return _client_key(address)

    def _client_behind_proxies(self, scope: Scope, address: Address) -> Address:
        """Follow the forwarded addresses from the nearest one, until an address is not a proxy or cannot be read."""
        for hop in _forwarded_hops(scope):
            parsed = parse_address(hop)
            if parsed is None:
                return address
            address = parsed
            if not self._is_proxy(address):
                return address
        return address

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._proxies)


@lru_cache(MAX_CACHED_ADDRESSES)
def parse_address(text: str) -> Address | None:
    """Parse an address as sockets and proxies write it: with or without port, brackets and quotes; None if it is none.

    An IPv4 address that is mapped to IPv6 is returned as IPv4.
    """
    text = text.strip().strip('"')
    found = _BRACKETED_IPV6.fullmatch(text) or _IPV4_WITH_PORT.fullmatch(text)
    try:
        address = ip_address(found[1] if found is not None else text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _parse_network(text: str) -> Network:
    network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED_IPV4):
        address = network.network_address.ipv4_mapped
        return IPv4Network((address or 0, network.prefixlen - _MAPPED_IPV4.prefixlen))
    return network


@lru_cache(MAX_CACHED_ADDRESSES)
def _client_key(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), IPV6_CLIENT_PREFIX), strict=False))


def _forwarded_hops(scope: Scope) -> Iterator[str]:
    """Return the addresses that proxies appended, the nearest first.

    `Forwarded` (RFC 7239) counts only without `X-Forwarded-For`: most proxies append to the latter and pass the former
    on as the client sent it. No address contains a comma, so quotes in other parameters cannot hide an element.
    """
    if (values := _header_values(scope, b"x-forwarded-for")) is not None:
        yield from reversed(values.split(","))
    elif (values := _header_values(scope, b"forwarded")) is not None:
        for element in reversed(values.split(",")):
            found = _FORWARDED_FOR.search(element)
            yield "" if found is None else found[1]


def _header_values(scope: Scope, wanted: bytes) -> str | None:
    values = [value for name, value in scope["headers"] if name == wanted]
    return b",".join(values).decode("latin-1") if values else None
