"""Changes of members: in Postgres, in the copies in Redis, and announced to all instances."""

from collections.abc import Collection, Sequence
from contextlib import suppress

from synckairos.errors import StoreUnavailable
from synckairos.members.table import Member, MembersChanged, MemberTable
from synckairos.revocations.channel import ControlChannel
from synckairos.store.member_copies import MemberCopies
from synckairos.wire.control_entry import MembersChange

KEEP_MS = 60_000
"""Milliseconds for which the control channel keeps an announcement.

An instance that did not read the channel for a few seconds reads all its rows again. It needs no older announcements.
"""

MAX_ANNOUNCED_SUBJECTS = 20
"""Maximum number of subjects in one announcement. A change of more subjects concerns all subjects of the tenant."""


class MemberChanges:
    """Changes the members of tenants. A change has an effect on all instances within a second.

    The copies in Redis of the changed subjects are removed before the transaction, and none is stored until its end.
    """

    def __init__(self, table: MemberTable, copies: MemberCopies, channel: ControlChannel) -> None:
        self._table = table
        self._copies = copies
        self._channel = channel

    async def put(self, tenant: str, members: Sequence[Member]) -> MembersChanged:
        """Add rows, or replace the roles of rows that exist. All rows or none are put.

        A change to the same rows is announced again, so that a repeated call completes a call that failed.

        Raises: TooManyMembers, TooManyRevocations. StoreUnavailable. The outcome is then unknown, and the caller can
            try again.
        """
        subjects = dict.fromkeys(each.subject for each in members)
        await self._copies.block(tenant, subjects)
        changed = await self._table.put(tenant, members)
        await self.announce(changed, changed.subjects or tuple(subjects))
        return changed

    async def delete(self, tenant: str, subject: str, resource: str) -> MembersChanged:
        """Delete the row of a subject for a resource. Without such a row, the present rows are announced again.

        Raises: the errors of `put`.
        """
        await self._copies.block(tenant, [subject])
        changed = await self._table.delete(tenant, subject, resource)
        await self.announce(changed, [subject])
        return changed

    async def block_copies(self, tenant: str, subjects: Collection[str]) -> None:
        """Remove the copies of subjects before a transaction that changes their members, and store none for a minute.

        `announce` ends the block. Raises: StoreUnavailable.
        """
        await self._copies.block(tenant, subjects)

    async def announce(self, changed: MembersChanged, subjects: Sequence[str]) -> None:
        """Announce a committed change of the members of `subjects` to all instances.

        Raises: TooManyRevocations, StoreUnavailable.
        """
        now_ms = await self._channel.read_time_ms()
        await self._channel.append(
            MembersChange(
                tenant=changed.tenant,
                revision=changed.revision,
                subjects=None if len(subjects) > MAX_ANNOUNCED_SUBJECTS else tuple(subjects),
                at_ms=now_ms,
                until_ms=now_ms + KEEP_MS,
            )
        )
        with suppress(StoreUnavailable):  # the block then ends by itself
            await self._copies.unblock(changed.tenant, subjects)
