"""Validation faults of a request: all faults together, each with the path to the JSON member.

The module converts the errors of pydantic to faults, and checks free JSON for values that a store or a client cannot
process.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
from pydantic import ValidationError, ValidationInfo, ValidatorFunctionWrapHandler

from synckairos.errors import ValidationFailed
from synckairos.wire.json_text_scan import SHORT_BYTES, has_plain_values

MAX_DEPTH = 64
"""Maximum number of nesting levels in a body. Metadata has a lower maximum (`field_types.MAX_METADATA_DEPTH`)."""

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON parser reads exactly."""

MAX_FAULTS = 200
"""Maximum number of faults in one refusal. A body of 1 MB can have many more faults."""

MAX_VALUES = 100_000
"""Maximum number of values in all arrays and objects of a body. The largest useful body, a simulation, has fewer."""

MAX_MEMBERS = 5_000
"""Maximum number of members in one JSON object. Metadata of 32 KiB has fewer."""

Fault = dict[str, str]
Path = tuple[str | int, ...]


class FaultCountLimit:
    """The number of further faults to find before validation stops. It is the context of one pydantic validation."""

    def __init__(self) -> None:
        self.remaining = MAX_FAULTS

    @staticmethod
    def validate_item(value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Return the validated item of a long array.

        If enough faults were found in earlier items, return the item without validation.

        Raises: ValidationError of pydantic if the item is not valid.
        """
        limit = info.context
        if not isinstance(limit, FaultCountLimit):
            return validate(value)
        if limit.remaining < 0:
            return value
        try:
            return validate(value)
        except ValidationError as error:
            limit.remaining -= error.error_count()
            raise


def fault(path: Iterable[str | int], message: str) -> Fault:
    """Return a fault at a path such as `("participants", 0, "total_time_ms")`."""
    return {"path": ".".join(map(str, path)), "message": message}


def raise_if_faults(faults: Iterable[Fault]) -> None:
    """Raise ValidationFailed if `faults` has an item, otherwise do nothing.

    The error lists the first fault of each path. If more than `MAX_FAULTS` paths have faults, the error lists the first
    `MAX_FAULTS` of these faults, and a last item that states that faults are left out.
    """
    firsts: dict[str, Fault] = {}
    for each in faults:
        firsts.setdefault(each["path"], each)
        if len(firsts) > MAX_FAULTS:
            firsts.popitem()
            more = fault((), f"more faults follow; this list has the first {MAX_FAULTS}")
            raise ValidationFailed([*firsts.values(), more])
    if firsts:
        raise ValidationFailed(list(firsts.values()))


def faults_from_pydantic(error: ValidationError) -> list[Fault]:
    """Return the errors of pydantic as faults, in the order of pydantic. Several faults can have the same path.

    Only the first 2 × `MAX_FAULTS` errors are returned.
    """
    # The errors are read as JSON, because thousands of errors take several times longer as Python objects.
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


def json_value_faults(value: Any) -> Iterator[Fault]:
    """Yield the faults of all names and values inside an object or array that was parsed from a JSON text.

    Faults are NUL characters, integers beyond ±`MAX_INTEGER`, and nesting beyond `MAX_DEPTH` levels. A value that is
    not an object or array is not checked.
    """
    try:
        text = orjson.dumps(value)
    except orjson.JSONEncodeError:
        text = b""  # the value has a large integer or is nested deep
    if len(text) < SHORT_BYTES or not has_plain_values(text, MAX_INTEGER, MAX_DEPTH + 1):
        yield from _faults_below(value, ())


def _faults_below(value: Any, path: Path) -> Iterator[Fault]:
    # This code runs for every value of every short body, so a valid value must cost only one or two comparisons.
    for name, item in value.items() if type(value) is dict else enumerate(value) if type(value) is list else ():
        if type(name) is str and "\0" in name:
            yield fault(path, "a name cannot contain the character U+0000")
        kind = type(item)
        if kind is str:
            if "\0" in item:
                yield fault((*path, name), "a text cannot contain the character U+0000")
        elif kind is int:
            if not -MAX_INTEGER <= item <= MAX_INTEGER:
                yield fault((*path, name), "integers beyond 2^53 − 1 are not exact in every program; send a text")
        elif kind is dict or kind is list:
            if len(path) == MAX_DEPTH:
                yield fault(path, f"nested more than {MAX_DEPTH} levels deep")
            elif item:
                yield from _faults_below(item, (*path, name))


def too_many_values_faults(value: Any) -> Iterator[Fault]:
    """Yield one fault if `value` contains more than MAX_VALUES values, else no fault.

    The path of the fault is the position at which the number of values exceeds the maximum. Later values are not read.
    """
    # Each position is a linked pair as in `linked_place_path`, because building a path for each value takes much longer
    # in deep nesting.
    remaining = MAX_VALUES
    unread: list[tuple[Any, Any]] = [(value, None)] if isinstance(value, dict | list) else []
    while unread:
        each, place = unread.pop()
        remaining -= len(each)
        if remaining < 0:
            yield fault(
                linked_place_path(place),
                f"a body has at most {MAX_VALUES} values; this body exceeds the maximum here",
            )
            return
        items = each.items() if isinstance(each, dict) else enumerate(each)
        unread += [(item, (name, place)) for name, item in items if item and isinstance(item, dict | list)]


def linked_place_path(place: Any) -> list[str | int]:
    """Return the path to a position in a JSON value, from the outermost name or array position to the innermost.

    `place` is a pair of a name or array position, and the `place` of the surrounding object or array. It is None for
    the whole body.
    """
    path: list[str | int] = []
    while place is not None:
        name, place = place
        path.append(name)
    return path[::-1]
