"""Conversion of rows of v2's audit to rows of this audit: order, epochs, versions and events."""

import json
from datetime import timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from synckairos.audit.entry_rows import EventRow, build_batch_rows
from synckairos.audit.v2_row_conversion import V2Event, V2Participant, V2Session, convert_session
from synckairos.wire.instants import datetime_to_ms, ms_to_datetime
from synckairos.wire.session_parser import parse_session
from synckairos.wire.v2_state_parser import epoch_of_v2_session
from tests.fixtures.v2 import product

T0 = 1_750_000_000_000
SESSION = "0198c0de-0000-7000-8000-000000000001"
A = "0198c0de-0000-7000-8000-00000000000a"


def states(now_ms: int = T0) -> list[product.State]:
    """Return the successive states of a session of v2 from its creation to its end."""
    found = [product.create(now_ms, session_id=SESSION)]
    for at, step in enumerate(("start", "switch", "pause", "resume", "switch", "complete"), start=1):
        found.append(getattr(product, step)(found[-1], now_ms + at * 1_000))
    return found


def event(state: product.State | None, event_type: str = "session_updated", at_ms: int = T0, name: str = "") -> V2Event:
    text = None if state is None else json.dumps(state)
    if state is not None:
        at_ms = product.milliseconds(state["updated_at"]) + 5
        event_type = "session_created" if state["version"] == 1 else event_type
        name = name or str(state["version"])
    return V2Event(name, event_type, ms_to_datetime(at_ms), text)


def session(**members: Any) -> V2Session:
    at = ms_to_datetime(T0)
    fields = V2Session("per_participant", None, 0, None, at, at, None, "running", "{}")
    return fields._replace(**members)


def rows(
    *events: V2Event, of: V2Session | None = None, participants: list[V2Participant] | None = None
) -> list[EventRow]:
    return [each.event for each in convert_session(SESSION, of, events, participants or [])]


def test_events_follow_from_the_change_of_the_state() -> None:
    found = rows(*map(event, states()))
    assert [(row.version, row.event_type, row.status) for row in found] == [
        (1, "session_created", "pending"),
        (2, "session_started", "running"),
        (3, "cycle_switched", "running"),
        (4, "session_paused", "paused"),
        (5, "session_resumed", "running"),
        (6, "cycle_switched", "running"),
        (7, "session_completed", "completed"),
    ]
    assert {(row.epoch, row.command, row.args, row.actor) for row in found} == {
        (epoch_of_v2_session(T0), "import-v2", None, "v2")
    }
    assert [parse_session(row.snapshot).version for row in found] == [1, 2, 3, 4, 5, 6, 7]


def test_running_time_is_the_time_between_events() -> None:
    found = rows(*map(event, states()))
    stretches = [
        (row.running_participant_id, datetime_to_ms(after.occurred_at) - datetime_to_ms(row.occurred_at))
        for row, after in pairwise(found)
        if row.running_participant_id is not None
    ]
    a, b = (each["participant_id"] for each in states()[0]["participants"])
    assert len({a, b}) == 2
    # The pause has the instant at which v2 saved it, 1 ms later. v2 does not charge the last turn of 1 s.
    assert [ms for _, ms in stretches] == [1_000, 1_001, 1_000, 1_000]


@given(st.permutations(list(map(event, states()))))
def test_rows_arrive_in_any_order(events: list[V2Event]) -> None:
    assert rows(*events) == rows(*map(event, sorted(map(json.loads, (e.state or "" for e in events)), key=_version)))


def _version(state: product.State) -> int:
    version: int = state["version"]
    return version


def test_lost_and_repeated_versions_are_counted_from_one() -> None:
    played = states()
    again = event(played[3] | {"updated_at": played[4]["updated_at"]}, name="again")
    found = rows(event(played[1]), event(played[3]), again, event(played[4]))
    assert [row.version for row in found] == [1, 2, 3, 4]
    assert [row.event_type for row in found] == [
        "session_imported", "session_paused", "session_imported", "session_resumed",
    ]  # fmt: skip
    assert [row.occurred_at for row in found] == sorted(row.occurred_at for row in found)


