"""Merges the sources of one page of a participant's sessions. Pure, so that table tests cover every case.

Recent sessions come from a sorted set in Redis that is complete since some instant. Older ones come from Postgres, and
new ones from the outbox.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from synckairos.store.participant_sessions import CachedPage, ListKey

_LOWEST_ID = "00000000-0000-0000-0000-000000000000"


class ListItem(Struct, frozen=True):
    """A session in a participant's list: its position, and its row as JSON."""

    key: ListKey
    row: bytes


class PageRange(Struct, frozen=True):
    """The positions of one page: from before `before` to `end`, which is None on the last page, since `since_ms`."""

    since_ms: int
    before: ListKey | None
    end: ListKey | None

    def contains(self, key: ListKey) -> bool:
        """Return whether a session at this position that no source listed belongs on the page."""
        return (
            key[0] >= self.since_ms
            and (self.before is None or key < self.before)
            and (self.end is None or key > self.end)
        )


class OlderQuery(Struct, frozen=True):
    """The query for sessions that are older than those in Redis: from before a position, up to `limit` of them."""

    before: ListKey
    limit: int


class RecentKeys(Struct, frozen=True):
    """The sessions of a page that Redis lists. `has_more`: Redis lists more. `older`: the query that Postgres needs."""

    keys: tuple[ListKey, ...]
    has_more: bool
    older: OlderQuery | None


def select_recent(recent: CachedPage, since_ms: int, before: ListKey | None, limit: int) -> RecentKeys:
    """Select the sessions of the cached page that began at `since_ms` or later, and plan the query for older ones."""
    keys = tuple(key for key in recent.keys if key[0] >= since_ms)
    has_more = recent.has_more and len(keys) == len(recent.keys)
    if has_more or since_ms >= recent.complete_since_ms:
        return RecentKeys(keys, has_more, None)
    first_unlisted = (recent.complete_since_ms, _LOWEST_ID)
    start = first_unlisted if before is None else min(before, first_unlisted)
    return RecentKeys(keys, has_more, OlderQuery(start, max(1, limit - len(keys))))


def merge_page(
    listed: Sequence[ListKey], items: Iterable[ListItem], page_range: PageRange, limit: int
) -> tuple[tuple[ListItem, ...], ListKey | None]:
    """Return the items of a page, newest first, and the position after which the next page begins (None on the last).

    `listed` are the positions that Redis and Postgres listed. Their items are on the page, even if a position changed
    meanwhile. Other items are sessions in the outbox: they are on the page if its range contains them. Listed sessions
    that were deleted have no item.
    """
    listed_ids = {session_id for _, session_id in listed}
    merged = sorted(
        (each for each in items if each.key[1] in listed_ids or page_range.contains(each.key)),
        key=lambda each: each.key,
        reverse=True,
    )
    if len(merged) > limit:
        return tuple(merged[:limit]), merged[limit - 1].key
    return tuple(merged), page_range.end
