"""Replay of sessions of both editions, and of sessions that an earlier release continued."""

from collections.abc import Iterator
from typing import Any

import msgspec
import orjson
import pytest

from synckairos.audit.entry_rows import EventRow, parse_entry
from synckairos.audit.replay_check import AuditReplayCheck
from synckairos.clock import creation, engine
from synckairos.clock.commands import Expire, Undo, with_actor
from synckairos.clock.earlier_turns import UndoCharge
from synckairos.clock.first_edition_compatibility import as_first_edition
from synckairos.clock.overdue import make_warning_without_free_time
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.clock.transition import Transition
from synckairos.clock.undo import find_restored_turn, undo_past_free_limit
from synckairos.frozen_replace import replace
from synckairos.wire.body_parser import parse_audited_args, parse_body
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.document_scan import is_second_edition
from synckairos.wire.outbox_entry import CommitCause, OutboxEntry, render_event
from synckairos.wire.session_json import render_session

T0 = 1_700_000_000_123
SESSION = "01890000-0000-7000-8000-000000000000"
ALICE, BOB = (f"aaaaaaaa-0000-4000-8000-00000000000{at}" for at in range(2))
BODY = {
    "sync_mode": "per_participant",
    "participants": [{"participant_id": each, "total_time_ms": 60_000} for each in (ALICE, BOB)],
    "on_timeout": "overtime",
    "metadata": {"text": ',"turn_number":1}'},
}
STEPS: tuple[tuple[int, str, dict[str, Any]], ...] = (
    (0, "start", {}),
    (60_000, "expire", {}),
    (70_000, "adjust", {"delta_ms": -20_000}),
    (80_000, "switch", {}),
    (90_000, "pause", {"reason": "tea"}),
)


def rows(edition: int, earlier_release_from: int | None = None) -> Iterator[EventRow]:
    """Yield the rows of a session. From version `earlier_release_from` on, an earlier release makes the versions."""
    spec = replace(parse_body(CreateSession, BODY).to_create(), edition=edition)
    transition = creation.create(spec, SESSION, "e1", T0)
    yield row_of(transition, "create", BODY)
    for at_ms, verb, args in STEPS:
        state = transition.state
        if earlier_release_from is not None and state.version + 1 >= earlier_release_from:
            state = as_first_edition(state)
        command = Expire() if verb == "expire" else parse_audited_args(verb, args).to_command()
        for transition in engine.apply(state, with_actor(command, "tester"), T0 + at_ms).all_transitions:
            by_time = transition.event.type in ("overtime_started", "time_warning")
            yield row_of(transition, "expire" if by_time else verb, {} if by_time else args)


def row_of(transition: Transition, verb: str, args: dict[str, Any]) -> EventRow:
    state = transition.state
    event = render_event(transition, CommitCause("tester", verb, args))
    return parse_entry(OutboxEntry(SESSION, state.epoch, state.version, event, render_session(state))).event


@pytest.mark.parametrize(
    ("edition", "earlier_release_from", "is_second"),
    [(1, None, [False] * 5), (2, None, [True] * 6), (2, 5, [True] * 4 + [False] * 2), (2, 3, [True] * 2 + [False] * 3)],
)
def test_rows_replay_by_the_edition_of_their_own_document(
    edition: int, earlier_release_from: int | None, is_second: list[bool]
) -> None:
    stored = list(rows(edition, earlier_release_from))
    assert [is_second_edition(row.snapshot) for row in stored] == is_second
    replay = AuditReplayCheck(OutageChargePolicy())
    assert [finding for row in stored for finding in replay.replay_row(row)] == []


