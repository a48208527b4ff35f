"""The commands `announce` and `screen`: what pages for an audience show. They change no clock."""

from synckairos.clock.audience_display import Announcement
from synckairos.clock.commands import Announce, Screen
from synckairos.clock.make_transition import make_session_event, with_next_version
from synckairos.clock.model import Session
from synckairos.clock.transition import EventType, Transition
from synckairos.errors import ValidationFailed
from synckairos.frozen_replace import replace


def announce(state: Session, command: Announce, now_ms: int) -> Transition | None:
    """Return the transition that shows an announcement, or removes it. Return None if there is nothing to remove.

    An announcement with the text of the announcement before is a new announcement: pages can flash it again.

    Raises: ValidationFailed if the session belongs to the first edition, or if the announcement would end at or before
        `now_ms`.
    """
    _check_edition(state, "text")
    if command.text is None:
        if state.announcement is None:
            return None
        announcement = None
    else:
        if command.until_ms is not None and command.until_ms <= now_ms:
            raise ValidationFailed.at_path("until", "should be in the future")
        announcement = Announcement(command.text, now_ms, command.tone, command.flashes, command.until_ms)
    updated = replace(with_next_version(state, now_ms), announcement=announcement)
    return Transition(make_session_event(EventType.ANNOUNCEMENT_UPDATED, updated, now_ms), updated)


def change_screen(state: Session, command: Screen, now_ms: int) -> Transition | None:
    """Return the transition that changes the mode of the screens. Return None if they have this mode already.

    Raises: ValidationFailed if the session belongs to the first edition.
    """
    _check_edition(state, "mode")
    if command.mode == state.screen:
        return None
    updated = replace(with_next_version(state, now_ms), screen=command.mode)
    return Transition(make_session_event(EventType.SCREEN_UPDATED, updated, now_ms), updated)


def _check_edition(state: Session, path: str) -> None:
    if not state.is_second_edition:
        text = "this session belongs to the first edition, which has neither announcements nor modes of screens"
        raise ValidationFailed.at_path(path, text)
