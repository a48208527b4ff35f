"""Pages of history queries: query parameters for a cursor and a limit, and pages of the audit trail."""

from collections.abc import Sequence
from typing import Any

from synckairos.errors import ValidationFailed
from synckairos.history.page_cursor import parse_list_cursor, render_cursor
from synckairos.history.page_size import MAX_PAGE_ITEMS, cut_to_page
from synckairos.history.records import Page, TrailEvent
from synckairos.history.row_values import postgres_instant

_LAST_ID = "f" * 32


def build_trail_page(events: Sequence[TrailEvent], limit: int, *, has_more: bool = False) -> Page[TrailEvent]:
    """Build a page from the first of `events`: at most `limit` events, and at most about 4 MiB of documents.

    `events` are in the order of the audit trail. `has_more` must be True if the audit trail has events after the last
    of `events`. The page has a `next_cursor` if further events follow.
    """
    items = tuple(cut_to_page(events, limit, lambda event: len(event.document or b"")))
    has_more = has_more or len(items) < len(events)
    return Page(items, render_cursor(*items[-1].sort_key) if has_more else None)


def position_parameters(cursor: str | None) -> dict[str, Any]:
    """Return the parameters `before_at` and `before_id` of a query for the list position in a cursor.

    If `cursor` is None, they are those of the start of the list.

    Raises: ValidationFailed if the cursor is invalid.
    """
    before_ms, before_id = parse_list_cursor(cursor) or (None, _LAST_ID)
    return {"before_at": "infinity" if before_ms is None else postgres_instant(before_ms), "before_id": before_id}


def check_limit(limit: int) -> int:
    """Return `limit` unchanged. Raises: ValidationFailed if it is not from 1 to `MAX_PAGE_ITEMS`."""
    if not 1 <= limit <= MAX_PAGE_ITEMS:
        raise ValidationFailed.at_path("limit", f"should be from 1 to {MAX_PAGE_ITEMS}")
    return limit
