"""Pydantic models of the arguments of commands. OpenAPI is generated from the same models.

REST and WebSocket both parse commands into these models (`body_parser`). A body becomes a value of `clock.commands`.
The clock then checks whether the state of the session allows the command.
"""

from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Amend,
    Cancel,
    Command,
    Complete,
    Delete,
    Done,
    EndedTurn,
    Finish,
    Pause,
    RemoveParticipant,
    Reopen,
    RestoredTurn,
    Resume,
    SetPlan,
    Start,
    Switch,
    Undo,
    UndoCharge,
    UpdateMetadata,
    UpdateParticipant,
    UpdateSession,
    VersionPrecondition,
)
from synckairos.clock.join_leave import MAX_PARTICIPANTS
from synckairos.clock.model import RESERVED_REASONS, TIMEOUT_REASON
from synckairos.clock.undo import MAX_TURNS
from synckairos.frozen_replace import replace
from synckairos.wire.clock_system_models import Clock
from synckairos.wire.creation_body import BreakBodies, BreakBody, Participant
from synckairos.wire.field_types import (
    MAX_DURATION_MS,
    SECOND_MS,
    DurationMs,
    ExpectedTurn,
    ExpectedVersion,
    InstantText,
    LabelChanges,
    Metadata,
    Omittable,
    PauseReasonName,
    RepresentedParticipantId,
    ShortText,
    StrictModel,
    Uuid,
)
from synckairos.wire.instants import parse_instant_ms
from synckairos.wire.plan_body import ItemId, MainTimeMs, Plan, to_plan_items

MAX_PAUSE_HOLDER_CHARACTERS = 256
"""Maximum characters of the text that names the holder of a pause: a prefix and the id of a participant."""

PauseHolder = Annotated[str, Field(min_length=1, max_length=MAX_PAUSE_HOLDER_CHARACTERS)]


def _not_zero(value: int) -> int:
    if value == 0:
        raise PydanticCustomError("zero", "should not be 0")
    return value


def _zero_or_a_second(budget_ms: int) -> int:
    if 0 < budget_ms < SECOND_MS:
        raise PydanticCustomError("budget", "should be 0 or at least {least}", {"least": SECOND_MS})
    return budget_ms


def _not_reserved(reason: str) -> str:
    if reason in RESERVED_REASONS:
        raise PydanticCustomError("reserved", "this reason is reserved for the clock")
    return reason


def _not_timeout(reason: str) -> str:
    return _not_reserved(reason) if reason == TIMEOUT_REASON else reason


