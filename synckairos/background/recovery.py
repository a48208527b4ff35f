"""The recovery loop: after data loss it recovers all open sessions, without waiting for a request for them.

Every instance checks whether each partition still has the generation that it knew. After a change, the instance that
gets the lease reads all sessions that Postgres knows to be open. A session that is requested earlier is recovered
earlier, in the same way.
"""

import asyncio
import secrets

from synckairos.errors import InvalidStoredData, SessionNotFound, StoreUnavailable
from synckairos.history.reader import HistoryReader
from synckairos.service.sessions import Sessions
from synckairos.store.keys import Keys
from synckairos.store.session_index import SessionIndex
from synckairos.store.store_generation import Generations
from synckairos.telemetry import log

CHECK_S = 1.0
"""Seconds between two checks of the generations."""

LEASE_MS = 10_000
"""Milliseconds that the lease on a partition's recovery lasts. It is renewed after each page."""

PAGE_SIZE = 200
"""Sessions that are listed by Postgres, and read, at the same time. A page takes much less time than the lease."""

logger = log.get_logger(__name__)


class RecoveryLoop:
    """Finds partitions with data loss and recovers their sessions, while `run` runs."""

    def __init__(
        self, sessions: Sessions, history: HistoryReader, generations: Generations, index: SessionIndex, keys: Keys
    ) -> None:
        self._sessions = sessions
        self._history = history
        self._generations = generations
        self._index = index
        self._keys = keys
        self._known: dict[int, str] = {}
        """The generations whose partitions need no recovery, by partition."""
        self._lease_holder = secrets.token_hex(8)

    async def run(self) -> None:
        """Check every second until cancelled. If a store does not answer, check again later."""
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
        generation = await self._generations.current(partition)
        if self._known.get(partition) == generation:
            return
        if await self._generations.lease_recovery(partition, self._lease_holder, LEASE_MS):
            await self._recover(partition, generation)
            self._known[partition] = generation

    async def _rebuild_index(self, partition: int) -> None:
        """Build the deadlines and the list of live sessions again, after invalid data in one of them was dropped."""
        if await self._generations.lease_recovery(partition, self._lease_holder, LEASE_MS):
            count = await self._index.rebuild(partition)
            logger.warning("deadlines and live sessions built again", partition=partition, sessions=count)

    async def _recover(self, partition: int, generation: str) -> None:
        """Read every open session of a partition that is of another generation. The read recovers it."""
        after: str | None = None
        count = 0
        while page := await self._history.unfinished_sessions(
            other_than_generation=generation, after=after, limit=PAGE_SIZE
        ):
            ours = [session_id for session_id in page if self._keys.partition_of(session_id) == partition]
            await asyncio.gather(*(self._read(session_id) for session_id in ours))
            await self._generations.lease_recovery(partition, self._lease_holder, LEASE_MS)
            count += len(ours)
            after = page[-1]
        if count:
            logger.warning("open sessions recovered", partition=partition, sessions=count)

    async def _read(self, session_id: str) -> None:
        try:
            await self._sessions.read(session_id)
        except SessionNotFound:
            logger.info("session deleted before its recovery", session_id=session_id)
        except InvalidStoredData:
            logger.warning("session not recovered", session_id=session_id)
