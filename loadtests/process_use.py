"""Processor time and memory of the processes of a load test, from `/proc`."""

import os
from collections.abc import Mapping
from pathlib import Path


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def processor_s(pid: int) -> float:
    """Return the processor time, in seconds, that a process and its children have used."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return _own_processor_s(pid) + sum(_own_processor_s(int(child)) for child in children)


def _own_processor_s(pid: int) -> float:
    """Return the processor time of a process and of its children that have ended; 0 if the process has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


class ProcessorUse:
    """The processor time of several processes, in phases of two kinds."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        """Take the process ids by the names under which the result lists them."""
        self._pids = pids
        self._began_s: dict[str, float] = {}
        self._used_s: dict[str, list[float]] = {name: [0.0, 0.0] for name in pids}

    def begin_phase(self) -> None:
        self._began_s = {name: processor_s(pid) for name, pid in self._pids.items()}

    def end_phase(self, kind: int) -> None:
        """End a phase of the kind 0 or 1."""
        for name, pid in self._pids.items():
            self._used_s[name][kind] += processor_s(pid) - self._began_s[name]

    def cores(self, seconds: float) -> dict[str, list[float]]:
        """Return the used processor time of each process as a share of one core, for each kind of phase.

        `seconds` is the duration of all phases of one kind.
        """
        return {name: [round(each / seconds, 2) for each in used_s] for name, used_s in self._used_s.items()}
