"""Processes whose clocks are wrong, by libfaketime. `.ci/tools` installs it; without it tests fail, never skip."""

import os
from pathlib import Path

PLACES = ("usr/lib/*/faketime/libfaketimeMT.so.1", "usr/lib/faketime/libfaketimeMT.so.1")


def library() -> str:
    """Find libfaketime: the one that `LIBFAKETIME` names, or Debian's."""
    found = [os.environ.get("LIBFAKETIME", ""), *(str(file) for place in PLACES for file in Path("/").glob(place))]
    first = next(filter(None, found), None)
    assert first, "tests of clocks need libfaketime: apt-get install libfaketime, or LIBFAKETIME=/path/to/one"
    return first


def skewed(how: str, *, monotonic: bool = False) -> dict[str, str]:
    """Return the variables that bend a process' clock: `+1h`, `-1h`, or `+0 x1.05` for one that runs 5 % fast.

    With `monotonic` also the one that nobody can set: a drift is in the oscillator, not in a setting.
    """
    return {
        "LD_PRELOAD": library(),
        "FAKETIME": how,
        "FAKETIME_DONT_FAKE_MONOTONIC": "0" if monotonic else "1",
    }


class SettableClock:
    """A clock that can be set while its process runs; `env` is what that process needs."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.env = {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, offset_s: int) -> None:
        """Let the clock say the true time plus `offset_s` from now on."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{offset_s:+d}\n")
        fresh.rename(self._file)  # never seen half-written
