"""v2 states as sessions: the clock is the same to the millisecond, and a fault in a state has its path."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synckairos.clock import creation, engine
from synckairos.clock.clock_systems import Fischer, SuddenDeath
from synckairos.clock.commands import Complete, Expire, Resume, Start, Switch
from synckairos.clock.importing import import_session
from synckairos.clock.model import TURN_MODES, Session, Status, SyncMode
from synckairos.clock.timing import deadline_at_ms
from synckairos.wire.body_parser import parse_body
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.session_json import render_session
from synckairos.wire.session_parser import parse_session
from synckairos.wire.v2_state_parser import (
    V2_GENERATION,
    V2StateMalformed,
    epoch_of_v2_session,
    is_v2_epoch,
    parse_v2_session,
)
from tests.fixtures.v2 import product

T0 = 1_750_000_000_000
A, B, C = (f"0198c0de-0000-7000-8000-00000000000{at}" for at in "abc")


def played(*steps: str, gap_ms: int = 2_500, **members: Any) -> product.State:
    """Return the v2 state after some commands of v2, which are `gap_ms` apart."""
    state = product.create(T0, **members)
    for at, step in enumerate(steps, start=1):
        state = getattr(product, step)(state, T0 + at * gap_ms)
    return state


def imported(state: product.State) -> Session:
    return import_session(parse_v2_session(state), "e", 8, 0).state


# -- the clock is the same --------------------------------------------------------------------------------------------


def test_running_v2_session_keeps_its_anchor_budgets_and_cycle_counts() -> None:
    state = played("start", "switch", "switch", increment_ms=1_000)
    session = parse_v2_session(state)
    assert [(p.used_ms, p.remaining_ms, p.cycle_count) for p in session.participants] == [
        (2_500, 58_500, 1),
        (2_500, 58_500, 1),
    ]
    assert (session.active_position, session.status, session.version) == (0, Status.RUNNING, 4)
    assert (session.anchor_ms, session.updated_at_ms) == (T0 + 7_500, T0 + 7_500)
    assert (session.started_at_ms, session.rules.created_at_ms) == (T0 + 2_500, T0)
    assert session.rules.clock == Fischer(1_000)
    assert deadline_at_ms(session) == T0 + 7_500 + 58_500
    assert session.turn.cycles == 2


@pytest.mark.parametrize(
    ("steps", "status", "anchor_ms", "updated_ms", "active"),
    [
        ((), Status.PENDING, None, T0, None),
        (("start",), Status.RUNNING, T0 + 2_500, T0 + 2_500, 0),
        (("start", "pause"), Status.PAUSED, None, T0 + 5_001, 0),
        (("start", "pause", "resume"), Status.RUNNING, T0 + 7_500, T0 + 7_500, 0),
        (("start", "complete"), Status.COMPLETED, None, T0 + 5_000, None),
    ],
)
def test_v2_session_in_each_status_becomes_a_session_in_the_same_status(
    steps: tuple[str, ...], status: Status, anchor_ms: int | None, updated_ms: int, active: int | None
) -> None:
    session = parse_v2_session(played(*steps))
    assert (session.status, session.anchor_ms, session.updated_at_ms) == (status, anchor_ms, updated_ms)
    assert session.active_position == active
    assert [pause.reason for pause in session.pauses] == (["manual"] if status is Status.PAUSED else [])
    assert (session.completed_at_ms is not None) == status.is_final


def budgets(mode: str, **members: Any) -> tuple[int | None, list[int]]:
    """Return the session's own budget and the budgets of its groups, for a running v2 session after one turn."""
    session = parse_v2_session(played("start", "switch", sync_mode=mode, **members))
    return session.remaining_ms, [group.remaining_ms for group in session.groups]


def test_v2_session_in_each_mode_has_the_budget_of_a_new_session_minus_the_used_time() -> None:
    assert budgets("per_participant") == (None, [])
    assert budgets("global", total_time_ms=90_000) == (87_500, [])
    assert budgets("global", total_time_ms=2_000) == (0, [])
    assert budgets("count_up") == (None, [])
    assert budgets("count_up", max_time_ms=30_000) == (27_500, [])
    assert budgets("per_cycle", time_per_cycle_ms=10_000) == (10_000, [])
    assert budgets("per_cycle") == (120_000, [])


def test_groups_have_the_sums_of_their_participants() -> None:
    state = played("start", "switch", sync_mode="per_group", budgets_ms=[60_000, 50_000, 40_000])
    for member, group_id in zip(state["participants"], (A, B, A), strict=True):
        member["group_id"] = group_id
    session = parse_v2_session(state)
    found = [(group.group_id, group.remaining_ms, group.used_ms) for group in session.groups]
    assert found == [(A, 57_500 + 40_000, 2_500), (B, 50_000, 0)]