def _each_once(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise PydanticCustomError("twice", "should name each participant only once")
    return values


DeltaMs = Annotated[
    int,
    Field(ge=-MAX_DURATION_MS, le=MAX_DURATION_MS, json_schema_extra={"not": {"const": 0}}),
    AfterValidator(_not_zero),
]
ParticipantIds = Annotated[
    list[Uuid],
    Field(min_length=1, max_length=MAX_PARTICIPANTS, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_each_once),
]


class CommandBody(StrictModel):
    """The JSON members that every command has."""

    expected_version: Omittable[ExpectedVersion] = None
    expected_turn: Omittable[ExpectedTurn] = None
    on_behalf_of: Omittable[RepresentedParticipantId] = None

    def to_command(self) -> Command:
        """Return the command as a value of `clock`.

        The members of `to_precondition` and the member `on_behalf_of` are not part of this value.
        """
        raise NotImplementedError

    def to_precondition(self, etags: tuple[tuple[int, str], ...] = ()) -> VersionPrecondition | None:
        """Return the precondition: the expected version, the expected turn and `etags`, pairs of version and epoch.

        Return None if all three are absent.
        """
        if self.expected_version is None and self.expected_turn is None and not etags:
            return None
        return VersionPrecondition(self.expected_version, etags, self.expected_turn)


class V2CommandBody(CommandBody):
    """Body of a command that v2 has. v2 ignores unknown members of these bodies, so its clients can send any members.

    This server also ignores unknown members, and the response has a warning for each (`input_warnings.py`). The stored
    arguments do not contain unknown members.
    """

    model_config = ConfigDict(extra="ignore")


class IndividualTargets(StrictModel):
    """The participants whose clocks a command changes in `individual`: the named ones, those of a group, or all.

    Other modes do not allow these members.
    """

    participant_ids: Omittable[ParticipantIds] = None
    group_id: Omittable[Uuid] = None

    @property
    def target_ids(self) -> tuple[str, ...] | None:
        """The named participants, None if the command names none."""
        return None if self.participant_ids is None else tuple(self.participant_ids)


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

    total_time_ms: Omittable[Annotated[MainTimeMs, AfterValidator(_zero_or_a_second)]] = None

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

    total_time_ms: Omittable[Annotated[MainTimeMs, AfterValidator(_zero_or_a_second)]] = None
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


class MetadataBody(CommandBody):
    """Changes the metadata by a merge patch (RFC 7396): null removes a member, objects merge, other values replace."""

    metadata: Metadata

    def to_command(self) -> Command:
        return UpdateMetadata(self.metadata)


class SessionChangesBody(CommandBody):
    """Changes labels, metadata, and the instants of start and end, in one version. At least one change is required.

    Labels and metadata change by a merge patch (RFC 7396): null removes a member, objects merge, other values replace.
    `starts_at` can be changed only while the session is pending. Null removes it, so that only a command starts the
    session. `ends_at` can be changed in a session that was created with it.
    """

    labels: Omittable[LabelChanges] = None
    metadata: Omittable[Metadata] = None
    starts_at: InstantText | None = None
    ends_at: Omittable[InstantText] = None

    @model_validator(mode="after")
    def _require_a_change(self) -> Self:
        if not self._changes:
            raise PydanticCustomError("no_change", "should have `labels`, `metadata`, `starts_at` or `ends_at`")
        return self

    @property
    def _changes(self) -> set[str]:
        return self.model_fields_set & {"labels", "metadata", "starts_at", "ends_at"}

    def to_command(self) -> Command:
        return UpdateSession(
            self.labels or {},
            self.metadata,
            None if self.starts_at is None else parse_instant_ms(self.starts_at),
            None if self.ends_at is None else parse_instant_ms(self.ends_at),
            removes_start=self.starts_at is None and "starts_at" in self.model_fields_set,
        )


class PatchBody(SessionChangesBody):
    """Changes the session by a merge patch (RFC 7396): null removes a member, objects merge, other values replace.

    `starts_at` can be changed only while the session is pending, and `ends_at` only if the session was created with it.
    """

    @property
    def verb(self) -> str:
        """The command of the patch. A patch of the metadata alone keeps the command of earlier releases."""
        return "update_metadata" if self._changes == {"metadata"} else "update_session"

    def to_command(self) -> Command:
        if self.verb == "update_metadata":
            return UpdateMetadata(self.metadata or {})
        return super().to_command()


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


class AmendBody(CommandBody):
    """Replaces the times of an ended `count_up` session with one participant. Omitted times stay as they are.

    Without `breaks`, the session keeps the breaks that it had: its pauses, if the clock measured its times. Breaks are
    in order, inside of the session, and do not overlap. Only the audit uses `reason`.
    """

    participant_id: Omittable[Uuid] = None
    started_at: Omittable[InstantText] = None
    completed_at: Omittable[InstantText] = None
    breaks: Omittable[BreakBodies] = None
    reason: Omittable[Annotated[ShortText, Field(min_length=1)]] = None

    @model_validator(mode="after")
    def _require_a_time(self) -> Self:
        if not self.model_fields_set & {"started_at", "completed_at", "breaks"}:
            raise PydanticCustomError("no_change", "should have `started_at`, `completed_at` or `breaks`")
        return self

    def to_command(self) -> Amend:
        return Amend(
            self.participant_id,
            None if self.started_at is None else parse_instant_ms(self.started_at),
            None if self.completed_at is None else parse_instant_ms(self.completed_at),
            None if self.breaks is None else tuple(each.to_break() for each in self.breaks),
        )


class StoredAmendBody(AmendBody):
    """An amendment as the audit stores it. Clients cannot send `breaks_before`, which the server finds in the trail.

    They are the breaks that the clock measured.
    """

    breaks_before: Omittable[list[BreakBody]] = None

    def to_command(self) -> Amend:
        before = self.breaks_before
        return replace(
            super().to_command(), breaks_before=None if before is None else tuple(each.to_break() for each in before)
        )


COMMAND_BODIES: dict[str, type[CommandBody]] = {
    "start": StartBody,
    "switch": SwitchBody,
    "done": DoneBody,
    "finish": FinishBody,
    "pause": PauseBody,
    "resume": ResumeBody,
    "adjust": AdjustBody,
    "complete": CompleteBody,
    "cancel": CancelBody,
    "add_participant": JoinBody,
    "remove_participant": LeaveBody,
    "update_participant": UpdateParticipantBody,
    "update_metadata": MetadataBody,
    "update_session": SessionChangesBody,
    "set_plan": SetPlanBody,
    "undo": UndoBody,
    "reopen": ReopenBody,
    "amend": AmendBody,
    "delete": DeleteBody,
}
"""The model of each command's request body, by the name of the command."""

SIMULATED_COMMAND_BODIES: dict[str, type[CommandBody]] = COMMAND_BODIES | {"switch": SwitchWithServerLag}
"""The model of each command's arguments in a simulation."""

STORED_COMMAND_BODIES: dict[str, type[CommandBody]] = SIMULATED_COMMAND_BODIES | {
    "pause": StoredPauseBody,
    "resume": StoredResumeBody,
    "undo": StoredUndoBody,
    "reopen": StoredReopenBody,
    "amend": StoredAmendBody,
}
"""The model of each command's arguments in the audit. These models include members that the server adds."""
