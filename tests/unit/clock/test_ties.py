"""Ties: commands within a millisecond of a deadline. Each is applied or answered as expired, never both."""

import random
from collections import Counter

import pytest

from synckairos.clock import engine
from synckairos.clock.commands import Command, Switch
from synckairos.clock.model import Session
from synckairos.clock.timing import deadline_at_ms
from synckairos.wire.session_json import parse_session, render_session
from tests.unit.clock.script import open_session, play, spec

COMMANDS = 10_000


def _verdict(state: Session, command: Command, at_ms: int) -> tuple[str, Session]:
    """Return what became of a switch: exactly one of applied, expired (consumed, or refused for it) and late."""
    decision = engine.apply(state, command, at_ms)
    after = decision.transitions[-1].state if decision.transitions else state
    is_applied = [t.event.type for t in decision.own] == ["cycle_switched"]
    is_consumed = decision.expired_participant_id is not None
    is_refused = decision.refusal is not None
    assert [is_applied, is_consumed, is_refused].count(True) == 1
    if decision.refusal is None:
        return "applied" if is_applied else "consumed", after
    return decision.refusal.code, after


@pytest.mark.parametrize("on_timeout", ["expire", "advance", "pause"])
@pytest.mark.parametrize("mode", ["per_participant", "per_group", "per_cycle"])
def test_before_the_deadline_is_in_time_at_it_is_late(mode: str, on_timeout: str) -> None:
    state = play(spec(mode, "A/x B/y", on_timeout), "0 start").state
    deadline = deadline_at_ms(state)
    assert deadline is not None
    for early in (-2, -1):
        assert _verdict(state, Switch(), deadline + early)[0] == "applied"
    for late in (0, 1, 2):
        expected = "INVALID_STATE_TRANSITION" if on_timeout == "expire" else "consumed"
        assert _verdict(state, Switch(), deadline + late)[0] == expected


def test_ten_thousand_commands_around_deadlines_have_one_verdict_each() -> None:
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

    # The same log again gives the same verdicts, from the states as they are stored too.
    state = started
    for (before, press, at_ms), verdict in zip(log, verdicts, strict=True):
        assert before == state
        again, state = _verdict(parse_session(render_session(state)), press, at_ms)
        assert again == verdict


def test_two_presses_at_once_pass_one_turn() -> None:
    state = play(spec("per_participant", "A B"), "0 start").state
    first = engine.apply(state, Switch(current_participant_id="A"), state.updated_at_ms + 5)
    second = engine.apply(first.own[0].state, Switch(current_participant_id="A"), state.updated_at_ms + 5)
    assert second.refusal is not None
    assert second.refusal.code == "NOT_ACTIVE_PARTICIPANT"
    assert second.transitions == ()


def test_the_verdict_on_a_guarded_press_doesnt_hang_on_who_noticed_first() -> None:
    for on_timeout in ("expire", "advance", "pause", "overtime"):
        running = play(spec("per_participant", "A B", on_timeout), "0 start").state
        for name in "AB":
            press, at_ms = Switch(current_participant_id=name), running.updated_at_ms + 60_001
            noticed_by_it = engine.apply(running, press, at_ms)
            noticed = play(spec("per_participant", "A B", on_timeout), "0 start; 60 time").state
            noticed_before = engine.apply(noticed, press, at_ms)
            assert noticed_by_it.own == noticed_before.own
            assert type(noticed_by_it.refusal) is type(noticed_before.refusal)


def test_a_session_not_started_has_no_deadline() -> None:
    assert deadline_at_ms(open_session(spec("per_cycle"))) is None
