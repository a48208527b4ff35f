"""What pages for an audience show beside the clocks: an announcement, and the mode of their screens."""

from enum import StrEnum

from msgspec import Struct


class AnnouncementTone(StrEnum):
    """The importance of an announcement. It determines the colours and the words with which pages show it."""

    INFO = "info"
    WARNING = "warning"
    URGENT = "urgent"


class Announcement(Struct, frozen=True):
    """A text for the audience, announced at `announced_at_ms`.

    If `flashes`, pages flash the text for a short time after `announced_at_ms`. Pages show the text before `until_ms`,
    without an end if it is None. Both instants are in ms since the Unix epoch. The end makes no version.
    """

    text: str
    announced_at_ms: int
    tone: AnnouncementTone = AnnouncementTone.INFO
    flashes: bool = False
    until_ms: int | None = None


class ScreenMode(StrEnum):
    """What the screens of an audience show instead of the whole session.

    `blackout`: nothing. `focus`: only the clock that runs, in the largest size. `standby`: the title, without clocks.
    """

    BLACKOUT = "blackout"
    FOCUS = "focus"
    STANDBY = "standby"
