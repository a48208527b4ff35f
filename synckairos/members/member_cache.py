"""The members in the memory of one instance: read from Postgres once, and again after each announced change.

A request costs no query as long as the rows of its caller are in memory. Each change is announced on the control
channel. From time to time the revisions in Postgres are compared with the announced ones, so that a change whose
announcement was lost has an effect too. While Postgres does not answer, the copies in Redis are used.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from weakref import WeakValueDictionary

import orjson

from synckairos.errors import StoreUnavailable
from synckairos.members.revision_tracker import RevisionTracker
from synckairos.members.subject_members import SubjectMembers
from synckairos.members.table import MAX_ROWS_OF_SUBJECT, MemberTable
from synckairos.principal import Principal, Role
from synckairos.revocations.announced_reads import REFRESH_S
from synckairos.revocations.channel import ControlChannel
from synckairos.revocations.revocation_set import revocable_subject
from synckairos.store.member_copies import MemberCopies
from synckairos.telemetry import log
from synckairos.telemetry.invalid_data import PARSE_ERRORS, report_invalid_data
from synckairos.wire.control_entry import EffectiveEntry, MembersChange

MAX_SUBJECTS = 50_000
"""Maximum number of subjects without an open socket whose rows stay in memory."""

MAX_ROWS = 200_000
"""Maximum number of rows in memory. Beyond that, the rows of the subjects that were used least recently are dropped."""

SUBJECTS_PER_READ = 200
"""Maximum number of subjects whose rows one query reads."""

RETRY_S = 1.0
"""Seconds after a failed query during which only the copies in Redis are read."""

CHECK_S = 1.0
"""Seconds between two checks of the control channel."""

RECHECK_S = 5.0
"""Seconds between two comparisons of revisions while rows of copies are in use."""

MAX_READS = 5
"""Maximum number of reads of one subject if each of them is overtaken by a change."""

_ROLES: tuple[Role, ...] = ("viewer", "participant", "controller")

ChangeListener = Callable[[Collection[SubjectMembers]], None]
"""Function that receives the subjects whose rows are to be read again. It must not raise or block."""

logger = log.get_logger(__name__)


class MemberCache:
    """The members of all subjects that this instance knows. The rows of subjects with an open socket are kept longer.

    If the control channel was not current, all rows are read again, because an announcement can have been missed.
    """

    def __init__(
        self,
        table: MemberTable,
        copies: MemberCopies,
        channel: ControlChannel,
        *,
        refresh_s: float = REFRESH_S,
        max_subjects: int = MAX_SUBJECTS,
        max_rows: int = MAX_ROWS,
    ) -> None:
        """Create an empty cache. Call this before the first load of `channel`, so that no announcement is missed.

        `refresh_s` is the number of seconds between two comparisons of the revisions.
        """
        self._table = table
        self._copies = copies
        self._channel = channel
        self._refresh_s = refresh_s
        self._max_subjects = max_subjects
        self._max_rows = max_rows
        self._subjects: WeakValueDictionary[tuple[str, str], SubjectMembers] = WeakValueDictionary()
        self._recent: dict[SubjectMembers, int] = {}
        """Subjects with the number of their rows, the least recently used first."""
        self._row_count = 0
        self._tenants: dict[str, RevisionTracker] = {}
        self._waiting: dict[str, dict[SubjectMembers, asyncio.Future[None]]] = {}
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._from_copies: set[SubjectMembers] = set()
        self._failed_at_s = float("-inf")
        self._has_missed = False
        self._listeners: list[ChangeListener] = []
        channel.add_listener(self._apply)

    @property
    def row_count(self) -> int:
        """Return the number of rows in memory."""
        return self._row_count

    def add_listener(self, listener: ChangeListener) -> None:
        """Register `listener`, which is called after each announcement with the subjects that it concerns."""
        self._listeners.append(listener)

    def find_members(self, principal: Principal) -> SubjectMembers | None:
        """Return the member rows of a principal, possibly not read yet. Return None if no row can concern it."""
        if not can_have_members(principal):
            return None
        return self.find_subject(principal.tenant, revocable_subject(principal))

    def find_subject(self, tenant: str, subject: str) -> SubjectMembers:
        """Return the member rows of a subject, which are possibly not read yet."""
        found = self._subjects.get((tenant, subject))
        if found is None:
            found = self._subjects[tenant, subject] = SubjectMembers(tenant, subject, self._load)
            if (tracker := self._tenants.get(tenant)) is not None and tracker.is_empty:
                found.set_rows({})
        self._touch(found)
        return found

    # -- announcements ------------------------------------------------------------------------------------------------

    def _apply(self, entry: EffectiveEntry) -> None:
        if not isinstance(entry, MembersChange):
            return
        if (tracker := self._tenants.get(entry.tenant)) is not None:
            tracker.note_announced(entry.revision)
        if entry.subjects is None:
            self._expire_tenant(entry.tenant)
        else:
            found = (self._subjects.get((entry.tenant, each)) for each in entry.subjects)
            self._expire([each for each in found if each is not None])

    def _expire_tenant(self, tenant: str) -> None:
        self._expire([each for each in self._subjects.values() if each.tenant == tenant])

    def _expire(self, subjects: Collection[SubjectMembers]) -> None:
        for each in subjects:
            each.expire()
        if subjects:
            for listener in self._listeners:
                listener(subjects)

    async def run(self) -> None:
        """Watch the control channel, and compare the revisions every `refresh_s` seconds, until cancelled."""
        compared_s = time.monotonic()
        while True:
            await asyncio.sleep(min(CHECK_S, self._refresh_s))
            now_s = time.monotonic()
            if not self._channel.is_current:
                self._has_missed = True
                for each in tuple(self._subjects.values()):
                    each.expire()
            elif self._has_missed:
                self._has_missed = False
                self._tenants.clear()
                self._expire(tuple(self._subjects.values()))
            elif now_s - compared_s >= (min(RECHECK_S, self._refresh_s) if self._from_copies else self._refresh_s):
                compared_s = now_s
                await self.compare_revisions()

    async def compare_revisions(self) -> bool:
        """Read the revisions of all tenants in memory. If one was not announced in time, expire the tenant's rows.

        Rows of copies are read from Postgres again. Return whether Postgres answered.
        """
        in_use = {each.tenant for each in self._subjects.values()}
        for tenant in [each for each in self._tenants if each not in in_use]:
            del self._tenants[tenant]
        if not self._tenants:
            return True
        try:
            revisions = await self._table.read_revisions(self._tenants)
        except StoreUnavailable as fault:
            logger.debug("revisions of members not read", cause=fault.code)
            return False
        for tenant, revision in revisions.items():
            if (tracker := self._tenants.get(tenant)) is not None and tracker.has_missed(revision):
                self._expire_tenant(tenant)
        copies, self._from_copies = self._from_copies, set()
        self._expire(copies)
        return True

    # -- reads --------------------------------------------------------------------------------------------------------

    async def _load(self, members: SubjectMembers) -> None:
        """Read the rows of a subject. Subjects of one tenant that wait at the same time share a query."""
        waiting = self._waiting.setdefault(members.tenant, {})
        future = waiting.get(members)
        if future is None:
            future = waiting[members] = asyncio.get_running_loop().create_future()
        if members.tenant not in self._readers:
            self._readers[members.tenant] = asyncio.create_task(self._read_waiting(members.tenant))
        # A caller that is cancelled must not cancel the read, because others wait for it.
        await asyncio.shield(future)

    async def _read_waiting(self, tenant: str) -> None:
        """Read the rows of the subjects that wait, until none waits. A failure makes their rows unknown."""
        waiting = self._waiting[tenant]
        reads: dict[SubjectMembers, int] = {}
        try:
            while waiting:
                batch = list(waiting)[:SUBJECTS_PER_READ]
                for each in batch:
                    reads[each] = reads.get(each, 0) + 1
                settled = await self._read(tenant, batch)
                overtaken = [each for each in batch if each not in settled and reads[each] >= MAX_READS]
                for each in overtaken:
                    self._forget(each)
                for each in (*settled, *overtaken):
                    if not (future := waiting.pop(each)).done():
                        future.set_result(None)
        finally:
            del self._readers[tenant], self._waiting[tenant]
            for each, future in waiting.items():  # only after an error of the program, or a cancelled read
                self._forget(each)
                if not future.done():
                    future.set_result(None)

    async def _read(self, tenant: str, batch: Sequence[SubjectMembers]) -> list[SubjectMembers]:
        """Read the rows of some subjects. Return the subjects that need no further read."""
        changes = {each: each.changes for each in batch}
        subjects = [each.subject for each in batch]
        # The tracker must exist before the read, so that it notes the announcements during the read.
        tracker = self._tenants.setdefault(tenant, RevisionTracker())
        leases: Mapping[str, bytes] = {}
        is_from_copies = False
        try:
            if time.monotonic() - self._failed_at_s < RETRY_S:
                raise StoreUnavailable("Postgres did not answer a moment ago")
            with suppress(StoreUnavailable):
                leases = await self._copies.lease(tenant, subjects)
            sets = await self._table.read_sets(tenant, subjects)
            found = sets.by_subject
            tracker.note_read(sets.revision)
        except StoreUnavailable as fault:
            if time.monotonic() - self._failed_at_s >= RETRY_S:
                self._failed_at_s = time.monotonic()
                logger.debug("members not read", cause=fault.code)
            found, is_from_copies = await self._read_copies(tenant, subjects), True
        settled = []
        for each, number in changes.items():
            if each.changes != number:
                continue  # a change was announced during the read
            if (rows := found.get(each.subject)) is not None:
                self._set_rows(each, rows)
                (self._from_copies.add if is_from_copies else self._from_copies.discard)(each)
            elif is_from_copies:
                self._forget(each)
            else:
                continue  # the answer was too long for all subjects
            settled.append(each)
        if not is_from_copies:
            copies = {each: orjson.dumps(rows) for each, rows in found.items() if each in leases}
            with suppress(StoreUnavailable):
                await self._copies.put(tenant, copies, leases)
        return settled

    async def _read_copies(self, tenant: str, subjects: Sequence[str]) -> dict[str, Mapping[str, Role]]:
        try:
            copies = await self._copies.read(tenant, subjects)
        except StoreUnavailable:
            return {}
        found = {}
        for subject, copy in copies.items():
            try:
                found[subject] = parse_copy(copy)
            except PARSE_ERRORS as fault:
                report_invalid_data("members", fault)
        return found

    # -- bounds -------------------------------------------------------------------------------------------------------

    def _set_rows(self, members: SubjectMembers, rows: Mapping[str, Role]) -> None:
        members.set_rows(rows)
        self._touch(members)

    def _forget(self, members: SubjectMembers) -> None:
        members.forget_rows()
        self._row_count -= self._recent.pop(members, 0)

    def _touch(self, members: SubjectMembers) -> None:
        """Make a subject the most recently used one, and drop others if there are too many subjects or rows."""
        count = len(members.rows or ())
        self._row_count += count - self._recent.pop(members, 0)
        self._recent[members] = count
        while len(self._recent) > self._max_subjects or (self._row_count > self._max_rows and len(self._recent) > 1):
            self._forget(next(iter(self._recent)))


def can_have_members(principal: Principal) -> bool:
    """Return whether member rows can give a principal a role that it does not have without them.

    Rows give roles to users and API keys. They change nothing for a principal that has its highest role everywhere.
    """
    if principal.role == "admin" or principal.is_operator or principal.kind not in ("user", "key"):
        return False
    return not any(each.all_sessions and each.role in (None, principal.role) for each in principal.grants)


def parse_copy(copy: bytes) -> Mapping[str, Role]:
    """Return the roles by resource in a copy.

    Raises: one of `PARSE_ERRORS` if the copy is invalid.
    """
    rows = orjson.loads(copy)
    if not isinstance(rows, dict) or len(rows) > MAX_ROWS_OF_SUBJECT:
        raise ValueError("should be an object with at most 10,000 members")
    return {each: _ROLES[_ROLES.index(role)] for each, role in rows.items()}
