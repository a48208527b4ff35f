"""The table of signing keys in Postgres: adds, reads and removes keys."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from msgspec import Struct
from msgspec.structs import asdict

from synckairos.errors import IdempotencyKeyReused, SigningKeyExists, TooManySigningKeys
from synckairos.history.page_cursor import parse_cursor, render_cursor
from synckairos.history.records import Page
from synckairos.postgres.access import Access, cross_tenant_access, tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.time_limits import TimeLimitedTransactions
from synckairos.postgres.transaction import Row, Transaction
from synckairos.wire.instants import datetime_to_ms

MAX_KEYS = 100
"""Maximum number of signing keys of a tenant."""

_MAX_SEQUENCE = 2**62
"""A number that is larger than each `sequence`."""


class SigningKey(Struct, frozen=True, kw_only=True):
    """A row: a public key that verifies tokens of one tenant.

    - `sequence`: grows with each key. It orders lists.
    - `kid`: the key id by which tokens name the key, unique in the tenant.
    - `algorithm`: RS256, ES256 or EdDSA.
    - `pem`: the public key in PEM.
    - `issuer`: the only `iss` of its tokens. None: the key does not restrict the issuer.
    - `created_at_ms`: ms since the Unix epoch, by the time of Redis.
    - `created_by`: the actor that added the key.
    """

    signing_key_id: str
    sequence: int
    tenant: str
    kid: str
    algorithm: str
    pem: str
    issuer: str | None
    created_at_ms: int
    created_by: str


class NewSigningKey(Struct, frozen=True, kw_only=True):
    """A signing key to add. `request_id` and `request_fingerprint` identify a repeated request; None without them."""

    tenant: str
    kid: str
    algorithm: str
    pem: str
    issuer: str | None
    created_by: str
    request_id: str | None
    request_fingerprint: str | None


class SigningKeyTable:
    """Access to the table `sync_signing_keys` in Postgres.

    `now_ms` is always the time of Redis in ms since the Unix epoch.

    All methods raise StoreUnavailable if Postgres is unreachable, too slow or not migrated.
    """

    def __init__(self, pool: PostgresPool, *, max_keys: int = MAX_KEYS) -> None:
        self._transactions = TimeLimitedTransactions(pool)
        self._max_keys = max_keys

    async def add(self, key: NewSigningKey, now_ms: int) -> tuple[SigningKey, bool]:
        """Add a key in one transaction. Return it, and whether an equal request added it before.

        Raises: SigningKeyExists if the tenant has a key with this kid. TooManySigningKeys if the tenant has the maximum
            number of keys. IdempotencyKeyReused if another request used the same `request_id`.
        """

        async def run(transaction: Transaction) -> tuple[SigningKey, bool]:
            values = {**asdict(key), "now_ms": now_ms}
            await _fetch(transaction, "lock_tenant", values)
            if key.request_id is not None and (rows := await _fetch(transaction, "find_request", values)):
                *columns, fingerprint = rows[0]
                if fingerprint != key.request_fingerprint:
                    raise IdempotencyKeyReused
                return _parse_key(columns), True
            await _fetch(transaction, "delete_removed", values)
            ((count, same),) = await _fetch(transaction, "count", values)
            if same:
                raise SigningKeyExists(key.kid)
            if count >= self._max_keys:
                raise TooManySigningKeys(self._max_keys)
            (row,) = await _fetch(transaction, "add", {**values, "signing_key_id": uuid4()})
            return _parse_key(row), False

        return await self._transactions.transact(tenant_access(key.tenant), run)

    async def read_page(self, tenant: str, *, cursor: str | None, limit: int) -> Page[SigningKey]:
        """Return a page of at most `limit` keys of a tenant, newest first.

        `cursor` is the `next_cursor` of the previous page; None for the first page.

        Raises: ValidationFailed if the cursor is invalid.
        """
        (before,) = parse_cursor(cursor, int) if cursor else (_MAX_SEQUENCE,)
        rows = await self._run(
            tenant_access(tenant), "read_page", {"tenant": tenant, "before": before, "limit": limit + 1}
        )
        items = tuple(_parse_key(row) for row in rows[:limit])
        return Page(items, render_cursor(items[-1].sequence) if len(rows) > limit else None)

    async def read_all(self) -> list[SigningKey]:
        """Return the keys of all tenants."""
        return [_parse_key(row) for row in await self._run(cross_tenant_access(), "read_all", {})]

    async def remove(self, tenant: str, signing_key_id: str, now_ms: int) -> int | None:
        """Remove a key of a tenant. Return the instant of its removal in ms since the Unix epoch.

        If the key was removed in the last day, return the instant of this removal. Otherwise, if there is no key,
        return None.
        """
        values = {"tenant": tenant, "signing_key_id": signing_key_id, "now_ms": now_ms}
        rows = await self._run(tenant_access(tenant), "remove", values)
        return datetime_to_ms(rows[0][0]) if rows else None

    async def _run(self, access: Access, name: str, values: Mapping[str, Any]) -> list[Row]:
        return await self._transactions.fetch(access, load_statements("signing_keys.sql", __package__)[name], values)


async def _fetch(transaction: Transaction, name: str, values: Mapping[str, Any]) -> list[Row]:
    return await transaction.fetch(load_statements("signing_keys.sql", __package__)[name], values)


def _parse_key(row: Row | list[Any]) -> SigningKey:
    signing_key_id, sequence, tenant, kid, algorithm, pem, issuer, created_at, created_by = row
    return SigningKey(
        signing_key_id=str(signing_key_id),
        sequence=sequence,
        tenant=tenant,
        kid=kid,
        algorithm=algorithm,
        pem=pem,
        issuer=issuer,
        created_at_ms=datetime_to_ms(created_at),
        created_by=created_by,
    )
