"""Address of a client behind trusted proxies, and the anonymous principal of a request if authentication is off."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

from synckairos.principal import Principal

IPV6_CLIENT_PREFIX = 64
"""Bits of the part of an IPv6 address that identifies a client.

An internet provider gives each customer at least a /64 network (RFC 6177). One client can use all addresses of this
network, so limits count networks instead of single IPv6 addresses.
"""

MAX_CACHED_ADDRESSES = 4_096
"""Maximum number of cached addresses. The cache has a limit because the number of client addresses has none."""

_MAPPED_IPV4 = IPv6Network("::ffff:0:0/96")
"""IPv6 network of IPv4-mapped addresses (RFC 4291, section 2.5.5.2).

A dual-stack socket reports the IPv4 address 10.0.0.5 as `::ffff:10.0.0.5`.
"""

_BRACKETED_IPV6 = re.compile(r"\[([^\]]*)\](?::\S*)?")
_IPV4_WITH_PORT = re.compile(r"([0-9]+(?:\.[0-9]+){3}):[^:\s]*")
_FORWARDED_FOR = re.compile(r"(?:^|;)\s*for\s*=\s*([^;]*)", re.IGNORECASE)
_FORWARDED_PROTO = re.compile(r"(?:^|;)\s*proto=\"?([a-z]+)", re.IGNORECASE)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class CallerResolver:
    """Determines the address of a client, the anonymous principal of a request, and whether the request came securely.

    This class authenticates no caller: every principal is anonymous and has the role `admin`.
    """

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        """Create a resolver that trusts these proxies: IP addresses, or networks such as `10.0.0.0/8`.

        If a request arrives from another address, its headers `X-Forwarded-For` and `Forwarded` are ignored.
        """
        self._proxies: list[Network] = [_parse_network(each) for each in trusted_proxies]

    def principal_for(self, scope: Scope) -> Principal:
        """Return the principal of an HTTP request or a WebSocket upgrade.

        Call this only while authentication is off.
        """
        return _anonymous_admin(self.address_for(scope))

    def address_for(self, scope: Scope) -> str:
        """Return the address under which limits count the client: an IPv4 address, or an IPv6 /64 network.

        The client is the host nearest to this server, on the path of the request, that is not a trusted proxy. Return
        "" for a connection through a Unix socket.
        """
        if not self._proxies:
            return _client_key_of_peer((scope.get("client") or ("", 0))[0])
        found = self._find_client(scope)
        return found if isinstance(found, str) else _client_key(found)

    def complete_address_for(self, scope: Scope) -> str:
        """Return the complete IP address of the client, not only its network. "" for a connection by a Unix socket."""
        return str(self._find_client(scope))

    def _find_client(self, scope: Scope) -> Address | str:
        """Return the address of the client. If the peer has no IP address, return its name."""
        peer: str = (scope.get("client") or ("", 0))[0]
        address = parse_address(peer)
        if address is None:
            return peer
        if self._proxies and self._is_proxy(address):
            return self._client_behind_proxies(scope, address)
        return address

    def is_secure(self, scope: Scope) -> bool:
        """Return whether a request came over HTTPS or from this machine, so that no other machine can have read it.

        Only a trusted proxy can state that the request came over HTTPS, by `X-Forwarded-Proto` or `Forwarded`.
        """
        peer = parse_address((scope.get("client") or ("", 0))[0])
        if peer is None:
            return True  # a Unix socket
        if not (self._proxies and self._is_proxy(peer)):
            return peer.is_loopback
        return _forwarded_protocol(scope) == "https" or self._client_behind_proxies(scope, peer).is_loopback

    def origin_for(self, scope: Scope) -> str:
        """Return the origin under which the client reaches this server, such as `https://clock.example.org`.

        The host is the header `Host`. The scheme is that of a trusted proxy, else that of the connection.
        """
        peer = parse_address((scope.get("client") or ("", 0))[0])
        is_behind_proxy = peer is not None and bool(self._proxies) and self._is_proxy(peer)
        forwarded = _forwarded_protocol(scope) if is_behind_proxy else None
        scheme = forwarded if forwarded in ("http", "https") else scope.get("scheme", "http")
        return f"{scheme}://{_header_values(scope, b'host') or ''}"

    def _client_behind_proxies(self, scope: Scope, address: Address) -> Address:
        """Return the forwarded address nearest to this server that is not a trusted proxy.

        `address` is the trusted proxy that connected to this server. The forwarded addresses are read in order, the
        nearest first. At an invalid address, return the valid address that was read immediately before it. If no
        address was read before it, return `address`. If all forwarded addresses are trusted proxies, return the
        farthest. If the request has none, return `address`.
        """
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
    """Parse an IP address that a socket or proxy wrote. Return None if `text` is not an IP address.

    `text` can have a port, brackets and quotes. An IPv4-mapped IPv6 address is returned as an IPv4 address.
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


_anonymous_admin = lru_cache(MAX_CACHED_ADDRESSES)(Principal.anonymous_admin)


@lru_cache(MAX_CACHED_ADDRESSES)
def _client_key_of_peer(peer: str) -> str:
    address = parse_address(peer)
    return peer if address is None else _client_key(address)


@lru_cache(MAX_CACHED_ADDRESSES)
def _client_key(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), IPV6_CLIENT_PREFIX), strict=False))


def _forwarded_hops(scope: Scope) -> Iterator[str]:
    """Yield the addresses that proxies added to the request headers, the address nearest to this server first.

    If the request has `X-Forwarded-For`, `Forwarded` (RFC 7239) is ignored. Most proxies change only `X-Forwarded-For`,
    and forward a `Forwarded` header of the client unchanged. The texts are not checked. An element of `Forwarded`
    without an address yields "". Splitting at commas is safe, also inside quotes: no address contains a comma.
    """
    if (values := _header_values(scope, b"x-forwarded-for")) is not None:
        yield from reversed(values.split(","))
    elif (values := _header_values(scope, b"forwarded")) is not None:
        for element in reversed(values.split(",")):
            found = _FORWARDED_FOR.search(element)
            yield "" if found is None else found[1]


def _forwarded_protocol(scope: Scope) -> str | None:
    """Return the protocol that the proxy nearest to this server names, None if it names none."""
    if (values := _header_values(scope, b"x-forwarded-proto")) is not None:
        return values.rpartition(",")[2].strip().lower()
    found = _FORWARDED_PROTO.search((_header_values(scope, b"forwarded") or "").rpartition(",")[2])
    return None if found is None else found[1].lower()


def _header_values(scope: Scope, wanted: bytes) -> str | None:
    values = [value for name, value in scope["headers"] if name == wanted]
    return b",".join(values).decode("latin-1") if values else None
