"""Faults: what is wrong with a request, each at its place, all of them at once.

Turns pydantic's findings into ours and looks through free JSON for what a store or a client would choke on.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
from pydantic import ValidationError, ValidationInfo, ValidatorFunctionWrapHandler

from synckairos.errors import ValidationFailed

MAX_DEPTH = 64
"""Levels a body may have; metadata, the one free part of it, may have fewer (`fields.MAX_METADATA_DEPTH`)."""

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""

MAX_FAULTS = 200
"""Faults told at once; a body of a megabyte can hold many more."""

MAX_VALUES = 100_000
"""Values a body may hold in all its arrays and objects; the most that makes sense, a simulation, stays below."""

MAX_MEMBERS = 5_000
"""Members an object may have; one of metadata's 32 KiB has fewer."""

Fault = dict[str, str]
Path = tuple[str | int, ...]


class FaultLimit:
    """How many more faults are worth looking for. Given to pydantic as the context of a validation."""

    def __init__(self) -> None:
        self.left = MAX_FAULTS

    @staticmethod
    def validate_item(value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Validate an item of a long list, until enough is wrong with those before it."""
        patience = info.context
        if not isinstance(patience, FaultLimit):
            return validate(value)
        if patience.left < 0:
            return value
        try:
            return validate(value)
        except ValidationError as error:
            patience.left -= error.error_count()
            raise


def fault(path: Iterable[str | int], message: str) -> Fault:
    """Make a fault at a place such as `("participants", 0, "total_time_ms")`."""
    return {"path": ".".join(map(str, path)), "message": message}


def raise_faults(faults: Iterable[Fault]) -> None:
    """Raise ValidationFailed with these faults, each place's first one, where there are any; stops at MAX_FAULTS."""
    firsts: dict[str, Fault] = {}
    for each in faults:
        firsts.setdefault(each["path"], each)
        if len(firsts) > MAX_FAULTS:
            firsts.popitem()
            raise ValidationFailed([*firsts.values(), {"path": "", "message": f"and more than these {MAX_FAULTS}"}])
    if firsts:
        raise ValidationFailed(list(firsts.values()))


def faults_from_pydantic(error: ValidationError) -> list[Fault]:
    """Return pydantic's findings as faults, in its order; as many of them as may be told, several at one place."""
    # By way of JSON: thousands of findings take a multiple of the time as objects.
    found = orjson.loads(error.json(include_url=False, include_input=False))
    return [
        fault(each["loc"], _message(each["type"], each["msg"], each.get("ctx", {}))) for each in found[: 2 * MAX_FAULTS]
    ]


def _message(kind: str, text: str, context: Mapping[str, Any]) -> str:
    match kind:
        case "missing":
            return "required"
        case "extra_forbidden":
            return "unknown field"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "should be an object"
        case "list_type":
            return "should be an array"
        case "greater_than_equal" | "less_than_equal":
            word, bound = ("at least", context["ge"]) if "ge" in context else ("at most", context["le"])
            return f"should be {word} {bound}"
        case "too_short" | "string_too_short":
            return f"should have at least {_count(context['min_length'], kind)}"
        case "too_long" | "string_too_long":
            return f"should have at most {_count(context['max_length'], kind)}"
        case _:
            text = text.removeprefix("Input ")
            return text[:1].lower() + text[1:]


def _count(number: int, kind: str) -> str:
    return f"{number} {'character' if kind.startswith('string') else 'item'}{'' if number == 1 else 's'}"


def json_faults(value: Any, path: Path = ()) -> Iterator[Fault]:
    """Find what no JSON value here may hold, at any depth: NUL characters, inexact numbers, levels without end."""
    # This is done with every value of every body: what is fine, nearly always all of it, costs a comparison or two.
    for name, item in value.items() if type(value) is dict else enumerate(value) if type(value) is list else ():
        if type(name) is str and "\0" in name:
            yield fault(path, "a name can't hold the character U+0000")
        kind = type(item)
        if kind is str:
            if "\0" in item:
                yield fault((*path, name), "a text can't hold the character U+0000")
        elif kind is int:
            if not -MAX_INTEGER <= item <= MAX_INTEGER:
                yield fault((*path, name), "an integer beyond 2^53 − 1 isn't exact everywhere; send it as a text")
        elif kind is float:
            if not math.isfinite(item):
                yield fault((*path, name), "this number is too large")
        elif kind is dict or kind is list:
            if len(path) == MAX_DEPTH:
                yield fault(path, f"nested more than {MAX_DEPTH} levels deep")
            elif item:
                yield from json_faults(item, (*path, name))


def excess_value_faults(value: Any) -> Iterator[Fault]:
    """Find where a JSON value goes beyond MAX_VALUES; looks no further than there."""
    # Places, as `path_to` has them: a path for each would take far longer in the depths.
    left = MAX_VALUES
    waiting: list[tuple[Any, Any]] = [(value, None)] if isinstance(value, dict | list) else []
    while waiting:
        each, place = waiting.pop()
        left -= len(each)
        if left < 0:
            yield fault(path_to(place), f"a body holds at most {MAX_VALUES} values; up to here there are more")
            return
        items = each.items() if isinstance(each, dict) else enumerate(each)
        waiting += [(item, (name, place)) for name, item in items if item and isinstance(item, dict | list)]


def path_to(place: Any) -> list[str | int]:
    """Return the path to a place, which is a name and the place around it, None outside of everything."""
    path: list[str | int] = []
    while place is not None:
        name, place = place
        path.append(name)
    return path[::-1]
