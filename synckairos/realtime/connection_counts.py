"""Numbers of connections and live tails of this instance, and their limits."""

from collections import Counter


class ConnectionCounts:
    """Counts the connections and live tails of this instance, all together and by IP address."""

    def __init__(self, max_connections: int, max_per_address: int) -> None:
        """Start with no connections.

        `max_connections` is the limit of the instance, and `max_per_address` the limit of each IP address.
        """
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        self._total = 0
        self._by_address: Counter[str] = Counter()

    def would_exceed_limit(self, address: str) -> bool:
        """Return whether a further connection from this IP address would exceed a limit.

        The address of a client on a Unix socket is empty. Then only the limit of the instance applies.
        """
        if self._total >= self._max_connections:
            return True
        return bool(address) and self._by_address[address] >= self._max_per_address

    def add(self, address: str) -> None:
        """Count one more connection from this address. The limits are not checked here."""
        self._total += 1
        self._by_address[address] += 1

    def remove(self, address: str) -> None:
        """Subtract one connection from this address, which `add` has counted."""
        self._total -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
