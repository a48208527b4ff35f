"""Adjusting, joining and leaving, metadata: what changes a session besides its turns."""

from dataclasses import replace

import pytest

from synckairos.clock.clock_systems import Byoyomi, ClockReading, ClockSystem, Hourglass, PerMove
from synckairos.clock.commands import AddParticipant, Adjust, Create, NewParticipant, UpdateMetadata
from tests.unit.clock.script import T0, play, spec

GROUPS = "A/x B/y C/x"


@pytest.mark.parametrize(
    ("mode", "script", "lines", "face"),
    [
        ("per_participant", "10 adjust+5", ["10 time_adjusted"], "running *A 55 B 65 C 65"),
        ("per_participant", "10 adjust+5:A", ["10 time_adjusted A"], "running *A 55 B 60 C 60"),
        ("per_participant", "10 adjust-5:B,C", ["10 time_adjusted"], "running *A 50 B 55 C 55"),
        ("per_participant", "10 adjust+5:/x", ["10 time_adjusted /x"], "running *A 55 B 60 C 65"),
        ("per_participant", "10 adjust+5:B,Z", ["10 !PARTICIPANT_NOT_FOUND"], "running *A 60 B 60 C 60"),
        ("per_participant", "10 adjust+5:/q", ["10 !VALIDATION_ERROR"], "running *A 60 B 60 C 60"),
        ("per_participant", "10 adjust-50:A", ["10 time_adjusted A", "10 expired A"], "expired A 0x B 60 C 60"),
        ("per_participant", "10 adjust-99:B", ["10 time_adjusted B"], "running *A 50 B 0 C 60"),
        ("per_participant", "10 adjust-49:A", ["10 time_adjusted A"], "running *A 1 B 60 C 60"),
        ("per_participant", "10 pause; 20 adjust+5:A", ["10 paused A", "20 time_adjusted A"], "paused *A 55 B 60 C 60"),
        ("per_cycle", "10 adjust+5", ["10 time_adjusted"], "running *A 55"),
        ("per_cycle", "10 adjust+5; 11 switch", ["10 time_adjusted", "11 cycle_switched A"], "running *B 60"),
        ("per_cycle", "10 adjust-99", ["10 time_adjusted", "10 cycle_expired A"], "running *B 60"),
        ("per_cycle", "10 adjust+5:A", ["10 !VALIDATION_ERROR"], "running *A 60"),
        ("per_group", "10 adjust+5", ["10 time_adjusted"], "running *x 55 y 65"),
        ("per_group", "10 adjust+5:/y", ["10 time_adjusted /y"], "running *x 50 y 65"),
        ("per_group", "10 adjust-50:/x", ["10 time_adjusted /x", "10 expired A"], "expired x 0x y 60"),
        ("per_group", "10 adjust+5:A", ["10 !VALIDATION_ERROR"], "running *x 60 y 60"),
        ("per_group", "10 adjust+5:/q", ["10 !VALIDATION_ERROR"], "running *x 60 y 60"),
        ("global", "10 adjust+5", ["10 time_adjusted"], "running *A 55"),
        ("global", "10 adjust-50", ["10 time_adjusted", "10 expired A"], "expired *- 0"),
        ("global", "10 adjust+5:/x", ["10 !VALIDATION_ERROR"], "running *A 60"),
        ("count_up", "10 adjust+5", ["10 time_adjusted"], "running *A 55"),
        ("count_up", "10 adjust+5:A", ["10 !VALIDATION_ERROR"], "running *A 60"),
    ],
)
def test_adjusting(mode: str, script: str, lines: list[str], face: str) -> None:
    session = play(spec(mode, GROUPS), f"0 start; {script}")
    assert session.lines[1:] == lines
    assert session.face == face


def test_adjusting_everyone_is_one_version() -> None:
    people = tuple(NewParticipant(f"{n}", total_time_ms=60_000) for n in range(1_000))
    creation = spec("per_participant", "A")
    session = play(replace(creation, participants=people), "0 start; 1 adjust+300")
    assert session.state.version == 3
    assert {p.remaining_ms for p in session.state.participants} == {360_000, 359_000}