def test_participants_without_a_group_keep_their_own_budgets() -> None:
    session = parse_v2_session(played("start", sync_mode="per_group"))
    assert [group.group_id for group in session.groups] == [each.participant_id for each in session.participants]
    assert [group.remaining_ms for group in session.groups] == [60_000, 60_000]


@pytest.mark.parametrize("mode", TURN_MODES)
def test_new_session_of_v2_is_the_session_that_the_same_body_creates(mode: SyncMode) -> None:
    state = product.create(T0, sync_mode=str(mode), increment_ms=500, time_per_cycle_ms=5_000, max_time_ms=90_000)
    if mode is SyncMode.PER_GROUP:
        for each, group_id in zip(state["participants"], (A, B), strict=True):
            each["group_id"] = group_id
    asked = ("participant_id", "participant_index", "total_time_ms", "group_id")
    body = {
        "sync_mode": str(mode),
        "participants": [{name: each[name] for name in asked if name in each} for each in state["participants"]],
        **{name: state[name] for name in ("total_time_ms", "time_per_cycle_ms", "increment_ms", "max_time_ms")},
    }
    created = engine_create(body, state["session_id"])
    assert imported(state | {"version": 1}).participants == created.participants
    assert imported(state).groups == created.groups
    assert imported(state).rules == created.rules
    assert imported(state).remaining_ms == created.remaining_ms


def engine_create(body: dict[str, Any], session_id: str) -> Session:

    return creation.create(parse_body(CreateSession, body).to_create(), session_id, "e", T0).state


def test_rotation_of_a_v2_session_continues_in_the_order_of_the_array() -> None:
    state = played("start", budgets_ms=[60_000] * 3)
    for each, index in zip(state["participants"], (2, 0, 1), strict=True):
        each["participant_index"] = index
    after = engine.apply(imported(state), Switch(), T0 + 9_000).own[0].state
    active = after.active_participant
    assert active is not None
    assert active.participant_id == product.switch(state, T0 + 9_000)["active_participant_id"]


def test_clock_that_passed_its_zero_in_v2_expires_at_that_instant() -> None:
    state = played("start", budgets_ms=[10_000, 10_000])
    decision = engine.apply(imported(state), Expire(), T0 + 60_000)
    assert [(each.event.type, each.event.at_ms) for each in decision.overdue] == [("session_expired", T0 + 12_500)]


def test_v2_session_in_per_cycle_gets_a_thousand_more_cycles() -> None:
    session = parse_v2_session(played("start", "switch", "switch", sync_mode="per_cycle", time_per_cycle_ms=60_000))
    assert session.rules.max_cycles == 1_002


def test_members_that_v2_returns_are_kept() -> None:
    state = played("start", time_per_cycle_ms=5_000, max_time_ms=90_000, metadata={"round": 1})
    session = parse_v2_session(state)
    rules = session.rules
    assert (rules.increment_ms, rules.time_per_cycle_ms, rules.max_time_ms) == (0, 5_000, 90_000)
    assert (rules.clock, session.metadata) == (SuddenDeath(), {"round": 1})


COMMANDS: dict[Status, Any] = {Status.PENDING: Start(), Status.RUNNING: Switch(), Status.PAUSED: Resume()}


@given(
    mode=st.sampled_from(TURN_MODES),
    steps=st.lists(st.sampled_from(["switch", "pause"]), max_size=6),
    gap_ms=st.integers(1, 9_000),
    increment_ms=st.integers(0, 2_000),
    wait_ms=st.integers(0, 5_000),
)
def test_command_after_an_import_charges_the_same_time_as_in_v2(
    mode: SyncMode, steps: list[str], gap_ms: int, increment_ms: int, wait_ms: int
) -> None:
    """Check that a command here charges the same time as in v2, and that documents are parsed without a change."""
    state = product.start(
        product.create(T0, sync_mode=str(mode), increment_ms=increment_ms, time_per_cycle_ms=600_000), T0
    )
    now_ms = T0
    for step in steps:
        now_ms += gap_ms
        if state["status"] == "paused":
            step = "resume"
        state = getattr(product, step)(state, now_ms)
    session = imported(state)
    assert parse_session(render_session(session)) == session
    assert session.used_ms == sum(each["time_used_ms"] for each in state["participants"])
    now_ms += wait_ms
    decision = engine.apply(session, COMMANDS[session.status], now_ms)
    assert decision.refusal is None
    theirs = product.resume(state, now_ms) if session.status is Status.PAUSED else product.switch(state, now_ms)
    ours = decision.all_transitions[-1].state
    if not decision.overdue and not decision.follow_up:
        assert [p.used_ms for p in ours.participants] == [each["time_used_ms"] for each in theirs["participants"]]
        if mode is SyncMode.PER_PARTICIPANT:
            expected = [each["total_time_ms"] for each in theirs["participants"]]
            assert [p.remaining_ms for p in ours.participants] == expected