def test_session_that_was_created_again_has_an_epoch_for_each_creation() -> None:
    first, second = states()[:3], states(T0 + 60_000)[:2]
    found = rows(*map(event, [*second, *first]))
    assert [(row.epoch, row.version) for row in found] == [
        (epoch_of_v2_session(T0), 1),
        (epoch_of_v2_session(T0), 2),
        (epoch_of_v2_session(T0), 3),
        (epoch_of_v2_session(T0 + 60_000), 1),
        (epoch_of_v2_session(T0 + 60_000), 2),
    ]
    assert found[2].running_participant_id is not None  # until the second creation
    assert (
        build_batch_rows(convert_session(SESSION, None, list(map(event, [*first, *second])))).sessions[0].version == 2
    )


def test_nothing_runs_on_in_a_session_that_was_left_in_v2() -> None:
    found = rows(*map(event, states()[:3]))
    assert [row.running_participant_id is not None for row in found] == [False, True, False]
    assert found[-1].status == "running"


def test_recorded_types_of_this_product_are_kept() -> None:
    played = states()
    found = rows(event(played[0]), event(played[1], "participant_added"))
    assert [row.event_type for row in found] == ["session_created", "participant_added"]


def test_rows_without_a_state_repeat_the_state_before() -> None:
    played = states()[:2]
    after = product.milliseconds(played[1]["updated_at"]) + 5
    for text in (None, "[]", '{"session_id": 1}', json.dumps(played[0] | {"session_id": A})):
        lacking = V2Event("x", "session_updated", ms_to_datetime(after + 100), text)
        found = rows(*map(event, played), lacking)
        assert [(row.version, row.event_type) for row in found][2:] == [(3, "session_imported")]
        assert datetime_to_ms(found[2].occurred_at) == after + 100
        assert parse_session(found[2].snapshot).participants == parse_session(found[1].snapshot).participants


def test_rows_before_the_first_state_have_that_state() -> None:
    started = states()[1]
    found = rows(event(None, name="x", at_ms=T0 + 10), event(started))
    assert [(row.version, row.event_type, row.status) for row in found] == [
        (1, "session_imported", "running"),
        (2, "session_imported", "running"),
    ]


def test_session_without_states_is_what_its_own_row_says() -> None:
    ended = session(final_status="completed", completed_at=ms_to_datetime(T0 + 9_000), metadata='{"round": 2}')
    (row,) = rows(of=ended)
    assert (row.version, row.event_type, row.status) == (1, "session_imported", "completed")
    document = parse_session(row.snapshot)
    assert (document.completed_at_ms, document.metadata, document.participants) == (T0 + 9_000, {"round": 2}, ())
    participants = [V2Participant(A, 60_000, None, 3, 7_000)]
    (row,) = rows(of=ended, participants=participants)
    (one,) = parse_session(row.snapshot).participants
    assert (one.participant_id, one.used_ms, one.remaining_ms, one.cycle_count) == (A, 7_000, 53_000, 3)
    found = rows(event(None, name="x", at_ms=T0 + 5), event(None, name="y", at_ms=T0 + 9), of=ended)
    assert [(row.version, row.event_type) for row in found] == [(1, "session_imported"), (2, "session_imported")]
    assert found[1].occurred_at - found[0].occurred_at == timedelta(milliseconds=4)


def test_session_without_anything_readable_has_no_rows() -> None:
    assert rows(event(None, name="x")) == []
    assert rows() == []


def test_metadata_of_the_session_row_serve_states_without_metadata() -> None:
    (row,) = rows(event(states()[0]), of=session(metadata='{"room": 7}'))
    assert parse_session(row.snapshot).metadata == {"room": 7}
    (row,) = rows(event(states()[0] | {"metadata": {"room": 8}}), of=session(metadata='{"room": 7}'))
    assert parse_session(row.snapshot).metadata == {"room": 8}
    (row,) = rows(event(states()[0]), of=session(metadata="[1]"))
    assert parse_session(row.snapshot).metadata == {}
