# Generated from synckairos.clock.merge_patch by `make python-client`. Do not edit.
"""JSON Merge Patch (RFC 7396) on parsed JSON values."""

from typing import Any


def merge_patch(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Return a new object: `target` with `patch` merged in.

    Null removes a JSON member, objects merge, other values replace.

    Neither argument is changed. The result is not a deep copy: it contains objects and arrays of both arguments.
    """
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            before = merged.get(name)
            merged[name] = merge_patch(before if isinstance(before, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def is_identical_json(a: Any, b: Any) -> bool:
    """Return whether two JSON values are equal, including the types of numbers and booleans.

    Plain `==` is not enough, because Python treats `1`, `1.0` and `True` as equal.
    """
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(is_identical_json(value, b[name]) for name, value in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(is_identical_json, a, b))
    return bool(a == b)
