"""Presses of sessions with large documents, which take milliseconds of this instance and of Redis.

Presses of small sessions never wait. Presses of a large session are measured like other requests, and the presses of
one client in large sessions run one after the other, in intervals in which other presses run.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from synckairos.errors import RateLimitExceeded
from synckairos.limits.work_limits import SETTING, WorkLimit
from synckairos.principal import DEFAULT_TENANT

LARGE_DOCUMENT_BYTES = 64 << 10
"""Bytes of a session's document above which a press of the session is large."""

PRESS_BYTE_S = 2e-8
"""Seconds of processor time that a press needs for each byte of a large document.

They are the time of this instance, of Redis, of the worker and of Postgres together (8 ms for 0.52 MB), rounded up.
"""

MAX_WAIT_S = 5.0
"""Seconds that a press of a large session waits at most. Then it is refused."""

MAX_SESSIONS = 1_000
"""Maximum number of sessions that are known to be large. Beyond it, the session whose last note is the oldest is
forgotten until its next note."""


class _Turns:
    """The presses of one client in large sessions."""

    __slots__ = ("lock", "next_at_s", "waiting")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.next_at_s = 0.0
        self.waiting = 0


class LargePresses:
    """The large sessions that this instance knows, and the turns of their presses."""

    def __init__(self, limit: WorkLimit, clock: Callable[[], float], has_other_clients: Callable[[str], bool]) -> None:
        """Create the turns without a known session.

        `limit` is the limit of processor time of a client, and `clock` returns monotonic seconds. `has_other_clients`
        returns whether a client other than the given one is active.
        """
        self._limit = limit
        self._clock = clock
        self._has_other_clients = has_other_clients
        self.sessions: OrderedDict[str, int] = OrderedDict()
        """The bytes of the document of each session that is known to be large, by session name."""
        self._turns: dict[str, _Turns] = {}
        """The turns of each client with presses that wait or run, or that ended a short time ago."""

    def find_large(self, tenant: str, session_id: str) -> str | None:
        """Return the name of a session if it is known to be large, else None."""
        if not self.sessions:
            return None
        name = session_id if tenant == DEFAULT_TENANT else f"{tenant}/{session_id}"
        return name if name in self.sessions else None

    def note_size(self, session_name: str, document_bytes: int) -> None:
        """Note the size of a session's document after a commit. Sessions without a note count as small."""
        self.sessions.pop(session_name, None)
        if document_bytes > LARGE_DOCUMENT_BYTES:
            self.sessions[session_name] = document_bytes
            if len(self.sessions) > MAX_SESSIONS:
                self.sessions.popitem(last=False)

    @asynccontextmanager
    async def turn(self, client: str, session_name: str) -> AsyncIterator[float]:
        """Wait for the turn of a press of a large session, and run the press in the block.

        Yield the seconds of processor time that the press needs in all processes together. If other clients are
        active, the client's next turn comes when these seconds are no more than its share.

        Raises: RateLimitExceeded if the wait takes more than `MAX_WAIT_S` seconds.
        """
        seconds = self.sessions.get(session_name, 0) * PRESS_BYTE_S
        turns = self._turns.setdefault(client, _Turns())
        turns.waiting += 1
        try:
            try:
                async with asyncio.timeout(MAX_WAIT_S):
                    await turns.lock.acquire()
                    try:
                        if (wait_s := turns.next_at_s - self._clock()) > 0 and self._has_other_clients(client):
                            await asyncio.sleep(wait_s)
                    except BaseException:
                        turns.lock.release()
                        raise
            except TimeoutError:
                wait_ms = max(1, math.ceil((turns.next_at_s - self._clock()) * 1000))
                raise RateLimitExceeded(self._limit.description, SETTING, wait_ms) from None
            try:
                yield seconds
            finally:
                turns.next_at_s = self._clock() + seconds / (self._limit.per_s / 1000)
                turns.lock.release()
        finally:
            turns.waiting -= 1
            self._forget_idle_clients()

    def _forget_idle_clients(self) -> None:
        now_s = self._clock()
        for client, turns in [*self._turns.items()]:
            if not turns.waiting and turns.next_at_s <= now_s:
                del self._turns[client]

    @property
    def client_count(self) -> int:
        """Return the number of clients with presses of large sessions that wait or run, or ended a short time ago."""
        return len(self._turns)
