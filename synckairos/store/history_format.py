"""The format in which commits write messages of the version history, and its choice.

Instances of the release before cannot read packed messages (`wire/packed_history.py`). So an instance writes them only
if all instances with a heartbeat in Redis read them, and if no other instance had one for a day. During an upgrade and
the day after it, both releases therefore read all messages, also after a rollback.

Redis keeps heartbeats for an hour. So an upgrade that first ends all instances of the release before has the same day,
if the first new instance starts within that hour.
"""

import asyncio
from contextlib import suppress

from synckairos.errors import StoreUnavailable
from synckairos.store.keys import Keys
from synckairos.store.presence import read_instance_names, reads_packed_history
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe

CHOICE_S = 10.0
"""Seconds between two choices of an instance."""

AFTER_OLDER_INSTANCES_S = 86_400
"""Seconds without an instance of an earlier release after which messages are packed."""


class HistoryFormat:
    """The format that commits use now. `is_packed` is True if they pack messages of small sessions."""

    __slots__ = ("is_packed",)

    def __init__(self) -> None:
        self.is_packed = False


class HistoryFormatChoice:
    """Chooses the history format of one instance by the heartbeats of all instances."""

    def __init__(self, pipe: RedisPipe, keys: Keys, chosen: HistoryFormat) -> None:
        """Create the choice for the store of `pipe`. It changes `chosen`."""
        self._pipe = pipe
        self._keys = keys
        self._chosen = chosen

    async def choose(self) -> None:
        """Read the names of all instances with a heartbeat in Redis, and choose the format. Two round trips.

        If one of them is of an earlier release, Redis keeps a mark of it for `AFTER_OLDER_INSTANCES_S`. Instances that
        have ended count too, because they can start again.

        Raises: StoreUnavailable if Redis does not answer. The format then stays.
        """
        names = await read_instance_names(self._pipe, self._keys)
        key = self._keys.older_instances_seen
        with translated_errors():
            if all(map(reads_packed_history, names)):
                self._chosen.is_packed = not await self._pipe.call("EXISTS", key)
            else:
                self._chosen.is_packed = False
                await self._pipe.call("SET", key, "1", "EX", AFTER_OLDER_INSTANCES_S)

    async def run(self) -> None:
        """Choose the format every `CHOICE_S` seconds until cancelled. During an outage of Redis, try again."""
        while True:
            await asyncio.sleep(CHOICE_S)
            with suppress(StoreUnavailable):  # the commands of the instance report the outage
                await self.choose()