def test_ended_v2_session_stays_ended() -> None:
    session = imported(played("start", "complete"))
    assert engine.apply(session, Complete(), T0 + 9_000).refusal is not None


# -- what cannot be read ----------------------------------------------------------------------------------------------

FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"sync_mode": "blitz"}, "sync_mode: unknown mode 'blitz'"),
    ({"status": "stopped"}, "status: unknown status 'stopped'"),
    ({"session_id": "game-1"}, "session_id: should be a UUID"),
    ({"session_id": None}, "session_id: should be a string"),
    ({"version": 0}, "version: should be an integer from 1"),
    ({"version": "7"}, "version: should be an integer from 1"),
    ({"version": 1.5}, "version: should be an integer from 1"),
    ({"version": True}, "version: should be an integer from 1"),
    ({"created_at": "yesterday"}, "created_at: should be an instant"),
    ({"created_at": 1_750_000_000}, "created_at: should be a string"),
    ({"cycle_started_at": None}, "cycle_started_at: should be a string"),
    ({"participants": None}, "participants: should be an array of objects"),
    ({"participants": [1]}, "participants: should be an array of objects"),
    ({"active_participant_id": None}, "active_participant_id: required while the session is running"),
    ({"active_participant_id": C}, "active_participant_id: should be one of the participants"),
    ({"metadata": [1]}, "metadata: should be an object"),
    ({"metadata": {"x": "y" * 40_000}}, "metadata: should be at most"),
    ({"increment_ms": -1}, "increment_ms: should be an integer from 0"),
]


@pytest.mark.parametrize(("change", "text"), FAULTS)
def test_fault_in_a_v2_state_names_its_path(change: dict[str, Any], text: str) -> None:
    with pytest.raises(V2StateMalformed) as refusal:
        parse_v2_session(played("start") | change)
    assert str(refusal.value).startswith(text)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"participant_id": "p1"}, "participants.1.participant_id: should be a UUID"),
        ({"total_time_ms": -1}, "participants.1.total_time_ms: should be an integer from 0"),
        ({"cycle_count": None}, "participants.1.cycle_count: should be an integer from 0"),
        ({"has_expired": "no"}, "participants.1.has_expired: should be true or false"),
        ({"group_id": "red"}, "participants.1.group_id: should be a UUID"),
    ],
)
def test_fault_of_a_participant_in_a_v2_state_names_its_path(change: dict[str, Any], text: str) -> None:
    state = played("start")
    state["participants"][1] |= change
    with pytest.raises(V2StateMalformed) as refusal:
        parse_v2_session(state)
    assert str(refusal.value) == text


def test_participant_that_is_named_twice_in_different_case_is_refused() -> None:
    state = played("start")
    state["participants"][1]["participant_id"] = state["participants"][0]["participant_id"].upper()
    with pytest.raises(V2StateMalformed, match="named twice"):
        parse_v2_session(state)


@pytest.mark.parametrize("state", [None, [], "x", 1, {}])
def test_json_that_is_not_a_v2_state_is_refused(state: Any) -> None:
    with pytest.raises(V2StateMalformed):
        parse_v2_session(state)


def test_upper_case_ids_become_lower_case() -> None:
    state = played("start", session_id=A.upper())
    for each in state["participants"]:
        each["participant_id"] = each["participant_id"].upper()
    state["active_participant_id"] = state["active_participant_id"].upper()
    session = parse_v2_session(state)
    assert (session.session_id, session.active_position) == (A, 0)


def test_whole_float_is_an_integer_and_negative_used_time_is_zero() -> None:
    state = played("start", version=2.0)
    state["participants"][0]["time_used_ms"] = -3  # two v2 instances measured the time by their own clocks
    session = parse_v2_session(state)
    assert (session.version, session.participants[0].used_ms) == (3, 0)


# -- epochs -----------------------------------------------------------------------------------------------------------


def test_epoch_of_a_v2_session_sorts_before_any_other_epoch() -> None:
    assert is_v2_epoch(epoch_of_v2_session(T0))
    assert epoch_of_v2_session(T0) == epoch_of_v2_session(T0) != epoch_of_v2_session(T0 + 1)
    assert V2_GENERATION < "665000000000"
    assert not is_v2_epoch("66500000ab12cd34ef56")
