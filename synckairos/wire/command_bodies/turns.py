"""Bodies of the commands that end, plan and undo turns."""

from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from synckairos.clock.commands import Command, Done, Finish, SetPlan, Switch, Undo
from synckairos.clock.earlier_turns import RestoredTurn, UndoCharge
from synckairos.clock.undo import MAX_TURNS
from synckairos.wire.command_bodies.shared_members import CommandBody, IndividualTargets, V2CommandBody
from synckairos.wire.field_types import DurationMs, Omittable, Uuid
from synckairos.wire.plan_body import ItemId, Plan, to_plan_items


class SwitchBody(V2CommandBody):
    """Ends the current turn and begins the next turn.

    If `current_participant_id` is given and this participant does not have the turn, the switch is refused. This guards
    against a late second press. `next_participant_id` gets the next turn. By default, the next participant in the order
    of turns gets it. `lag_ms` is the network delay in the turn as the client measured it, in ms. Only sessions with
    `lag_compensation` use it. If `hold` is true, the session is paused for the reason `hold` until a resume begins the
    next turn. In a session with a plan, `item_id` is the item of the next turn. By default, it is the next item in the
    list. During a hold, a switch needs `next_participant_id` or `item_id` and only changes what comes next.
    """

    next_participant_id: Omittable[Uuid] = None
    current_participant_id: Omittable[Uuid] = None
    lag_ms: Omittable[DurationMs] = None
    hold: bool = False
    item_id: Omittable[ItemId] = None

    def to_command(self) -> Command:
        participants = (self.next_participant_id, self.current_participant_id)
        return Switch(*participants, self.lag_ms, hold=self.hold, item_id=self.item_id)

    def with_measured_lag(self, lag_ms: int) -> "SwitchWithServerLag":
        """Return a copy of this body with the network delay that the server measured, in ms. Its own `lag_ms` stays."""
        return SwitchWithServerLag(**self.model_dump(exclude_unset=True), measured_lag_ms=lag_ms)


class SwitchWithServerLag(SwitchBody):
    """A switch as the audit stores it and as a simulation accepts it. Clients cannot send `measured_lag_ms`."""

    measured_lag_ms: Omittable[DurationMs] = None

    def to_command(self) -> Command:
        participants = (self.next_participant_id, self.current_participant_id)
        return Switch(*participants, self.lag_ms, self.measured_lag_ms, self.hold, self.item_id)


class DoneBody(CommandBody):
    """Marks a participant as done in the current turn. With `close_when_all_done`, the last one ends the turn."""

    participant_id: Uuid

    def to_command(self) -> Command:
        return Done(self.participant_id)


class FinishBody(IndividualTargets, CommandBody):
    """Ends running and paused clocks of a session in `individual` before their zero, as when a paper is handed in.

    A participant finishes only its own clock.
    """

    def to_command(self) -> Command:
        return Finish(self.target_ids, self.group_id)


class SetPlanBody(CommandBody):
    """Replaces the plan of a session. Items that have begun must be in the new plan, unchanged and in their order.

    `expected_version` or the header `If-Match` is required, because the body replaces the whole plan.
    """

    plan: Plan

    def to_command(self) -> Command:
        return SetPlan(to_plan_items(self.plan))


class UndoBody(CommandBody):
    """Takes back the newest `turns` ended turns, and the turn that runs. An earlier turn begins again.

    `charge` determines who keeps time of these turns as used. `nobody`: no participant. `mover`: the participant of the
    restored turn keeps the time that it used in this turn. `resumed`: the participant of the restored turn is charged
    for all turns since the beginning of this turn.
    """

    turns: Annotated[int, Field(ge=1, le=MAX_TURNS)] = 1
    charge: Literal["nobody", "mover", "resumed"] = "nobody"

    def to_command(self) -> Command:
        return Undo(self.turns, UndoCharge(self.charge))


def _parse_restored_turn(value: Any) -> RestoredTurn:
    try:
        return msgspec.convert(value, RestoredTurn)
    except msgspec.ValidationError as fault:
        raise PydanticCustomError("restored", "is not a restored turn: {fault}", {"fault": str(fault)}) from None


class StoredUndoBody(UndoBody):
    """An undo as the audit stores it. Clients cannot send `restored`, which the server finds in the audit trail."""

    restored: Annotated[Any, AfterValidator(_parse_restored_turn)]

    def to_command(self) -> Command:
        return Undo(self.turns, UndoCharge(self.charge), self.restored)
