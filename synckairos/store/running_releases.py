"""The releases whose processes use the store: each process announces its release, and operators read the list."""

import asyncio
from contextlib import suppress

from synckairos import __version__
from synckairos.errors import StoreUnavailable
from synckairos.store.keys import Keys
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe, parse_time_ms
from synckairos.telemetry.invalid_data import report_invalid_data
from synckairos.telemetry.metric_types import ProcessKind

ANNOUNCE_S = 10.0
"""Seconds between two announcements of a process."""

ENDED_AFTER_S = 30.0
"""Seconds without an announcement after which no process of a release runs any more."""


class RunningReleases:
    """The list of running releases in Redis: `<process> <release>`, such as `worker 3.0.0`, by the last announcement.

    The list has one member for each kind of process and release, not for each process.
    """

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._key = keys.running_releases

    async def announce(self, process: ProcessKind, release: str = __version__) -> None:
        """Announce a process, and remove the releases that have ended. Two round trips.

        Raises: StoreUnavailable if Redis does not answer or accepts no writes.
        """
        with translated_errors():
            now_ms = parse_time_ms(await self._pipe.call("TIME"))
            replies = await self._pipe.call_many_independent(
                [
                    ("ZADD", self._key, now_ms, f"{process} {release}"),
                    ("ZREMRANGEBYSCORE", self._key, "-inf", f"({now_ms - round(ENDED_AFTER_S * 1000)}"),
                ]
            )
            if isinstance(replies[0], Exception):
                report_invalid_data(self._key, replies[0])
                await self._pipe.call("UNLINK", self._key)

    async def read(self) -> list[str]:
        """Return the releases that run, such as `server 3.0.0`, in alphabetical order. One round trip.

        Raises: StoreUnavailable if Redis does not answer.
        """
        with translated_errors():
            time, found = await self._pipe.call_many_independent(
                [("TIME",), ("ZRANGE", self._key, 0, -1, "WITHSCORES")]
            )
        if isinstance(found, Exception):
            report_invalid_data(self._key, found)
            return []
        oldest_ms = parse_time_ms(time) - ENDED_AFTER_S * 1000
        rows = zip(found[::2], found[1::2], strict=True)
        return sorted(member.decode(errors="replace") for member, score in rows if float(score) >= oldest_ms)

    async def announce_until_cancelled(self, process: ProcessKind) -> None:
        """Announce a process every `ANNOUNCE_S` seconds until cancelled. During an outage of Redis, try again."""
        while True:
            with suppress(StoreUnavailable):  # the commands of the process report the outage
                await self.announce(process)
            await asyncio.sleep(ANNOUNCE_S)
