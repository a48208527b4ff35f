"""Maximum size of a page of sessions or events, in items and in bytes of documents."""

from collections.abc import Callable, Sequence
from typing import TypeVar

MAX_PAGE_ITEMS = 200
"""Maximum number of items in a page."""

MAX_PAGE_BYTES = 4 << 20
"""Bytes of documents at which a page ends. The document that reaches this size is still on the page."""

T = TypeVar("T")


def cut_to_page(items: Sequence[T], limit: int, size_of: Callable[[T], int]) -> Sequence[T]:
    """Return the first items that fit on one page: at most `limit` items, and at least one item if there is one.

    `size_of` returns the number of bytes of an item's document. The result also ends with the item at which the sum of
    these numbers reaches `MAX_PAGE_BYTES`; this item is included.
    """
    size = 0
    for index, item in enumerate(items[:limit]):
        size += size_of(item)
        if size >= MAX_PAGE_BYTES:
            return items[: index + 1]
    return items[:limit]