@pytest.mark.parametrize(
    ("mode", "script"),
    [
        ("per_participant", "10 adjust-99:B; 11 adjust-1:B"),
        ("per_group", "10 adjust-99:/y; 11 adjust-1:/y"),
    ],
)
def test_adjusting_nothing_is_no_version(mode: str, script: str) -> None:
    session = play(spec(mode, GROUPS), f"0 start; {script}")
    assert session.state.version == 2 + script.count(";")
    assert not any("!" in line for line in session.lines)
    state = session.state
    decision = session.do(T0 + 12_000, Adjust(5_000, ("B",) if mode == "per_participant" else None, "x"))
    assert decision.refusal is None
    assert (session.state is state) == (mode == "per_participant"), "B is not in x"


def test_adjusting_needs_a_limit() -> None:
    session = play(spec("count_up", max_time_ms=None), "0 start; 1 adjust+5")
    assert session.lines[-1] == "1 !VALIDATION_ERROR"


def test_adjusting_moves_the_anchor() -> None:
    state = play(spec("per_participant"), "0 start; 10 adjust+5:B").state
    assert state.anchor_ms == T0 + 10_000
    assert state.participants[0].used_ms == state.turn.used_ms == state.used_ms == 10_000


def test_a_debt_from_overtime_is_paid_by_added_time_and_not_wiped() -> None:
    creation = spec("per_participant", "A B", "overtime")
    assert play(creation, "0 start; 70 adjust+4:A").face == "running *A -6 B 60"
    assert play(creation, "0 start; 70 adjust-4:A; 70 pause").face == "paused *A -10 B 60"
    assert play(creation, "0 start; 70 adjust+15:A").face == "running *A 5 B 60"
    assert play(spec("global", "A", "overtime"), "0 start; 70 adjust+4").face == "running *A -6"


def test_time_brings_back_who_ran_out() -> None:
    session = play(
        spec("per_participant", on_timeout="advance"), "0 start; 60 time; 61 adjust+9:A; 62 switch; 63 switch"
    )
    assert session.face == "running *A 9 B 58 C 59"
    groups = play(spec("per_group", GROUPS, "advance"), "0 start; 60 time; 61 adjust+9:/x; 62 switch")
    assert groups.face == "running *x 9 y 58"


def test_taking_time_brings_nobody_back() -> None:
    session = play(
        spec("per_participant", on_timeout="advance"), "0 start; 60 time; 61 adjust-9:A; 62 switch; 63 switch"
    )
    assert session.face == "running A 0x *B 58 C 59"
    groups = play(spec("per_group", "A/x B/y", "pause"), "0 start; 60 time; 61 adjust-9:/x; 62 switch; 63 switch>A")
    assert groups.lines[-1] == "63 !PARTICIPANT_EXPIRED"


def test_adjusting_before_the_start() -> None:
    session = play(spec("per_cycle"), "0 adjust+5; 1 start; 66 time")
    assert session.lines == ["0 time_adjusted", "1 started A", "66 cycle_expired A"]
    at_zero = play(spec("per_participant"), "0 adjust-60; 1 start")
    assert at_zero.lines == ["0 time_adjusted", "1 started A", "1 expired A"]


