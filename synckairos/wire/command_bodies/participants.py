"""Bodies of the commands that add, remove and change participants and their budgets."""

from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from synckairos.clock.commands import AddParticipant, Adjust, Command, RemoveParticipant, UpdateParticipant
from synckairos.wire.clock_system_models import Clock
from synckairos.wire.command_bodies.shared_members import CommandBody, DeltaMs, FirstBudgetMs, ParticipantIds
from synckairos.wire.creation_body import Participant
from synckairos.wire.field_types import Omittable, ShortText, Uuid


class AdjustBody(CommandBody):
    """Adds `delta_ms` to the budgets of the named participants, or of one group. By default, adds it to all budgets.

    A negative `delta_ms` subtracts time. If `scaled` is true, `delta_ms` is multiplied by the `time_factor` of each
    participant. Only `individual` allows it.
    """

    delta_ms: DeltaMs
    participant_ids: Omittable[ParticipantIds] = None
    group_id: Omittable[Uuid] = None
    scaled: bool = False

    def to_command(self) -> Command:
        ids = None if self.participant_ids is None else tuple(self.participant_ids)
        return Adjust(self.delta_ms, ids, self.group_id, self.scaled)


class JoinBody(CommandBody, Participant):
    """Adds a participant. If the mode needs a budget or a group for a new participant, the body must include it."""

    total_time_ms: Omittable[FirstBudgetMs] = None

    def to_command(self) -> Command:
        return AddParticipant(self.to_new_participant())


class RemovalBody(CommandBody):
    """The body of a request that removes a participant. The path of the request names the participant."""


class LeaveBody(CommandBody):
    """Removes a participant."""

    participant_id: Uuid

    def to_command(self) -> Command:
        return RemoveParticipant(self.participant_id)


class ParticipantChangesBody(CommandBody):
    """Changes the budget, the clock system or the display name of a participant. At least one change is required.

    `total_time_ms` is the new initial budget: the time that the first turn has used is subtracted from it. `clock` is
    the participant's own clock system. Both can be changed only before the end of the first turn of the participant,
    and in `individual` only while its clock waits. `display_name` can be changed at any time, and null removes it.
    """

    total_time_ms: Omittable[FirstBudgetMs] = None
    clock: Omittable[Clock] = None
    display_name: ShortText | None = None

    @model_validator(mode="after")
    def _require_a_change(self) -> Self:
        if not self.model_fields_set & {"total_time_ms", "clock", "display_name"}:
            raise PydanticCustomError("no_change", "should have `total_time_ms`, `clock` or `display_name`")
        return self


class UpdateParticipantBody(ParticipantChangesBody):
    """Changes the budget, the clock system or the display name of the participant `participant_id`."""

    participant_id: Uuid

    def to_command(self) -> Command:
        return UpdateParticipant(
            self.participant_id,
            self.total_time_ms,
            None if self.clock is None else self.clock.to_system(),
            self.display_name,
            removes_display_name=self.display_name is None and "display_name" in self.model_fields_set,
        )
