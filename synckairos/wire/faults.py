"""Faults: what is wrong with a request, each at its place, all of them at once.

Turns pydantic's findings into ours and looks through free JSON for what a store or a client would choke on.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from synckairos.errors import ValidationFailed

MAX_DEPTH = 64
"""Levels a body may have; metadata, the one free part of it, may have fewer (`fields.MAX_METADATA_DEPTH`)."""

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""

MAX_FAULTS = 1_000
"""Faults told at once; a body of a megabyte can hold many more."""

Fault = dict[str, str]
Path = tuple[str | int, ...]


def fault(path: Path, message: str) -> Fault:
    """Make a fault at a place such as `("participants", 0, "total_time_ms")`."""
    return {"path": ".".join(map(str, path)), "message": message}


def refuse(faults: list[Fault]) -> None:
    """Raise ValidationFailed with these faults, each place's first one, where there are any."""
    if not faults:
        return
    firsts: dict[str, Fault] = {}
    for each in faults:
        firsts.setdefault(each["path"], each)
    told = list(firsts.values())
    if len(told) > MAX_FAULTS:
        rest = len(told) - MAX_FAULTS
        told = [*told[:MAX_FAULTS], {"path": "", "message": f"and {rest} more"}]
    raise ValidationFailed(told)


def of_pydantic(error: ValidationError) -> list[Fault]:
    """Return pydantic's findings as faults, in its order."""
    return [
        fault(each["loc"], _message(each["type"], each["msg"], each.get("ctx", {})))
        for each in error.errors(include_url=False, include_input=False)
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
        case _:
            text = text.removeprefix("Input ")
            return text[:1].lower() + text[1:]


def in_json(value: Any, path: Path = ()) -> Iterator[Fault]:
    """Find what no JSON value here may hold, at any depth: NUL characters, inexact numbers, levels without end."""
    if len(path) > MAX_DEPTH:
        yield fault(path[:MAX_DEPTH], f"nested more than {MAX_DEPTH} levels deep")
        return
    match value:
        case str():
            if "\0" in value:
                yield fault(path, "a text can't hold the character U+0000")
        case bool():
            pass
        case int():
            if abs(value) > MAX_INTEGER:
                yield fault(path, "an integer beyond 2^53 − 1 isn't exact everywhere; send it as a text")
        case float():
            if not math.isfinite(value):
                yield fault(path, "this number is too large")
        case list():
            for at, item in enumerate(value):
                yield from in_json(item, (*path, at))
        case dict():
            for name, item in value.items():
                if "\0" in name:
                    yield fault(path, "a name can't hold the character U+0000")
                yield from in_json(item, (*path, name))
