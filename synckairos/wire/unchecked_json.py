"""Reads of JSON values that no model has checked. A value of another type than expected raises no error."""

from typing import Any


def first_items(limit: int, value: Any) -> list[Any]:
    """Return the first `limit` items of an array. Return no items if `value` is not an array.

    The models refuse an array with more items, so the further items need no check here.
    """
    return value[:limit] if isinstance(value, list) else []


def objects_in(limit: int, value: Any) -> list[tuple[int, dict[str, Any]]]:
    """Return the objects among the first `limit` items of an array, each with its position in the array."""
    return [(at, item) for at, item in enumerate(first_items(limit, value)) if isinstance(item, dict)]


def lower_text(value: Any) -> str | None:
    """Return a text in lower case, None if `value` is not a text."""
    return value.lower() if isinstance(value, str) else None


def is_int(value: Any) -> bool:
    """Return whether `value` is an integer. Booleans are not."""
    return type(value) is int
