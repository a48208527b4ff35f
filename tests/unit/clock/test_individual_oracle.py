"""Individual clocks of the engine compared with clocks that tick, which advance by 50 ms by the rules alone."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from synckairos.clock.individual.all_clocks import clocks_charged_until
from synckairos.clock.individual.row_clock import individual_clock
from synckairos.clock.model import Session
from tests.unit.clock.histories import Bytes
from tests.unit.clock.oracle.individual_commands import apply_to_clocks
from tests.unit.clock.oracle.individual_oracle_histories import draw_individual, draw_individual_commands
from tests.unit.clock.oracle.ticking_individual import TICK_MS, TickingIndividual, in_ticks
from tests.unit.clock.script import T0, Played, open_session
from tests.unit.clock.test_engine_laws import steady

HISTORIES = 400
COMMANDS = 20


@pytest.mark.parametrize("part", range(4))
@given(tapes=st.lists(st.binary(min_size=60, max_size=160), min_size=4, max_size=4))
@settings(steady, max_examples=HISTORIES // 16, phases=[Phase.generate])
def test_individual_clocks_equal_clocks_that_tick(part: int, tapes: list[bytes]) -> None:
    for tape in tapes:
        check_clocks(Bytes(bytes([part]) + tape))


def check_clocks(tape: Bytes) -> None:
    tape.below(4)
    spec = draw_individual(tape)
    played, ticking = Played(open_session(spec)), TickingIndividual(spec)
    for wait, command in draw_individual_commands(tape, COMMANDS, spec):
        ticking.pass_time(wait)
        at_ms, seen = T0 + ticking.now * TICK_MS, len(played.transitions)
        decision = played.do(at_ms, command)
        assert bool(decision.own) == apply_to_clocks(ticking, command), f"{command} {decision.refusal} {played.lines}"
        new = [each for each in played.transitions[seen:] if not any(each is own for own in decision.own)]
        by_time = [(in_ticks(each.event.at_ms - T0), each.event.type) for each in new]
        assert by_time == ticking.log, f"{by_time} {ticking.log} {played.lines}"
        ticking.log.clear()
        compare(played.state, ticking, at_ms, played.lines)


def compare(state: Session, ticking: TickingIndividual, at_ms: int, lines: list[str]) -> None:
    """Check that all clocks of the engine at an instant are those of the ticking session."""
    now = clocks_charged_until(state, at_ms)
    assert (now.status, in_ticks(now.used_ms)) == (ticking.status, ticking.used), lines
    assert now.ends_at_ms == (None if ticking.ends is None else T0 + ticking.ends * TICK_MS), lines
    rows = []
    for row in now.participants:
        clock = individual_clock(row)
        ended_at = None if clock.finished_at_ms is None else in_ticks(clock.finished_at_ms - T0)
        reasons = sorted(each.reason for each in clock.pauses)
        left = in_ticks(row.remaining_ms) if ticking.is_read(ticking.row(row.participant_id)) else None
        rows.append((row.participant_id, clock.status, in_ticks(row.used_ms), ended_at, reasons, left))
    assert rows == [
        (
            row.name,
            row.status,
            row.used,
            row.ended_at,
            sorted(each.name for each in row.pauses),
            ticking.left(row)
            if ticking.started is not None and not (ticking.status.is_final and row.is_open)
            else None,
        )
        for row in ticking.rows
    ], lines
