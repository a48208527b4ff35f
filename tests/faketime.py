"""Processes with wrong clocks, by libfaketime. `.ci/tools` installs it. Without it the tests fail; they never skip."""

import os
from pathlib import Path

LIBRARY_PATHS = ("usr/lib/*/faketime/libfaketimeMT.so.1", "usr/lib/faketime/libfaketimeMT.so.1")


def find_library() -> str:
    """Return the path of libfaketime: the variable `LIBFAKETIME`, or the path of Debian."""
    debian = [str(file) for pattern in LIBRARY_PATHS for file in Path("/").glob(pattern)]
    found = [os.environ.get("LIBFAKETIME", ""), *debian]
    first = next(filter(None, found), None)
    assert first, "tests of wrong clocks need libfaketime: apt-get install libfaketime, or LIBFAKETIME=/path/to/one"
    return first


def wrong_clock(faketime: str, *, monotonic: bool = False) -> dict[str, str]:
    """Return the environment of a process with a wrong clock: `+1h`, `-1h`, or `+0 x1.05` for a clock 5 % too fast.

    `monotonic` also changes the monotonic clock, because a drift comes from the oscillator, not from a setting.
    """
    return {
        "LD_PRELOAD": find_library(),
        "FAKETIME": faketime,
        "FAKETIME_DONT_FAKE_MONOTONIC": "0" if monotonic else "1",
    }


class SettableClock:
    """A clock that can be set while its process runs. `env` is the environment of this process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.env = {
            "LD_PRELOAD": find_library(),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, offset_s: int) -> None:
        """Set the clock to the true time plus `offset_s` seconds."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{offset_s:+d}\n")
        fresh.rename(self._file)  # atomic: the process never reads a partial file
