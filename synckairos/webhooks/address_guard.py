"""Rules for webhook URLs and for the IP addresses that webhooks can connect to. Pure: no DNS query, no connection.

A caller of the API chooses the URL, and a worker can reach internal networks that the caller cannot reach (SSRF).
Therefore webhooks connect only to addresses on the public internet and to networks that the operator allows.
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
"""Maximum characters of a webhook URL."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_HOST = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_VISIBLE = re.compile(r"[!-~]+")

# All public IPv6 addresses are in `_PUBLIC_V6`. The IPv6 networks in `_RESERVED` are parts of `_PUBLIC_V6` that are not
# public: they embed an IPv4 address or have another purpose.
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
    """Webhooks to this URL or address are not allowed. The message gives the reason."""

    code = "ENDPOINT_REFUSED"
    status = 400


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """Rules for webhook targets: public addresses of the internet and all addresses in `networks` are allowed.

    URLs need the scheme `https`. If `http` is True, URLs with the scheme `http` are also allowed.
    """

    networks: tuple[Network, ...] = ()
    http: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build the rules from the operator's settings."""
        networks = tuple(ip_network(each, strict=False) for each in settings.webhook_allowed_networks)
        return cls(networks, settings.webhook_allow_http)

    def check_url(self, url: str) -> None:
        """Check the length, scheme, host and port of a webhook URL, and its address if the host is an IP address.

        No DNS query is made.

        Raises: AddressRefused if the URL is not allowed.
        """
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
        """Check all addresses to which a host name resolves.

        Raises: AddressRefused if one of the addresses is not allowed, or if there is no address. A DNS answer with
            public and private addresses together is an attack.
        """
        found = list(addresses)
        if not found:
            raise AddressRefused("the host has no address")
        for address in found:
            if not self._allows(address):
                raise AddressRefused(f"the host's address {address} is not on the public internet")

    def _allows_port(self, port: int, address: Address | None) -> bool:
        return port in (80, 443) or port >= 1024 or (address is not None and self._is_listed(address))

    def _allows(self, address: Address) -> bool:
        return self._is_listed(address) or is_public(address)

    def _is_listed(self, address: Address) -> bool:
        address = _unwrap_mapped(address)
        return any(address in network for network in self.networks if network.version == address.version)


def is_public(address: Address) -> bool:
    """Return whether an address is an address of a host on the public internet.

    Python's `is_global` is not enough. It is True for multicast and site-local addresses, and for IPv6 addresses that
    embed a private IPv4 address.
    """
    if isinstance(address, IPv6Address) and address not in _PUBLIC_V6:
        return False
    if any(address in network for network in _RESERVED if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _unwrap_mapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv4-mapped IPv6 address contains. Return other addresses unchanged."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _parse_literal(host: str) -> Address | None:
    """Return the IP address in the host part of a URL; None for a host name.

    Raises: AddressRefused if `host` is neither, or if some resolvers read the name as a number, such as `0x7f.1`.
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
