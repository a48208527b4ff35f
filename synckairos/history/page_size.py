"""Maximum size of a page of sessions or events, in items and in bytes of documents."""

from collections.abc import Callable, Sequence
from typing import TypeVar

MAX_PAGE_ITEMS = 200
"""Maximum number of items in a page."""

MAX_PAGE_BYTES = 4 << 20
"""Bytes of documents after which a page ends. The page includes the document with which it reaches this size."""

T = TypeVar("T")


def cut_to_page(items: Sequence[T], limit: int, size_of: Callable[[T], int]) -> Sequence[T]:
    """Return the leading items that fit on one page: at most `limit` items, and at least one item if there is one.

    `size_of` returns the bytes of an item's document. The page also ends with the item at which the sum of these
    bytes reaches `MAX_PAGE_BYTES`.
    """
    size = 0
    for index, item in enumerate(items[:limit]):
        size += size_of(item)
        if size >= MAX_PAGE_BYTES:
            return items[: index + 1]
    return items[:limit]
