"""Measurement of requests step by step. A step is the time in which a request runs on the event loop without a wait."""

import time
import types
from collections.abc import Coroutine, Generator
from typing import Any, Protocol, TypeVar

from synckairos.limits.press_priority import PressPriority

LONG_STEP_S = 0.02
"""Seconds without a wait from which on a step of a request is a candidate for `ProcessorTime.take_longest_step`."""

T = TypeVar("T")


class ChargedAccount(Protocol):
    """The account to which the time of steps is charged."""

    @property
    def has_much_use(self) -> bool:
        """Return whether the client recently used so much time that its steps wait for presses."""

    def charge(self, seconds: float) -> None:
        """Charge processor time to the client."""


class StepMeter:
    """Runs requests and measures their steps. Steps of clients with much use wait for their turns."""

    __slots__ = ("_longest_step", "press_priority")

    def __init__(self) -> None:
        self.press_priority = PressPriority()
        self._longest_step = ("", 0.0)

    def take_longest_step(self) -> tuple[str, float]:
        """Return the longest step since the last call: the name of the function of its request, and its seconds.

        Steps below `LONG_STEP_S` seconds are not noted. The name is empty if no step was noted.
        """
        longest, self._longest_step = self._longest_step, ("", 0.0)
        return longest

    def _note_long_step(self, name: str, seconds: float) -> None:
        if seconds > self._longest_step[1]:
            self._longest_step = (name, seconds)

    @types.coroutine
    def run(
        self, coroutine: Coroutine[Any, Any, T], account: ChargedAccount, spent: list[float]
    ) -> Generator[Any, Any, T]:
        """Run a coroutine to its end, and charge to the account the time in which it did not wait.

        The seconds are also added to the only item of `spent`. Each step of a client with much use waits for its turn,
        see `PressPriority`.
        """
        presses = self.press_priority
        sent: Any = None
        raised: BaseException | None = None
        while True:
            if has_turn := account.has_much_use and not presses.is_in_step:
                if presses.must_wait:
                    try:
                        yield from presses.wait().__await__()
                    except GeneratorExit:
                        coroutine.close()
                        raise
                    except BaseException as error:  # noqa: BLE001 - the coroutine must see cancellations too
                        raised, has_turn = error, False
                else:
                    presses.begin_step()
            began_s = time.perf_counter()
            try:
                awaited = coroutine.send(sent) if raised is None else coroutine.throw(raised)
            except StopIteration as end:
                result: T = end.value
                raised = awaited = None  # with them, this frame and the traceback of an error would be a cycle
                return result
            except BaseException:
                raised = awaited = None  # as above
                raise
            finally:
                used_s = time.perf_counter() - began_s
                spent[0] += used_s
                account.charge(used_s)
                if has_turn:
                    presses.end_step(used_s)
                if used_s >= LONG_STEP_S:
                    self._note_long_step(getattr(coroutine, "__qualname__", ""), used_s)
            sent = raised = None
            try:
                sent = yield awaited
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - the coroutine must see cancellations too
                raised = error
