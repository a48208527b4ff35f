"""The rows of a session as text: the name of an owner, a clock face and a note. Pure."""

from dataclasses import dataclass

TENTHS_BELOW_MS = 20_000
"""Milliseconds below which a clock face shows tenths of a second."""

HOURS_A_DAY = 24

NAME_COLUMNS = 32
"""Number of columns for the name before a clock face."""

SHORT_ID_CHARS = 12
"""Number of characters at the end of an id that are shown if there is no name."""


@dataclass(frozen=True, slots=True)
class TextRow:
    """One clock: the name of its owner, the clock face, a note, and whether its owner has the turn."""

    name: str
    face: str
    note: str = ""
    is_turn: bool = False


def format_clock(ms: int) -> str:
    """Return the text of a clock face for `ms`, such as `5:03`.

    The time is rounded down. The last 20 seconds have tenths. Time below 0 has a minus sign. From 24 hours on, the text
    begins with the days.
    """
    sign, ms = ("-", -ms) if ms < 0 else ("", ms)
    seconds, tenths = ms // 1000, f".{ms // 100 % 10}" if ms < TENTHS_BELOW_MS else ""
    hours, minutes = seconds // 3600, seconds // 60 % 60
    digits = f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"
    if hours >= HOURS_A_DAY:
        digits = f"{hours // HOURS_A_DAY}d {hours % HOURS_A_DAY:02}:{minutes:02}:{seconds % 60:02}"
    return f"{sign}{digits}{tenths}"


def short_id(text: str) -> str:
    """Return an id that fits into the column of names. The ends of UUIDs differ, and their beginnings often do not."""
    return text if len(text) <= NAME_COLUMNS else f"…{text[-SHORT_ID_CHARS:]}"
