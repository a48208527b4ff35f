"""What may be asked, as models: they validate every body and, unchanged, describe it in OpenAPI.

A body becomes a value of `clock.commands`; both doors parse commands here. Whether a command fits the session's state
is the clock's business.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, Field, PlainValidator, ValidationError, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Cancel,
    Command,
    Complete,
    Delete,
    Pause,
    RemoveParticipant,
    Resume,
    Start,
    Switch,
    UpdateMetadata,
)
from synckairos.clock.join_leave import MAX_PARTICIPANTS
from synckairos.clock.model import TIMEOUT_REASON
from synckairos.errors import ValidationFailed
from synckairos.wire.creation_body import CreateSession, Participant
from synckairos.wire.creation_rules import clock_faults, creation_faults
from synckairos.wire.field_types import (
    DAY_MS,
    BudgetMs,
    DurationMs,
    ExpectedVersion,
    Metadata,
    Omittable,
    PauseReason,
    StrictModel,
    UntilFaultLimit,
    Uuid,
)
from synckairos.wire.validation_faults import Fault, FaultLimit, fault, faults_from_pydantic, json_faults, raise_faults


def _not_zero(value: int) -> int:
    if value == 0:
        raise PydanticCustomError("zero", "should not be 0")
    return value


def _not_reserved(reason: str) -> str:
    if reason == TIMEOUT_REASON:
        raise PydanticCustomError("reserved", "this reason is the clock's own")
    return reason


def _each_once(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise PydanticCustomError("twice", "should name each participant once")
    return values


class CommandBody(StrictModel):
    """What every command may carry: the version the caller believes to be the newest."""

    expected_version: Omittable[ExpectedVersion] = None

    def to_command(self) -> Command:
        """Return the command as the clock knows it."""
        raise NotImplementedError


class StartBody(CommandBody):
    def to_command(self) -> Command:
        return Start()


class CompleteBody(CommandBody):
    def to_command(self) -> Command:
        return Complete()


class CancelBody(CommandBody):
    def to_command(self) -> Command:
        return Cancel()


class DeleteBody(CommandBody):
    def to_command(self) -> Command:
        return Delete()


class SwitchBody(CommandBody):
    """`current_participant_id` guards against a late second press, `next_participant_id` overrides the order.

    `lag_ms` is how much of the turn the network took; only a session with `lag_compensation` looks at it.
    """

    next_participant_id: Omittable[Uuid] = None
    current_participant_id: Omittable[Uuid] = None
    lag_ms: Omittable[DurationMs] = None

    def to_command(self) -> Command:
        return Switch(self.next_participant_id, self.current_participant_id, self.lag_ms)

    def with_measured_lag(self, lag_ms: int) -> "MeasuredSwitch":
        """Return the same beside what the server measured itself."""
        return MeasuredSwitch(**self.model_dump(exclude_unset=True), measured_lag_ms=lag_ms)


class MeasuredSwitch(SwitchBody):
    """A switch as the audit keeps it, and a simulation may assume it: no client can say what the server measured."""

    measured_lag_ms: Omittable[DurationMs] = None

    def to_command(self) -> Command:
        return Switch(self.next_participant_id, self.current_participant_id, self.lag_ms, self.measured_lag_ms)


class PauseBody(CommandBody):
    """`max_ms` lifts the reason by itself; the reason `timeout` is the clock's own."""

    reason: Annotated[PauseReason, AfterValidator(_not_reserved)] = "manual"
    max_ms: Omittable[Annotated[int, Field(ge=1, le=7 * DAY_MS)]] = None

    def to_command(self) -> Command:
        return Pause(self.reason, self.max_ms)


class ResumeBody(CommandBody):
    """Lifts one reason, or all of them where none is named."""

    reason: Omittable[PauseReason] = None

    def to_command(self) -> Command:
        return Resume(self.reason)


class AdjustBody(CommandBody):
    """Adds `delta_ms` (takes, below 0) for some participants, one group, or everyone where neither is named."""

    delta_ms: Annotated[
        int,
        Field(ge=-DAY_MS, le=DAY_MS, json_schema_extra={"not": {"const": 0}}),
        AfterValidator(_not_zero),
    ]
    participant_ids: Omittable[
        Annotated[
            list[Uuid],
            Field(min_length=1, max_length=MAX_PARTICIPANTS, json_schema_extra={"uniqueItems": True}),
            AfterValidator(_each_once),
        ]
    ] = None
    group_id: Omittable[Uuid] = None

    def to_command(self) -> Command:
        ids = None if self.participant_ids is None else tuple(self.participant_ids)
        return Adjust(self.delta_ms, ids, self.group_id)


class JoinBody(CommandBody, Participant):
    """Someone who joins; where the mode needs a budget or a group, it is brought along."""

    total_time_ms: Omittable[BudgetMs] = None

    def to_command(self) -> Command:
        return AddParticipant(self.to_new_participant())


class LeaveBody(CommandBody):
    participant_id: Uuid

    def to_command(self) -> Command:
        return RemoveParticipant(self.participant_id)


class MetadataBody(CommandBody):
    """A merge patch (RFC 7396): null removes a member, objects merge, all else replaces."""

    metadata: Metadata

    def to_command(self) -> Command:
        return UpdateMetadata(self.metadata)


