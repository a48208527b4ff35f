"""Identity of a caller: the client address of a request, behind trusted proxies, and its principal."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.types import Scope

from synckairos.principal import Principal


class CallerIdentity:
    """Finds the principal of a request. Without authentication every caller is anonymous and has the role `admin`."""

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        """Create it. `trusted_proxies` are the networks whose `X-Forwarded-For` is trusted."""
        self._proxies: list[IPv4Network | IPv6Network] = [ip_network(each, strict=False) for each in trusted_proxies]

    def principal_for(self, scope: Scope) -> Principal:
        """Return the principal of a request or WebSocket upgrade."""
        return Principal(address=self.address_for(scope))

    def address_for(self, scope: Scope) -> str:
        """Return the address of the nearest host that is not a trusted proxy; empty for a Unix socket."""
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
