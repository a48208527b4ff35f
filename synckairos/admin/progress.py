"""How the work of a command reports its progress. The command line decides how to show it."""

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of a command. No call waits, and calls may be as frequent as the work needs."""

    def report(self, activity: str, done: int | None = None, total: int | None = None) -> None:
        """Name the current activity, with the number of items that are done and their total number, if known."""

    def announce(self, line: str) -> None:
        """Show a message to the operator at once. It is not a part of the result."""


class NoProgress:
    """Shows nothing."""

    def report(self, activity: str, done: int | None = None, total: int | None = None) -> None:
        pass

    def announce(self, line: str) -> None:
        pass


NO_PROGRESS = NoProgress()
