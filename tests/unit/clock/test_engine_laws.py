"""Laws that hold for every history, checked at each step of 10,000 random histories."""

import random
from collections import Counter

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synckairos.clock import creation, engine
from synckairos.clock.begin_turn import is_held
from synckairos.clock.charges import charges_between
from synckairos.clock.clock_systems import Hourglass
from synckairos.clock.commands import (
    Adjust,
    Amend,
    Command,
    Expire,
    Reopen,
    Undo,
    UpdateParticipant,
    VersionPrecondition,
)
from synckairos.clock.earlier_turns import RestoredTurn
from synckairos.clock.expected_starts import expected_starts_ms
from synckairos.clock.model import TURN_MODES, Extensions, OnTimeout, Session, Status, SyncMode
from synckairos.clock.plan_item import ItemStatus
from synckairos.clock.plan_items import names_participants
from synckairos.clock.rest_days import is_rest
from synckairos.clock.status_table import STATUS_TABLE
from synckairos.clock.timing import charge_session_until, deadline_at_ms, session_remaining_ms, time_to_zero_ms
from synckairos.clock.transition import Event, EventType, Transition
from synckairos.clock.upcoming_event import next_upcoming_event
from synckairos.frozen_replace import replace
from synckairos.wire.session_json import render_session
from synckairos.wire.session_parser import parse_session
from tests.unit.clock.histories import Bytes, commands, draw_creation
from tests.unit.clock.ledgers import ChargeLedger, Ledger
from tests.unit.clock.past_facts import Past
from tests.unit.clock.script import T0
from tests.unit.clock.undo_law import check_undo

INDIVIDUAL_EVENTS = frozenset(
    {
        EventType.PARTICIPANT_STARTED,
        EventType.PARTICIPANT_PAUSED,
        EventType.PARTICIPANT_RESUMED,
        EventType.PARTICIPANT_FINISHED,
    }
)
"""The events of `individual`, whose histories `test_individual_laws.py` checks."""

HISTORIES = 10_000
STEPS = 8

