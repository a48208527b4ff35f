"""Laws that hold for every history in `individual`, checked at each step of 4,000 random histories."""

import random
from collections import Counter
from itertools import pairwise
from typing import get_args

import orjson
from hypothesis import given
from hypothesis import strategies as st

from synckairos.clock import creation, engine
from synckairos.clock.charges import charges_between
from synckairos.clock.commands import Command, Expire
from synckairos.clock.individual.clock_rows import ClockIndex, ClockRows, clock_index
from synckairos.clock.individual.row_clock import individual_clock, row_deadline_at_ms
from synckairos.clock.individual_clock import ParticipantStatus
from synckairos.clock.model import OnTimeout, Participant, Session, Status
from synckairos.clock.status_table import INDIVIDUAL_STATUS_TABLE
from synckairos.clock.timing import charge_session_until, deadline_at_ms
from synckairos.clock.transition import EventType, Transition
from synckairos.clock.upcoming_event import next_upcoming_event
from synckairos.frozen_replace import replace
from synckairos.wire.session_json import render_session
from synckairos.wire.session_parser import parse_session
from tests.unit.clock.histories import Bytes, commands
from tests.unit.clock.individual_histories import draw_individual_creation, individual_commands
from tests.unit.clock.script import T0
from tests.unit.clock.test_engine_laws import steady

STEPS = 10

Times = dict[str, Counter[str]]
"""For each participant: the ms in each status of its clock, calculated only from the instants of transitions."""


@given(st.lists(st.binary(min_size=24, max_size=72), min_size=4, max_size=4))
@steady
def test_each_random_history_of_individual_clocks_obeys_the_laws(tapes: list[bytes]) -> None:
    for tape in tapes:
        _check_history(Bytes(tape))


def _check_history(choices: Bytes) -> None:
    state = creation.create(draw_individual_creation(choices), "s", "e", T0).state
    times: Times = {row.participant_id: Counter() for row in state.participants}
    charged_ms, now_ms = Counter[str](), T0
    document = _check_document(state)
    for wait_ms, command in individual_commands(choices, STEPS):
        now_ms += wait_ms
        decision = _decide(state, command, now_ms)
        assert render_session(state) == document, "apply changed its argument"
        before, by_command = state, {id(each) for each in decision.own}
        for transition in decision.all_transitions:
            _check_step(state, transition, max(now_ms, before.updated_at_ms))
            cause = type(command) if id(transition) in by_command else Expire
            assert transition.state.status in INDIVIDUAL_STATUS_TABLE[state.status][cause]
            _count(times, state, transition)
            _check_charges(state, transition, charged_ms)
            state = transition.state
            document = _check_document(state)
            _check_balance(times, state)
        due = next_upcoming_event(state)
        assert due is None or due.at_ms > max(now_ms, state.updated_at_ms), "an overdue transition was left"


