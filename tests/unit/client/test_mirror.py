"""A copy kept by patches is the session itself, for any history; what doesn't fit is said."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synckairos.client.replica import ReplicaGap, SessionReplica
from synckairos.clock import creation, engine
from synckairos.clock.model import Session
from synckairos.wire import document_merge_patch
from synckairos.wire.session_json import render_session
from tests.unit.clock.histories import Bytes, commands, draw_creation
from tests.unit.clock.script import T0


def history(tape: Bytes) -> Iterator[Session]:
    """Yield the states of a random history."""
    state = creation.create(draw_creation(tape), "s", "e", T0).state
    yield state
    now_ms = T0
    for wait_ms, command, _ in commands(tape, 12):
        now_ms += wait_ms
        for transition in engine.apply(state, command, now_ms).transitions:
            state = transition.state
            if state.deleted:
                return
            yield state


def told(before: Session | None, after: Session) -> dict[str, Any]:
    """Return what a server sends, as it comes off the socket."""
    document = render_session(after)
    message: dict[str, Any] = {"type": "STATE_SYNC", "epoch": after.epoch, "version": after.version}
    patch = (
        None
        if before is None
        else document_merge_patch.make_patch(
            document_merge_patch.key_by_id(render_session(before)), document_merge_patch.key_by_id(document)
        )
    )
    if before is None or patch is None:
        message["state"] = orjson.loads(document)
    else:
        message |= {"type": "STATE_DELTA", "from_version": before.version, "patch": patch}
    received: dict[str, Any] = orjson.loads(orjson.dumps(message))
    return received


def take(mirror: SessionReplica, message: dict[str, Any]) -> Session | None:
    if message["type"] == "STATE_SYNC":
        return mirror.apply_state(message).state
    update = mirror.apply_delta(message)
    return None if update is None else update.state


@settings(derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(min_size=120, max_size=120), st.integers(1, 3))
def test_patches_lead_to_the_state_itself(tape: bytes, step: int) -> None:
    states = list(history(Bytes(tape)))[::step]
    mirror = SessionReplica()
    take(mirror, told(None, states[0]))
    for before, after in pairwise(states):
        assert take(mirror, told(before, after)) == mirror.state == after
        assert mirror.position() == {"epoch": after.epoch, "version": after.version}


@pytest.fixture
def states() -> list[Session]:
    """Some versions of a session in which cycles end by themselves."""
    found = list(history(Bytes(bytes((1, 3, 0, 0)) + bytes(range(60)))))
    assert len(found) > 3
    return found


def test_a_patch_from_elsewhere_is_refused(states: list[Session]) -> None:
    mirror = SessionReplica()
    with pytest.raises(ReplicaGap):
        mirror.apply_delta(told(states[0], states[1]))
    mirror.apply_state(told(None, states[0]))
    with pytest.raises(ReplicaGap):
        mirror.apply_delta(told(states[1], states[2]))
    with pytest.raises(ReplicaGap):
        mirror.apply_delta(told(states[0], states[1]) | {"epoch": "another"})
    assert mirror.state == states[0]


def test_what_is_there_already_is_no_update(states: list[Session]) -> None:
    mirror = SessionReplica()
    mirror.apply_state(told(None, states[1]))
    assert mirror.apply_delta(told(states[0], states[1])) is None
    assert mirror.apply_delta(told(states[1], states[1])) is None


def test_the_position_is_that_of_the_newest_state(states: list[Session]) -> None:
    mirror = SessionReplica()
    assert mirror.position() == {}
    for message, tag in (
        (told(None, states[0]), "a"),
        (told(states[0], states[1]), "b"),
        (told(None, states[1]), None),
    ):
        take(mirror, message if tag is None else message | {"tag": tag})
        assert mirror.position() == {"epoch": "e", "version": message["version"]} | (
            {} if tag is None else {"tag": tag}
        )
    # Nothing new, so what is here stays what it is called.
    take(mirror, told(None, states[1]) | {"tag": "c"})
    take(mirror, told(states[1], states[1]) | {"tag": "d"})
    assert mirror.position()["tag"] == "c"


def event(version: int, epoch: str = "e") -> dict[str, Any]:
    at = "2026-01-31T12:00:00.000Z"
    return {"type": "EVENT", "event_type": "time_warning", "version": version, "epoch": epoch, "at": at}


def test_events_go_with_the_next_state_once_and_in_order(states: list[Session]) -> None:
    mirror = SessionReplica()
    mirror.apply_state(told(None, states[0]))
    for version in (2, 3, 2, 3):
        mirror.add_event(event(version))
    update = mirror.apply_delta(told(states[0], states[2]))
    assert update is not None
    assert [each.version for each in update.events] == [2, 3]
    mirror.add_event(event(3))
    update = mirror.apply_delta(told(states[2], states[3]))
    assert update is not None
    assert update.events == ()
    mirror.add_event(event(2, "another"))
    assert len(mirror.apply_state(told(None, states[0])).events) == 1


def test_what_is_issued_anew_happens_anew(states: list[Session]) -> None:
    mirror = SessionReplica()
    mirror.apply_state(told(None, states[0]))
    mirror.add_event(event(states[2].version))
    mirror.apply_delta(told(states[0], states[2]))
    mirror.apply_state(told(None, states[1]))
    mirror.add_event(event(states[2].version))
    update = mirror.apply_delta(told(states[1], states[2]))
    assert update is not None
    assert [each.version for each in update.events] == [states[2].version]


def test_a_state_that_couldnt_be_resumed_says_so(states: list[Session]) -> None:
    mirror = SessionReplica()
    assert not mirror.apply_state(told(None, states[0])).has_gap
    assert mirror.apply_state(told(None, states[1]) | {"recovered": False}).has_gap
