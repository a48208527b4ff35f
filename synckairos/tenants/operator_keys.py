"""The keys of operators in Postgres, and the authentication of requests with such a key.

Only the command line makes keys of operators. Such a key opens the operations on tenants and `/metrics`, and nothing
else: no session, no socket and no ticket.
"""

import hmac
from collections.abc import Callable, Sequence
from datetime import datetime
from ipaddress import ip_address, ip_network

from msgspec import Struct

from synckairos.errors import Forbidden, Unauthorized
from synckairos.identity.credentials import Scope
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.work_limits import REFUSED_TOKENS
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.time_limits import TimeLimitedTransactions
from synckairos.postgres.transaction import Row
from synckairos.principal import Principal
from synckairos.telemetry import log
from synckairos.tenants.operator_key import make_operator_key, parse_operator_key

logger = log.get_logger(__name__)


class StoredOperatorKey(Struct, frozen=True, kw_only=True):
    """A row: a key of an operator without its secret. `expires_at` and `revoked_at` are None without such an end."""

    key_id: str
    label: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class OperatorKeyTable:
    """Access to the table `sync_operator_keys` in Postgres.

    All methods raise StoreUnavailable if Postgres is unreachable, too slow or not migrated.
    """

    def __init__(self, pool: PostgresPool) -> None:
        self._transactions = TimeLimitedTransactions(pool)

    async def make(self, label: str, ttl_s: int | None) -> str:
        """Add a new key, and return its text. The text is not stored.

        `ttl_s` is the number of seconds until the key expires; None for a key without an expiry.
        """
        text = make_operator_key()
        key = parse_operator_key(text)
        assert key is not None
        await self._run("add", key_id=key.key_id, hash=key.digest, label=label, ttl_s=ttl_s)
        return text

    async def find_digest(self, key_id: str) -> bytes | None:
        """Return the SHA-256 of a key. Return None if there is no such key, or if it has expired or was revoked."""
        rows = await self._run("find", key_id=key_id)
        return bytes(rows[0][0]) if rows else None

    async def list(self) -> list[StoredOperatorKey]:
        """Return all keys, newest first."""
        return [
            StoredOperatorKey(key_id=row[0], label=row[1], created_at=row[2], expires_at=row[3], revoked_at=row[4])
            for row in await self._run("list")
        ]

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key. Return whether there is such a key."""
        return bool(await self._run("revoke", key_id=key_id))

    async def _run(self, name: str, **values: object) -> Sequence[Row]:
        return await self._transactions.fetch(load_statements("operator_keys.sql", __package__)[name], values)


class OperatorAuthenticator:
    """Authenticates requests with keys of operators. Each request looks its key up, so a revocation acts at once."""

    def __init__(
        self,
        table: OperatorKeyTable,
        *,
        networks: Sequence[str],
        peer_address_for: Callable[[Scope], str],
        address_for: Callable[[Scope], str],
        work: ClientWorkLimits,
    ) -> None:
        """Create the authenticator.

        - `networks`: the only addresses and networks of operators. Empty: all.
        - `peer_address_for`: the complete address of the client of a request, "" for a Unix socket.
        - `address_for`: the address under which limits count the client of a request.
        """
        self._table = table
        self._networks = [ip_network(each, strict=False) for each in networks]
        self._peer_address_for = peer_address_for
        self._address_for = address_for
        self._work = work

    async def authenticate(self, scope: Scope, text: str) -> Principal:
        """Return the principal of the key `text` in a request. The caller checks that nobody can have read the key.

        Raises: Unauthorized if the key is not valid. Forbidden if the client is not in a network of operators.
            RateLimitExceeded if the address of the client has sent too many refused credentials. StoreUnavailable.
        """
        address = self._address_for(scope)
        self._work.charge(address, REFUSED_TOKENS)
        key = parse_operator_key(text)
        if key is not None:
            try:
                digest = await self._table.find_digest(key.key_id)
            except BaseException:  # the key was not refused
                self._work.undo_charge(address, REFUSED_TOKENS)
                raise
            if digest is not None and hmac.compare_digest(digest, key.digest):
                self._work.undo_charge(address, REFUSED_TOKENS)
                self._require_network(scope)
                logger.info("authenticated", kind="key", sub=key.key_id)
                return Principal.operator(key.key_id, address)
        raise Unauthorized("The key is not valid")

    def _require_network(self, scope: Scope) -> None:
        if not self._networks:
            return
        peer = self._peer_address_for(scope)
        if peer and any(ip_address(peer) in network for network in self._networks):
            return
        raise Forbidden("Keys of operators are accepted only from the networks of SYNCKAIROS_OPERATOR_NETWORKS")
