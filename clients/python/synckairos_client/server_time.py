"""The server's time as the client knows it: measured samples, until this machine sleeps."""

import asyncio
from collections.abc import Callable

from synckairos_client.clock_offset import Sample, ServerClock
from synckairos_client.errors import ServerTimeUnknown
from synckairos_client.sleep_detecting_clock import SuspendAwareClock


class ServerTime:
    """The server's time. It is known after the first sample.

    After a sleep of this machine it is unknown until the next sample. `on_sleep` is called when a sleep is detected.
    The owner must then measure the server's time again.
    """

    def __init__(self, local_clock: SuspendAwareClock, on_sleep: Callable[[], None]) -> None:
        self.clock = ServerClock()
        self._local_clock = local_clock
        self._known_sleeps = local_clock.detect_sleeps()
        self._on_sleep = on_sleep
        self._known = asyncio.Event()
        self._is_ended = False

    @property
    def is_known(self) -> bool:
        """Return whether the server's time is known now. The check detects a sleep of this machine."""
        self._forget_after_sleep()
        return self.clock.is_known

    def now_ms(self) -> float:
        """Return the server's time, ms since the Unix epoch.

        Raises: ServerTimeUnknown if the server's time is not known.
        """
        local_ms = self._local_clock.now_ms()
        if not self.is_known:
            raise ServerTimeUnknown
        return self.clock.now_ms(local_ms)

    @property
    def error_ms(self) -> float:
        """Return the maximum error of `now_ms` in either direction, ms. Infinite if the server's time is not known."""
        self._forget_after_sleep()
        return self.clock.error_ms(self._local_clock.now_ms())

    @property
    def round_trip_ms(self) -> float:
        """Return the shortest measured round trip in ms, 0 if there is none."""
        return self.clock.round_trip_ms

    def add_sample(self, sample: Sample) -> None:
        """Add a measured sample, and wake the callers of `wait`."""
        self._forget_after_sleep()
        self.clock.add_sample(sample)
        self._known.set()

    async def wait(self) -> None:
        """Wait until a sample is added or `end_waits` is called. Return at once if the server's time is known."""
        await self._known.wait()

    def end_waits(self) -> None:
        """Let all present and later calls of `wait` return, because no further sample will be added."""
        self._is_ended = True
        self._known.set()

    def _forget_after_sleep(self) -> None:
        sleeps = self._local_clock.detect_sleeps()
        if sleeps == self._known_sleeps:
            return
        self._known_sleeps = sleeps
        self.clock.remove_all_samples()
        if not self._is_ended:
            self._known.clear()
        self._on_sleep()
