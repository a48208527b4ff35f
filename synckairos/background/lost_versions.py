"""The check for lost versions: after each new connection to Redis, compares Redis with what this instance has seen.

A failover to a replica, or a restart of Redis, can lose acknowledged versions. The load of a session detects that. This
check also finds the sessions that no caller requests, and the sessions whose lost version numbers another instance has
issued again. Each of these sessions continues under a new epoch.
"""

import asyncio
from itertools import islice

from synckairos.backoff import Backoff
from synckairos.errors import InvalidStoredData, SessionNotFound, StoreUnavailable
from synckairos.service.sessions import Sessions
from synckairos.store.known_versions import KnownVersion
from synckairos.store.shared_connection import RedisPipe
from synckairos.telemetry import log

BATCH_SIZE = 250
"""Number of sessions that are compared in one pipeline."""

RETRY_S = (0.05, 1.0)
"""Seconds before the check is repeated after a failure: maximum of the first delay, and of all delays."""

logger = log.get_logger(__name__)


class LostVersionCheck:
    """Checks the known sessions after each new connection of `pipe`, as long as `run` runs."""

    def __init__(self, sessions: Sessions, pipe: RedisPipe) -> None:
        self._sessions = sessions
        self._pipe = pipe

    async def run(self) -> None:
        """Check after each new connection until cancelled. If a store does not answer, check again."""
        checked, backoff = self._pipe.connections, Backoff(*RETRY_S)
        while True:
            reconnected = self._pipe.reconnected
            if self._pipe.connections == checked:
                await reconnected.wait()
            checked = self._pipe.connections
            try:
                await self.check_once()
            except StoreUnavailable as error:
                logger.debug("the check for lost versions waits for a store", cause=error.message)
                checked = 0
                await asyncio.sleep(backoff.next_s())
            else:
                backoff.reset()

    async def check_once(self) -> None:
        """Compare all known sessions with Redis one time, and recover the sessions that lost versions.

        Raises: StoreUnavailable if Redis does not answer. The sessions before that were checked.
        """
        known = self._sessions.list_known_versions()
        while batch := list(islice(known, BATCH_SIZE)):
            for session_name, version in await self._sessions.find_lost_versions(batch):
                await self._recover(session_name, version)

    async def _recover(self, session_name: str, lost: KnownVersion) -> None:
        try:
            await self._sessions.recover_lost_version(session_name, lost)
        except SessionNotFound:
            if lost.deleted:
                return  # the lost deletion was repeated
            logger.warning("session lost", session_id=session_name, version=lost.version, epoch=lost.epoch)
        except InvalidStoredData:
            logger.warning("session not recovered", session_id=session_name)
