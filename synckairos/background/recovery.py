"""Recovery: when Redis really lost its data, open sessions are taken up again without anybody asking for them.

Every instance looks whether a partition's generation is still the one it knew; one of them, by a lease, goes through
what Postgres knows to be open. Sessions that somebody asks for sooner come back sooner, the same way.
"""

import asyncio
import secrets

from synckairos.errors import SessionNotFound, StoreUnavailable
from synckairos.history.reader import HistoryReader
from synckairos.service.sessions import Sessions
from synckairos.store.keys import Keys
from synckairos.store.store_generation import Generations
from synckairos.telemetry import log

LOOK_S = 1.0
LEASE_MS = 10_000
PAGE = 200
"""Sessions asked of Postgres, and read, at once; a page takes far less than the lease."""

logger = log.get_logger(__name__)


class RecoveryLoop:
    """Looks for partitions whose data are gone, for as long as `run` runs."""

    def __init__(self, sessions: Sessions, history: HistoryReader, generations: Generations, keys: Keys) -> None:
        self._sessions = sessions
        self._history = history
        self._generations = generations
        self._keys = keys
        self._known: dict[int, str] = {}
        self._name = secrets.token_hex(8)

    async def run(self) -> None:
        """Look every second until cancelled; stores that are away are waited for."""
        while True:
            for partition in range(self._keys.partitions):
                try:
                    await self._look(partition)
                except StoreUnavailable as trouble:
                    logger.debug("recovery waits", partition=partition, cause=trouble.message)
            await asyncio.sleep(LOOK_S)

    async def _look(self, partition: int) -> None:
        generation = await self._generations.current(partition)
        if self._known.get(partition) == generation:
            return
        if await self._generations.lease_recovery(partition, self._name, LEASE_MS):
            await self._take_up(partition, generation)
            self._known[partition] = generation

    async def _take_up(self, partition: int, generation: str) -> None:
        """Read every open session of a partition that stems from another life of the store: reading brings it back."""
        after: str | None = None
        count = 0
        while page := await self._history.unfinished_sessions(
            other_than_generation=generation, after=after, limit=PAGE
        ):
            ours = [session_id for session_id in page if self._keys.partition_of(session_id) == partition]
            await asyncio.gather(*(self._read(session_id) for session_id in ours))
            await self._generations.lease_recovery(partition, self._name, LEASE_MS)
            count += len(ours)
            after = page[-1]
        if count:
            logger.warning("sessions taken up again", partition=partition, sessions=count)

    async def _read(self, session_id: str) -> None:
        try:
            await self._sessions.read(session_id)
        except SessionNotFound:
            logger.info("a session went away meanwhile", session_id=session_id)
