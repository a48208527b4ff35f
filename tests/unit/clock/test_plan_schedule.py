"""The schedule of a plan: planned starts, the offset from them, and expected starts."""

import pytest

from synckairos.clock.expected_starts import expected_starts_ms
from synckairos.clock.model import RestRule
from tests.unit.clock.histories import MIDNIGHT_OFFSET
from tests.unit.clock.script import T0, play, play_plan, spec


def test_planned_starts_are_fixed_at_the_start() -> None:
    session = play_plan("x=5 y=7 z=9", "3 start; 4 switch; 10 plan:x=5 y=7 w=2 z=20")
    starts = [item.planned_start_at_ms for item in session.state.plan]
    assert starts == [T0 + 3_000, T0 + 8_000, None, T0 + 15_000]
    assert [item.planned_start_at_ms for item in play_plan("x=5 y=7", "").state.plan] == [None, None]


@pytest.mark.parametrize(
    ("script", "offset"),
    [
        ("", None),
        ("0 start", 0),
        ("0 start; 2 switch", -3),
        ("0 start; 2 pause; 62 resume; 65 time", 60),
        ("0 start; 2 switch; 4 switch", -8),
        ("0 start; 2 switch#z", -10),
        ("0 start; 2 switch#z; 5 switch#x", 5),
        ("0 start; 2 switch!; 30 time", 0),
        ("0 start; 2 switch!; 30 resume", 25),
        ("0 start; 1 plan:x=5 w=9 y=7 z=9; 2 switch", 0),
        ("0 start; 1 plan:x=5 w=9 y=7 z=9; 2 switch; 11 time", 6),
    ],
)
def test_schedule_offset_is_that_of_the_current_item(script: str, offset: int | None) -> None:
    state = play_plan("x=5 y=7 z=9", script).state
    assert state.schedule_offset_ms == (None if offset is None else offset * 1000)


@pytest.mark.parametrize(
    ("script", "at", "expected"),
    [
        ("", 3, {"x": 3, "y": 8, "z": 15}),
        ("0 update:start+60", 3, {"x": 60, "y": 65, "z": 72}),
        ("0 adjust+2", 3, {"x": 3, "y": 10, "z": 17}),
        ("0 start", 3, {"y": 5, "z": 12}),
        ("0 start; 1 pause", 30, {"y": 34, "z": 41}),
        ("0 start; 1 switch!; 2 adjust+3", 30, {"y": 30, "z": 40}),
        ("0 start; 1 switch#z", 3, {}),
        ("0 start; 1 switch#z; 2 switch#x", 3, {"y": 7, "z": 14}),
        ("0 start; 1 complete", 3, {}),
    ],
)
def test_expected_starts_follow_from_the_facts(script: str, at: int, expected: dict[str, int]) -> None:
    state = play_plan("x=5 y=7 z=9", script).state
    starts = {
        item_id: (at_ms - T0) / 1000 for item_id, at_ms in expected_starts_ms(state, T0 + at * 1000 + 0.7).items()
    }
    assert starts == expected


def test_expected_starts_leave_out_the_rests_to_come() -> None:
    day_s = 86_400
    # A Monday begins 20 s after T0, and is a day of rest.
    monday = RestRule((1,), MIDNIGHT_OFFSET)
    state = play_plan("x=5 y=12 z=9 w=100", "0 start", rest=monday).state
    starts = {item_id: (at_ms - T0) // 1000 for item_id, at_ms in expected_starts_ms(state, T0).items()}
    assert starts == {"y": 5, "z": 17, "w": day_s + 26}
    # The time of an item that ends when the rest begins is over then, and the next item begins before the rest.
    starts_ms = expected_starts_ms(play_plan("x=20 y=12 z=9", "0 start", rest=monday).state, T0)
    assert [(at_ms - T0) // 1000 for at_ms in starts_ms.values()] == [20, day_s + 32]


def test_item_that_runs_over_delays_the_others() -> None:
    state = play_plan("x=5 y=7 z=9", "0 start", "overtime").state
    assert list(expected_starts_ms(state, T0 + 9_000).values()) == [T0 + 9_000, T0 + 16_000]
    paused = play_plan("x=5 y=7 z=9", "0 start; 8 pause", "overtime").state
    assert list(expected_starts_ms(paused, T0 + 9_000).values()) == [T0 + 9_000, T0 + 16_000]
    assert expected_starts_ms(play(spec("per_cycle"), "0 start").state, T0) == {}


def test_expected_starts_of_an_item_that_runs_over_begin_at_the_present() -> None:
    state = play_plan("x=5 y=7 z=9", "0 start; 5 pause", "overtime").state
    assert state.remaining_ms == 0
    assert expected_starts_ms(state, T0 + 30_000) == {"y": T0 + 30_000, "z": T0 + 37_000}
