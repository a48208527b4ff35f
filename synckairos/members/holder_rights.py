"""Open sockets and streams after a change of members: the rights of each are checked again with the new rows."""

import asyncio
from collections.abc import Collection

from synckairos.members.member_cache import MemberCache
from synckairos.members.subject_members import SubjectMembers
from synckairos.revocations.credential_ends import CredentialEnds, CredentialHolder, EndReason
from synckairos.telemetry import log

HOLDERS_PER_TURN = 200
"""Number of holders that are checked before other tasks of the event loop run."""


logger = log.get_logger(__name__)


class HolderRights:
    """Reads the changed rows of the subjects that hold a socket or a stream, and lets each holder check its rights."""

    def __init__(self, cache: MemberCache, credential_ends: CredentialEnds) -> None:
        self._credential_ends = credential_ends
        self._changed: set[SubjectMembers] = set()
        self._has_changed = asyncio.Event()
        cache.add_listener(self._note)

    async def run(self) -> None:
        """Check the rights of the holders of changed subjects, until cancelled."""
        while True:
            await self._has_changed.wait()
            self._has_changed.clear()
            changed, self._changed = self._changed, set()
            await self._check_rights(changed)

    def _note(self, changed: Collection[SubjectMembers]) -> None:
        self._changed.update(changed)
        self._has_changed.set()

    async def _check_rights(self, changed: Collection[SubjectMembers]) -> None:
        holders: dict[SubjectMembers, list[CredentialHolder]] = {}
        for each in self._credential_ends.holders:
            members = each.principal.members
            if isinstance(members, SubjectMembers) and members in changed:
                holders.setdefault(members, []).append(each)
        await asyncio.gather(*(members.load() for members in holders))
        checked = 0
        for found in holders.values():
            for each in found:
                try:
                    each.apply_rights()
                except Exception:  # the failure of one holder must not keep the rights of the others
                    logger.exception("rights not checked", subject=each.principal.subject)
                    self._credential_ends.end(each, EndReason.DISCONNECTED)  # its client can connect again
                checked += 1
                if checked % HOLDERS_PER_TURN == 0:
                    await asyncio.sleep(0)
