"""Switches within one millisecond of a deadline. Each switch is either applied or answered as expired."""

import random
from collections import Counter

import pytest

from synckairos.clock import engine
from synckairos.clock.commands import Command, Switch
from synckairos.clock.model import Session
from synckairos.clock.timing import deadline_at_ms
from synckairos.wire.session_json import render_session
from synckairos.wire.session_parser import parse_session
from tests.unit.clock.script import open_session, play, spec

COMMANDS = 10_000


def _verdict(state: Session, command: Command, at_ms: int) -> tuple[str, Session]:
    """Return the verdict on a switch, `applied`, `consumed` or the code of its refusal, and the state afterwards."""
    decision = engine.apply(state, command, at_ms)
    after = decision.all_transitions[-1].state if decision.all_transitions else state
    is_applied = [t.event.type for t in decision.own] == ["cycle_switched"]
    is_consumed = decision.expired_participant_id is not None
    is_refused = decision.refusal is not None
    assert [is_applied, is_consumed, is_refused].count(True) == 1
    if decision.refusal is None:
        return "applied" if is_applied else "consumed", after
    return decision.refusal.code, after


@pytest.mark.parametrize("on_timeout", ["expire", "advance", "pause"])
@pytest.mark.parametrize("mode", ["per_participant", "per_group", "per_cycle"])
def test_switch_before_the_deadline_is_applied_and_at_the_deadline_is_late(mode: str, on_timeout: str) -> None:
    state = play(spec(mode, "A/x B/y", on_timeout), "0 start").state
    deadline = deadline_at_ms(state)
    assert deadline is not None
    for early in (-2, -1):
        assert _verdict(state, Switch(), deadline + early)[0] == "applied"
    for late in (0, 1, 2):
        assert _verdict(state, Switch(), deadline + late)[0] == "consumed"


def test_ten_thousand_switches_around_deadlines_have_one_verdict_each() -> None:
    dice = random.Random(20)
    log: list[tuple[Session, Switch, int]] = []
    verdicts: list[str] = []
    state = started = play(spec("per_cycle", "A B C", max_cycles=1_000_000), "0 start").state
    for _ in range(COMMANDS):
        deadline = deadline_at_ms(state)
        assert deadline is not None
        active = state.active_participant
        assert active is not None
        guard = active.participant_id if dice.random() < 0.3 else None
        press, at_ms = Switch(current_participant_id=guard), deadline + dice.randint(-1, 1)
        log.append((state, press, at_ms))
        verdict, state = _verdict(state, press, at_ms)
        verdicts.append(verdict)
        assert (verdict == "applied") == (at_ms < deadline)
        assert verdict == "applied" or verdict == ("consumed" if guard is None else "NOT_ACTIVE_PARTICIPANT")
    assert min(Counter(verdicts).values()) > COMMANDS // 10

    # The same log gives the same verdicts again, also if the states are stored and parsed.
    state = started
    for (before, press, at_ms), verdict in zip(log, verdicts, strict=True):
        assert before == state
        again, state = _verdict(parse_session(render_session(state)), press, at_ms)
        assert again == verdict


def test_second_of_two_simultaneous_switches_is_refused() -> None:
    state = play(spec("per_participant", "A B"), "0 start").state
    first = engine.apply(state, Switch(current_participant_id="A"), state.updated_at_ms + 5)
    second = engine.apply(first.own[0].state, Switch(current_participant_id="A"), state.updated_at_ms + 5)
    assert second.refusal is not None
    assert second.refusal.code == "NOT_ACTIVE_PARTICIPANT"
    assert second.all_transitions == ()


def test_verdict_on_a_guarded_switch_is_the_same_if_the_timekeeper_was_first() -> None:
    for on_timeout in ("expire", "advance", "pause", "overtime"):
        running = play(spec("per_participant", "A B", on_timeout), "0 start").state
        for name in "AB":
            press, at_ms = Switch(current_participant_id=name), running.updated_at_ms + 60_001
            found_by_switch = engine.apply(running, press, at_ms)
            timed_out = play(spec("per_participant", "A B", on_timeout), "0 start; 60 time")
            found_before = engine.apply(timed_out.state, press, at_ms, out_of_time_id=timed_out.out_of_time_id)
            assert found_by_switch.own == found_before.own
            assert type(found_by_switch.refusal) is type(found_before.refusal)
            assert found_by_switch.expired_participant_id == found_before.expired_participant_id


def test_pending_session_has_no_deadline() -> None:
    assert deadline_at_ms(open_session(spec("per_cycle"))) is None
