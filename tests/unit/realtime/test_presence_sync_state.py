"""Presence synchronisation: each transition of the state machine as a table, and invariants over random runs."""

import random
from dataclasses import replace

import pytest

from synckairos.realtime.presence_sync_state import (
    PresenceSyncState,
    RereadScope,
    SyncResult,
    apply_change_message,
    apply_heartbeat_reply,
)

A_B = frozenset({"a", "b"})
START = PresenceSyncState()
UP_TO_7 = PresenceSyncState(registrations=1, living=A_B, last_message=7, covered=7, counter=7)
"""State of an instance that has received messages 1 to 7."""

LATE = PresenceSyncState(registrations=1, living=A_B, last_message=3, covered=7, counter=7)
"""State of an instance whose heartbeat covered messages 4 to 7 before these messages arrived."""

MESSAGES = {
    "first message of the deployment": (
        START, 1, False, SyncResult(replace(START, last_message=1, covered=1), RereadScope.NAMED),
    ),
    "first message after others": (START, 9, False, SyncResult(replace(START, last_message=9, covered=9),
    RereadScope.ALL)), "next message": (UP_TO_7, 8, False, SyncResult(replace(UP_TO_7, last_message=8, covered=8),
    RereadScope.NAMED)), "next message, its own": (UP_TO_7, 8, True, SyncResult(replace(UP_TO_7, last_message=8,
    covered=8), RereadScope.NONE)), "message after a gap": (UP_TO_7, 10, False, SyncResult(replace(UP_TO_7,
    last_message=10, covered=10), RereadScope.ALL)), "message after a gap, its own": (
        UP_TO_7, 10, True, SyncResult(replace(UP_TO_7, last_message=10, covered=10), RereadScope.ALL),
    ),
    "late message": (LATE, 5, False, SyncResult(replace(LATE, last_message=5), RereadScope.NONE)),
    "late message, the last": (LATE, 7, False, SyncResult(replace(LATE, last_message=7), RereadScope.NONE)),
    "number repeated": (
        UP_TO_7, 7, False,
        SyncResult(replace(UP_TO_7, suspects_loss=True), RereadScope.ALL),
    ),
    "number lower than the last": (
        UP_TO_7, 2, False,
        SyncResult(replace(UP_TO_7, last_message=2, covered=2, suspects_loss=True), RereadScope.ALL),
    ),
    "next message while a loss is suspected": (
        replace(UP_TO_7, suspects_loss=True), 8, False,
        SyncResult(replace(UP_TO_7, last_message=8, covered=8, suspects_loss=True), RereadScope.NAMED),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("state", "number", "is_own", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_change_message_causes_its_transition(
    state: PresenceSyncState, number: int, is_own: bool, expected: SyncResult
) -> None:
    assert apply_change_message(state, number, is_own=is_own) == expected


BEATS = {
    # state, new name, counter, living, covered before, expected
    "first heartbeat of the deployment": (
        START, True, 0, frozenset({"a"}), 0,
        SyncResult(PresenceSyncState(1, frozenset({"a"})), rewrites_all=True),
    ),
    "first heartbeat beside others": (
        START, True, 7, A_B, 0,
        SyncResult(PresenceSyncState(1, A_B, counter=7), rewrites_all=True),
    ),
    "nothing new": (UP_TO_7, False, 7, A_B, 7, SyncResult(UP_TO_7)),
    "messages under way": (UP_TO_7, False, 9, A_B, 7, SyncResult(replace(UP_TO_7, counter=9))),
    "messages missed since the last heartbeat": (
        replace(UP_TO_7, counter=9), False, 10, A_B, 7,
        SyncResult(replace(UP_TO_7, covered=10, counter=10), RereadScope.ALL),
    ),
    "message received while the heartbeat was under way": (
        replace(UP_TO_7, last_message=8, covered=8), False, 7, A_B, 7,
        SyncResult(replace(UP_TO_7, last_message=8, covered=8)),
    ),
    "instance died": (
        UP_TO_7, False, 7, frozenset({"a"}), 7,
        SyncResult(replace(UP_TO_7, living=frozenset({"a"})), dead=frozenset({"b"})),
    ),
    "instance joined": (
        UP_TO_7, False, 7, A_B | {"c"}, 7,
        SyncResult(replace(UP_TO_7, living=A_B | {"c"})),
    ),
    "counter went back": (
        UP_TO_7, False, 5, A_B, 7,
        SyncResult(
            PresenceSyncState(1, A_B, last_message=None, covered=5, counter=5, suspects_loss=True), RereadScope.ALL
        ),
    ),
    "counter went back below messages received after the last heartbeat": (
        replace(UP_TO_7, last_message=9, covered=9), False, 8, A_B, 9,
        SyncResult(
            PresenceSyncState(1, A_B, last_message=None, covered=8, counter=8, suspects_loss=True), RereadScope.ALL
        ),
    ),
    "counter went back, registered again": (
        UP_TO_7, True, 0, frozenset({"c"}), 7,
        SyncResult(
            PresenceSyncState(2, frozenset({"c"}), last_message=None, covered=0, counter=0),
            RereadScope.ALL, rewrites_all=True, dead=A_B,
        ),
    ),
    "loss suspected, registered again": (
        replace(UP_TO_7, suspects_loss=True), True, 7, A_B, 7,
        SyncResult(replace(UP_TO_7, registrations=2), rewrites_all=True),
    ),
    "loss suspected while the heartbeat was under way": (
        replace(UP_TO_7, suspects_loss=True), False, 7, A_B, 7,
        SyncResult(replace(UP_TO_7, suspects_loss=True)),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("state", "is_new_name", "counter", "living", "covered_before", "expected"), BEATS.values(), ids=BEATS
)
def test_heartbeat_causes_its_transition(
    state: PresenceSyncState,
    is_new_name: bool,
    counter: int,
    living: frozenset[str],
    covered_before: int,
    expected: SyncResult,
) -> None:
    step = apply_heartbeat_reply(
        state, is_new_name=is_new_name, counter=counter, living=living, covered_before=covered_before
    )
    assert step == expected


@pytest.mark.parametrize("seed", range(200))
def test_two_heartbeats_after_the_last_message_every_message_is_covered(seed: int) -> None:
    """Messages can be lost or late. Each message is received in order, or followed by a reread of all counts."""
    chance = random.Random(seed)
    state, counter, unread = PresenceSyncState(), 0, set[int]()
    in_transit: list[int] = []

    def take(step: SyncResult, number: int | None = None) -> PresenceSyncState:
        if step.reread is RereadScope.ALL:
            unread.clear()
        elif step.reread is RereadScope.NAMED:
            unread.discard(number or 0)
        return step.state

    def beat() -> PresenceSyncState:
        return take(
            apply_heartbeat_reply(state, is_new_name=False, counter=counter, living=A_B, covered_before=state.covered)
        )

    for _ in range(60):
        if chance.random() < 0.5:
            counter += 1
            unread.add(counter)
            if chance.random() < 0.8:
                in_transit.append(counter)
        if in_transit and chance.random() < 0.6:
            number = in_transit.pop(0)
            state = take(apply_change_message(state, number, is_own=False), number)
        if chance.random() < 0.2:
            state = beat()
    for number in in_transit:
        state = take(apply_change_message(state, number, is_own=False), number)
    state = beat()
    state = beat()
    assert unread == set()
    assert state.covered == counter
    assert not state.suspects_loss
