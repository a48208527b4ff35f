"""A queue for work of which only some parts run at a time. Groups that wait take turns, and the clients of a group too.

A group is a tenant where work belongs to tenants.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_Calls = deque[asyncio.Future[None]]


class FairQueue:
    """Places that are shared fairly: waiting groups take turns, however many clients and calls of each group wait.

    Within a group, waiting clients take turns. The calls of one client get their turns in the order of the calls.
    """

    def __init__(self, places: int = 1) -> None:
        """Create a queue without calls. `places` is the number of turns that run at the same time."""
        self._free = places
        self._waiting: OrderedDict[str, OrderedDict[str, _Calls]] = OrderedDict()
        """The waiting calls of each client of each group.

        The first client of the first group gets the next turn. Both then move to the end.
        """

    @asynccontextmanager
    async def turn(self, client: str, group: str = "") -> AsyncIterator[None]:
        """Wait for a turn of this client of a group. The turn has one of the places for the duration of the block."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(client, group)
        try:
            yield
        finally:
            self._pass_on()

    @property
    def is_taken(self) -> bool:
        """Return whether all places are taken, so that the next call waits."""
        return not self._free

    @property
    def waiting_client_count(self) -> int:
        """Return the number of clients that wait for a turn."""
        return sum(map(len, self._waiting.values()))

    async def _wait(self, client: str, group: str) -> None:
        """Wait for a turn. Its place stays taken for this call."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        clients = self._waiting.setdefault(group, OrderedDict())
        calls = clients.setdefault(client, deque())
        calls.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the turn came together with the cancellation
                self._pass_on()
            elif turn in calls:
                calls.remove(turn)
                if not calls and clients.get(client) is calls:
                    del clients[client]
                    if not clients and self._waiting.get(group) is clients:
                        del self._waiting[group]
            raise

    def _pass_on(self) -> None:
        """Give the place to the first client of the first group. Those with further calls move to the end."""
        while self._waiting:
            group, clients = self._waiting.popitem(last=False)
            client, calls = clients.popitem(last=False)
            turn = calls.popleft()
            if calls:
                clients[client] = calls
            if clients:
                self._waiting[group] = clients
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
