"""Which URLs may be endpoints and which addresses may be connected to. Pure: no look-up, no connection.

An endpoint is chosen by whoever may use the API, and we reach places that they don't: nothing but the public internet
is allowed, unless an operator says so.
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
"""Characters of an endpoint's URL."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_HOST = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_VISIBLE = re.compile(r"[!-~]+")

# Public IPv6 is this and no other; inside it, what carries an IPv4 address, or was set apart, is no place of its own.
_PUBLIC_V6 = IPv6Network("2000::/3")
_APART: tuple[Network, ...] = (
    IPv6Network("2001::/23"),  # Teredo, benchmarking, ORCHID and their like
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("3fff::/20"),  # documentation
    IPv4Network("192.0.0.0/24"),  # protocol assignments, of which older Pythons take most for public
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("168.63.129.16/32"),  # a cloud's own services for its machines, at a public address
)


class AddressRefused(SyncKairosError):
    """This URL or this address is no place for webhooks; the message says why."""

    code = "ENDPOINT_REFUSED"
    status = 400


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """What is allowed beside https to the public internet: `networks` always, plain http where `http` says so."""

    networks: tuple[Network, ...] = ()
    http: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Make the guard that the settings ask for."""
        networks = tuple(ip_network(each, strict=False) for each in settings.webhook_allowed_networks)
        return cls(networks, settings.webhook_allow_http)

    def check_url(self, url: str) -> None:
        """Raise Refused unless an endpoint may have this URL: as far as can be told without asking DNS."""
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
        address = _literal(parts.hostname or "")
        if address is not None:
            self.check_addresses([address])
        if port is not None and not self._allows_port(port, address):
            raise AddressRefused("should have port 443, 80 or one from 1024 on")

    def check_addresses(self, addresses: Iterable[Address]) -> None:
        """Raise Refused unless every address a name stands for may be connected to, or where it stands for none.

        All of them, not one of them: who mixes public and private addresses in an answer is up to something.
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
        address = _unmapped(address)
        return any(address in network for network in self.networks if network.version == address.version)


def is_public(address: Address) -> bool:
    """Tell whether an address is a place of its own on the public internet.

    `is_global` alone lets multicast and site-local addresses through, and such as carry a private one inside.
    """
    if isinstance(address, IPv6Address) and address not in _PUBLIC_V6:
        return False
    if any(address in network for network in _APART if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _unmapped(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _literal(host: str) -> Address | None:
    """Return the address that a host is, None where it is a name; names that some would read as numbers are neither."""
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
