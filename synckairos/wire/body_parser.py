"""Parsing of request bodies and of audited arguments into models, with a list of all faults."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from synckairos.errors import ValidationFailed
from synckairos.wire.clock_rules import clock_faults
from synckairos.wire.command_bodies.participants import JoinBody, ParticipantChangesBody
from synckairos.wire.command_bodies.shared_members import CommandBody
from synckairos.wire.command_bodies.table import COMMAND_BODIES, STORED_COMMAND_BODIES
from synckairos.wire.command_bodies.turns import SetPlanBody
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.creation_rules import creation_faults
from synckairos.wire.field_types import StrictModel
from synckairos.wire.plan_body import plan_faults
from synckairos.wire.simulation_body import SimulationBody, simulation_rule_faults
from synckairos.wire.validation_faults import (
    Fault,
    FaultCountLimit,
    fault,
    faults_from_pydantic,
    json_value_faults,
    raise_if_faults,
)

Model = TypeVar("Model", bound=StrictModel)

_EMPTY_BODIES: dict[type[StrictModel], StrictModel] = {}
"""The parsed empty JSON object of each model. Most commands have an empty body, and models are frozen."""


def parse_body(model: type[Model], value: Any, known: Sequence[Fault] = ()) -> Model:
    """Parse the JSON values of a request body into an instance of `model`.

    `known` has faults that the caller has already found.

    Raises: ValidationFailed if there are faults in `value` or in `known`. The error lists the faults in `known` first.
    """
    if not known and value == {} and model in _EMPTY_BODIES:
        return cast(Model, _EMPTY_BODIES[model])
    parsed: Model | None = None
    faults: Iterable[Fault] = known
    try:
        parsed = model.model_validate(value, context=FaultCountLimit())
    except ValidationError as error:
        faults = [*known, *faults_from_pydantic(error)]
    raise_if_faults(chain(faults, json_value_faults(value), _rule_faults(model, value)))
    assert parsed is not None
    if value == {}:
        _EMPTY_BODIES[model] = parsed
    return parsed


def parse_command(verb: str, args: Any) -> CommandBody:
    """Parse a command of a request: its name `verb` and the JSON values of its arguments.

    Raises: ValidationFailed with every fault, also if the name is unknown.
    """
    return _parse_by_verb(COMMAND_BODIES, verb, args)


def parse_audited_args(verb: str, args: Any) -> CommandBody:
    """Parse a command of the audit: its name `verb` and its stored arguments.

    Unknown members are faults in every command, also in commands whose requests can have unknown members.

    Raises: ValidationFailed with every fault, also if the name is unknown.
    """
    body = _parse_by_verb(STORED_COMMAND_BODIES, verb, args)
    raise_if_faults(fault((name,), "unknown field") for name in unknown_members(type(body), args))
    return body


def unknown_members(model: type[StrictModel], value: dict[str, Any]) -> list[str]:
    """Return the names of the members of `value` that the model does not have, in the order of the JSON text."""
    return [name for name in value if name not in model.model_fields]


def _parse_by_verb(models: dict[str, type[CommandBody]], verb: str, args: Any) -> CommandBody:
    model = models.get(verb)
    if model is None:
        raise ValidationFailed.at_path("command", f"should be one of {', '.join(models)}")
    return parse_body(model, args)


def _rule_faults(model: type[StrictModel], value: Any) -> Iterable[Fault]:
    """Yield the faults that concern several JSON members of a request.

    `value` can have malformed members. The models report these, and this function does not.
    """
    if model is CreateSession:
        return creation_faults(value)
    if issubclass(model, (JoinBody, ParticipantChangesBody)) and isinstance(value, dict):
        return clock_faults(value.get("clock"))
    if model is SetPlanBody and isinstance(value, dict):
        return plan_faults(value.get("plan"))
    if model is SimulationBody and isinstance(value, dict):
        return simulation_rule_faults(value)
    return ()
