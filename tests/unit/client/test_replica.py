"""The client's copy of a session: it is equal to the session, and a patch that does not apply raises a gap."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synckairos.clock.model import Session
from synckairos_client import Session as ClientSession
from synckairos_client.replica import ReplicaGap, SessionReplica
from tests.client_sessions import client_session
from tests.unit.client.messages import event, history, state_message
from tests.unit.clock.histories import Bytes


def apply_message(replica: SessionReplica, message: dict[str, Any]) -> ClientSession | None:
    if message["type"] == "STATE_SYNC":
        return replica.apply_state(message).state
    update = replica.apply_delta(message)
    return None if update is None else update.state


@settings(derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(min_size=120, max_size=120), st.integers(1, 3))
def test_patched_replica_is_equal_to_the_state(tape: bytes, step: int) -> None:
    states = list(history(Bytes(tape)))[::step]
    replica = SessionReplica()
    apply_message(replica, state_message(None, states[0]))
    for before, after in pairwise(states):
        assert apply_message(replica, state_message(before, after)) == replica.state == client_session(after)
        assert replica.resume_members() == {"epoch": after.epoch, "version": after.version}


@pytest.fixture
def states() -> list[Session]:
    """Return several versions of a session whose cycles time out."""
    found = list(history(Bytes(bytes((1, 3, 0, 0)) + bytes(range(60)))))
    assert len(found) > 3
    return found


def test_patch_from_another_version_raises_a_gap(states: list[Session]) -> None:
    replica = SessionReplica()
    with pytest.raises(ReplicaGap):
        replica.apply_delta(state_message(states[0], states[1]))
    replica.apply_state(state_message(None, states[0]))
    with pytest.raises(ReplicaGap):
        replica.apply_delta(state_message(states[1], states[2]))
    with pytest.raises(ReplicaGap):
        replica.apply_delta(state_message(states[0], states[1]) | {"epoch": "another"})
    assert replica.state == client_session(states[0])


def test_patch_to_a_version_that_the_copy_has_is_not_an_update(states: list[Session]) -> None:
    replica = SessionReplica()
    replica.apply_state(state_message(None, states[1]))
    assert replica.apply_delta(state_message(states[0], states[1])) is None
    assert replica.apply_delta(state_message(states[1], states[1])) is None


def test_position_of_the_copy_is_the_position_of_the_newest_state(states: list[Session]) -> None:
    replica = SessionReplica()
    assert replica.resume_members() == {}
    for message, tag in (
        (state_message(None, states[0]), "a"),
        (state_message(states[0], states[1]), "b"),
        (state_message(None, states[1]), None),
    ):
        apply_message(replica, message if tag is None else message | {"tag": tag})
        assert replica.resume_members() == {"epoch": "e", "version": message["version"]} | (
            {} if tag is None else {"tag": tag}
        )
    # A message without a newer version does not change the tag.
    apply_message(replica, state_message(None, states[1]) | {"tag": "c"})
    apply_message(replica, state_message(states[1], states[1]) | {"tag": "d"})
    assert replica.resume_members()["tag"] == "c"


def test_events_are_in_the_next_update_once_and_in_order(states: list[Session]) -> None:
    replica = SessionReplica()
    replica.apply_state(state_message(None, states[0]))
    for version in (2, 3, 2, 3):
        replica.keep_event(event(version))
    update = replica.apply_delta(state_message(states[0], states[2]))
    assert update is not None
    assert [each.version for each in update.events] == [2, 3]
    replica.keep_event(event(3))
    update = replica.apply_delta(state_message(states[2], states[3]))
    assert update is not None
    assert update.events == ()
    replica.keep_event(event(2, "another"))
    assert len(replica.apply_state(state_message(None, states[0])).events) == 1


def test_event_of_a_version_number_that_was_issued_again_is_a_new_event(states: list[Session]) -> None:
    replica = SessionReplica()
    replica.apply_state(state_message(None, states[0]))
    replica.keep_event(event(states[2].version))
    replica.apply_delta(state_message(states[0], states[2]))
    replica.apply_state(state_message(None, states[1]))
    replica.keep_event(event(states[2].version))
    update = replica.apply_delta(state_message(states[1], states[2]))
    assert update is not None
    assert [each.version for each in update.events] == [states[2].version]


def test_update_after_a_failed_resume_has_a_gap(states: list[Session]) -> None:
    replica = SessionReplica()
    assert not replica.apply_state(state_message(None, states[0])).has_gap
    assert replica.apply_state(state_message(None, states[1]) | {"recovered": False}).has_gap
