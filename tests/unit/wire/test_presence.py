"""Counting who is there: each instance its own, then all of them together."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synckairos.wire.presence_counts import MAX_LISTED, PresenceCounts, PresenceIdentity

WHOS = st.builds(PresenceIdentity, st.sampled_from(("viewer", "participant")), st.none() | st.sampled_from("abcd"))
CROWDS = st.lists(st.lists(WHOS, max_size=8), max_size=4)


@pytest.mark.parametrize(
    ("clients", "expected"),
    [
        ([], PresenceCounts({})),
        ([PresenceIdentity("viewer"), PresenceIdentity("viewer")], PresenceCounts({"viewer": 2})),
        ([PresenceIdentity("viewer"), PresenceIdentity("participant", "b"), PresenceIdentity("participant", "a")],
         PresenceCounts({"participant": 2, "viewer": 1}, ("a", "b"))),
        ([PresenceIdentity("participant", "a"), PresenceIdentity("participant", "a")],
         PresenceCounts({"participant": 2}, ("a",))),
    ],
)  # fmt: skip
def test_clients_are_counted_by_role_and_participants_named_once(
    clients: list[PresenceIdentity], expected: PresenceCounts
) -> None:
    present = PresenceCounts.count(Counter(clients))
    assert present == expected
    assert present.clients == len(clients)


@given(CROWDS)
def test_instances_add_up_to_what_one_would_count(crowds: list[list[PresenceIdentity]]) -> None:
    parts = [PresenceCounts.parse(PresenceCounts.count(Counter(crowd)).render()) for crowd in crowds]
    assert PresenceCounts.sum(parts) == PresenceCounts.count(Counter(who for crowd in crowds for who in crowd))


def test_a_bounded_number_is_named_and_all_are_counted() -> None:
    crowd = Counter(PresenceIdentity("participant", f"{number:05}") for number in range(MAX_LISTED + 7))
    present = PresenceCounts.count(crowd)
    assert present.clients == MAX_LISTED + 7
    assert present.participants == tuple(f"{number:05}" for number in range(MAX_LISTED))
