"""Verifiers of stored credentials of instances, on the stores of a test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from synckairos.config import Settings
from synckairos.errors import SyncKairosError
from synckairos.identity.authenticator import Authenticator
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.postgres.pool import PostgresPool
from synckairos.principal import Principal
from synckairos.revocations.copier import RevocationCopier
from synckairos.revocations.credential_ends import CredentialEnds
from synckairos.stored_credentials.records import CredentialKind, NewCredential
from synckairos.stored_credentials.redemption import LinkRedeemer
from synckairos.stored_credentials.table import MAX_CREDENTIALS, CredentialTable
from synckairos.stored_credentials.verifier import CredentialVerifier
from synckairos.tenants.active_tenants import ActiveTenants
from tests.integration.authentication import make_authenticator, now_ms
from tests.integration.revocations.nodes import ADMIN, Node, open_node

SESSION = "0f8fad5b-d9cb-469f-a165-70867728950e"


@dataclass(frozen=True, slots=True)
class CredentialNode:
    """The credentials of one instance, and what they depend on."""

    node: Node
    table: CredentialTable
    verifier: CredentialVerifier
    authenticator: Authenticator
    redeemer: LinkRedeemer

    async def add(self, **changes: Any) -> tuple[str, str]:
        """Add an API key. Return its id and its text."""
        credential, secret = await self.table.add(new_key(**changes), now_ms())
        assert secret is not None
        return credential.credential_id, secret.text

    async def add_link(self, **changes: Any) -> tuple[str, str]:
        """Add a link for viewers of `SESSION`. Return its id and its secret."""
        return await self.add(**link_fields(**changes))

    async def redeem(self, secret: str, address: str = "192.0.2.1") -> str:
        """Redeem a link. Return the text of the session token."""
        return (await self.redeemer.redeem(secret, address)).token.text

    async def redemption_refusal_of(self, secret: str) -> str:
        """Return the error code and the text of a redemption. Return an empty text if it gives a token."""
        try:
            await self.redeem(secret)
        except SyncKairosError as error:
            return f"{error.code}: {error.message}"
        return ""

    async def end(self, credential_id: str, kind: CredentialKind = "key") -> None:
        """End a credential through this instance."""
        ended = await self.table.end("default", kind, credential_id, now_ms())
        await self.node.channel.revoke_credentials(ADMIN, ended)

    async def copy_revocations(self) -> None:
        """Copy the revocations to Postgres and end the credentials that they select, as a worker does."""
        await RevocationCopier(self.node.store, self.node.table, self.table.end_revoked).copy_new()

    async def authenticate(self, text: str) -> Principal:
        return await self.authenticator.authenticate_token(text, "192.0.2.1")

    async def refusal_of(self, text: str) -> str:
        """Return the error code of a credential. Return an empty text if it is accepted."""
        try:
            await self.authenticate(text)
        except SyncKairosError as error:
            return error.code
        return ""


def new_key(**changes: Any) -> NewCredential:
    members: dict[str, Any] = {
        "tenant": "default",
        "kind": "key",
        "principal_kind": "key",
        "subject": None,
        "label": None,
        "role": "controller",
        "grants": [{"sessions": ["*"]}],
        "participant_id": None,
        "parent_id": None,
        "expires_at_ms": None,
        "created_by": "user:root",
        "request_id": None,
        "request_fingerprint": None,
    }
    return NewCredential(**members | changes)


def link_fields(**changes: Any) -> dict[str, Any]:
    """Return the fields of a link for viewers of `SESSION` that expires in an hour."""
    fields: dict[str, Any] = {
        "kind": "link",
        "principal_kind": "link",
        "role": "viewer",
        "grants": [{"sessions": [SESSION]}],
        "session_id": SESSION,
        "max_uses": 100,
        "expires_at_ms": now_ms() + 3_600_000,
    }
    return fields | changes


@asynccontextmanager
async def without_table(settings: Settings) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Make the table unavailable inside the block. Yield a function that brings it back earlier."""
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as database:
        await database.execute("ALTER TABLE sync_credentials RENAME TO away")

        async def restore() -> None:
            await database.execute("ALTER TABLE IF EXISTS away RENAME TO sync_credentials")

        try:
            yield restore
        finally:
            await restore()


@asynccontextmanager
async def open_credential_node(
    settings: Settings,
    redis_url: str = "",
    max_credentials: int = MAX_CREDENTIALS,
    stale_after_s: float = 5.0,
    tenants: ActiveTenants | None = None,
) -> AsyncIterator[CredentialNode]:
    """Open an instance inside the block. Its cache is refreshed only by `verifier.refresh`."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(open_node(settings, redis_url, stale_after_s))
        pool = await stack.enter_async_context(PostgresPool(settings.database_url, "test", max_connections=2))
        table = CredentialTable(pool, max_credentials=max_credentials)
        verifier = CredentialVerifier(table, node.channel)
        ends = CredentialEnds(now_ms, node.channel)
        authenticator = make_authenticator(settings, stored_credentials=verifier, refuse_ended=ends.require_not_revoked)
        redeemer = LinkRedeemer(
            verifier, now_ms=now_ms, work=ClientWorkLimits(), refuse_ended=ends.require_not_revoked, tenants=tenants
        )
        yield CredentialNode(node, table, verifier, authenticator, redeemer)
