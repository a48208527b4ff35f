"""Environments for processes with wrong clocks, with libfaketime.

`.ci/tools` installs libfaketime. Without libfaketime the tests fail; they never skip.
"""

import os
from pathlib import Path

LIBRARY_PATHS = ("usr/lib/*/faketime/libfaketimeMT.so.1", "usr/lib/faketime/libfaketimeMT.so.1")


def find_library() -> str:
    """Return the path of libfaketime, from the variable `LIBFAKETIME` or at its place in Debian."""
    debian = [str(file) for pattern in LIBRARY_PATHS for file in Path("/").glob(pattern)]
    found = [os.environ.get("LIBFAKETIME", ""), *debian]
    first = next(filter(None, found), None)
    assert first, "tests of wrong clocks need libfaketime: apt-get install libfaketime, or LIBFAKETIME=/path/to/one"
    return first


def wrong_clock(faketime: str, *, monotonic: bool = False) -> dict[str, str]:
    """Return environment variables for a process with a wrong clock.

    `faketime` is `+1h`, `-1h`, or `+0 x1.05` for a clock that runs 5 % too fast. `monotonic`: whether the monotonic
    clock is also wrong. A drift comes from the oscillator and not from a setting, so it also affects the monotonic
    clock.
    """
    return {
        "LD_PRELOAD": find_library(),
        "FAKETIME": faketime,
        "FAKETIME_DONT_FAKE_MONOTONIC": "0" if monotonic else "1",
    }


class SettableClock:
    """A clock that a test can set at any time. `env` has the environment variables for a process with this clock."""

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
        fresh.rename(self._file)  # atomic, so that the process never reads a partial file