# -- joining and leaving ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "script", "lines", "face"),
    [
        ("per_participant", "10 join:D", ["10 participant_added D"], "running *A 60 B 60 C 60 D 60"),
        ("per_participant", "10 join:A", ["10 !PARTICIPANT_EXISTS"], "running *A 60 B 60 C 60"),
        ("per_participant", "10 join:D#1", ["10 !VALIDATION_ERROR"], "running *A 60 B 60 C 60"),
        ("per_participant", "10 leave:Z", ["10 !PARTICIPANT_NOT_FOUND"], "running *A 60 B 60 C 60"),
        ("per_participant", "10 leave:A", ["10 participant_removed A"], "running *B 60 C 60"),
        ("per_participant", "10 leave:B", ["10 participant_removed B"], "running *A 60 C 60"),
        (
            "per_participant",
            "10 switch; 15 leave:A; 20 switch",
            ["10 cycle_switched A", "15 participant_removed A", "20 cycle_switched B"],
            "running B 50 *C 60",
        ),
        (
            "per_participant",
            "10 switch; 11 switch; 15 leave:C",
            ["10 cycle_switched A", "11 cycle_switched B", "15 participant_removed C"],
            "running *A 50 B 59",
        ),
        (
            "per_participant",
            "10 pause; 20 leave:A; 30 resume; 31 switch",
            ["10 paused A", "20 participant_removed A", "30 resumed B", "31 cycle_switched B"],
            "running B 59 *C 60",
        ),
        ("per_cycle", "10 leave:A", ["10 participant_removed A"], "running *B 60"),
        ("per_cycle", "10 leave:B", ["10 participant_removed B"], "running *A 60"),
        ("per_group", "10 leave:A", ["10 participant_removed A"], "running x 50 *y 60"),
        ("per_group", "10 join:D/x", ["10 participant_added D"], "running *x 60 y 60"),
        ("per_group", "10 join:D/z", ["10 participant_added D"], "running *x 60 y 60 z 60"),
        ("per_group", "10 join:D", ["10 !VALIDATION_ERROR"], "running *x 60 y 60"),
        ("global", "10 leave:A", ["10 participant_removed A"], "running *B 50"),
        ("global", "10 leave:B", ["10 participant_removed B"], "running *A 60"),
        ("count_up", "10 leave:A", ["10 participant_removed A"], "running *B 50"),
    ],
)
def test_joining_and_leaving(mode: str, script: str, lines: list[str], face: str) -> None:
    session = play(spec(mode, GROUPS if mode == "per_group" else "A B C"), f"0 start; {script}")
    assert session.lines[1:] == lines
    assert session.face == face


@pytest.mark.parametrize(("active", "after"), [("A", "ABDC"), ("B", "BDCA"), ("C", "CABD")])
def test_the_rotation_goes_on_in_index_order(active: str, after: str) -> None:
    creation = spec("per_participant", active_participant_id=active)
    spread = tuple(replace(p, index=10 * at) for at, p in enumerate(creation.participants))
    session = play(
        replace(creation, participants=spread), "0 start; 1 join:D#15; 2 switch; 3 switch; 4 switch; 5 switch"
    )
    ended = [t.event.participant_id for t in session.transitions if t.event.type == "cycle_switched"]
    assert "".join(map(str, ended)) == after
    assert [p.index for p in session.state.participants] == [0, 10, 15, 20]


def test_who_names_no_place_has_the_one_after_the_last() -> None:
    places = [p.index for p in play(spec("global"), "0 join:D#9; 1 join:E").state.participants]
    assert places == [0, 1, 2, 9, 10]
    assert [p.index for p in play(spec("global", ""), "0 join:D; 1 join:E").state.participants] == [0, 1]


@pytest.mark.parametrize(
    ("creation", "seconds"),
    [
        (spec("global"), 40),
        (spec("global", on_timeout="overtime", total_time_ms=15_000), 0),
        (spec("count_up"), 40),
        (spec("count_up", max_time_ms=None), 0),
        (spec("per_cycle"), 0),
    ],
)
def test_who_joins_without_a_share_has_what_is_left_for_all(creation: Create, seconds: int) -> None:
    session = play(creation, "0 start; 20 switch")
    session.do(T0 + 25_000, AddParticipant(NewParticipant("D")))
    assert session.remaining("D") == seconds


def test_who_joins_without_a_budget_where_the_clock_needs_none_begins_in_its_period() -> None:
    session = play(spec("per_participant", clock=Byoyomi(2, 10_000)), "0 start")
    session.do(T0, AddParticipant(NewParticipant("D")))
    joined = session.state.participants[3]
    assert (joined.remaining_ms, joined.reading) == (10_000, ClockReading(phase="overtime", periods_left=2))
    members = play(spec("per_group", GROUPS), "0 start")
    members.do(T0, AddParticipant(NewParticipant("D", group_id="x")))
    assert (members.remaining("D"), members.remaining("/x")) == (0, 60)


def test_time_for_who_had_lost_every_period_is_a_last_one() -> None:
    session = play(spec("per_participant", "A B", "pause", clock=Byoyomi(2, 10_000)), "0 start; 81 time; 82 adjust+5:A")
    assert session.state.participants[0].reading == ClockReading(phase="overtime", periods_left=1)
    assert session.remaining("A") == 5


