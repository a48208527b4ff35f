"""The recovery loop: recovers all unfinished sessions after data loss, without waiting for requests.

Every instance checks whether each partition still has the generation of the previous check. After a change, the
instance that gets the lease reads all sessions that are unfinished in Postgres. A read recovers the session. If a
caller requests a session before the loop reads it, the request recovers the session in the same way.
"""

import asyncio
import secrets

from synckairos.errors import InvalidStoredData, SessionNotFound, StoreUnavailable
from synckairos.history.reader import HistoryReader
from synckairos.service.sessions import Sessions
from synckairos.store.keys import Keys
from synckairos.store.session_index_rebuild import SessionIndexRebuilder
from synckairos.store.store_generation import Generations
from synckairos.telemetry import log

CHECK_S = 1.0
"""Seconds between two checks of the generations."""

LEASE_MS = 10_000
"""Milliseconds that the lease on the recovery of a partition lasts. The lease is renewed after each page."""

PAGE_SIZE = 200
"""Number of sessions in one page. They are listed from Postgres together, and then read at the same time.

A page takes much less time than the lease.
"""

logger = log.get_logger(__name__)


class RecoveryLoop:
    """Finds partitions with data loss and recovers their sessions, as long as `run` runs."""

    def __init__(
        self,
        sessions: Sessions,
        history: HistoryReader,
        generations: Generations,
        index: SessionIndexRebuilder,
        keys: Keys,
    ) -> None:
        self._sessions = sessions
        self._history = history
        self._generations = generations
        self._index = index
        self._keys = keys
        self._known: dict[int, str] = {}
        """By partition: the generation that needs no recovery."""
        self._lease_holder = secrets.token_hex(8)

    async def run(self) -> None:
        """Check all partitions every second until cancelled, and recover the sessions of partitions with data loss.

        If a store does not answer, the partition is checked again in the next second.
        """
        while True:
            for partition in range(self._keys.partitions):
                try:
                    await self._check(partition)
                except StoreUnavailable as error:
                    logger.debug("recovery waits for a store", partition=partition, cause=error.message)
            await asyncio.sleep(CHECK_S)

    async def _check(self, partition: int) -> None:
        if await self._index.is_rebuild_due(partition):
            await self._rebuild_index(partition)
        generation = await self._generations.load_or_create(partition)
        if self._known.get(partition) == generation:
            return
        if await self._generations.acquire_recovery_lease(partition, self._lease_holder, LEASE_MS):
            await self._recover(partition, generation)
            self._known[partition] = generation

    async def _rebuild_index(self, partition: int) -> None:
        """Rebuild the deadlines and the set of live sessions of a partition, if this instance gets the lease.

        The rebuild is needed if one of the two sets was removed because of invalid data.
        """
        if await self._generations.acquire_recovery_lease(partition, self._lease_holder, LEASE_MS):
            count = await self._index.rebuild(partition)
            logger.warning("deadlines and live sessions built again", partition=partition, sessions=count)

    async def _recover(self, partition: int, generation: str) -> None:
        """Read each unfinished session of a partition, if the session's epoch is not of `generation`.

        The read recovers the session.
        """
        after: str | None = None
        count = 0
        while page := await self._history.list_unfinished_session_names(
            other_than_generation=generation, after=after, limit=PAGE_SIZE
        ):
            ours = [each for each in page if self._keys.partition_of(each) == partition]
            await asyncio.gather(*(self._read(each) for each in ours))
            await self._generations.acquire_recovery_lease(partition, self._lease_holder, LEASE_MS)
            count += len(ours)
            after = page[-1]
        if count:
            logger.warning("open sessions recovered", partition=partition, sessions=count)

    async def _read(self, session_name: str) -> None:
        try:
            await self._sessions.read_as_server(session_name)
        except SessionNotFound:
            logger.info("session deleted before its recovery", session_id=session_name)
        except InvalidStoredData:
            logger.warning("session not recovered", session_id=session_name)
