"""Interface through which the implementation of a command reports its progress. The command line shows the progress."""

from typing import Protocol


class Progress(Protocol):
    """Receiver of the progress of a command. The methods return at once, so they can be called often."""

    def report(self, activity: str, done: int | None = None, total: int | None = None) -> None:
        """Report the current activity, the number of finished items, and the total number of items.

        A number is None if it is not known.
        """

    def announce(self, line: str) -> None:
        """Show a message to the operator immediately. The message is not a part of the command's result."""


class NoProgress:
    """Receiver that ignores the progress."""

    def report(self, activity: str, done: int | None = None, total: int | None = None) -> None:
        """Ignore the progress."""

    def announce(self, line: str) -> None:
        """Ignore the message."""


NO_PROGRESS = NoProgress()
