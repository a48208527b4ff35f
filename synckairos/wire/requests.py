"""What may be asked, as models: they validate every body and, unchanged, describe it in OpenAPI.

A body becomes a value of `clock.commands`; both doors parse commands here. Whether a command fits the session's state
is the clock's business.
"""

from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Cancel,
    Command,
    Complete,
    Delete,
    PauseFor,
    RemoveParticipant,
    Resume,
    Start,
    Switch,
    UpdateMetadata,
)
from synckairos.clock.model import TIMEOUT_REASON
from synckairos.errors import ValidationFailed
from synckairos.wire.creation import CreateSession, Participant
from synckairos.wire.faults import Fault, in_json, of_pydantic, refuse
from synckairos.wire.fields import DAY_MS, MAX_PARTICIPANTS, Budget, Maybe, Metadata, Reason, Strict, Uuid, Version
from synckairos.wire.fitness import unfit, unfit_clock


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


class CommandBody(Strict):
    """What every command may carry: the version the caller believes to be the newest."""

    expected_version: Maybe[Version] = None

    def command(self) -> Command:
        """Return the command as the clock knows it."""
        raise NotImplementedError


class StartBody(CommandBody):
    def command(self) -> Command:
        return Start()


class CompleteBody(CommandBody):
    def command(self) -> Command:
        return Complete()


class CancelBody(CommandBody):
    def command(self) -> Command:
        return Cancel()


class DeleteBody(CommandBody):
    def command(self) -> Command:
        return Delete()


class SwitchBody(CommandBody):
    """`current_participant_id` guards against a late second press, `next_participant_id` overrides the order."""

    next_participant_id: Maybe[Uuid] = None
    current_participant_id: Maybe[Uuid] = None

    def command(self) -> Command:
        return Switch(self.next_participant_id, self.current_participant_id)


class PauseBody(CommandBody):
    """`max_ms` lifts the reason by itself; the reason `timeout` is the clock's own."""

    reason: Annotated[Reason, AfterValidator(_not_reserved)] = "manual"
    max_ms: Maybe[Annotated[int, Field(ge=1, le=7 * DAY_MS)]] = None

    def command(self) -> Command:
        return PauseFor(self.reason, self.max_ms)


class ResumeBody(CommandBody):
    """Lifts one reason, or all of them where none is named."""

    reason: Maybe[Reason] = None

    def command(self) -> Command:
        return Resume(self.reason)


class AdjustBody(CommandBody):
    """Adds `delta_ms` (takes, below 0) for some participants, one group, or everyone where neither is named."""

    delta_ms: Annotated[
        int,
        Field(ge=-DAY_MS, le=DAY_MS, json_schema_extra={"not": {"const": 0}}),
        AfterValidator(_not_zero),
    ]
    participant_ids: Maybe[
        Annotated[
            list[Uuid],
            Field(min_length=1, max_length=MAX_PARTICIPANTS, json_schema_extra={"uniqueItems": True}),
            AfterValidator(_each_once),
        ]
    ] = None
    group_id: Maybe[Uuid] = None

    def command(self) -> Command:
        ids = None if self.participant_ids is None else tuple(self.participant_ids)
        return Adjust(self.delta_ms, ids, self.group_id)


class JoinBody(CommandBody, Participant):
    """Someone who joins; where the mode needs a budget or a group, it is brought along."""

    total_time_ms: Maybe[Budget] = None

    def command(self) -> Command:
        return AddParticipant(self.newcomer())


class LeaveBody(CommandBody):
    participant_id: Uuid

    def command(self) -> Command:
        return RemoveParticipant(self.participant_id)


class MetadataBody(CommandBody):
    """A merge patch (RFC 7396): null removes a member, objects merge, all else replaces."""

    metadata: Metadata

    def command(self) -> Command:
        return UpdateMetadata(self.metadata)


COMMANDS: dict[str, type[CommandBody]] = {
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


class TimedCommand(Strict):
    """A command at an instant of a simulation, `at_ms` after creation."""

    at_ms: Annotated[int, Field(ge=0, le=366 * DAY_MS)]
    command: str
    args: dict[str, Any] = Field(default_factory=dict)


class SimulationBody(Strict):
    """A session to make and what is asked of it when; nothing is stored. Rows end at `until_ms` after creation."""

    session: CreateSession
    commands: Annotated[list[TimedCommand], Field(max_length=10_000)] = Field(default_factory=list)
    until_ms: Annotated[int, Field(ge=0, le=366 * DAY_MS)]


Model = TypeVar("Model", bound=Strict)

_OF_NOTHING: dict[type[Strict], Strict] = {}
"""What an empty object says in each model. Most commands are asked with one, and models are frozen."""


def parse(model: type[Model], value: Any, known: list[Fault] | None = None) -> Model:
    """Parse JSON values into a request, or raise ValidationFailed with every fault there is, `known` ones first."""
    if not known and value == {} and model in _OF_NOTHING:
        return cast(Model, _OF_NOTHING[model])
    parsed, faults = _look_at(model, value)
    refuse([*(known or ()), *faults])
    assert parsed is not None
    if value == {}:
        _OF_NOTHING[model] = parsed
    return parsed


def parse_command(verb: str, args: Any) -> CommandBody:
    """Parse a command by its verb and its arguments as JSON values. Raises ValidationFailed."""
    model = COMMANDS.get(verb)
    if model is None:
        raise ValidationFailed.at("command", f"should be one of {', '.join(COMMANDS)}")
    return parse(model, args)


def _look_at(model: type[Model], value: Any) -> tuple[Model | None, list[Fault]]:
    """Return the request, where it is one, and all that is wrong with it."""
    faults: list[Fault] = []
    parsed: Model | None = None
    try:
        parsed = model.model_validate(value)
    except ValidationError as error:
        faults += of_pydantic(error)
    faults += in_json(value)
    if model is CreateSession:
        faults += unfit(value)
    elif model is JoinBody and isinstance(value, dict):
        faults += unfit_clock(value.get("clock"))
    elif model is SimulationBody and isinstance(value, dict):
        faults += _unfit_simulation(value)
    return parsed, faults


def _unfit_simulation(value: dict[str, Any]) -> list[Fault]:
    """Find what is wrong inside a simulation's session and commands, at their places."""
    faults = [_below(each, "session") for each in unfit(value.get("session"))]
    commands, until_ms = value.get("commands"), value.get("until_ms")
    for at, timed in enumerate(commands if isinstance(commands, list) else ()):
        if not isinstance(timed, dict) or not isinstance(timed.get("command"), str):
            continue
        at_ms = timed.get("at_ms")
        if isinstance(at_ms, int) and isinstance(until_ms, int) and at_ms > until_ms:
            faults.append({"path": f"commands.{at}.at_ms", "message": "should be at most until_ms"})
        model = COMMANDS.get(timed["command"])
        if model is None:
            told = f"should be one of {', '.join(COMMANDS)}"
            faults.append({"path": f"commands.{at}.command", "message": told})
            continue
        faults += [_below(each, f"commands.{at}.args") for each in _look_at(model, timed.get("args", {}))[1]]
    return faults


def _below(found: Fault, place: str) -> Fault:
    path = f"{place}.{found['path']}" if found["path"] else place
    return {"path": path, "message": found["message"]}
