"""Presence counts: the clients of one instance, and the sum over instances."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synckairos.wire.presence_counts import MAX_LISTED, PresenceCounts, PresenceIdentity

ROLES = st.sampled_from(("viewer", "participant"))
IDENTITIES = st.builds(PresenceIdentity, ROLES, st.none() | st.sampled_from("abcd"))
CROWDS = st.lists(st.lists(IDENTITIES, max_size=8), max_size=4)


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
def test_clients_are_counted_by_role_and_participants_listed_once(
    clients: list[PresenceIdentity], expected: PresenceCounts
) -> None:
    present = PresenceCounts.from_connections(Counter(clients))
    assert present == expected
    assert present.total_clients == len(clients)


@given(CROWDS)
def test_the_sum_over_instances_equals_the_count_of_all_clients(crowds: list[list[PresenceIdentity]]) -> None:
    parts = [PresenceCounts.parse(PresenceCounts.from_connections(Counter(crowd)).render()) for crowd in crowds]
    assert PresenceCounts.sum(parts) == PresenceCounts.from_connections(
        Counter(client for crowd in crowds for client in crowd)
    )


def test_more_participants_than_the_limit_are_counted_but_not_listed() -> None:
    crowd = Counter(PresenceIdentity("participant", f"{number:05}") for number in range(MAX_LISTED + 7))
    present = PresenceCounts.from_connections(crowd)
    assert present.total_clients == MAX_LISTED + 7
    assert present.participants == tuple(f"{number:05}" for number in range(MAX_LISTED))
