"""Pydantic models of a simulation: the session to create, and commands with their instants."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from synckairos.clock.start_and_end import check_start_and_end
from synckairos.errors import ValidationFailed
from synckairos.wire.clock_rules import clock_faults
from synckairos.wire.command_bodies.shared_members import CommandBody
from synckairos.wire.command_bodies.start_and_end import StartBody
from synckairos.wire.command_bodies.table import COMMAND_BODIES, SIMULATED_COMMAND_BODIES
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.creation_rules import creation_faults
from synckairos.wire.field_types import DAY_MS, InstantText, Omittable, StrictModel, UntilFaultLimit
from synckairos.wire.instants import parse_instant_ms
from synckairos.wire.plan_body import plan_faults
from synckairos.wire.validation_faults import Fault, fault

MAX_COMMANDS = 10_000
"""Maximum number of commands in a simulation."""

SimulatedMs = Annotated[int, Field(ge=0, le=800 * DAY_MS)]


def _known_command(verb: str) -> str:
    if verb not in COMMAND_BODIES:
        raise PydanticCustomError("command", "should be one of {verbs}", {"verbs": ", ".join(COMMAND_BODIES)})
    return verb


def _parse_args(value: Any, info: ValidationInfo) -> CommandBody:
    if "command" not in info.data:
        return StartBody()  # the command is unknown, so its arguments cannot be checked
    return SIMULATED_COMMAND_BODIES[info.data["command"]].model_validate(value, context=info.context)


class TimedCommand(StrictModel):
    """A command of a simulation. It is executed `at_ms` ms after the creation of the session."""

    at_ms: SimulatedMs
    command: Annotated[str, AfterValidator(_known_command)]
    args: Annotated[
        Any,  # the model of the command's body after validation
        PlainValidator(_parse_args),
        Field(default_factory=dict, validate_default=True),
        WithJsonSchema({"type": "object", "additionalProperties": True}),
    ]


class SimulationBody(StrictModel):
    """A session to simulate, and its commands. The server stores nothing.

    The timeline ends `until_ms` ms after the creation of the session, which is at `created_at`.
    """

    session: CreateSession
    commands: Annotated[list[UntilFaultLimit[TimedCommand]], Field(max_length=MAX_COMMANDS)] = Field(
        default_factory=list
    )
    until_ms: SimulatedMs
    created_at: Omittable[Annotated[InstantText, Field(description="Instant of the creation. Default: 1970-01-01")]] = (
        None
    )

    @property
    def created_at_ms(self) -> int:
        """Return the instant of the creation in ms since the Unix epoch."""
        return 0 if self.created_at is None else parse_instant_ms(self.created_at)


def simulation_rule_faults(value: dict[str, Any]) -> Iterator[Fault]:
    """Yield the faults that concern several JSON members of a simulation, with their paths in the body `value`.

    Malformed members are skipped, because the models report them.
    """
    for each in creation_faults(value.get("session")):
        yield fault(("session", each["path"]), each["message"])
    yield from _instant_faults(value)
    commands, until_ms = value.get("commands"), value.get("until_ms")
    for at, timed in enumerate(commands[:MAX_COMMANDS] if isinstance(commands, list) else ()):
        if not isinstance(timed, dict):
            continue
        at_ms, args = timed.get("at_ms"), timed.get("args")
        if isinstance(at_ms, int) and isinstance(until_ms, int) and at_ms > until_ms:
            yield fault(("commands", at, "at_ms"), "should be at most until_ms")
        if timed.get("command") in ("add_participant", "update_participant") and isinstance(args, dict):
            yield from clock_faults(args.get("clock"), ("commands", at, "args", "clock"))
        if timed.get("command") == "set_plan" and isinstance(args, dict):
            yield from plan_faults(args.get("plan"), ("commands", at, "args", "plan"))


def _instant_faults(value: dict[str, Any]) -> Iterator[Fault]:
    """Yield the fault if the session of a simulation starts or ends before its creation, or too long after it."""
    session, created_at = value.get("session"), value.get("created_at")
    created_at_ms = 0 if created_at is None else _instant_ms(created_at)
    if not isinstance(session, dict) or created_at_ms is None:
        return
    try:
        check_start_and_end(_instant_ms(session.get("starts_at")), _instant_ms(session.get("ends_at")), created_at_ms)
    except ValidationFailed as refusal:
        for each in refusal.details:
            yield fault(("session", each["path"]), each["message"])


def _instant_ms(text: Any) -> int | None:
    """Return an instant of a request in ms since the Unix epoch, None if it is absent or malformed."""
    try:
        return parse_instant_ms(text) if isinstance(text, str) else None
    except ValueError:
        return None
