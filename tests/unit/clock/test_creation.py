"""Creation of a session: the given values, and the values that the mode implies."""

import pytest

from synckairos.clock import creation
from synckairos.clock.clock_systems import SuddenDeath
from synckairos.clock.commands import Create, NewGroup, NewParticipant
from synckairos.clock.model import MAX_CYCLES, OnTimeout, Rules, SyncMode
from tests.unit.clock.script import T0, open_session, play, spec


@pytest.mark.parametrize(
    ("mode", "on_timeout"),
    [
        ("per_participant", "expire"),
        ("per_cycle", "advance"),
        ("per_group", "expire"),
        ("global", "expire"),
        ("count_up", "expire"),
    ],
)
def test_on_timeout_default_follows_from_the_mode(mode: str, on_timeout: str) -> None:
    assert open_session(spec(mode, "A/x")).rules.on_timeout == on_timeout
    assert open_session(spec(mode, "A/x", "pause")).rules.on_timeout is OnTimeout.PAUSE


def test_rules_have_no_features_by_default() -> None:
    rules = open_session(spec("per_participant", "A=30 B", total_time_ms=None)).rules
    assert rules == Rules("s", SyncMode.PER_PARTICIPANT, OnTimeout.EXPIRE, T0, SuddenDeath())


@pytest.mark.parametrize(
    ("creation", "face"),
    [
        (spec("per_participant", "A=30 B"), "pending A 30 B 60"),
        (spec("per_participant", "A=30 B=40", total_time_ms=None), "pending A 30 B 40"),
        (spec("per_cycle"), "pending *- 60"),
        (spec("global"), "pending *- 60"),
        (spec("global", total_time_ms=None, time_per_cycle_ms=9_000), "pending *- 9"),
        (spec("count_up"), "pending *- 60"),
        (spec("count_up", max_time_ms=None), "pending"),
        (spec("per_group", "A/x=10 B/x", groups=()), "pending x 10"),
        (spec("per_group", "A/x B/y"), "pending x 60 y 60"),
        (spec("per_group", "A/x=10 B/y=20 C/x=30", groups=()), "pending x 40 y 20"),
        (spec("per_group", "A/x=10 B/y=20 C/x=30", groups=(NewGroup("y", 5_000), NewGroup("x"))), "pending y 5 x 40"),
    ],
)
def test_creation_opens_the_budgets_that_the_mode_needs(creation: Create, face: str) -> None:
    assert play(creation, "").face == face


def test_max_cycles_has_a_default_only_in_per_cycle() -> None:
    assert open_session(spec("per_cycle")).rules.max_cycles == MAX_CYCLES == 1_000
    assert open_session(spec("per_cycle", max_cycles=7)).rules.max_cycles == 7
    assert open_session(spec("global")).rules.max_cycles is None


def test_warnings_are_sorted_without_duplicates() -> None:
    rules = open_session(spec("global", warnings_ms=(5, 60_000, 5, 10_000))).rules
    assert rules.warnings_ms == (60_000, 10_000, 5)


def test_participant_without_an_index_gets_its_position_in_the_list() -> None:
    people = (NewParticipant("A", index=5), NewParticipant("B"), NewParticipant("C", index=0))
    state = open_session(Create(SyncMode.GLOBAL, people, total_time_ms=60_000))
    assert [(p.participant_id, p.index) for p in state.participants] == [("C", 0), ("B", 1), ("A", 5)]


def test_creation_makes_version_1_of_a_pending_session() -> None:
    created = creation.create(spec("global", metadata={"a": 1}), "s", "e", T0)
    assert created.event.type == "session_created"
    assert (created.event.participant_id, created.event.remaining_ms) == (None, 60_000)
    state = created.state
    assert (state.session_id, state.epoch, state.version) == ("s", "e", 1)
    assert state.updated_at_ms == state.rules.created_at_ms == T0
    assert state.metadata == {"a": 1}
    assert state.active_position is None


def test_shares_in_modes_without_own_budgets_are_recorded() -> None:
    for mode, seconds in (("global", 60), ("count_up", 60), ("per_cycle", 0), ("per_group", 60)):
        assert play(spec(mode, "A/x"), "").remaining("A") == seconds
    assert play(spec("count_up", "A", max_time_ms=None), "").remaining("A") == 0
    session = play(spec("global", "A=20 B"), "0 start; 30 switch")
    assert (session.remaining("A"), session.remaining("B")) == (0, 60)
    groups = play(spec("global", "A/x=20 B/x"), "0 start; 30 switch")
    assert groups.remaining("/x") == 50
    assert groups.state.groups[0].used_ms == 30_000
    late = play(spec("per_group", "A/x B/y"), "0 start; 30 switch; 50 switch; 60 complete")
    assert [group.used_ms for group in late.state.groups] == [40_000, 20_000]
    assert (late.remaining("A"), late.remaining("B")) == (20, 40)


def test_designated_participant_is_in_the_state_but_not_in_the_creation_event() -> None:
    state = open_session(spec("global", active_participant_id="B"))
    assert state.active_position == 1
    assert creation.create(spec("global", active_participant_id="B"), "s", "e", T0).event.participant_id is None
