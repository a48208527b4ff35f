"""Bodies of the commands that pause and resume a session."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from synckairos.clock.active_pause import RESERVED_REASONS, TIMEOUT_REASON
from synckairos.clock.commands import Command, Pause, Resume
from synckairos.wire.command_bodies.shared_members import IndividualTargets, V2CommandBody
from synckairos.wire.field_types import MAX_DURATION_MS, Omittable, PauseReasonName

MAX_PAUSE_HOLDER_CHARACTERS = 256
"""Maximum characters of the text that names the holder of a pause: a prefix and the id of a participant."""


PauseHolder = Annotated[str, Field(min_length=1, max_length=MAX_PAUSE_HOLDER_CHARACTERS)]


def _not_reserved(reason: str) -> str:
    if reason in RESERVED_REASONS:
        raise PydanticCustomError("reserved", "this reason is reserved for the clock")
    return reason


def _not_timeout(reason: str) -> str:
    return _not_reserved(reason) if reason == TIMEOUT_REASON else reason


class PauseBody(IndividualTargets, V2CommandBody):
    """Pauses the session for a reason. If `max_ms` is given, the reason ends automatically after `max_ms`.

    In `individual`, pauses the clocks of the named participants, or of the group `group_id`, or all. The reasons
    `timeout`, `hold`, `reopened` and `rest` are refused, because they are reserved for the clock.
    """

    reason: Annotated[PauseReasonName, AfterValidator(_not_reserved)] = "manual"
    max_ms: Omittable[Annotated[int, Field(ge=1, le=MAX_DURATION_MS)]] = None

    def to_command(self) -> Command:
        return Pause(self.reason, self.max_ms, participant_ids=self.target_ids, group_id=self.group_id)


class StoredPauseBody(PauseBody):
    """A pause as the audit stores it. Early releases reserved only the reason `timeout`.

    Clients cannot send `taken_by`, which names the participant to which the pause belongs.
    """

    reason: Annotated[PauseReasonName, AfterValidator(_not_timeout)] = "manual"
    taken_by: Omittable[PauseHolder] = None

    def to_command(self) -> Command:
        ids, group_id = self.target_ids, self.group_id
        return Pause(self.reason, self.max_ms, taken_by=self.taken_by, participant_ids=ids, group_id=group_id)


class ResumeBody(IndividualTargets, V2CommandBody):
    """Ends the pause reason `reason`. By default, ends all pause reasons.

    The session runs again only if no pause reason is left. In `individual`, ends pauses of the clocks of the named
    participants, or of the group `group_id`, or of all clocks.
    """

    reason: Omittable[PauseReasonName] = None

    def to_command(self) -> Command:
        return Resume(self.reason, None, self.target_ids, self.group_id)


class StoredResumeBody(ResumeBody):
    """A resume as the audit stores it. Clients cannot send `taken_by`, which limits it to pauses of a participant."""

    taken_by: Omittable[PauseHolder] = None

    def to_command(self) -> Command:
        return Resume(self.reason, self.taken_by, self.target_ids, self.group_id)