def warning_rows(warned_at_ms: int) -> Iterator[EventRow]:
    """Yield the rows of a session in which A begins a turn below zero, and its free time did not delay a warning.

    Releases before 3.0 warned at 95 s, 15 s after the turn began with a reading of -5 s and 10 s of free time.
    """
    body = BODY | {"clock": {"delay": {"delay_ms": 10_000}}, "warnings_ms": [-20_000]}
    transition = creation.create(parse_body(CreateSession, body).to_create(), SESSION, "e1", T0)
    yield row_of(transition, "create", body)
    for at_ms, verb in ((0, "start"), (70_000, "expire"), (75_000, "switch"), (80_000, "switch")):
        command = Expire() if verb == "expire" else parse_audited_args(verb, {}).to_command()
        (transition,) = engine.apply(transition.state, with_actor(command, "tester"), T0 + at_ms).all_transitions
        yield row_of(transition, verb, {})
    early = make_warning_without_free_time(transition.state, T0 + 95_000)
    assert early is not None
    assert make_warning_without_free_time(transition.state, T0 + 95_001) is None
    at_ms = T0 + warned_at_ms
    moved = replace(early.state, updated_at_ms=at_ms)
    yield row_of(Transition(replace(early.event, at_ms=at_ms), moved), "expire", {})


@pytest.mark.parametrize(("warned_at_ms", "kinds"), [(95_000, []), (95_001, ["unplayable"])])
def test_a_warning_that_came_before_the_end_of_free_time_replays(warned_at_ms: int, kinds: list[str]) -> None:
    replay = AuditReplayCheck(OutageChargePolicy())
    found = [finding for row in warning_rows(warned_at_ms) for finding in replay.replay_row(row)]
    assert [finding.kind for finding in found] == kinds


def undo_rows(by_earlier_release: bool, undone_at_ms: int) -> Iterator[EventRow]:
    """Yield the rows of a session in overtime in which an undo charges a free first turn of 30 s."""
    body = BODY | {"free_first_turn": {"limit_ms": 30_000}}
    transition = creation.create(parse_body(CreateSession, body).to_create(), SESSION, "e1", T0)
    yield row_of(transition, "create", body)
    (transition,) = engine.apply(transition.state, parse_audited_args("start", {}).to_command(), T0).all_transitions
    started = transition.state
    yield row_of(transition, "start", {})
    switch = with_actor(parse_audited_args("switch", {}).to_command(), "tester")
    (transition,) = engine.apply(started, switch, T0 + 20_000).all_transitions
    yield row_of(transition, "switch", {})
    switched = transition.state
    restored = find_restored_turn(switched, started, switched)
    command = Undo(1, UndoCharge.RESUMED, restored)
    at_ms = T0 + undone_at_ms
    undone, *follow_up = engine.apply(switched, command, at_ms).all_transitions
    if by_earlier_release:
        earlier = undo_past_free_limit(switched, command, at_ms)
        assert earlier is not None
        undone = earlier
        follow_up = [*engine.apply(earlier.state, Expire(), at_ms).all_transitions]
    yield row_of(undone, "undo", {"charge": "resumed", "restored": orjson.loads(msgspec.json.encode(restored))})
    for transition in follow_up:
        yield row_of(transition, "expire", {})


@pytest.mark.parametrize(
    ("by_earlier_release", "undone_at_ms", "used_ms"),
    [(True, 45_000, 45_000), (True, 30_000, 30_000), (False, 45_000, 30_000), (False, 30_000, 30_000)],
)
def test_an_undo_that_charged_a_free_turn_past_its_limit_replays(
    by_earlier_release: bool, undone_at_ms: int, used_ms: int
) -> None:
    stored = list(undo_rows(by_earlier_release, undone_at_ms))
    assert [row.event_type for row in stored[-2:]] == ["turn_undone", "session_cancelled"]
    undone = orjson.loads(stored[-2].snapshot)
    assert undone["participants"][0]["time_used_ms"] == used_ms
    assert ("overtime" in undone["turn"]) == by_earlier_release
    replay = AuditReplayCheck(OutageChargePolicy())
    assert [finding for row in stored for finding in replay.replay_row(row)] == []
