"""A queue for work of which one part runs at a time. Clients that wait take turns."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairQueue:
    """A lock that is fair between clients: waiting clients take turns, however many calls of each client wait.

    The calls of one client get their turns in the order of the calls.
    """

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """The waiting calls of each client. The first client gets the next turn and then moves to the end."""

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn of this client. The turn lasts for the block; no other turn runs in this time."""
        if self._is_taken:
            await self._wait(client)
        self._is_taken = True
        try:
            yield
        finally:
            self._pass_on()

    @property
    def is_taken(self) -> bool:
        """Return whether a turn runs now, so that the next call waits."""
        return self._is_taken

    @property
    def waiting_client_count(self) -> int:
        """Return the number of clients that wait for a turn."""
        return len(self._waiting)

    async def _wait(self, client: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        calls = self._waiting.setdefault(client, deque())
        calls.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the turn came together with the cancellation
                self._pass_on()
            elif turn in calls:
                calls.remove(turn)
                if not calls and self._waiting.get(client) is calls:
                    del self._waiting[client]
            raise

    def _pass_on(self) -> None:
        """Give the turn to the first client in the queue. If this client has further calls, it moves to the end."""
        while self._waiting:
            client, calls = self._waiting.popitem(last=False)
            turn = calls.popleft()
            if calls:
                self._waiting[client] = calls
            if not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False
