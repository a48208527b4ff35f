"""Strict JSON parsing.

The parser refuses input that different JSON parsers read differently, such as a repeated member name.
"""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson

from synckairos.errors import ValidationFailed
from synckairos.wire.json_text_scan import SHORT_BYTES, has_small_objects, is_exact
from synckairos.wire.validation_faults import (
    MAX_FAULTS,
    MAX_MEMBERS,
    MAX_VALUES,
    Fault,
    fault,
    linked_place_path,
    raise_if_faults,
    too_many_values_faults,
)


def value_count_upper_bound(text: str | bytes) -> int:
    """Return an upper bound of the number of values in a JSON text. The text is not parsed and can be invalid."""
    if isinstance(text, str):
        return 1 + text.count(",") + text.count("[") + text.count("{")
    return 1 + text.count(b",") + text.count(b"[") + text.count(b"{")


def decode_json(body: bytes) -> Any:
    """Parse a JSON text. An empty text is parsed as an empty object.

    Raises:
        ValidationFailed: the text is not JSON (for example it contains NaN or a lone surrogate), an object repeats
            a member name or has too many members, a number has too many digits, the nesting is too deep, or there
            are too many values.
    """
    if not body or body == b"{}":
        return {}
    try:
        # orjson decides whether the text is JSON. But orjson accepts repeated member names and inexact integers, so
        # `json` parses the text a second time, unless the value of orjson is certainly exact. Texts with too many
        # values are refused first, because building many arrays takes long.
        if body.count(b"[") > MAX_VALUES:
            raise ValidationFailed.at_path("", f"a body has at most {MAX_VALUES} values")
        value = orjson.loads(body)
        if value_count_upper_bound(body) > MAX_VALUES:
            raise_if_faults(too_many_values_faults(value))
        if len(body) >= SHORT_BYTES and is_exact(body, value) and has_small_objects(body, MAX_MEMBERS):
            return value
        return json.loads(body, object_pairs_hook=_object)
    except orjson.JSONDecodeError as error:
        raise ValidationFailed.at_path("", f"malformed JSON: {error}") from None
    except RecursionError:
        raise ValidationFailed.at_path("", "malformed JSON: nested too deep") from None
    except _RepeatedName:
        # The number of faults is bounded, because the path of a fault in deep nesting takes long to build. Twice
        # MAX_FAULTS, because several faults can have the same path.
        raise_if_faults(islice(_repeated(json.loads(body, object_pairs_hook=_Members)), 2 * MAX_FAULTS))
        raise
    except _TooManyMembers:
        raise ValidationFailed.at_path("", f"an object has at most {MAX_MEMBERS} members") from None
    except ValueError:
        raise ValidationFailed.at_path("", "malformed JSON: a number with too many digits") from None


class _RepeatedName(Exception):
    pass


class _TooManyMembers(Exception):
    pass


class _Members(list[tuple[str, Any]]):
    """An object with all members of the JSON text in their order, including members with the same name."""


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(members) > MAX_MEMBERS:
        raise _TooManyMembers
    made = dict(members)
    if len(made) < len(members):
        raise _RepeatedName
    return made


def _repeated(value: Any) -> Iterator[Fault]:
    """Yield one fault for each member name that appears at least twice in one object."""
    unread: list[tuple[Any, Any]] = [(value, None)]
    while unread:
        each, place = unread.pop()
        names: Counter[str | int] = Counter()
        for name, item in each if isinstance(each, _Members) else enumerate(each):
            names[name] += 1
            if names[name] == 2:
                yield fault(linked_place_path((name, place)), "this name appears twice in one object")
            if item and isinstance(item, list):
                unread.append((item, (name, place)))