COMMAND_BODIES: dict[str, type[CommandBody]] = {
    "start": StartBody,
    "switch": SwitchBody,
    "pause": PauseBody,
    "resume": ResumeBody,
    "adjust": AdjustBody,
    "complete": CompleteBody,
    "cancel": CancelBody,
    "add_participant": JoinBody,
    "remove_participant": LeaveBody,
    "update_metadata": MetadataBody,
    "delete": DeleteBody,
}
"""The body of each command, by its verb."""

STORED_COMMAND_BODIES: dict[str, type[CommandBody]] = COMMAND_BODIES | {"switch": MeasuredSwitch}
"""The same, with what the server itself adds to what was asked."""


MAX_COMMANDS = 10_000
"""Commands that a simulation may hold."""


def _known_command(verb: str) -> str:
    if verb not in COMMAND_BODIES:
        raise PydanticCustomError("command", "should be one of {verbs}", {"verbs": ", ".join(COMMAND_BODIES)})
    return verb


def _parse_args(value: Any, info: ValidationInfo) -> CommandBody:
    if "command" not in info.data:
        return StartBody()  # the command itself is at fault: nobody can tell what its arguments should be
    return STORED_COMMAND_BODIES[info.data["command"]].model_validate(value, context=info.context)


class TimedCommand(StrictModel):
    """A command at an instant of a simulation, `at_ms` after creation."""

    at_ms: Annotated[int, Field(ge=0, le=366 * DAY_MS)]
    command: Annotated[str, AfterValidator(_known_command)]
    args: Annotated[
        Any,  # the body of that command, once it is in
        PlainValidator(_parse_args),
        Field(default_factory=dict, validate_default=True),
        WithJsonSchema({"type": "object", "additionalProperties": True}),
    ]


class SimulationBody(StrictModel):
    """A session to make and what is asked of it when; nothing is stored. Rows end at `until_ms` after creation."""

    session: CreateSession
    commands: Annotated[list[UntilFaultLimit[TimedCommand]], Field(max_length=MAX_COMMANDS)] = Field(
        default_factory=list
    )
    until_ms: Annotated[int, Field(ge=0, le=366 * DAY_MS)]


Model = TypeVar("Model", bound=StrictModel)

_OF_NOTHING: dict[type[StrictModel], StrictModel] = {}
"""What an empty object says in each model. Most commands are asked with one, and models are frozen."""


def parse_body(model: type[Model], value: Any, known: Sequence[Fault] = ()) -> Model:
    """Parse JSON values into a request, or raise ValidationFailed with every fault there is, `known` ones first."""
    if not known and value == {} and model in _OF_NOTHING:
        return cast(Model, _OF_NOTHING[model])
    parsed: Model | None = None
    faults: Iterable[Fault] = known
    try:
        parsed = model.model_validate(value, context=FaultLimit())
    except ValidationError as error:
        faults = [*known, *faults_from_pydantic(error)]
    raise_faults(chain(faults, json_faults(value), _unfit(model, value)))
    assert parsed is not None
    if value == {}:
        _OF_NOTHING[model] = parsed
    return parsed


def parse_command(verb: str, args: Any) -> CommandBody:
    """Parse a command by its verb and its arguments as JSON values. Raises ValidationFailed."""
    return _parse_by_verb(COMMAND_BODIES, verb, args)


def parse_stored_args(verb: str, args: Any) -> CommandBody:
    """Parse a command as the audit keeps it. Raises ValidationFailed."""
    return _parse_by_verb(STORED_COMMAND_BODIES, verb, args)


def _parse_by_verb(models: dict[str, type[CommandBody]], verb: str, args: Any) -> CommandBody:
    model = models.get(verb)
    if model is None:
        raise ValidationFailed.at("command", f"should be one of {', '.join(models)}")
    return parse_body(model, args)


def _unfit(model: type[StrictModel], value: Any) -> Iterable[Fault]:
    """Find what doesn't fit together in a request, whatever else is wrong with it."""
    if model is CreateSession:
        return creation_faults(value)
    if model is JoinBody and isinstance(value, dict):
        return clock_faults(value.get("clock"))
    if model is SimulationBody and isinstance(value, dict):
        return _unfit_simulation(value)
    return ()


def _unfit_simulation(value: dict[str, Any]) -> Iterator[Fault]:
    """Find what doesn't fit together in a simulation's session and commands, at their places."""
    for each in creation_faults(value.get("session")):
        yield fault(("session", each["path"]), each["message"])
    commands, until_ms = value.get("commands"), value.get("until_ms")
    for at, timed in enumerate(commands[:MAX_COMMANDS] if isinstance(commands, list) else ()):
        if not isinstance(timed, dict):
            continue
        at_ms, args = timed.get("at_ms"), timed.get("args")
        if isinstance(at_ms, int) and isinstance(until_ms, int) and at_ms > until_ms:
            yield fault(("commands", at, "at_ms"), "should be at most until_ms")
        if timed.get("command") == "add_participant" and isinstance(args, dict):
            yield from clock_faults(args.get("clock"), ("commands", at, "args", "clock"))
