"""Display of the progress of a command on stderr. Results go to stdout and stay machine-readable.

A terminal gets one line that is redrawn, with the activity, the count and the elapsed time. The line is removed at the
end. If stderr is not a terminal, or TERM is `dumb`, plain lines are printed instead. A command that ends quickly shows
no progress.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

import click

from synckairos.cli.escaped_echo import echo

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

LIVE_AFTER_S = 0.4
"""Seconds from the start of a command until a terminal shows the redrawn line."""

PLAIN_AFTER_S = 2.0
"""Seconds from the start of a command until the first plain line is printed."""

PLAIN_EVERY_S = 10.0
"""Seconds between two plain lines."""


def uses_colour() -> bool:
    """Return whether the environment allows colours, so NO_COLOR is not set, and TERM is not `dumb`."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_redrawable_terminal(stream: object) -> bool:
    """Return whether a stream is a terminal that can redraw a line."""
    isatty = getattr(stream, "isatty", None)
    return isatty is not None and isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


class ProgressDisplay:
    """Display of the progress of one activity. All methods can be called from any thread.

    After `close`, `report` has no effect; `echo` and `announce` still print.
    """

    def __init__(
        self, activity: str, *, plain_after_s: float = PLAIN_AFTER_S, plain_every_s: float = PLAIN_EVERY_S
    ) -> None:
        self._activity = activity
        self._done: int | None = None
        self._total: int | None = None
        self._began_s = monotonic()
        self._live: RichProgress | None = None
        self._is_live = is_redrawable_terminal(sys.stderr)
        self._shares_terminal = self._is_live and is_redrawable_terminal(sys.stdout)
        self._first_s = LIVE_AFTER_S if self._is_live else plain_after_s
        self._every_s = plain_every_s
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)
        self._thread.start()

    def report(self, activity: str, done: int | None = None, total: int | None = None) -> None:
        """Show a new activity, with the number of items that are done and the total number of items.

        A number is None if it is not known.
        """
        with self._lock:
            self._activity, self._done, self._total = activity, done, total
            if self._live is not None:
                self._update(self._live)

    def announce(self, line: str) -> None:
        """Print a message for the operator on stderr."""
        self._print(line, err=True)

    def echo(self, line: str, *, colour: str | None = None) -> None:
        """Print one line of the command's result on stdout. `colour` is the name of a click colour for terminals."""
        self._print(line, err=False, colour=colour)

    def close(self) -> None:
        """Remove the redrawn line, and show no further progress."""
        self._ended.set()
        self._thread.join()
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None

    def _print(self, line: str, *, err: bool, colour: str | None = None) -> None:
        with self._lock:
            live = self._live if err or self._shares_terminal else None
            if live is not None:
                live.stop()
            echo(line, err=err, colour=colour)
            if live is not None:
                live.start()

    def _show(self) -> None:
        """Start the redrawn line, or print plain lines, until the display is closed."""
        if self._ended.wait(self._first_s):
            return
        if self._is_live:
            live = _open_live()
            with self._lock:
                if not self._ended.is_set():
                    self._live = live
                    self._update(live)
                    live.start()
            return
        while True:
            click.echo(self._plain_line(), err=True)
            if self._ended.wait(self._every_s):
                return

    def _plain_line(self) -> str:
        with self._lock:
            line = f"{self._activity}{self._count_text()}"
        return f"{line} ({monotonic() - self._began_s:.0f} s)"

    def _count_text(self) -> str:
        if self._done is None:
            return ""
        return f": {self._done:,}" if self._total is None else f": {self._done:,} of {self._total:,}"

    def _update(self, live: "RichProgress") -> None:
        (task,) = live.task_ids
        live.update(
            task, description=f"{self._activity}{self._count_text()}", completed=self._done or 0, total=self._total
        )


@contextmanager
def show_progress(activity: str) -> Iterator[ProgressDisplay]:
    """Show the progress of `activity` until the end of the block, and yield the display."""
    display = ProgressDisplay(activity)
    try:
        yield display
    finally:
        display.close()


def _open_live() -> "RichProgress":
    """Return a progress display of the library rich with one task.

    rich is imported in this function, because only terminals need it.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, color_system="auto" if uses_colour() else None, highlight=False)
    live = Progress(
        SpinnerColumn("dots" if console.encoding.startswith("utf") else "line"),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    live.add_task("")
    return live
