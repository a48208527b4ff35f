"""Turns of WebSocket handshakes: each turn of the event loop runs one handshake.

Clients of an instance that has ended, or that are refused, often connect at the same time. Without turns, all other
work would wait for all of their handshakes.
"""

import asyncio
from collections import deque
from collections.abc import Callable


class HandshakeTurns:
    """The handshakes of all connections that wait for their turn of the event loop."""

    __slots__ = ("_is_taken", "_waiting")

    def __init__(self) -> None:
        self._is_taken = False
        """Whether the present turn of the event loop has run a handshake."""
        self._waiting: deque[Callable[[], None]] = deque()

    def try_begin(self, handshake: Callable[[], None]) -> bool:
        """Return True if the caller must run the handshake now. Otherwise `handshake` is called in a later turn."""
        if self._is_taken:
            self._waiting.append(handshake)
            return False
        self._is_taken = True
        asyncio.get_running_loop().call_soon(self._begin_turn)
        return True

    def _begin_turn(self) -> None:
        if not self._waiting:
            self._is_taken = False
            return
        asyncio.get_running_loop().call_soon(self._begin_turn)
        self._waiting.popleft()()