# The histories are the same in every run and on every machine. Nothing is kept between runs.
steady = settings(
    max_examples=HISTORIES // 10,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


# Each Hypothesis example has ten histories, because Hypothesis needs more time to make an example than the test needs
# to check it.
@given(st.lists(st.binary(min_size=16, max_size=48), min_size=10, max_size=10))
@steady
def test_each_random_history_obeys_the_laws(tapes: list[bytes]) -> None:
    for tape in tapes:
        _check_history(tape)


def _check_history(tape: bytes) -> None:
    choices = Bytes(tape)
    spec = draw_creation(choices)
    state = creation.create(spec, "s", "e", T0).state
    ledger, charged, now_ms = Ledger(), ChargeLedger(), T0
    past = Past({state.version: state})
    document = _check_document(state)
    for wait_ms, command, precondition in commands(choices, STEPS, spec.plan):
        now_ms += wait_ms
        if isinstance(command, (Reopen, Amend, Undo)):
            # A caller gives facts of earlier versions only after the overdue transitions are committed.
            for transition in engine.apply(state, Expire(ignores_grace=True), now_ms).all_transitions:
                ledger.count(state, transition)
                _check_charges(state, transition, charged, None)
                past.add(state, transition)
                state = transition.state
            document = render_session(state)
            command = past.with_facts(command, state)
        decision = _decide(state, command, now_ms, precondition)
        assert render_session(state) == document, "apply changed its argument"
        before = state
        for transition in decision.all_transitions:
            _check_step(state, transition, max(now_ms, before.updated_at_ms))
            restored = command.restored if isinstance(command, Undo) and transition in decision.own else None
            ledger.count(state, transition, restored)
            _check_charges(state, transition, charged, restored)
            if restored is not None and isinstance(command, Undo):
                check_undo(state, transition.state, restored, command.charge, past.states)
            past.add(state, transition)
            state = transition.state
            document = _check_document(state)
            _check_balance(state, ledger)
        _check_table(before, decision, command)
        _check_hourglass(before, state, decision, command)
        due = next_upcoming_event(state)
        assert due is None or due.committed_at_ms > max(now_ms, state.updated_at_ms), "an overdue transition was left"


def _decide(
    state: Session, command: Command, now_ms: int, precondition: VersionPrecondition | None
) -> engine.CommandDecision:
    """Apply a command.

    Check that overdue transitions are the same, even if they are found late or in several decisions.
    """
    decision = engine.apply(state, command, now_ms, precondition)
    assert not decision.has_more_overdue
    assert decision.refusal is None or not decision.own
    halfway = (state.updated_at_ms + now_ms) // 2
    by_waiting = engine.apply(state, Expire(), max(now_ms, state.updated_at_ms)).overdue
    by_time = Expire(ignores_grace=decision.overdue != by_waiting)
    first = engine.apply(state, by_time, halfway)
    reached = first.all_transitions[-1].state if first.all_transitions else state
    second = engine.apply(reached, by_time, now_ms)
    assert first.overdue + second.overdue == decision.overdue
    if by_time.ignores_grace:
        assert not isinstance(command, Expire)
        assert decision.overdue[: len(by_waiting)] == by_waiting
    if not decision.overdue:
        assert engine.apply(reached, command, now_ms, precondition).all_transitions == decision.all_transitions
    return decision


def _check_step(before: Session, transition: Transition, now_ms: int) -> None:
    after, event = transition.state, transition.event
    assert after.version == before.version + 1
    assert before.updated_at_ms <= after.updated_at_ms <= now_ms
    assert event.at_ms == after.updated_at_ms
    assert (after.rules, after.epoch) == (before.rules, before.epoch)
    assert (after.anchor_ms is not None) == (after.status is Status.RUNNING)
    assert after.anchor_ms is None or after.anchor_ms <= after.updated_at_ms
    assert bool(after.pauses) == (after.status is Status.PAUSED)
    assert (after.completed_at_ms is not None) == after.status.is_final
    if after.status in (Status.RUNNING, Status.PAUSED):
        may_be_nobodys = after.rules.sync_mode is SyncMode.GLOBAL or bool(after.plan)
        assert after.active_position is not None or may_be_nobodys
    if event.type is EventType.SESSION_EXPIRED:
        assert deadline_at_ms(after) == after.completed_at_ms == deadline_at_ms(before)
    if after.rules.on_timeout is not OnTimeout.OVERTIME:
        deadline = deadline_at_ms(after) if after.status is Status.RUNNING else None
        assert deadline is None or deadline >= after.updated_at_ms, "a running clock past its zero"
        assert all(p.remaining_ms >= 0 for p in after.participants)
        assert all(g.remaining_ms >= 0 for g in after.groups)
    _check_turn_number(before, after, event)
    moves_end = event.type is EventType.SESSION_UPDATED and after.ends_at_ms != before.ends_at_ms
    if event.type in LEAVES_CLOCK and not moves_end:
        for read in (lambda s: s.anchor_ms, lambda s: s.used_ms, _zero_ms):
            assert read(after) == read(before)
    _check_continuous(after)
    if event.type is not EventType.TURN_UNDONE:
        _check_extensions(before, after)
        _check_receipt(before, after)
    _check_plan(before, after, event)
    if event.type is EventType.PARTICIPANT_UPDATED:
        _check_updated(before, after, event)


def _check_updated(before: Session, after: Session, event: Event) -> None:
    """Check that a change of a participant concerns only it, and its budget only before its first turn is over."""
    charged = charge_session_until(before, after.updated_at_ms)
    assert (after.status, after.turn_number) == (before.status, before.turn_number)
    has_same_clocks = True
    for old, kept, new in zip(before.participants, charged.participants, after.participants, strict=True):
        if new.participant_id != event.participant_id:
            assert new in (kept, old)
            continue
        named = replace(new, display_name=old.display_name)
        has_same_clocks = named in (kept, old)
        assert new.used_ms in (kept.used_ms, old.used_ms)
        assert has_same_clocks or new.cycle_count == 0
        assert has_same_clocks or not before.status.is_final
    assert has_same_clocks or after.turn.began_version is None


LEAVES_CLOCK = frozenset(
    {
        EventType.TIME_WARNING,
        EventType.OVERTIME_STARTED,
        EventType.METADATA_UPDATED,
        EventType.SESSION_UPDATED,
        EventType.PLAN_UPDATED,
        EventType.ANNOUNCEMENT_UPDATED,
        EventType.SCREEN_UPDATED,
        EventType.PARTICIPANT_ADDED,
        EventType.PARTICIPANT_DONE,
    }
)


BEGINS_TURN = frozenset(
    {
        EventType.SESSION_STARTED,
        EventType.CYCLE_SWITCHED,
        EventType.PARTICIPANT_EXPIRED,
        EventType.GROUP_EXPIRED,
        EventType.CYCLE_EXPIRED,
        EventType.TURN_UNDONE,
    }
)


def _check_turn_number(before: Session, after: Session, event: Event) -> None:
    """Check that the turn number grows by 1 exactly if a turn begins, and that a session keeps its edition."""
    assert after.is_second_edition == before.is_second_edition
    if before.turn_number is None or after.turn_number is None:
        return
    has_left = event.type is EventType.PARTICIPANT_REMOVED and before.status is not Status.PENDING
    leaver = before.active_participant if has_left else None
    begins = event.type in BEGINS_TURN or (leaver is not None and leaver.participant_id == event.participant_id)
    ends_hold = event.type is EventType.SESSION_RESUMED and is_held(before)
    assert after.turn_number - before.turn_number == ((begins or ends_hold) and not is_held(after))
    assert (after.turn_number == 0) == (after.started_at_ms is None)


def _check_plan(before: Session, after: Session, event: Event) -> None:
    """Check that items and turns begin and end together, and that a change of the plan leaves begun items unchanged."""
    assert bool(after.plan) == bool(before.plan)
    if not after.plan:
        return
    assert (after.item_position is None) == (after.started_at_ms is None) == (after.schedule_offset_ms is None)
    assert (after.next_item_position is not None) == (is_held(after) and not after.status.is_final)
    running = [at for at, item in enumerate(after.plan) if item.status is ItemStatus.RUNNING]
    is_in_turn = after.status in (Status.RUNNING, Status.PAUSED) and not is_held(after)
    assert running == ([after.item_position] if is_in_turn else [])
    assert sum(item.used_ms for item in after.plan) == after.used_ms
    assert len({item.item_id for item in after.plan}) == len(after.plan)
    if event.type is EventType.TURN_UNDONE:
        return  # `check_undo` checks the other facts
    begun = {item.item_id: item for item in before.plan if item.status is not ItemStatus.PENDING}
    now = {item.item_id: item for item in after.plan}
    for item_id, item in begun.items():
        again = now[item_id]
        assert replace(again, status=item.status, used_ms=item.used_ms) == item
        assert again.used_ms >= item.used_ms
        assert again.status is not ItemStatus.PENDING
    if event.type is EventType.PLAN_UPDATED:
        assert [item.item_id for item in after.plan if item.item_id in begun] == list(begun)
        assert all(now[item_id] == item for item_id, item in begun.items())
    else:
        assert [item.item_id for item in after.plan] == [item.item_id for item in before.plan]
    if after.turn_number != before.turn_number and after.item_position is not None:
        item = after.plan[after.item_position]
        if item.planned_start_at_ms is not None:
            assert after.schedule_offset_ms == event.at_ms - item.planned_start_at_ms
        assert after.remaining_ms == item.time_ms or event.type in (
            EventType.SESSION_STARTED,
            EventType.SESSION_RESUMED,
        )
    elif event.type is not EventType.SESSION_STARTED:
        assert after.schedule_offset_ms == before.schedule_offset_ms
    _check_expected_starts(after)


def _check_expected_starts(state: Session) -> None:
    """Check that expected starts are those of the session if nothing happens until the next item begins."""
    now_ms = state.updated_at_ms
    expected = list(expected_starts_ms(state, now_ms).items())
    assert [at_ms for _, at_ms in expected] == sorted(at_ms for _, at_ms in expected)
    assert not expected or expected[0][1] >= now_ms
    is_plain = state.rules.on_timeout is OnTimeout.ADVANCE and not state.rules.holds_between_turns
    goes_on = state.status is Status.RUNNING or (state.status is Status.PAUSED and all(map(is_rest, state.pauses)))
    if not is_plain or not goes_on or state.rules.closes_when_all_done:
        return
    for item_id, at_ms in expected:
        reached = state
        for _ in range(10):
            decision = engine.apply(reached, Expire(), at_ms)
            reached = decision.overdue[-1].state if decision.overdue else reached
        assert reached.plan[reached.item_position or 0].item_id == item_id
        assert reached.updated_at_ms == at_ms


def _zero_ms(state: Session) -> int | None:
    """Return the instant of the zero if the session has an end, else the time to zero at the anchor."""
    return time_to_zero_ms(state) if state.ends_at_ms is None else state.ends_at_ms


def _check_extensions(before: Session, after: Session) -> None:
    """Check that extensions stay within their limits, and that they explain each growth of the session's budget."""
    if before.extensions is None or after.extensions is None:
        return
    rules, grown = after.rules, after.extensions.added_ms - before.extensions.added_ms
    assert after.extensions.added_ms <= (rules.max_extension_ms or after.extensions.added_ms)
    assert after.extensions.count <= (rules.max_extensions or after.extensions.count)
    assert after.extensions.count - before.extensions.count == (grown > 0)
    if grown:
        left_ms = session_remaining_ms(charge_session_until(before, after.updated_at_ms))
        if after.ends_at_ms is None or before.ends_at_ms is None:
            assert left_ms is not None
            assert after.remaining_ms == left_ms + grown
        else:
            assert after.ends_at_ms == before.ends_at_ms + grown


def _check_receipt(before: Session, after: Session) -> None:
    """Check that compensated lag exceeds neither the quota nor the time of the turn."""
    receipt = after.lag_receipt
    if receipt is None or receipt is before.lag_receipt:
        return
    active = before.active_participant
    assert active is not None
    assert active.lag is not None
    assert receipt.elapsed_ms == receipt.compensated_ms + receipt.charged_ms
    assert 0 <= receipt.compensated_ms <= min(active.lag.quota_ms, receipt.elapsed_ms, receipt.trusted_lag_ms)
    assert 0 <= receipt.quota_left_ms <= 7 * active.lag.gain_ms
    charged = next(p for p in after.participants if p.participant_id == receipt.participant_id)
    assert charged.used_ms == active.used_ms + receipt.charged_ms


def _check_continuous(state: Session) -> None:
    """Check that a reading decreases by 1 for each ms between events, even if the time is charged in several steps."""
    if state.anchor_ms is None:
        return
    left_ms = time_to_zero_ms(state)
    for ahead_ms in (1, 6_500):
        if left_ms is not None and ahead_ms > left_ms and state.rules.on_timeout is not OnTimeout.OVERTIME:
            break
        later = charge_session_until(state, state.anchor_ms + ahead_ms)
        assert (
            charge_session_until(charge_session_until(state, state.anchor_ms + ahead_ms // 3), later.anchor_ms or 0)
            == later
        )
        assert later.used_ms == state.used_ms + ahead_ms
        if left_ms is not None and left_ms >= ahead_ms:
            assert time_to_zero_ms(later) == left_ms - ahead_ms


def _check_balance(state: Session, ledger: Ledger) -> None:
    """Check that charged + paused + compensated + forgiven time = elapsed time, for a session and its participants."""
    initial_ms = state.rules.initial_ms or 0
    if state.started_at_ms is None:
        assert state.used_ms == initial_ms
        return
    settled = charge_session_until(state, state.updated_at_ms)
    assert settled.used_ms == ledger.ran_ms + initial_ms
    wall_ms = (state.completed_at_ms or state.updated_at_ms) - state.started_at_ms
    assert ledger.wall_ms == wall_ms
    charged = sum(p.used_ms for p in settled.participants)
    assert charged + ledger.left_ms + ledger.unowned_ms == ledger.ran_ms


def _check_charges(
    before: Session, transition: Transition, charged: ChargeLedger, restored: RestoredTurn | None
) -> None:
    """Check that the sum of all charges of each participant is its used time, and that two documents give the charges.

    `charged` has the earlier charges. The charges of this transition are added.
    """
    event, after = transition.event, transition.state
    if event.type is EventType.SESSION_AMENDED:
        charged.add(after.version, event, None)
        assert charged.sums() == +Counter({each.participant_id: each.used_ms for each in after.participants})
        return
    charged.add(after.version, event, restored)
    for charge in event.charges or ():
        assert charge.began_at_ms < charge.ended_at_ms <= event.at_ms
        if restored is None:
            assert before.anchor_ms == charge.began_at_ms
            assert charge.participant_id == (before.active_participant or after.participants[0]).participant_id
        else:
            assert (charge.participant_id, charge.began_at_ms) == (restored.active_participant_id, restored.at_ms)
    if restored is None:
        assert event.charges == charges_between(before, replace(event, charges=None), after)
    if event.type is EventType.PARTICIPANT_REMOVED:
        # A participant that joins again begins with a used time of 0.
        assert charged.leave(event.participant_id or "") == event.used_ms
    assert charged.sums() == +Counter({each.participant_id: each.used_ms for each in after.participants})


def _check_table(before: Session, decision: engine.CommandDecision, command: Command) -> None:
    state = before
    by_time = {id(link) for link in (*decision.overdue, *decision.follow_up)}
    for transition in decision.all_transitions:
        leads = STATUS_TABLE[state.status][Expire if id(transition) in by_time else type(command)]
        assert transition.state.status in leads
        state = transition.state


CHANGES_BUDGETS = (Adjust, Reopen, UpdateParticipant)


def _check_hourglass(before: Session, after: Session, decision: engine.CommandDecision, command: Command) -> None:
    if isinstance(before.rules.clock, Hourglass) and not (isinstance(command, CHANGES_BUDGETS) and decision.own):
        assert sum(p.remaining_ms for p in before.participants) == sum(p.remaining_ms for p in after.participants)


NEVER_NULL = (
    "increment_ms",
    "max_time_ms",
    "extend_on_switch_ms",
    "pause_budget",
    "group_id",
    "clock",
    "reading",
    "total_time_ms",
)


def _check_document(state: Session) -> bytes:
    """Check that the document parses to the same state, and that the sums in the document are right."""
    document = render_session(state)
    # So a rendered parsed session has the same bytes, because the bytes depend only on the state.
    assert parse_session(document, state.deleted) == state
    shown = orjson.loads(document)
    for each in (shown, *shown["participants"], *shown["groups"]):
        assert each["total_time_ms"] == each["time_used_ms"] + (each["time_remaining_ms"] or 0)
        assert all(each[name] is not None for name in NEVER_NULL if name in each)
    assert sum(p["is_active"] for p in shown["participants"]) == (
        state.active_position is not None and state.status is not Status.PENDING
    )
    if state.rules.sync_mode is SyncMode.PER_PARTICIPANT:
        assert shown["time_remaining_ms"] == sum(p.remaining_ms for p in state.participants)
    return document


def test_random_histories_reach_every_mode_event_and_refusal() -> None:
    """Check that the histories contain all modes, systems, events and refusals, because a law is checked only there."""
    seen: Counter[str] = Counter()
    dice = random.Random(1)
    for _ in range(4_000):
        choices = Bytes(dice.randbytes(72))
        spec = draw_creation(choices)
        state, now_ms = creation.create(spec, "s", "e", T0).state, T0
        past = Past({state.version: state})
        seen[spec.sync_mode] += 1
        seen[state.rules.clock.name] += 1
        for wait_ms, command, precondition in commands(choices, 12, spec.plan):
            now_ms += wait_ms
            command = past.with_facts(command, state)
            decision = engine.apply(state, command, now_ms, precondition)
            for transition in decision.all_transitions:
                seen[transition.event.type] += 1
                seen[f"{state.status} {transition.state.status}"] += 1
                seen["hold"] += is_held(transition.state)
                seen["named plan" if names_participants(transition.state) else "rotation plan"] += bool(spec.plan)
                seen["nobody's item"] += bool(spec.plan) and transition.state.active_position is None
                seen["extended"] += (transition.state.extensions or Extensions()).count > 0
                past.add(state, transition)
                state = transition.state
            if decision.refusal is not None:
                seen[decision.refusal.code] += 1
            if decision.expired_participant_id is not None:
                seen["consumed"] += 1
    assert {"named plan", "rotation plan", "nobody's item", "PLAN_ITEM_NOT_FOUND"} <= seen.keys()
    never = {EventType.SESSION_CREATED, EventType.SESSION_RECOVERED, EventType.SESSION_IMPORTED}
    never.add(EventType.SESSION_RECORDED)
    assert {kind for kind in EventType if kind not in never | INDIVIDUAL_EVENTS} <= seen.keys()
    assert set(TURN_MODES) <= seen.keys()
    changes = {f"{a} {b}" for a, leads in STATUS_TABLE.items() for bs in leads.values() for b in bs}
    assert changes - seen.keys() <= {"pending completed"}
    assert {
        "consumed",
        "NOT_ACTIVE_PARTICIPANT",
        "PARTICIPANT_EXPIRED",
        "CONFLICT",
        "SESSION_NOT_FOUND",
        "TURN_OVER",
        "CANNOT_UNDO",
    } <= seen.keys()