@pytest.mark.parametrize("leaver", ["A", "B", "C", "D"])
@pytest.mark.parametrize("active", ["A", "B", "C", "D"])
def test_whoever_leaves_the_turn_stays_or_passes_to_the_next(active: str, leaver: str) -> None:
    session = play(spec("per_participant", "A B C D", active_participant_id=active), f"0 start; 1 leave:{leaver}")
    now = session.state.active_participant
    following = {"A": "B", "B": "C", "C": "D", "D": "A"}
    assert now is not None
    assert now.participant_id == (following[active] if leaver == active else active)
    assert session.state.anchor_ms == T0 + (1_000 if leaver == active else 0)


def test_leaving_skips_who_ran_out() -> None:
    session = play(spec("per_participant", "A B C", "advance"), "0 start; 10 switch; 70 time; 75 leave:C")
    assert session.face == "running *A 50 B 0x"


@pytest.mark.parametrize("mode", ["per_participant", "per_cycle", "per_group", "count_up"])
def test_the_last_one_stays(mode: str) -> None:
    session = play(spec(mode, "A/x"), "0 start; 1 leave:A")
    assert session.lines[-1] == "1 !INVALID_STATE_TRANSITION"


def test_the_last_one_may_leave_a_global_session() -> None:
    session = play(spec("global", "A"), "0 start; 1 leave:A; 60 time")
    assert session.lines == ["0 started A", "1 participant_removed A", "60 expired"]


def test_where_nobody_has_time_left_the_leavers_turn_ends_the_session() -> None:
    session = play(spec("per_participant", "A B", "advance"), "0 start; 60 time; 70 leave:B")
    assert session.lines[1:] == ["60 participant_expired A", "70 participant_removed B", "70 expired A"]
    paused = play(spec("per_participant", "A B", "advance"), "0 start; 60 time; 65 pause; 70 leave:B; 80 resume")
    assert paused.lines[3:] == ["70 participant_removed B", "80 resumed A", "80 expired A"]


def test_leaving_the_pause_at_zero() -> None:
    session = play(spec("per_participant", "A B", "pause"), "0 start; 61 time; 65 leave:A; 70 resume; 75 switch")
    assert session.face == "running *B 55"


def test_the_designated_one_may_leave_before_the_start() -> None:
    assert play(spec("per_participant", active_participant_id="B"), "0 leave:B; 1 start").lines[-1] == "1 started A"
    assert play(spec("per_participant", active_participant_id="B"), "0 leave:A; 1 start").lines[-1] == "1 started B"
    assert play(spec("per_participant", active_participant_id="B"), "0 join:D; 1 start").lines[-1] == "1 started B"


def test_a_groups_budget_outlives_its_members() -> None:
    session = play(spec("per_group", "A/x=10 B/y=20 C/x=30", groups=()), "0 start; 5 leave:C; 6 leave:A")
    assert session.face == "running x 34 *y 20"


def test_a_groups_turn_ends_for_its_clock_when_the_one_whose_turn_it_is_leaves() -> None:
    creation = spec("per_group", "A/x B/y C/x", clock=PerMove(20_000))
    session = play(creation, "0 start; 15 leave:A")
    assert session.face == "running x 20 *y 20"


@pytest.mark.parametrize("text", ["join:D", "leave:A"])
def test_an_hourglass_keeps_its_two(text: str) -> None:
    session = play(spec("per_participant", "A B", clock=Hourglass()), f"0 start; 1 {text}")
    assert session.lines[-1] in ("1 !VALIDATION_ERROR", "1 !INVALID_STATE_TRANSITION")
    assert session.state.version == 2


@pytest.mark.parametrize(("clock", "own"), [(Hourglass(), PerMove(5_000)), (PerMove(5_000), Hourglass())])
def test_nobody_joins_an_hourglass_by_another_clock(clock: ClockSystem, own: ClockSystem) -> None:
    session = play(spec("per_participant", "A B", clock=clock), "0 start")
    refusal = session.do(T0 + 1_000, AddParticipant(NewParticipant("D", total_time_ms=5_000, clock=own))).refusal
    assert refusal is not None
    assert refusal.code == "VALIDATION_ERROR"


