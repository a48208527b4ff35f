"""Merge patches (RFC 7396) between two versions of a session's document.

For them participants and groups are objects by their ids instead of arrays, and absent means null. What a merge patch
can't say, a null that is meant inside `metadata`, makes a full state necessary.
"""

import operator
from collections.abc import Callable
from typing import Any

import orjson

Json = dict[str, Any]

_LISTS = (("participants", "participant_id"), ("groups", "group_id"))


def keyed(document: bytes) -> Json:
    """Parse a document into the form that patches are made on."""
    state: Json = orjson.loads(document)
    for name, key in _LISTS:
        state[name] = {each[key]: each for each in state[name]}
    return state


def diff(before: Json, after: Json) -> Json | None:
    """Return the patch that leads from one keyed document to another, None where only the full state can say it."""
    if _holds_null(before["metadata"]) or _holds_null(after["metadata"]):
        return None
    # Free JSON tells 1 from 1.0 and true, as its bytes do; our own members never change their types.
    metadata = _diff(before["metadata"], after["metadata"], _same_bytes)
    patch = _diff(before | {"metadata": None}, after | {"metadata": None}, operator.eq)
    return patch | {"metadata": metadata} if metadata else patch


def apply(state: Json, patch: Json) -> Json:
    """Return a keyed document with a patch merged in; shares what didn't change. What a client does."""
    merged = dict(state)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            inner = merged.get(name)
            merged[name] = apply(inner if isinstance(inner, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def _diff(before: Json, after: Json, same: Callable[[Any, Any], bool]) -> Json:
    patch: Json = {}
    for name, value in after.items():
        old = before.get(name)
        if same(old, value):
            continue
        patch[name] = _diff(old, value, same) if isinstance(old, dict) and isinstance(value, dict) else value
    patch |= dict.fromkeys((name for name, old in before.items() if name not in after and old is not None), None)
    return patch


def _same_bytes(one: Any, other: Any) -> bool:
    return orjson.dumps(one) == orjson.dumps(other)


def _holds_null(value: Any) -> bool:
    match value:
        case None:
            return True
        case dict():
            return any(map(_holds_null, value.values()))
        case list():
            return any(map(_holds_null, value))
        case _:
            return False
