"""The engine compared with sessions that tick, which advance by 0.1 s and are written from the rules alone."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from synckairos.clock.commands import Switch
from synckairos.clock.model import Session, Status, SyncMode
from synckairos.clock.timing import charge_session_until, clock_system_for, deadline_at_ms
from tests.unit.clock.histories import Bytes
from tests.unit.clock.oracle.oracle_histories import CASES, Case, draw_commands, draw_session
from tests.unit.clock.oracle.ticking_clock import TICK_MS, in_ticks, shown
from tests.unit.clock.oracle.ticking_session import TickingSession
from tests.unit.clock.oracle.turn_commands import apply_to_turns
from tests.unit.clock.script import T0, Played, open_session
from tests.unit.clock.test_engine_laws import steady

HISTORIES = 40
COMMANDS = 24


@pytest.mark.parametrize("name", CASES)
@given(tapes=st.lists(st.binary(min_size=60, max_size=160), min_size=4, max_size=4))
@settings(steady, max_examples=HISTORIES // 4, phases=[Phase.generate])
def test_a_session_with_turns_equals_a_session_that_ticks(name: str, tapes: list[bytes]) -> None:
    for tape in tapes:
        check_turns(CASES[name], Bytes(tape))


def check_turns(case: Case, tape: Bytes) -> None:
    spec = draw_session(case, tape)
    played, ticking = Played(open_session(spec)), TickingSession(spec)
    for wait, command in draw_commands(tape, COMMANDS, spec):
        ticking.pass_time(wait)
        at_ms, seen = T0 + ticking.now * TICK_MS, len(played.transitions)
        expected_id = ticking.timeouts[0] if ticking.timeouts else None
        ended_by_time = ticking.is_over
        decision = played.do(at_ms, command)
        assert bool(decision.own) == apply_to_turns(ticking, command), f"{command} {decision.refusal} {played.lines}"
        if isinstance(command, Switch) and decision.expired_participant_id is not None and not ended_by_time:
            assert decision.expired_participant_id == expected_id
        new = [each for each in played.transitions[seen:] if not any(each is own for own in decision.own)]
        by_time = [(in_ticks(each.event.at_ms - T0), each.event.type) for each in new]
        assert by_time == ticking.log, f"{by_time} {ticking.log} {played.lines}"
        ticking.log.clear()
        compare(played.state, ticking, at_ms, played.lines)


def compare(state: Session, ticking: TickingSession, at_ms: int, lines: list[str]) -> None:
    """Check that all facts of the engine at an instant are those of the ticking session."""
    now = charge_session_until(state, at_ms)
    active = now.active_participant
    assert (now.status, now.turn_number, now.turn.cycles) == (ticking.status, ticking.turn_number, ticking.ended_turns)
    assert (None if active is None else active.participant_id) == ticking.active, lines
    assert in_ticks(now.used_ms) == ticking.used, lines
    seats = [
        (
            each.participant_id,
            in_ticks(each.used_ms),
            each.cycle_count,
            each.has_expired,
            each.done_turn == now.turn_number,
            shown(each, clock_system_for(now, each)) if ticking.has_seat_clocks else None,
        )
        for each in now.participants
    ]
    assert seats == [
        (
            each.name,
            each.used,
            each.turns,
            each.is_out,
            each.done_in == ticking.turn_number,
            None if each.clock is None else each.clock.face,
        )
        for each in ticking.seats
    ], lines
    teams = [
        (
            each.group_id,
            in_ticks(each.used_ms),
            each.has_expired,
            shown(each, now.rules.clock) if now.rules.sync_mode is SyncMode.PER_GROUP else None,
        )
        for each in now.groups
    ]
    assert teams == [
        (each.name, each.used, each.is_out, None if each.clock is None else each.clock.face) for each in ticking.teams
    ], lines
    items = [(each.item_id, each.status, in_ticks(each.used_ms)) for each in now.plan]
    assert items == [(each.name, each.status, each.used) for each in ticking.plan], lines
    assert sorted(each.reason for each in now.pauses) == sorted(each.name for each in ticking.pauses), lines
    assert now.remaining_ms == (None if ticking.budget is None else ticking.budget.left * TICK_MS), lines
    assert now.ends_at_ms == (None if ticking.ends is None else T0 + ticking.ends * TICK_MS), lines
    if now.extensions is not None:
        assert (now.extensions.count, in_ticks(now.extensions.added_ms)) == ticking.extensions, lines
    if now.status is Status.RUNNING:
        left = ticking.left
        has_deadline = left is not None and not (ticking.overtime and (left <= 0 or ticking.is_in_overtime))
        expected_ms = at_ms + (left or 0) * TICK_MS if has_deadline else None
        assert deadline_at_ms(state) == expected_ms, lines
