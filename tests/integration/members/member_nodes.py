"""Members of instances, on the stores of a test: the table, the copies in Redis, the cache and the changes."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from synckairos.config import Settings
from synckairos.errors import SyncKairosError
from synckairos.members.member_cache import MemberCache
from synckairos.members.member_changes import MemberChanges
from synckairos.members.subject_members import SubjectMembers
from synckairos.members.table import MAX_ROWS_OF_SUBJECT, Member, MembersChanged, MemberTable
from synckairos.postgres.pool import PostgresPool
from synckairos.principal import Principal, Role
from synckairos.revocations.announced_reads import REFRESH_S
from synckairos.store.member_copies import MemberCopies
from tests.background_task import running
from tests.integration.revocations.nodes import Node, open_node
from tests.principals import make_principal

SESSION_ID = "0197f0c4-0000-7000-8000-000000000001"
LABEL = "label:class=7b"
UNKNOWN = "STORE_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class MemberNode:
    """The members of one instance, and what they depend on. `expired` has each announced set of subjects."""

    node: Node
    table: MemberTable
    copies: MemberCopies
    cache: MemberCache
    changes: MemberChanges
    expired: list[set[str]]

    async def put(
        self, subject: str, role: Role, resource: str = SESSION_ID, tenant: str = "default"
    ) -> MembersChanged:
        """Put one row through this instance."""
        return await self.changes.put(tenant, [Member(subject, resource, role)])

    async def role_of(self, subject: str, *, tenant: str = "default", **labels: str) -> str | None:
        """Return the role of a user on the session of the test by its member rows alone, or the code of a refusal."""
        principal = self.principal(subject, tenant=tenant)
        assert principal.members is not None
        await principal.members.load()
        try:
            return principal.role_on(SESSION_ID, labels.items())
        except SyncKairosError as refusal:
            return refusal.code

    def principal(self, subject: str, **changes: Any) -> Principal:
        """Return a user without grants and with the role controller, with its member rows."""
        principal = make_principal("controller", subject, **{"grants": (), **changes})
        return with_members(principal, self.cache)

    def find(self, subject: str) -> SubjectMembers:
        return self.cache.find_subject("default", subject)


def with_members(principal: Principal, cache: MemberCache) -> Principal:
    """Return a principal with its member rows, as the authenticator does."""
    return replace(principal, members=cache.find_members(principal))


def make_member_changes(node: Node) -> MemberChanges:
    """Return the changes of members of an instance."""
    return MemberChanges(MemberTable(node.pool), MemberCopies(node.pipe, node.keys), node.channel)


@asynccontextmanager
async def open_member_node(
    settings: Settings,
    redis_url: str = "",
    *,
    refresh_s: float = REFRESH_S,
    max_rows_of_subject: int = MAX_ROWS_OF_SUBJECT,
    stale_after_s: float = 5.0,
    database_url: str = "",
    **limits: int,
) -> AsyncIterator[MemberNode]:
    """Open an instance whose cache is kept up to date inside the block. `limits` are those of `MemberCache`."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(open_node(settings, redis_url, stale_after_s))
        url = database_url or settings.database_url
        pool = await stack.enter_async_context(PostgresPool(url, "test", max_connections=2))
        table = MemberTable(pool, max_rows_of_subject=max_rows_of_subject)
        copies = MemberCopies(node.pipe, node.keys)
        cache, expired = MemberCache(table, copies, node.channel, refresh_s=refresh_s, **limits), list[set[str]]()
        cache.add_listener(lambda subjects: expired.append({each.subject for each in subjects}))
        await stack.enter_async_context(running(cache.run()))
        yield MemberNode(node, table, copies, cache, MemberChanges(table, copies, node.channel), expired)
