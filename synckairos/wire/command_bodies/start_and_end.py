"""Bodies of the commands that start, end, delete and reopen a session."""

from typing import Annotated

from pydantic import ConfigDict, Field

from synckairos.clock.commands import Cancel, Command, Complete, Delete, Reopen, Start
from synckairos.clock.earlier_turns import EndedTurn
from synckairos.wire.command_bodies.shared_members import (
    CommandBody,
    DeltaMs,
    IndividualTargets,
    ParticipantIds,
    V2CommandBody,
)
from synckairos.wire.field_types import Omittable, ShortText, StrictModel, Uuid
from synckairos.wire.plan_body import ItemId


class StartBody(IndividualTargets, V2CommandBody):
    """Starts a pending session and its first turn. In `individual`, starts waiting clocks.

    If `exclusive` is true, the other running `count_up` sessions of the same participant are completed first. This is
    possible in `count_up`, with one participant.
    """

    exclusive: bool = False

    def to_command(self) -> Command:
        return Start(self.target_ids, self.group_id, self.exclusive)


class CompleteBody(V2CommandBody):
    """Ends the session as completed."""

    def to_command(self) -> Command:
        return Complete()


class CancelBody(CommandBody):
    """Ends the session as cancelled."""

    def to_command(self) -> Command:
        return Cancel()


class DeleteBody(V2CommandBody):
    """Deletes the session. Unknown members are faults, because the response has no body that could contain warnings."""

    model_config = ConfigDict(extra="forbid")

    def to_command(self) -> Command:
        return Delete()


class ReopenBody(CommandBody):
    """Continues an expired or completed session. It is paused for the reason `reopened`, in the turn in which it ended.

    `delta_ms` is added to the budgets of `participant_ids`, by default to the budget that ran in this turn. With
    `ends_at`, the new end is `delta_ms` from now. If time ran out, `delta_ms` is required and positive. Only the audit
    uses `reason`.
    """

    delta_ms: Omittable[DeltaMs] = None
    participant_ids: Omittable[ParticipantIds] = None
    reason: Omittable[Annotated[ShortText, Field(min_length=1)]] = None

    def to_command(self) -> Command:
        return Reopen(self.delta_ms, None if self.participant_ids is None else tuple(self.participant_ids))


class EndedTurnBody(StrictModel):
    """The turn in which a session ended, as the audit stores it with a `reopen`."""

    participant_id: Omittable[Uuid] = None
    used_ms: Annotated[int, Field(ge=0)]
    cycles: Annotated[int, Field(ge=0)]
    is_held: bool = False
    next_item_id: Omittable[ItemId] = None
    began_version: Omittable[Annotated[int, Field(ge=1)]] = None


class StoredReopenBody(ReopenBody):
    """A reopening as the audit stores it. Clients cannot send `turn`, which the server finds in the audit trail.

    In `individual` there is no such turn, because the session has the instants at which its clocks ended.
    """

    turn: Omittable[EndedTurnBody] = None

    def to_command(self) -> Command:
        turn = None if self.turn is None else EndedTurn(**self.turn.model_dump())
        ids = None if self.participant_ids is None else tuple(self.participant_ids)
        return Reopen(self.delta_ms, ids, turn)
