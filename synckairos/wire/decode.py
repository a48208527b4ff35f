"""Bytes of JSON to values, strictly: what one reader takes and another doesn't is refused, not guessed at."""

import json
from collections.abc import Iterator
from typing import Any

import orjson

from synckairos.errors import ValidationFailed
from synckairos.wire.faults import MAX_MEMBERS, MAX_VALUES, Fault, Path, fault, in_excess, refuse


def decode(body: bytes) -> Any:
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
            refuse(in_excess(value))
        return json.loads(body, object_pairs_hook=_object)
    except orjson.JSONDecodeError as error:
        raise ValidationFailed.at("", f"malformed JSON: {error}") from None
    except RecursionError:
        raise ValidationFailed.at("", "malformed JSON: nested too deep") from None
    except _TwiceNamed:
        refuse(_repeated(json.loads(body, object_pairs_hook=_Members)))
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
    """Find every member whose name another one of its object had before."""
    waiting: list[tuple[Any, Path]] = [(value, ())]
    while waiting:
        each, path = waiting.pop()
        names: set[str | int] = set()
        for name, item in each if isinstance(each, _Members) else enumerate(each):
            if name in names:
                yield fault((*path, name), "this name appears twice in one object")
            names.add(name)
            if isinstance(item, list):
                waiting.append((item, (*path, name)))
