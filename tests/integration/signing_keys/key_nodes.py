"""Instances with signing keys, on the stores of a test: the control channel, the keys and a verifier."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import psycopg

from synckairos.config import Settings
from synckairos.errors import SyncKairosError
from synckairos.identity.retired_keys import RetiredKeys
from synckairos.identity.token_verifier import TokenVerifier
from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.pool import PostgresPool
from synckairos.revocations.announced_reads import REFRESH_S
from synckairos.signing_keys.active_keys import ActiveSigningKeys
from synckairos.signing_keys.table import NewSigningKey, SigningKey, SigningKeyTable
from synckairos.wire.control_entry import SigningKeyChange
from tests.background_task import running
from tests.integration.authentication import authentication_settings, now_ms
from tests.integration.revocations.nodes import ADMIN, Node, open_node, until
from tests.tokens import SigningKey as PrivateKey
from tests.tokens import claims_at


@dataclass(frozen=True, slots=True)
class KeyNode:
    """The signing keys of one instance, and what they depend on. `ended` has the names of retired keys."""

    node: Node
    table: SigningKeyTable
    keys: ActiveSigningKeys
    verifier: TokenVerifier
    retired: RetiredKeys
    ended: list[str]

    async def add(self, key: PrivateKey, *, tenant: str = "default", issuer: str | None = None) -> SigningKey:
        """Add a key through this instance."""
        made, _ = await self.keys.add(new_key(key, tenant=tenant, issuer=issuer))
        return made

    async def remove(self, key: SigningKey) -> None:
        """Remove a key through this instance."""
        await self.keys.remove(ADMIN, key.signing_key_id)

    def has(self, key: SigningKey) -> bool:
        return any(each.name == key.signing_key_id for each in self.keys.keys)

    async def until_has(self, key: SigningKey) -> None:
        await until(lambda: self.has(key))

    async def until_has_not(self, key: SigningKey) -> None:
        await until(lambda: not self.has(key))

    async def refusal_of(self, token: str) -> str:
        """Return the error code of a token. Return an empty text if the token is accepted."""
        try:
            await self.verifier.verify(token, now_ms())
        except SyncKairosError as error:
            return error.code
        return ""


def new_key(
    key: PrivateKey, *, tenant: str = "default", issuer: str | None = None, request_id: str | None = None
) -> NewSigningKey:
    return NewSigningKey(
        tenant=tenant,
        kid=key.key_id,
        algorithm=key.algorithm,
        pem=key.pem,
        issuer=issuer,
        created_by="user:root",
        request_id=request_id,
        request_fingerprint=None if request_id is None else key.pem,
    )


def token_of(key: PrivateKey, *, kid: str | None = "", **claims: object) -> str:
    """Return a token of this key that is valid now. `kid` None leaves out the key id."""
    return key.sign(claims_at(now_ms(), **claims), **({} if kid == "" else {"kid": kid}))


def announcement(signing_key_id: str, *, is_removal: bool) -> bytes:
    """Return the entry of the control channel that announces a change of a key."""
    now = now_ms()
    return SigningKeyChange(
        signing_key_id=signing_key_id, tenant="default", at_ms=now, until_ms=now + 60_000, is_removal=is_removal
    ).render()


@asynccontextmanager
async def without_table(settings: Settings) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Make the table of signing keys unavailable inside the block. Yield a function that brings it back earlier."""
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as database:
        await database.execute("ALTER TABLE sync_signing_keys RENAME TO away")

        async def restore() -> None:
            await database.execute("ALTER TABLE IF EXISTS away RENAME TO sync_signing_keys")

        try:
            yield restore
        finally:
            await restore()


@asynccontextmanager
async def open_key_node(
    settings: Settings,
    redis_url: str = "",
    *,
    verifier: TokenVerifier | None = None,
    refresh_s: float = REFRESH_S,
    max_keys: int = 100,
    runs: bool = True,
) -> AsyncIterator[KeyNode]:
    """Open an instance whose keys are read. If `runs` is True, they are kept up to date inside the block."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(open_node(settings, redis_url))
        pool = await stack.enter_async_context(
            PostgresPool(settings.database_url, "test", access=cross_tenant_access(), max_connections=2)
        )
        retired, ended = RetiredKeys(max_credential_life_s=86_400), list[str]()
        retired.add_listener(ended.append)
        table = SigningKeyTable(pool, max_keys=max_keys)
        keys = ActiveSigningKeys(table, node.channel, retired, refresh_s=refresh_s)
        verifier = verifier or TokenVerifier.from_settings(authentication_settings(settings))
        verifier.use_tenant_keys(keys)
        await keys.refresh()
        if runs:
            await stack.enter_async_context(running(keys.run()))
        yield KeyNode(node, table, keys, verifier, retired, ended)
