"""Priority of presses: other work of clients with much work waits while a press runs.

A press needs several turns of the event loop: for the request and for each reply of Redis. Without priority, each of
these turns could contain a step of other work. With priority, a press waits at most for the step that already runs.
"""

import asyncio
from collections import deque

MAX_DELAY_S = 0.005
"""Maximum seconds for which one step of other work waits, however many presses run."""


class PressPriority:
    """The presses that run on this instance, and the steps of other work that wait for their end."""

    __slots__ = ("_delayed", "_presses")

    def __init__(self) -> None:
        self._presses = 0
        self._delayed: deque[asyncio.Future[None]] = deque()
        """The waiting steps, in the order in which they run."""

    def begin_press(self) -> None:
        """Count a press that begins. The caller must call `end_press` at its end."""
        self._presses += 1

    def end_press(self) -> None:
        """Count a press that has ended. After the last press, the waiting steps run, one in a turn of the loop."""
        self._presses -= 1
        if self._delayed:
            self.run_next_step()

    @property
    def must_wait(self) -> bool:
        """Return whether a new step of other work must wait."""
        return self._presses > 0 or bool(self._delayed)

    async def wait(self) -> None:
        """Wait until no press runs, at most `MAX_DELAY_S` seconds. The caller must call `run_next_step` after its step.

        The waiting steps run in the order of their calls.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._delayed.append(turn)
        timer = asyncio.get_running_loop().call_later(MAX_DELAY_S, _allow, turn)
        try:
            await turn
        finally:
            timer.cancel()

    def run_next_step(self) -> None:
        """Let the next waiting step run, if no press runs."""
        while self._delayed and (not self._presses or self._delayed[0].done()):
            turn = self._delayed.popleft()
            if not turn.done():
                turn.set_result(None)
                return


def _allow(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
