"""Who asks: the address a request comes from, and the principal it is made by."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.types import Scope

from synckairos.principal import Principal


class CallerIdentity:
    """Finds a request's principal. Without authentication it is anonymous and may do everything."""

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        """Take the networks whose X-Forwarded-For counts."""
        self._proxies: list[IPv4Network | IPv6Network] = [ip_network(each, strict=False) for each in trusted_proxies]

    def principal_for(self, scope: Scope) -> Principal:
        """Return who makes this request or upgrade."""
        return Principal(address=self.address_for(scope))

    def address_for(self, scope: Scope) -> str:
        """Return the address of whoever is nearest to us and none of our proxies; empty on a local socket."""
        peer: str = (scope.get("client") or ("", 0))[0]
        if not self._proxies or not self._is_proxy(peer):
            return peer
        forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        for hop in reversed(forwarded.decode("latin-1").split(",")):
            hop = hop.strip()
            try:
                ip_address(hop)
            except ValueError:
                return peer
            if not self._is_proxy(hop):
                return hop
            peer = hop
        return peer

    def _is_proxy(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)
