"""Turns of the steps of clients with much work, and priority of presses over these steps.

Each turn of the event loop runs one of these steps, however many requests run. Without this queue, a turn could run a
step of each request, and all other work would wait for all of them. A press needs several turns of the event loop: for
the request and for each reply of Redis. While a press runs, these steps pause between each other, but never stop.
"""

import asyncio
from collections import deque
from typing import Any

PAUSE_RATIO = 4
"""Duration of the pause after a step while presses run, as a multiple of the step's duration."""

MIN_PAUSE_S = 0.002
MAX_PAUSE_S = 0.005
"""Minimum and maximum seconds of the pause before a step while presses run."""


class PressPriority:
    """The presses that run on this instance, and the steps of other work that wait for their turns."""

    __slots__ = ("_delayed", "_free_at_s", "_is_released", "_presses", "_task", "_timer")

    def __init__(self) -> None:
        self._presses = 0
        self._delayed: deque[tuple[asyncio.Future[None], asyncio.Task[Any] | None]] = deque()
        """The waiting steps and their tasks, in the order in which the steps run."""
        self._task: asyncio.Task[Any] | None = None
        """The task whose step has its turn. None if no step has one."""
        self._is_released = False
        """Whether a step has run in this turn of the event loop, or will run in the next one."""
        self._free_at_s = float("-inf")
        """End of the pause after the last step, by the clock of the event loop."""
        self._timer: asyncio.TimerHandle | None = None
        """The end of the pause for which the first waiting step waits. None if no step waits for it."""

    def begin_press(self) -> None:
        """Count a press that begins. The caller must call `end_press` at its end."""
        self._presses += 1

    def end_press(self) -> None:
        """Count a press that has ended. After the last press, the waiting steps run, one in a turn of the loop."""
        self._presses -= 1
        if self._delayed and not self._presses and not self._is_released:
            self._release_next()

    @property
    def must_wait(self) -> bool:
        """Return whether a new step must wait, because a press runs or this turn of the loop has run another step."""
        return self._presses > 0 or self._is_released or bool(self._delayed)

    @property
    def is_in_step(self) -> bool:
        """Return whether the present task has its turn already.

        A request that waits can be a part of another request of the same task, whose step would wait for it.
        """
        return self._task is not None and self._task is asyncio.current_task()

    async def wait(self) -> None:
        """Wait for the turn of a step. The waiting steps get their turns in the order of their calls.

        The caller must call `end_step` after the step. If the wait is cancelled, there is no turn and no such call.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._delayed.append((turn, asyncio.current_task()))
        if not self._is_released:
            self._release_next()
        try:
            await turn
        except BaseException:
            if not turn.cancel() and not turn.cancelled() and not turn.get_loop().is_closed():
                self.end_step(0)  # the turn came together with the cancellation
            raise

    def begin_step(self) -> None:
        """Note a step that runs without a wait. The caller must call `end_step` after the step."""
        self._is_released = True
        self._task = asyncio.current_task()

    def end_step(self, used_s: float) -> None:
        """Note that a step has ended, which took `used_s` seconds. The next step runs in the next turn of the loop."""
        loop = asyncio.get_running_loop()
        if self._presses or self._delayed:
            self._free_at_s = loop.time() + min(used_s * PAUSE_RATIO, MAX_PAUSE_S)
        self._is_released = False
        self._task = None
        if self._delayed:
            self._release_next()
        elif not self._presses:
            self._is_released = True
            loop.call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        self._is_released = False
        if self._delayed:
            self._release_next()

    def _release_next(self) -> None:
        """Let the first waiting step run in the next turn of the loop, while presses run after the pause."""
        if self._timer is not None:
            if self._presses:
                return
            self._timer.cancel()
            self._timer = None
        if not self._presses:
            self._give_turn()
        elif self._delayed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(MIN_PAUSE_S, self._free_at_s - loop.time()), self._end_pause)

    def _give_turn(self) -> None:
        """Let the first waiting step run in the next turn of the loop."""
        while self._delayed:
            turn, task = self._delayed.popleft()
            if not turn.done():  # else its wait was cancelled
                self._is_released, self._task = True, task
                turn.set_result(None)
                return

    def _end_pause(self) -> None:
        self._timer = None
        if not self._is_released:
            self._give_turn()
