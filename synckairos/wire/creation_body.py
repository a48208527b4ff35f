"""Pydantic models of the request body that creates a session. OpenAPI is generated from the same models.

`creation_rules.py` checks the rules that concern several JSON members.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from synckairos.clock.commands import Create, NewGroup, NewParticipant, RecordedTimes
from synckairos.clock.individual_clock import FULL_FACTOR
from synckairos.clock.join_leave import MAX_PARTICIPANTS
from synckairos.clock.model import Break, ExtendBy, OnTimeout, RestRule, SyncMode
from synckairos.clock.overdue import ADVANCE_EVENTS
from synckairos.clock.recorded_times import MAX_BREAKS
from synckairos.wire.clock_system_models import Clock
from synckairos.wire.field_types import (
    MAX_DURATION_MS,
    SECOND_MS,
    BudgetMs,
    CycleCount,
    DurationMs,
    IncrementMs,
    InstantText,
    Labels,
    Metadata,
    Omittable,
    RotationIndex,
    ShortText,
    StrictModel,
    TimeFactor,
    UntilFaultLimit,
    Uuid,
)
from synckairos.wire.instants import parse_instant_ms
from synckairos.wire.plan_body import MainTimeMs, Plan, WarningTimes, to_plan_items

SyncModeName = Literal["per_participant", "per_cycle", "per_group", "global", "count_up", "individual"]
OnTimeoutName = Literal["expire", "advance", "pause", "overtime"]

ExtendByName = Literal["reset", "add"]
ExtensionMs = Annotated[int, Field(ge=1, le=MAX_DURATION_MS)]
PauseBudget = Annotated[int, Field(ge=0, le=1_000, description="Maximum number of pauses of each actor")]


class Participant(StrictModel):
    """A participant of a new session, or a participant that joins a session."""

    participant_id: Uuid
    participant_index: Omittable[RotationIndex] = None
    total_time_ms: Omittable[MainTimeMs] = None
    display_name: Omittable[ShortText] = None
    group_id: Omittable[Uuid] = None
    clock: Omittable[Clock] = None
    time_factor: Omittable[TimeFactor] = None

    def to_new_participant(self, group_id: str | None = None) -> NewParticipant:
        """Return the participant as a value of `clock`.

        `group_id` is the id of the group whose `members` list has this participant, None if no group lists the
        participant. It is used only if the participant has no `group_id` of its own in the request.
        """
        return NewParticipant(
            participant_id=self.participant_id,
            index=self.participant_index,
            total_time_ms=self.total_time_ms,
            display_name=self.display_name,
            group_id=self.group_id or group_id,
            clock=None if self.clock is None else self.clock.to_system(),
            time_factor=FULL_FACTOR if self.time_factor is None else round(self.time_factor * FULL_FACTOR),
        )


class Group(StrictModel):
    """A team with one budget. If `total_time_ms` is absent, the budget is the sum of its participants' budgets.

    `members` lists the ids of the participants in the group, as in v2.
    """

    group_id: Uuid
    total_time_ms: Omittable[MainTimeMs] = None
    members: Omittable[Annotated[list[Uuid], Field(max_length=MAX_PARTICIPANTS)]] = None


class TimeoutAction(StrictModel):
    """The action when the time reaches zero, by a name of v2. It has no effect if `on_timeout` is also given.

    A name that the mode does not support has no effect.
    """

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(max_length=64)]


class BreakBody(StrictModel):
    """A time within a session that does not count. It begins at `from` and ends before `to`."""

    model_config = ConfigDict(serialize_by_alias=True)

    from_: Annotated[InstantText, Field(alias="from")]
    to: InstantText

    def to_break(self) -> Break:
        """Return the break as a value of `clock`."""
        return Break(parse_instant_ms(self.from_), parse_instant_ms(self.to))


BreakBodies = Annotated[list[BreakBody], Field(max_length=MAX_BREAKS)]


class RecordedBody(StrictModel):
    """The times of a session that has already ended. Breaks are in order, inside of the session, and do not overlap."""

    started_at: InstantText
    completed_at: InstantText
    breaks: BreakBodies = Field(default_factory=list)

    def to_times(self) -> RecordedTimes:
        """Return the times as a value of `clock`."""
        return RecordedTimes(
            parse_instant_ms(self.started_at),
            parse_instant_ms(self.completed_at),
            tuple(each.to_break() for each in self.breaks),
        )


V2_UNREAD_MEMBERS = ("active_participant_id", "active_group_id", "auto_advance", "action_on_timeout")
"""JSON members of a creation that v2 documents but does not read. Clients of v2 can send null in these members."""


class FreeFirstTurnBody(StrictModel):
    """The first turn of each participant is not charged to its budget. After `limit_ms` the session is cancelled."""

    limit_ms: Annotated[int, Field(ge=SECOND_MS, le=MAX_DURATION_MS)]


def _in_order(weekdays: list[int]) -> list[int]:
    if len(set(weekdays)) < len(weekdays):
        raise PydanticCustomError("twice", "should name each weekday only once")
    return sorted(weekdays)


class RestBody(StrictModel):
    """Rest days, on which the clock pauses by itself: weekdays from 1 (Monday) to 7 (Sunday), at most six.

    A day begins at midnight of the local time, which is UTC plus `utc_offset_minutes`.
    """

    weekdays: Annotated[
        list[Annotated[int, Field(ge=1, le=7)]],
        Field(min_length=1, max_length=6, json_schema_extra={"uniqueItems": True}),
        AfterValidator(_in_order),
    ]
    utc_offset_minutes: Annotated[int, Field(ge=-720, le=840)] = 0

    def to_rule(self) -> RestRule:
        """Return the rest days as a value of `clock`."""
        return RestRule(tuple(self.weekdays), self.utc_offset_minutes)


class CreateSession(StrictModel):
    """A session to create. The mode defines the defaults of omitted members."""

    session_id: Omittable[Annotated[Uuid, Field(description="Id of the session. Default: a new UUIDv7")]] = None
    sync_mode: SyncModeName
    participants: Annotated[list[UntilFaultLimit[Participant]], Field(max_length=MAX_PARTICIPANTS)] = Field(
        default_factory=list
    )
    groups: Annotated[list[UntilFaultLimit[Group]], Field(max_length=MAX_PARTICIPANTS)] = Field(default_factory=list)
    total_time_ms: Omittable[MainTimeMs] = None
    time_per_cycle_ms: Omittable[MainTimeMs] = None
    increment_ms: Omittable[IncrementMs] = None
    max_time_ms: Omittable[BudgetMs] = None
    initial_ms: Omittable[DurationMs] = None
    max_cycles: Omittable[CycleCount] = None
    clock: Omittable[Clock] = None
    on_timeout: Omittable[OnTimeoutName] = None
    warnings_ms: WarningTimes = Field(default_factory=list)
    extend_on_switch_ms: Omittable[BudgetMs] = None
    extend_window_ms: Omittable[ExtensionMs] = None
    extend_by: Omittable[ExtendByName] = None
    max_extension_ms: Omittable[ExtensionMs] = None
    max_extensions: Omittable[Annotated[int, Field(ge=1, le=1_000_000)]] = None
    switch_while_paused: bool = False
    between_turns: Omittable[Literal["hold"]] = None
    rest: Omittable[RestBody] = None
    free_first_turn: Omittable[FreeFirstTurnBody] = None
    close_when_all_done: bool = False
    plan: Omittable[Plan] = None
    starts_at: Omittable[InstantText] = None
    ends_at: Omittable[InstantText] = None
    recorded: Omittable[RecordedBody] = None
    pause_budget: Omittable[PauseBudget] = None
    lag_compensation: bool = False
    active_participant_id: Omittable[Uuid] = None
    active_group_id: Omittable[Uuid] = None
    auto_advance: Omittable[bool] = None
    action_on_timeout: Omittable[TimeoutAction] = None
    metadata: Metadata = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls_of_v2(cls, value: Any) -> Any:
        """Return the body without the members in `V2_UNREAD_MEMBERS` that are null.

        The response contains a warning for each dropped member (`input_warnings.py`).
        """
        if isinstance(value, dict) and any(value.get(name, ...) is None for name in V2_UNREAD_MEMBERS):
            return {name: each for name, each in value.items() if each is not None or name not in V2_UNREAD_MEMBERS}
        return value

    def to_create(self) -> Create:
        """Return the creation as a value of `clock`. Names of v2 are replaced by the names of this version."""
        group_of = {member: group.group_id for group in self.groups for member in group.members or ()}
        participants = tuple(each.to_new_participant(group_of.get(each.participant_id)) for each in self.participants)
        if not participants:
            participants = tuple(NewParticipant(member, group_id=group) for member, group in group_of.items())
        active = self.active_participant_id
        if active is None and self.active_group_id is not None:
            places = ((p.index if p.index is not None else at, p) for at, p in enumerate(participants))
            ours = [(place, p.participant_id) for place, p in places if p.group_id == self.active_group_id]
            active = min(ours)[1]
        return Create(
            sync_mode=SyncMode(self.sync_mode),
            participants=participants,
            groups=tuple(NewGroup(group.group_id, group.total_time_ms) for group in self.groups),
            total_time_ms=self.total_time_ms,
            time_per_cycle_ms=self._v2_cycle_ms() if self.time_per_cycle_ms is None else self.time_per_cycle_ms,
            increment_ms=self.increment_ms,
            max_time_ms=self.max_time_ms,
            max_cycles=self.max_cycles,
            clock=None if self.clock is None else self.clock.to_system(),
            on_timeout=self.timeout_action(),
            warnings_ms=tuple(self.warnings_ms),
            extend_on_switch_ms=self.extend_on_switch_ms,
            pause_budget=self.pause_budget,
            lag_compensation=self.lag_compensation,
            extend_window_ms=self.extend_window_ms,
            extend_by=None if self.extend_by is None else ExtendBy(self.extend_by),
            max_extension_ms=self.max_extension_ms,
            max_extensions=self.max_extensions,
            switch_while_paused=self.switch_while_paused,
            rest=None if self.rest is None else self.rest.to_rule(),
            free_first_turn_ms=None if self.free_first_turn is None else self.free_first_turn.limit_ms,
            initial_ms=self.initial_ms,
            holds_between_turns=self.between_turns is not None,
            active_participant_id=active,
            metadata=self.metadata,
            labels=self.labels,
            closes_when_all_done=self.close_when_all_done,
            starts_at_ms=None if self.starts_at is None else parse_instant_ms(self.starts_at),
            ends_at_ms=None if self.ends_at is None else parse_instant_ms(self.ends_at),
            recorded=None if self.recorded is None else self.recorded.to_times(),
            plan=() if self.plan is None else to_plan_items(self.plan),
        )

    def _v2_cycle_ms(self) -> int | None:
        # v2 required total_time_ms in every mode. If no other time is given, total_time_ms is the budget of each cycle.
        return self.total_time_ms if self.sync_mode == "per_cycle" and self.plan is None else None

    def timeout_action(self) -> OnTimeout | None:
        """Return the action when the time reaches zero.

        None if the body does not set an action, or names an action of v2 that is unknown or that the mode does not
        support.
        """
        if self.on_timeout is not None:
            return OnTimeout(self.on_timeout)
        match self.action_on_timeout:
            case TimeoutAction(type="end_session" | "game_over"):
                return OnTimeout.EXPIRE
            case TimeoutAction(type="skip_cycle" | "skip_question") if self.sync_mode in ADVANCE_EVENTS:
                return OnTimeout.ADVANCE
            case _:
                return None