def test_a_thousand_is_the_most() -> None:
    creation = spec("global", "")
    people = tuple(NewParticipant(f"{n}") for n in range(999))
    session = play(replace(creation, participants=people), "0 start; 1 join:Y; 2 join:Z")
    assert session.lines[1:] == ["1 participant_added Y", "2 !VALIDATION_ERROR"]


def test_a_newcomer_needs_a_budget_where_its_clock_gives_none() -> None:
    bare = AddParticipant(NewParticipant("D"))
    for creation, is_fine in (
        (spec("per_participant"), False),
        (spec("per_participant", clock=PerMove(5_000)), True),
        (spec("per_participant", clock=Byoyomi(3, 5_000)), True),
        (spec("per_group", GROUPS), False),
        (spec("global"), True),
        (spec("count_up"), True),
        (spec("per_cycle"), True),
    ):
        session = play(creation, "0 start; 3 pause")
        assert (session.do(T0 + 11_000, bare).refusal is None) == is_fine
    assert (
        play(spec("global"), "0 start; 10 pause").do(T0 + 11_000, bare).own[0].state.participants[3].remaining_ms
        == 50_000
    )


def test_a_newcomers_own_clock() -> None:
    own = AddParticipant(NewParticipant("D", clock=PerMove(5_000)))
    session = play(spec("per_participant"), "0 start; 10 pause")
    session.do(T0 + 11_000, own)
    assert session.remaining("D") == 5
    elsewhere = play(spec("per_cycle"), "0 start")
    refusal = elsewhere.do(T0 + 1_000, own).refusal
    assert refusal is not None
    assert refusal.code == "VALIDATION_ERROR"


# -- metadata ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        # The examples of RFC 7396, appendix A, that are objects on both sides.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"a": 1}, {"a": 1.0}, {"a": 1.0}),
        ({"a": [0]}, {"a": [False]}, {"a": [False]}),
    ],
)
def test_merging(target: dict[str, object], patch: dict[str, object], merged: dict[str, object]) -> None:
    session = play(spec("global", metadata=target), "0 start")
    decision = session.do(T0 + 1, UpdateMetadata(patch))
    assert decision.refusal is None
    assert session.state.metadata == merged
    assert [type(value) for value in session.state.metadata.values()] == [type(value) for value in merged.values()]
    assert session.state.version == 3
    again = session.do(T0 + 2, UpdateMetadata(patch))
    assert again == type(again)()


@pytest.mark.parametrize("patch", [{}, {"a": {"b": [1]}}, {"z": None}, {"a": {}}, {"a": {"q": None}}])
def test_no_change_no_version(patch: dict[str, object]) -> None:
    session = play(spec("global", metadata={"a": {"b": [1]}}), "0 start")
    decision = session.do(T0 + 1, UpdateMetadata(patch))
    assert (decision.transitions, decision.refusal) == ((), None)


def test_metadata_leaves_the_clock_alone() -> None:
    session = play(spec("per_participant"), '0 start; 10 merge:{"a":1}')
    assert session.lines[-1] == "10 metadata_updated"
    assert session.state.anchor_ms == T0
    assert session.state.updated_at_ms == T0 + 10_000
    assert session.face == "running *A 60 B 60 C 60"


def test_small_patches_dont_add_up_to_a_large_whole() -> None:
    session = play(spec("global"), "0 start")
    for n in range(4):
        session.do(T0 + n, UpdateMetadata({f"{n}": "é" * 5_000}))
    assert session.lines[-1] == "0.003 !VALIDATION_ERROR"
    assert len(session.state.metadata) == 3


@pytest.mark.parametrize(("more", "is_refused"), [(0, False), (1, True)])
def test_patches_add_up_to_32_kib_of_json_and_no_more(more: int, is_refused: bool) -> None:
    session = play(spec("global", "A"), "0 start")
    session.do(T0 + 1, UpdateMetadata({"a": "x" * 16_384}))
    rest = 32 * 1024 - len('{"a":"","b":""}') - 16_384 + more
    decision = session.do(T0 + 2, UpdateMetadata({"b": "x" * rest}))
    assert (decision.refusal is not None) == is_refused
