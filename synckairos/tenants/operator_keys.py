"""Keys of operators: stored credentials that only the command line makes.

Such a key opens the operations on tenants and `/metrics`, and nothing else: no session, no socket and no ticket.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network

from synckairos.errors import Forbidden
from synckairos.identity.credentials import Scope
from synckairos.principal import DEFAULT_TENANT
from synckairos.stored_credentials.records import NewCredential, StoredCredential
from synckairos.stored_credentials.table import CredentialTable


class OperatorKeys:
    """The keys of operators in the table of stored credentials. They belong to no tenant.

    `now_ms` is always the time of Redis in ms since the Unix epoch. All methods raise StoreUnavailable if Postgres is
    unreachable, too slow or not migrated.
    """

    def __init__(self, table: CredentialTable) -> None:
        self._table = table

    async def make(self, label: str, ttl_s: int | None, now_ms: int, created_by: str) -> str:
        """Add a new key, and return its text. The text is not stored.

        `ttl_s` is the number of seconds until the key expires; None for a key without an expiry.
        """
        new = NewCredential(
            tenant=DEFAULT_TENANT,
            kind="operator",
            principal_kind="key",
            subject=None,
            label=label or None,
            role="viewer",
            grants=(),
            participant_id=None,
            parent_id=None,
            expires_at_ms=None if ttl_s is None else now_ms + ttl_s * 1000,
            created_by=created_by,
        )
        _, secret = await self._table.add(new, now_ms)
        assert secret is not None
        return secret.text

    async def list(self, now_ms: int) -> list[StoredCredential]:
        """Return all valid keys, newest first."""
        return await self._table.read_all(DEFAULT_TENANT, "operator", now_ms)

    async def revoke(self, key_id: str, now_ms: int) -> bool:
        """Revoke a key. Return whether there is such a key."""
        return bool(await self._table.end(DEFAULT_TENANT, "operator", key_id, now_ms))


class OperatorNetworks:
    """The networks from which keys of operators are accepted."""

    def __init__(self, networks: Sequence[str], peer_address_for: Callable[[Scope], str]) -> None:
        """Create the check.

        - `networks`: the only addresses and networks of operators. Empty: all.
        - `peer_address_for`: the complete address of the client of a request, "" for a Unix socket.
        """
        self._networks = [ip_network(each, strict=False) for each in networks]
        self._peer_address_for = peer_address_for

    def require(self, scope: Scope) -> None:
        """Check that the client of a request is in a network of operators. Raises: Forbidden."""
        if not self._networks:
            return
        peer = self._peer_address_for(scope)
        if peer and any(ip_address(peer) in network for network in self._networks):
            return
        raise Forbidden("Keys of operators are accepted only from the networks of SYNCKAIROS_OPERATOR_NETWORKS")
