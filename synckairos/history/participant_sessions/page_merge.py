"""Merge of the three sources of one page of a participant's sessions. Pure functions, so that tests cover every case.

Recent sessions come from a sorted set in Redis, which is complete for all sessions after a certain instant. Older
sessions come from Postgres. Sessions that Postgres does not have yet come from the outbox.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from synckairos.store.participant_sessions import CachedPage, ListKey

_LOWEST_ID = "00000000-0000-0000-0000-000000000000"


class ListItem(Struct, frozen=True):
    """Item of a participant's list: the list position (`key`), and the JSON object of one session as bytes (`row`)."""

    key: ListKey
    row: bytes


class PageRange(Struct, frozen=True):
    """Range of list positions that one page covers. Lists are newest first.

    - `since_ms`: minimum of `began_at_ms` of the sessions in the list.
    - `before`: the position of the last item of the previous page, which is newer; None for the first page.
    - `end`: the position of the last item of this page; None for the final page.
    """

    since_ms: int
    before: ListKey | None
    end: ListKey | None

    def contains(self, key: ListKey) -> bool:
        """Return whether `key` is a position in this range. The positions `before` and `end` are not in the range.

        Call this only for sessions that neither Redis nor Postgres listed. Listed sessions are on the page in any case.
        """
        return (
            key[0] >= self.since_ms
            and (self.before is None or key < self.before)
            and (self.end is None or key > self.end)
        )


class OlderSessionsQuery(Struct, frozen=True):
    """Query of Postgres for at most `limit` sessions that come after the list position `before`, so are older."""

    before: ListKey
    limit: int


class CachedPagePart(Struct, frozen=True):
    """List positions of a page from Redis.

    `has_more`: whether Redis lists further sessions after this page. `older`: the query of Postgres that fills the page
    with older sessions; None if no query is needed.
    """

    keys: tuple[ListKey, ...]
    has_more: bool
    older: OlderSessionsQuery | None


def select_cached_part(recent: CachedPage, since_ms: int, before: ListKey | None, limit: int) -> CachedPagePart:
    """Select the sessions of a cached page with `began_at_ms >= since_ms`, and plan the query for older sessions.

    `before` is the position of the last item of the previous page; None for the first page. `limit` is the maximum
    number of sessions on the page.
    """
    keys = tuple(key for key in recent.keys if key[0] >= since_ms)
    has_more = recent.has_more and len(keys) == len(recent.keys)
    if has_more or since_ms >= recent.complete_since_ms:
        return CachedPagePart(keys, has_more, None)
    first_unlisted = (recent.complete_since_ms, _LOWEST_ID)
    start = first_unlisted if before is None else min(before, first_unlisted)
    return CachedPagePart(keys, has_more, OlderSessionsQuery(start, max(1, limit - len(keys))))


def merge_page(
    listed: Sequence[ListKey], items: Iterable[ListItem], page_range: PageRange, limit: int
) -> tuple[tuple[ListItem, ...], ListKey | None]:
    """Return the items of a page, newest first, and the position at which the page ends.

    The position is None if this is the final page.

    - `listed`: the positions that Redis and Postgres listed. The items of these sessions are on the page, even if the
      position of an item changed in the meantime.
    - `items`: items of listed sessions, and items of sessions in the outbox. An item from the outbox is on the page if
      the range contains its position. A listed session that was deleted has no item.
    - `limit`: maximum number of items.
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
