"""Merging one page of a participant's sessions: which sessions are on it, in which order, and where the next begins."""

import pytest

from synckairos.history.participant_sessions.page_merge import (
    CachedPagePart,
    ListItem,
    OlderSessionsQuery,
    PageRange,
    merge_page,
    select_cached_part,
)
from synckairos.store.participant_sessions import CachedPage, ListKey

LOWEST = "00000000-0000-0000-0000-000000000000"
A, B, C, D, E = (500, "a"), (400, "b"), (300, "c"), (200, "d"), (100, "e")


def cached(*keys: ListKey, has_more: bool = False, complete_since_ms: int = 0) -> CachedPage:
    return CachedPage(1_000, keys, has_more, complete_since_ms, {})


def item(key: ListKey) -> ListItem:
    return ListItem(key, key[1].encode())


@pytest.mark.parametrize(
    ("recent", "since_ms", "before", "selected"),
    [
        # Redis lists all of the range.
        (cached(A, B), 0, None, CachedPagePart((A, B), False, None)),
        (cached(), 0, None, CachedPagePart((), False, None)),
        # Redis lists more than the page. Postgres is not needed, even if the set is not complete.
        (cached(A, B, has_more=True, complete_since_ms=250), 0, None, CachedPagePart((A, B), True, None)),
        # Sessions before the range are not on the page, and then nothing more of Redis is.
        (cached(A, B, C), 400, None, CachedPagePart((A, B), False, None)),
        (cached(A, B, C, has_more=True), 400, None, CachedPagePart((A, B), False, None)),
        # The set is not complete for the range: older sessions come from Postgres, from the set's end on.
        (
            cached(A, B, complete_since_ms=350),
            0,
            None,
            CachedPagePart((A, B), False, OlderSessionsQuery((350, LOWEST), 3)),
        ),
        (
            cached(A, complete_since_ms=350),
            349,
            None,
            CachedPagePart((A,), False, OlderSessionsQuery((350, LOWEST), 4)),
        ),
        (cached(A, complete_since_ms=350), 350, None, CachedPagePart((A,), False, None)),
        # A later page begins at its cursor, wherever that is.
        (cached(B, complete_since_ms=350), 0, A, CachedPagePart((B,), False, OlderSessionsQuery((350, LOWEST), 4))),
        (cached(complete_since_ms=350), 0, C, CachedPagePart((), False, OlderSessionsQuery(C, 5))),
        # A full page of Redis still needs one older session, to know whether there is a next page.
        (
            cached(A, B, C, D, E, complete_since_ms=50),
            0,
            None,
            CachedPagePart((A, B, C, D, E), False, OlderSessionsQuery((50, LOWEST), 1)),
        ),
    ],
)
def test_recent_sessions_and_the_query_for_older_ones(
    recent: CachedPage, since_ms: int, before: ListKey | None, selected: CachedPagePart
) -> None:
    assert select_cached_part(recent, since_ms, before, 5) == selected


@pytest.mark.parametrize(
    ("page_range", "inside", "outside"),
    [
        (PageRange(0, None, None), (A, E), ()),
        (PageRange(200, None, None), (A, D), (E,)),
        (PageRange(0, B, None), (C, E), (A, B)),
        (PageRange(0, None, C), (A, B), (C, D)),
        (PageRange(0, A, D), (B, C), (A, D, E)),
        # Sessions that began in the same millisecond are ordered by their ids.
        (PageRange(0, (400, "x"), (400, "k")), ((400, "m"),), ((400, "x"), (400, "k"), (400, "b"))),
    ],
)
def test_a_range_contains_the_positions_between_its_ends(
    page_range: PageRange, inside: tuple[ListKey, ...], outside: tuple[ListKey, ...]
) -> None:
    assert [page_range.contains(key) for key in inside] == [True] * len(inside)
    assert [page_range.contains(key) for key in outside] == [False] * len(outside)


@pytest.mark.parametrize(
    ("listed", "items", "page_range", "limit", "keys", "next_key"),
    [
        # Nothing at all.
        ((), (), PageRange(0, None, None), 3, (), None),
        # The last page, out of order: ready rows come first, then the built ones.
        ((A, B, C), (A, C, B), PageRange(0, None, None), 3, (A, B, C), None),
        # A page with a next one ends at its last listed session.
        ((A, B, C), (A, B, C), PageRange(0, None, C), 3, (A, B, C), C),
        # A session that was deleted meanwhile has no item. The next page still begins after the last listed one.
        ((A, B, C), (A, B), PageRange(0, None, C), 3, (A, B), C),
        ((A, B, C), (), PageRange(0, None, C), 3, (), C),
        # A session in the outbox is on the page if the range contains it.
        ((A, C), (A, C, B), PageRange(0, None, None), 3, (A, B, C), None),
        ((A, B), (A, B, C), PageRange(0, None, B), 3, (A, B), B),
        ((B, C), (B, C, A), PageRange(0, A, None), 3, (B, C), None),
        ((A, B), (A, B, E), PageRange(200, None, None), 3, (A, B), None),
        # If sessions in the outbox make the page too long, the rest is on the next page.
        ((A, C), (A, C, B), PageRange(0, None, C), 2, (A, B), B),
        ((A,), (A, B, C, D), PageRange(0, None, None), 2, (A, B), B),
        ((), (A, B), PageRange(0, None, None), 1, (A,), A),
        # A listed session whose position changed meanwhile stays on the page, at its new position.
        ((A, C), (A, (150, "c")), PageRange(200, None, C), 3, (A, (150, "c")), C),
    ],
)
def test_a_page_has_each_session_of_its_range_once_and_in_order(
    listed: tuple[ListKey, ...],
    items: tuple[ListKey, ...],
    page_range: PageRange,
    limit: int,
    keys: tuple[ListKey, ...],
    next_key: ListKey | None,
) -> None:
    page = merge_page(listed, map(item, items), page_range, limit)
    assert page == (tuple(map(item, keys)), next_key)


def test_pages_of_any_limit_list_sessions_of_both_sources_once() -> None:
    """Read all pages of a list of which Redis knows the newest three, Postgres the rest, and the outbox one more."""
    stored = [A, B, C, D, E]
    new = (250, "n")
    for limit in range(1, 7):
        before: ListKey | None = None
        seen: list[ListKey] = []
        while True:
            newest = [key for key in stored[:3] if before is None or key < before]
            recent = cached(*newest[:limit], has_more=len(newest) > limit, complete_since_ms=300)
            selected = select_cached_part(recent, 0, before, limit)
            older: list[ListKey] = []
            has_more = selected.has_more
            if selected.older is not None:
                rest = [key for key in stored[3:] if key < selected.older.before]
                older, has_more = rest[: selected.older.limit], len(rest) > selected.older.limit
            listed = [*selected.keys, *older]
            page_range = PageRange(0, before, listed[-1] if has_more else None)
            items, next_key = merge_page(listed, map(item, [*listed, new]), page_range, limit)
            seen += [each.key for each in items]
            if next_key is None:
                break
            before = next_key
        assert seen == sorted([*stored, new], reverse=True), limit