def _decide(state: Session, command: Command, now_ms: int) -> engine.CommandDecision:
    """Apply a command. Check that overdue transitions are the same if they are found late or in several decisions."""
    decision = engine.apply(state, command, now_ms)
    if decision.has_more_overdue:
        assert decision.overdue
        assert decision.overdue[-1].state.status.is_final  # the command is a reopening
        return decision
    assert decision.refusal is None or not decision.own
    assert len({each.refusal is None for each in (decision, engine.apply(state, command, now_ms))}) == 1
    first = engine.apply(state, Expire(), (state.updated_at_ms + now_ms) // 2)
    reached = first.all_transitions[-1].state if first.all_transitions else state
    second = engine.apply(reached, Expire(), now_ms)
    assert first.overdue + second.overdue == decision.overdue
    return decision


def _check_step(before: Session, transition: Transition, now_ms: int) -> None:
    after, event = transition.state, transition.event
    assert after.version == before.version + 1
    assert before.updated_at_ms <= after.updated_at_ms <= now_ms
    assert event.at_ms == after.updated_at_ms
    assert (after.rules, after.epoch) == (before.rules, before.epoch)
    assert (after.anchor_ms, after.active_position, after.pauses) == (None, None, ())
    assert after.turn_number == (0 if after.started_at_ms is None else 1)
    assert (after.completed_at_ms is not None) == after.status.is_final
    assert event.participant_id is None or not event.participant_ids
    assert len(event.participant_ids) != 1
    _check_status(after, event.type)
    _check_index(after)
    for row in after.participants:
        _check_clock(after, row)
    if not after.status.is_final:
        deadlines = [row_deadline_at_ms(after, row) for row in after.participants if not _is_final(row)]
        assert deadline_at_ms(after) == min((each for each in deadlines if each is not None), default=None)
    if event.type is EventType.PARTICIPANT_UPDATED:
        _check_updated(before, after, event.participant_id)
    if event.type in (EventType.TIME_WARNING, EventType.OVERTIME_STARTED):
        assert [row.remaining_ms for row in after.participants] == [row.remaining_ms for row in before.participants]


def _check_updated(before: Session, after: Session, participant_id: str | None) -> None:
    """Check that a change of a participant changes its name, and its budget only while its clock waits."""
    assert after.status is before.status
    for old, new in zip(before.participants, after.participants, strict=True):
        assert new == old or new.participant_id == participant_id
        assert replace(new, display_name=old.display_name, remaining_ms=old.remaining_ms) == old
        assert new.remaining_ms == old.remaining_ms or individual_clock(old).status is ParticipantStatus.WAITING


def _check_status(after: Session, event_type: EventType) -> None:
    """Check that the status of the session follows from the statuses of its clocks."""
    statuses = {individual_clock(row).status for row in after.participants}
    has_open = any(not status.is_final for status in statuses)
    if after.status is Status.RUNNING:
        assert ParticipantStatus.RUNNING in statuses
    elif after.status is Status.PAUSED:
        assert ParticipantStatus.RUNNING not in statuses
        assert has_open or event_type is EventType.PARTICIPANT_REMOVED
    elif after.status is Status.PENDING:
        assert statuses == {ParticipantStatus.WAITING}
    elif after.status is Status.EXPIRED:
        assert statuses == {ParticipantStatus.EXPIRED}
    else:
        assert not statuses & {ParticipantStatus.RUNNING, ParticipantStatus.PAUSED}
        assert after.status is Status.CANCELLED or after.completed_at_ms is not None


def _check_clock(state: Session, row: Participant) -> None:
    clock = individual_clock(row)
    assert (clock.anchor_ms is not None) == (clock.status is ParticipantStatus.RUNNING)
    assert bool(clock.pauses) == (clock.status is ParticipantStatus.PAUSED)
    assert (clock.finished_at_ms is not None) == clock.status.is_final
    assert row.has_expired == (clock.status is ParticipantStatus.EXPIRED)
    if state.rules.on_timeout is not OnTimeout.OVERTIME:
        assert row.remaining_ms >= 0
        assert clock.status is not ParticipantStatus.EXPIRED or row.remaining_ms == 0
        deadline = row_deadline_at_ms(state, row)
        assert _is_final(row) or deadline is None or deadline >= state.updated_at_ms
    if clock.anchor_ms is not None and (deadline := row_deadline_at_ms(state, row)) is not None:
        assert deadline == clock.anchor_ms + row.remaining_ms


def _is_final(row: Participant) -> bool:
    return individual_clock(row).status.is_final


def _check_index(state: Session) -> None:
    """Check that the index of a changed session equals an index that a scan builds."""
    assert isinstance(state.participants, ClockRows)
    carried, scanned = clock_index(state), ClockIndex(state)
    for name in ("due", "deadlines", "counts", "remaining_ms"):
        assert getattr(carried, name) == getattr(scanned, name), name
    for position, row in enumerate(state.participants):
        assert state.participants.position_of(row.participant_id) == position


def _count(times: Times, before: Session, transition: Transition) -> None:
    after = transition.state
    passed_ms = after.updated_at_ms - before.updated_at_ms
    for row in before.participants:
        times[row.participant_id][individual_clock(row).status] += passed_ms
    rows = {row.participant_id for row in after.participants}
    for name in rows - {row.participant_id for row in before.participants}:
        times[name] = Counter({"joined": after.updated_at_ms - T0})


def _check_balance(times: Times, state: Session) -> None:
    """Check for each participant that its charged time is the time in which its clock ran, and that no time is lost."""
    for row in charge_session_until(state, state.updated_at_ms).participants:
        counted = times[row.participant_id]
        assert row.used_ms == counted[ParticipantStatus.RUNNING]
        assert sum(counted.values()) == state.updated_at_ms - T0


def _check_charges(before: Session, transition: Transition, charged_ms: Counter[str]) -> None:
    """Check that the charges of each participant add up to its used time, and that two documents give the charges."""
    event, after = transition.event, transition.state
    assert event.charges == charges_between(before, replace(event, charges=None), after)
    anchors = {row.participant_id: individual_clock(row).anchor_ms for row in before.participants}
    for charge in event.charges:
        assert anchors[charge.participant_id] == charge.began_at_ms < charge.ended_at_ms <= event.at_ms
        charged_ms[charge.participant_id] += charge.ended_at_ms - charge.began_at_ms
    if event.type is EventType.PARTICIPANT_REMOVED:
        assert charged_ms.pop(event.participant_id or "", 0) == event.used_ms
    assert charged_ms == +Counter({row.participant_id: row.used_ms for row in after.participants})
    assert after.used_ms >= sum(charged_ms.values())


def _check_document(state: Session) -> bytes:
    """Check that the document parses to the same state, and that the sums in the document are right."""
    document = render_session(state)
    assert parse_session(document, state.deleted) == state
    shown = orjson.loads(document)
    for each in (shown, *shown["participants"]):
        assert each["total_time_ms"] == each["time_used_ms"] + (each["time_remaining_ms"] or 0)
    assert all(value not in (None, [], 0) for row in shown["participants"] for value in _optional(row))
    if shown["time_remaining_ms"] is not None:
        assert shown["time_remaining_ms"] == sum(row["time_remaining_ms"] for row in shown["participants"])
    return document


def _optional(row: dict[str, object]) -> list[object]:
    names = (
        "anchor_at",
        "deadline_at",
        "finished_at",
        "ends_at",
        "time_factor",
        "end_offset_ms",
        "pauses",
        "warned_ms",
    )
    return [row[name] for name in names if name in row]


def test_random_histories_reach_every_event_and_status_of_individual_clocks() -> None:
    seen: Counter[str] = Counter()
    dice = random.Random(1)
    for _ in range(3_000):
        choices = Bytes(dice.randbytes(90))
        state, now_ms = creation.create(draw_individual_creation(choices), "s", "e", T0).state, T0
        for wait_ms, command in individual_commands(choices, 14):
            now_ms += wait_ms
            decision = engine.apply(state, command, now_ms)
            for before, after in pairwise([state, *(each.state for each in decision.all_transitions)]):
                seen[f"{before.status} {after.status}"] += 1
            for transition in decision.all_transitions:
                seen[transition.event.type] += 1
                seen[f"several {transition.event.type}"] += bool(transition.event.participant_ids)
                state = transition.state
            if decision.refusal is not None:
                seen[decision.refusal.code] += 1
    changes_of_clocks = (
        *(EventType.PARTICIPANT_STARTED, EventType.PARTICIPANT_PAUSED, EventType.PARTICIPANT_RESUMED),
        *(EventType.PARTICIPANT_FINISHED, EventType.PARTICIPANT_EXPIRED, EventType.TIME_WARNING),
        *(EventType.OVERTIME_STARTED, EventType.SESSION_REOPENED, EventType.SESSION_EXPIRED),
    )
    of_session = (
        *(EventType.SESSION_STARTED, EventType.SESSION_UPDATED, EventType.METADATA_UPDATED, EventType.TIME_ADJUSTED),
        *(EventType.PARTICIPANT_ADDED, EventType.PARTICIPANT_REMOVED, EventType.SESSION_COMPLETED),
        *(EventType.PARTICIPANT_UPDATED, EventType.ANNOUNCEMENT_UPDATED, EventType.SCREEN_UPDATED),
        *(EventType.SESSION_CANCELLED, EventType.SESSION_DELETED),
    )
    assert {*changes_of_clocks, *of_session} == seen.keys() & set(EventType)
    assert all(seen[f"several {kind}"] for kind in changes_of_clocks)
    changes = {f"{a} {b}" for a, leads in INDIVIDUAL_STATUS_TABLE.items() for bs in leads.values() for b in bs}
    assert changes - seen.keys() <= {"pending completed"}
    assert {"INVALID_STATE_TRANSITION", "VALIDATION_ERROR", "PARTICIPANT_NOT_FOUND", "FORBIDDEN"} <= seen.keys()


def test_random_histories_have_every_command() -> None:
    """Check that the random histories have each command of the engine, so that the laws hold for all of them."""
    dice, seen = random.Random(1), set[type]()
    for _ in range(400):
        with_turns, individual = Bytes(dice.randbytes(90)), Bytes(dice.randbytes(90))
        seen |= {type(command) for _, command, _ in commands(with_turns, 12)}
        seen |= {type(command) for _, command in individual_commands(individual, 12)}
    assert seen == set(get_args(Command))
