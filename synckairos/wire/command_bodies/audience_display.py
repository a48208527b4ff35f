"""Bodies of the commands that change what pages for an audience show."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from synckairos.clock.audience_display import AnnouncementTone, ScreenMode
from synckairos.clock.commands import Announce, Command, Screen
from synckairos.wire.command_bodies.shared_members import CommandBody
from synckairos.wire.field_types import InstantText, Omittable
from synckairos.wire.instants import parse_instant_ms

MAX_ANNOUNCEMENT_CHARACTERS = 280
"""Maximum characters of the text of an announcement."""

NORMAL_SCREEN = "normal"
"""Mode of screens that show the whole session. The document then has no member `screen`."""

ToneName = Literal["info", "warning", "urgent"]


class AnnounceBody(CommandBody):
    """Shows a text to the audience. A null as text removes the announcement, without the other members.

    `tone` is the importance of the text. If `flash` is true, pages flash the text for a short time, once per
    second. Pages show the text until the instant `until`. By default, they show it until the next announcement.
    """

    text: Annotated[str, Field(min_length=1, max_length=MAX_ANNOUNCEMENT_CHARACTERS)] | None
    tone: ToneName = "info"
    flash: bool = False
    until: Omittable[InstantText] = None

    @model_validator(mode="after")
    def _require_a_text(self) -> Self:
        if self.text is None and self.model_fields_set & {"tone", "flash", "until"}:
            raise PydanticCustomError("no_text", "`tone`, `flash` and `until` need a `text`")
        return self

    def to_command(self) -> Command:
        until_ms = None if self.until is None else parse_instant_ms(self.until)
        return Announce(self.text, AnnouncementTone(self.tone), self.flash, until_ms)


class ScreenBody(CommandBody):
    """Changes what the screens of the audience show. The clocks do not change.

    `blackout`: nothing. `focus`: only the clock that runs. `standby`: the title without clocks. `normal`: the whole
    session.
    """

    mode: Literal["normal", "blackout", "focus", "standby"]

    def to_command(self) -> Command:
        return Screen(None if self.mode == NORMAL_SCREEN else ScreenMode(self.mode))
