"""Revisions of the members of a tenant: which announcements an instance has missed."""

import pytest

from synckairos.members.revision_tracker import RevisionTracker


def tracker_of(read: int | None, announced: list[int]) -> RevisionTracker:
    tracker = RevisionTracker()
    if read is not None:
        tracker.note_read(read)
    for each in announced:
        tracker.note_announced(each)
    return tracker


@pytest.mark.parametrize(
    ("read", "announced", "present", "missed"),
    [
        (None, [], 5, [False, False]),
        (0, [], 0, [False, False]),
        (3, [4, 5], 5, [False, False]),
        (3, [5, 4], 5, [False, False]),
        (3, [5], 5, [False, True]),
        (3, [], 4, [False, True]),
        (3, [2, 3], 3, [False, False]),
        (3, [], 2, [True, False]),
        (3, [4, 6], 6, [False, True]),
    ],
    ids=["no-read", "empty", "all", "order", "gap", "lost", "old", "went-back", "hole"],
)
def test_second_comparison_finds_a_revision_without_an_announcement(
    read: int | None, announced: list[int], present: int, missed: list[bool]
) -> None:
    tracker = tracker_of(read, announced)
    assert [tracker.has_missed(present) for _ in range(2)] == missed
    assert not tracker.has_missed(present)


def test_announcement_between_two_comparisons_is_not_missed() -> None:
    tracker = tracker_of(3, [])
    assert not tracker.has_missed(4)
    tracker.note_announced(4)
    assert not tracker.has_missed(5)
    tracker.note_announced(5)
    assert not tracker.has_missed(5)


@pytest.mark.parametrize(
    ("read", "announced", "is_empty"),
    [(None, [], False), (0, [], True), (0, [1], False), (1, [], False), (0, [2], False)],
    ids=["no-read", "empty", "first-member", "member", "later-member"],
)
def test_tenant_is_empty_only_if_no_member_was_read_or_announced(
    read: int | None, announced: list[int], is_empty: bool
) -> None:
    assert tracker_of(read, announced).is_empty is is_empty


def test_announcement_during_the_first_read_is_kept() -> None:
    tracker = RevisionTracker()
    tracker.note_announced(1)
    tracker.note_read(0)
    assert not tracker.is_empty
    assert not tracker.has_missed(1)
