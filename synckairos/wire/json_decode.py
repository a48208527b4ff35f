"""Bytes of JSON to values, strictly: what one reader takes and another doesn't is refused, not guessed at."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson

from synckairos.errors import ValidationFailed
from synckairos.wire.validation_faults import (
    MAX_FAULTS,
    MAX_MEMBERS,
    MAX_VALUES,
    Fault,
    excess_value_faults,
    fault,
    path_to,
    raise_faults,
)


def decode_json(body: bytes) -> Any:
    """Parse a JSON text; nothing at all counts as an empty object.

    Raises:
        ValidationFailed: it isn't JSON (NaN and lone surrogates aren't), names a member twice, is nested too deep or
            holds too many values.
    """
    if not body or body == b"{}":
        return {}
    try:
        # The strict reader decides what is JSON; it would let duplicate names and inexact integers through, though.
        # Nothing that holds more than anybody needs is looked at for long: arrays alone take their time to be made.
        if body.count(b"[") > MAX_VALUES:
            raise ValidationFailed.at("", f"a body holds at most {MAX_VALUES} values")
        value = orjson.loads(body)
        if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
            raise_faults(excess_value_faults(value))
        return json.loads(body, object_pairs_hook=_object)
    except orjson.JSONDecodeError as error:
        raise ValidationFailed.at("", f"malformed JSON: {error}") from None
    except RecursionError:
        raise ValidationFailed.at("", "malformed JSON: nested too deep") from None
    except _TwiceNamed:
        # As many of them as may be told, several at one place: to name one takes its time in the depths.
        raise_faults(islice(_repeated(json.loads(body, object_pairs_hook=_Members)), 2 * MAX_FAULTS))
        raise
    except _TooManyMembers:
        raise ValidationFailed.at("", f"an object has at most {MAX_MEMBERS} members") from None
    except ValueError:
        raise ValidationFailed.at("", "malformed JSON: a number with too many digits") from None


class _TwiceNamed(Exception):
    pass


class _TooManyMembers(Exception):
    pass


class _Members(list[tuple[str, Any]]):
    """An object as it was written: all its members, also those of one name."""


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(members) > MAX_MEMBERS:
        raise _TooManyMembers
    made = dict(members)
    if len(made) < len(members):
        raise _TwiceNamed
    return made


def _repeated(value: Any) -> Iterator[Fault]:
    """Find every name that several members of one object have."""
    waiting: list[tuple[Any, Any]] = [(value, None)]
    while waiting:
        each, place = waiting.pop()
        names: Counter[str | int] = Counter()
        for name, item in each if isinstance(each, _Members) else enumerate(each):
            names[name] += 1
            if names[name] == 2:
                yield fault(path_to((name, place)), "this name appears twice in one object")
            if item and isinstance(item, list):
                waiting.append((item, (name, place)))
