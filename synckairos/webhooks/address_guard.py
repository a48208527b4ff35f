"""Rules for endpoint URLs and for the addresses that webhooks may connect to. Pure: no DNS query, no connection.

A caller of the API chooses the endpoint, and this process can reach networks that the caller cannot (SSRF). So only
addresses on the public internet are allowed, unless the operator lists others.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self
from urllib.parse import urlsplit

from synckairos.config import Settings
from synckairos.errors import SyncKairosError

MAX_URL = 2_000
"""Characters of an endpoint's URL, at most."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_HOST = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_VISIBLE = re.compile(r"[!-~]+")

# All public IPv6 addresses are in this network. The networks below are inside it, but are not public hosts: they embed
# an IPv4 address or are reserved for another purpose.
_PUBLIC_V6 = IPv6Network("2000::/3")
_RESERVED: tuple[Network, ...] = (
    IPv6Network("2001::/23"),  # Teredo, benchmarking, ORCHID and similar protocols
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("3fff::/20"),  # documentation
    IPv4Network("192.0.0.0/24"),  # protocol assignments; older versions of Python call most of them public
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("168.63.129.16/32"),  # a cloud provider's internal services, at a public address
)


class AddressRefused(SyncKairosError):
    """Webhooks may not be sent to this URL or address; the message gives the reason."""

    code = "ENDPOINT_REFUSED"
    status = 400


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """Allows https to the public internet, any host in `networks`, and plain http if `http` is set."""

    networks: tuple[Network, ...] = ()
    http: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build the guard from the operator's settings."""
        networks = tuple(ip_network(each, strict=False) for each in settings.webhook_allowed_networks)
        return cls(networks, settings.webhook_allow_http)

    def check_url(self, url: str) -> None:
        """Check an endpoint's URL without resolving its host name. Raises: AddressRefused."""
        if len(url) > MAX_URL or _VISIBLE.fullmatch(url) is None or "\\" in url:
            raise AddressRefused(f"should be a URL of visible ASCII characters, at most {MAX_URL}; no backslashes")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as fault:
            raise AddressRefused(f"should be a URL: {fault}") from None
        if parts.scheme != "https" and not (self.http and parts.scheme == "http"):
            raise AddressRefused("should begin with https://")
        if "@" in parts.netloc or parts.netloc.endswith(":"):
            raise AddressRefused("should have neither a user name nor an empty port")
        if "#" in url:
            raise AddressRefused("should have no fragment")
        address = _parse_literal(parts.hostname or "")
        if address is not None:
            self.check_addresses([address])
        if port is not None and not self._allows_port(port, address):
            raise AddressRefused("should have port 443, port 80 or a port from 1024")

    def check_addresses(self, addresses: Iterable[Address]) -> None:
        """Check all addresses that a host name resolves to.

        One refused address refuses them all: a DNS answer that mixes public and private addresses is an attack.
        Raises: AddressRefused, also if there is no address.
        """
        found = list(addresses)
        if not found:
            raise AddressRefused("the host has no address")
        for address in found:
            if not self._allows(address):
                raise AddressRefused(f"the host's address {address} isn't on the public internet")

    def _allows_port(self, port: int, address: Address | None) -> bool:
        return port in (80, 443) or port >= 1024 or (address is not None and self._is_listed(address))

    def _allows(self, address: Address) -> bool:
        return self._is_listed(address) or is_public(address)

    def _is_listed(self, address: Address) -> bool:
        address = _unwrap_mapped(address)
        return any(address in network for network in self.networks if network.version == address.version)


def is_public(address: Address) -> bool:
    """Return whether an address is a host on the public internet.

    `is_global` alone accepts multicast and site-local addresses, and IPv6 addresses that embed a private IPv4 address.
    """
    if isinstance(address, IPv6Address) and address not in _PUBLIC_V6:
        return False
    if any(address in network for network in _RESERVED if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _unwrap_mapped(address: Address) -> Address:
    """Return the IPv4 address inside an IPv4-mapped IPv6 address, or the address itself."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _parse_literal(host: str) -> Address | None:
    """Parse a host that is an address; return None for a host name.

    Raises: AddressRefused, also for names that some resolvers read as numbers, such as `0x7f.1`.
    """
    try:
        address = ip_address(host)
    except ValueError:
        pass
    else:
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            raise AddressRefused("should name no network interface")
        return address
    if _HOST.fullmatch(host) is None:
        raise AddressRefused("should name a host: letters, digits, hyphens and dots (international names as xn--…)")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise AddressRefused("should name a host, or an address as four plain numbers")
    return None
