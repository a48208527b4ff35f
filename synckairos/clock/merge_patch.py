"""RFC 7396, JSON Merge Patch, on parsed JSON values."""

from typing import Any


def merge_patch(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Return `target` with `patch` merged in: null removes a member, objects merge, all else replaces.

    Neither argument is changed; parts that the patch doesn't touch are shared.
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


def is_same_json(a: Any, b: Any) -> bool:
    """Tell whether two JSON values are the same, types included: to Python alone, `1`, `1.0` and `true` are equal."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(is_same_json(value, b[name]) for name, value in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(is_same_json, a, b))
    return bool(a == b)
