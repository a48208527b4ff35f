"""Each clock system with worked examples from the source of its rules, alone and in a session."""

import pytest

from synckairos.clock.budget import Budget, BudgetHolder, ClockReadingDetails
from synckairos.clock.clock_systems import (
    CLOCK_SYSTEMS,
    Bronstein,
    ClockSystem,
    Delay,
    Fischer,
    Hourglass,
    PerMove,
    SuddenDeath,
)
from synckairos.clock.commands import NewParticipant
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.stages import Stage, Stages
from synckairos.clock.timing import deadline_at_ms
from synckairos.frozen_replace import replace
from tests.unit.clock.script import T0, play, spec

MINUTE = 60_000


def main(ms: int, periods: int) -> Budget:
    return Budget(ms, ClockReadingDetails(phase="main", periods_left=periods))


def period(ms: int, periods: int) -> Budget:
    return Budget(ms, ClockReadingDetails(phase="overtime", periods_left=periods))


def stones(ms: int, left: int, phase: str = "overtime") -> Budget:
    return Budget(ms, ClockReadingDetails(phase="main" if phase == "main" else "overtime", moves_left=left))


def stage(ms: int, number: int, left: int | None) -> Budget:
    return Budget(ms, ClockReadingDetails(stage=number, moves_left=left))


BYOYOMI = Byoyomi(3, 30_000)
CANADIAN = Canadian(5, 300_000)
FIDE = Stages((Stage(40, 1_800_000, 30_000), Stage(None, 0, 30_000)))


@pytest.mark.parametrize(
    ("system", "before", "turn_used", "elapsed", "after"),
    [
        (SuddenDeath(), Budget(60_000), 0, 10_000, Budget(50_000)),
        (Fischer(2_000), Budget(60_000), 0, 10_000, Budget(50_000)),
        (Bronstein(5_000), Budget(60_000), 3_000, 10_000, Budget(50_000)),
        # US delay: the free time is used first, then the budget. A pause does not renew the used free time.
        (Delay(5_000), Budget(60_000), 0, 3_000, Budget(60_000)),
        (Delay(5_000), Budget(60_000), 0, 5_000, Budget(60_000)),
        (Delay(5_000), Budget(60_000), 0, 8_000, Budget(57_000)),
        (Delay(5_000), Budget(60_000), 3_000, 8_000, Budget(54_000)),
        (Delay(5_000), Budget(60_000), 9_000, 8_000, Budget(52_000)),
        # Byo-yomi: a period that runs out exactly is lost.
        (BYOYOMI, main(60_000, 3), 0, 59_999, main(1, 3)),
        (BYOYOMI, main(60_000, 3), 0, 60_000, period(30_000, 3)),
        (BYOYOMI, main(60_000, 3), 0, 89_999, period(1, 3)),
        (BYOYOMI, main(60_000, 3), 0, 90_000, period(30_000, 2)),
        (BYOYOMI, main(60_000, 3), 0, 149_999, period(1, 1)),
        (BYOYOMI, main(60_000, 3), 0, 150_000, period(0, 0)),
        (BYOYOMI, period(30_000, 2), 0, 29_999, period(1, 2)),
        (BYOYOMI, period(30_000, 2), 0, 30_000, period(30_000, 1)),
        (BYOYOMI, period(10_000, 2), 20_000, 15_000, period(25_000, 1)),
        (BYOYOMI, period(45_000, 2), 0, 20_000, period(25_000, 2)),
        (BYOYOMI, period(45_000, 1), 0, 10_000, period(35_000, 1)),
        (BYOYOMI, period(30_000, 1), 0, 35_000, period(-5_000, 0)),
        (BYOYOMI, period(-5_000, 0), 0, 1_000, period(-6_000, 0)),
        # Canadian: main time ends within a turn.
        (CANADIAN, stones(60_000, 5, "main"), 0, 59_999, stones(1, 5, "main")),
        (CANADIAN, stones(60_000, 5, "main"), 0, 60_000, stones(300_000, 5)),
        (CANADIAN, stones(60_000, 5, "main"), 0, 100_000, stones(260_000, 5)),
        (CANADIAN, stones(260_000, 3), 0, 60_000, stones(200_000, 3)),
        (PerMove(30_000), Budget(30_000), 0, 10_000, Budget(20_000)),
        (Hourglass(), Budget(60_000), 0, 10_000, Budget(50_000)),
        (FIDE, stage(60_000, 0, 40), 0, 10_000, stage(50_000, 0, 40)),
    ],
)
def test_charge_subtracts_elapsed_time_by_the_rules_of_the_clock_system(
    system: ClockSystem, before: Budget, turn_used: int, elapsed: int, after: Budget
) -> None:
    assert system.charge_elapsed(before, turn_used, elapsed) == after
    assert system.charge_elapsed(before, turn_used, 0) in (before, after)
    # The time to zero falls by exactly the charged time.
    to_zero = system.time_to_zero_ms(before, turn_used)
    assert system.time_to_zero_ms(after, turn_used + elapsed) == to_zero - elapsed


@pytest.mark.parametrize(
    ("system", "before", "turn_used", "to_zero"),
    [
        (SuddenDeath(), Budget(60_000), 0, 60_000),
        (Fischer(2_000), Budget(1_000), 0, 1_000),
        (Bronstein(5_000), Budget(1_000), 0, 1_000),
        (Delay(5_000), Budget(1_000), 0, 6_000),
        (Delay(5_000), Budget(1_000), 4_000, 2_000),
        (Delay(5_000), Budget(1_000), 9_000, 1_000),
        (Delay(5_000), Budget(-1_000), 0, -1_000),
        (BYOYOMI, main(60_000, 3), 0, 150_000),
        (BYOYOMI, period(10_000, 3), 0, 70_000),
        (BYOYOMI, period(10_000, 1), 0, 10_000),
        (BYOYOMI, period(0, 0), 0, 0),
        (CANADIAN, stones(60_000, 5, "main"), 0, 360_000),
        (CANADIAN, stones(60_000, 5), 0, 60_000),
        (PerMove(30_000), Budget(12_000), 0, 12_000),
        (FIDE, stage(60_000, 0, 1), 0, 60_000),
    ],
)
def test_time_to_zero_follows_the_budget(system: ClockSystem, before: Budget, turn_used: int, to_zero: int) -> None:
    assert system.time_to_zero_ms(before, turn_used) == to_zero


@pytest.mark.parametrize(
    ("system", "before", "turn_used", "after"),
    [
        (SuddenDeath(), Budget(50_000), 10_000, Budget(50_000)),
        (Fischer(2_000), Budget(50_000), 10_000, Budget(52_000)),
        (Fischer(2_000, cap_ms=60_000), Budget(59_000), 0, Budget(60_000)),
        (Fischer(2_000, cap_ms=60_000), Budget(58_000), 0, Budget(60_000)),
        (Fischer(2_000, cap_ms=60_000), Budget(57_999), 0, Budget(59_999)),
        (Fischer(2_000, cap_ms=60_000), Budget(75_000), 0, Budget(75_000)),
        # Bronstein gives back the time of the turn, at most the delay. A turn never increases the budget.
        (Bronstein(5_000), Budget(57_000), 3_000, Budget(60_000)),
        (Bronstein(5_000), Budget(55_000), 5_000, Budget(60_000)),
        (Bronstein(5_000), Budget(52_000), 8_000, Budget(57_000)),
        (Delay(5_000), Budget(57_000), 8_000, Budget(57_000)),
        (BYOYOMI, main(10_000, 3), 50_000, main(10_000, 3)),
        (BYOYOMI, period(1, 2), 29_999, period(30_000, 2)),
        (BYOYOMI, period(45_000, 2), 0, period(30_000, 2)),
        (CANADIAN, stones(10_000, 5, "main"), 50_000, stones(10_000, 5, "main")),
        (CANADIAN, stones(200_000, 5), 100_000, stones(200_000, 4)),
        (CANADIAN, stones(10_000, 2), 1_000, stones(10_000, 1)),
        (CANADIAN, stones(10_000, 1), 1_000, stones(300_000, 5)),
        (PerMove(30_000), Budget(1), 29_999, Budget(30_000)),
        (Hourglass(), Budget(50_000), 10_000, Budget(50_000)),
        # Stages: each turn adds the increment; the end of a stage adds its bonus once.
        (FIDE, stage(100_000, 0, 40), 0, stage(130_000, 0, 39)),
        (FIDE, stage(100_000, 0, 2), 0, stage(130_000, 0, 1)),
        (FIDE, stage(100_000, 0, 1), 0, stage(1_930_000, 1, None)),
        (FIDE, stage(100_000, 1, None), 0, stage(130_000, 1, None)),
        (Stages((Stage(1, 5_000, 1_000),)), stage(10_000, 0, 1), 0, stage(16_000, 0, None)),
        (Stages((Stage(1, 5_000, 1_000),)), stage(16_000, 0, None), 0, stage(17_000, 0, None)),
        (Stages((Stage(1, 5_000), Stage(9, 3_000), Stage())), stage(10_000, 0, 1), 0, stage(15_000, 1, 9)),
        (Stages((Stage(1, 5_000), Stage(1, 3_000), Stage())), stage(10_000, 1, 1), 0, stage(13_000, 2, None)),
    ],
)
def test_finished_turn_earns_time_by_the_rules_of_the_clock_system(
    system: ClockSystem, before: Budget, turn_used: int, after: Budget
) -> None:
    left = system.replenish_after_turn(before, turn_used)
    assert Budget(left.remaining_ms, left.reading) == after


@pytest.mark.parametrize("system", [Fischer(2_000), Bronstein(5_000), Delay(5_000), Hourglass(), SuddenDeath()])
@pytest.mark.parametrize("left", [0, -3_000])
def test_flagged_turn_earns_no_time(system: ClockSystem, left: int) -> None:
    assert system.replenish_after_flag(Budget(left)) == Budget(left)


def test_flagged_turn_earns_no_period_move_or_stage() -> None:
    for system, flagged in ((BYOYOMI, period(0, 0)), (CANADIAN, stones(0, 1)), (FIDE, stage(0, 0, 1))):
        assert system.replenish_after_flag(flagged) == flagged
    assert PerMove(30_000).replenish_after_flag(Budget(-1)) == Budget(30_000), "the next turn has its own time"


@pytest.mark.parametrize(
    ("system", "budget", "opened"),
    [
        (SuddenDeath(), 60_000, Budget(60_000)),
        (PerMove(30_000), 60_000, Budget(30_000)),
        (BYOYOMI, 60_000, main(60_000, 3)),
        (BYOYOMI, 0, period(30_000, 3)),
        (CANADIAN, 60_000, stones(60_000, 5, "main")),
        (CANADIAN, 0, stones(300_000, 5)),
        (FIDE, 60_000, stage(60_000, 0, 40)),
    ],
)
def test_open_budget_begins_in_the_first_phase_of_the_clock_system(
    system: ClockSystem, budget: int, opened: Budget
) -> None:
    assert system.make_initial_budget(budget) == opened


@pytest.mark.parametrize(
    ("system", "before", "delta", "after"),
    [
        (SuddenDeath(), Budget(50_000), 5_000, Budget(55_000)),
        (SuddenDeath(), Budget(50_000), -60_000, Budget(0)),
        (SuddenDeath(), Budget(-5_000), 2_000, Budget(-3_000)),
        (SuddenDeath(), Budget(-5_000), -2_000, Budget(-5_000)),
        (SuddenDeath(), Budget(0), -1, Budget(0)),
        (BYOYOMI, main(50_000, 3), 5_000, main(55_000, 3)),
        (BYOYOMI, period(10_000, 2), 5_000, period(15_000, 2)),
        (BYOYOMI, period(10_000, 2), -20_000, period(0, 2)),
        (BYOYOMI, period(0, 0), 5_000, period(5_000, 1)),
        (BYOYOMI, period(-5_000, 0), 5_000, period(0, 0)),
        (BYOYOMI, period(-5_000, 0), 6_000, period(1_000, 1)),
        (CANADIAN, stones(0, 2), 5_000, stones(5_000, 2)),
        (FIDE, stage(0, 0, 3), 5_000, stage(5_000, 0, 3)),
        (Fischer(1_000, cap_ms=60_000), Budget(60_000), 5_000, Budget(65_000)),
    ],
)
def test_add_time_stops_at_zero(system: ClockSystem, before: Budget, delta: int, after: Budget) -> None:
    assert system.add_time(before, delta) == after


def test_clock_systems_are_listed_by_their_names_in_json() -> None:
    assert sorted(CLOCK_SYSTEMS) == [
        "bronstein",
        "byoyomi",
        "canadian",
        "delay",
        "fischer",
        "hourglass",
        "per_move",
        "stages",
        "sudden_death",
    ]


# -- in a session -----------------------------------------------------------------------------------------------------

CLOCKS = {
    "sudden death": SuddenDeath(),
    "fischer": Fischer(2_000),
    "fischer with cap": Fischer(5_000, cap_ms=61_000),
    "bronstein": Bronstein(5_000),
    "delay": Delay(5_000),
    "byo-yomi": Byoyomi(2, 10_000),
    "canadian": Canadian(2, 20_000),
    "per move": PerMove(30_000),
    "hourglass": Hourglass(),
    "stages": Stages((Stage(2, 30_000, 1_000), Stage(None, 0, 2_000))),
}


@pytest.mark.parametrize(
    ("clock", "script", "face"),
    [
        ("sudden death", "0 start; 10 switch; 20 switch", "running *A 50 B 50"),
        ("fischer", "0 start; 10 switch; 20 switch", "running *A 52 B 52"),
        ("fischer", "0 start; 60 time", "expired A 0x B 60"),
        ("fischer", "0 start; 59.999 switch", "running A 2.001 *B 60"),
        ("fischer with cap", "0 start; 2 switch; 12 switch", "running *A 61 B 55"),
        ("bronstein", "0 start; 3 switch; 11 switch", "running *A 60 B 57"),
        ("bronstein", "0 start; 58 switch; 59 switch; 66 time", "expired A 0x B 60"),
        ("delay", "0 start; 3 switch; 11 switch", "running *A 60 B 57"),
        ("delay", "0 start; 64 time", "running *A 60 B 60"),
        ("delay", "0 start; 65 time", "expired A 0x B 60"),
        ("delay", "0 start; 3 pause; 100 resume; 105 switch", "running A 57 *B 60"),
        ("delay", "0 start; 8 pause; 100 resume; 105 switch", "running A 52 *B 60"),
        ("byo-yomi", "0 start; 59 switch", "running A 1 *B 60"),
        ("byo-yomi", "0 start; 65 pause", "paused *A 5 B 60"),
        ("byo-yomi", "0 start; 65 switch", "running A 10 *B 60"),
        ("byo-yomi", "0 start; 75 switch; 76 switch; 85 switch", "running A 10 *B 59"),
        ("byo-yomi", "0 start; 75 switch; 76 switch; 86 time", "expired A 0x B 59"),
        ("byo-yomi", "0 start; 80 time", "expired A 0x B 60"),
        ("canadian", "0 start; 70 switch", "running A 10 *B 60"),
        ("canadian", "0 start; 70 switch; 71 switch; 75 switch", "running A 20 *B 59"),
        ("canadian", "0 start; 70 pause; 71 resume; 72 pause; 73 resume; 74 switch", "running A 8 *B 60"),
        ("canadian", "0 start; 80 time", "expired A 0x B 60"),
        ("per move", "0 start; 20 switch", "running A 30 *B 30"),
        ("per move", "0 start; 20 pause; 90 resume; 95 pause", "paused *A 5 B 30"),
        ("per move", "0 start; 20 pause; 90 resume; 100 time", "expired A 0x B 30"),
        ("hourglass", "0 start; 10 switch", "running A 50 *B 70"),
        ("hourglass", "0 start; 10 switch; 40 switch; 45 pause", "paused *A 75 B 45"),
        ("hourglass", "0 start; 10 switch; 80 time", "expired A 120 B 0x"),
        ("stages", "0 start; 1 switch; 2 switch; 3 switch", "running A 90 *B 60"),
        ("stages", "0 start; 1 switch; 2 switch; 3 switch; 4 switch; 5 switch", "running A 91 *B 90"),
    ],
)
def test_clock_system_in_per_participant_gives_the_worked_readings(clock: str, script: str, face: str) -> None:
    assert play(spec("per_participant", "A B", clock=CLOCKS[clock]), script).face == face


@pytest.mark.parametrize("clock", CLOCKS)
def test_expired_participant_earns_no_time(clock: str) -> None:
    creation = spec("per_participant", "A B", "advance", clock=CLOCKS[clock])
    session = play(creation, "0 start; 200 time")
    flagged = session.transitions[1].state.participants[0]
    assert session.transitions[1].event.type == "participant_expired"
    assert (flagged.remaining_ms, flagged.has_expired, flagged.cycle_count) == (0, True, 1)
    assert session.state.status == "expired"


@pytest.mark.parametrize("clock", [clock for clock in CLOCKS if clock not in ("per move", "hourglass")])
def test_added_time_at_zero_earns_no_increment(clock: str) -> None:
    creation = spec("per_participant", "A B", "pause", clock=CLOCKS[clock])
    session = play(creation, "0 start; 200 time; 201 adjust+4:A; 202 switch")
    assert session.remaining("A") == 4
    assert session.state.status == "running"


def test_per_move_turn_after_the_pause_at_zero_has_its_full_time() -> None:
    session = play(
        spec("per_participant", "A", "pause", clock=PerMove(30_000)), "0 start; 40 time; 50 switch; 60 switch"
    )
    assert session.face == "running *A 30"
    assert session.lines[1:] == ["30 paused A", "50 cycle_switched A", "60 cycle_switched A"]


@pytest.mark.parametrize(
    ("clock", "script", "face"),
    [
        ("fischer", "0 start; 10 switch; 20 switch", "running *x 52 y 52"),
        ("bronstein", "0 start; 3 switch; 11 switch", "running *x 60 y 57"),
        ("delay", "0 start; 3 switch; 11 switch", "running *x 60 y 57"),
        ("byo-yomi", "0 start; 65 switch; 70 switch; 79 switch>B; 80 switch", "running *x 10 y 54"),
        ("canadian", "0 start; 70 switch; 71 switch; 75 switch", "running x 20 *y 59"),
        ("per move", "0 start; 20 switch; 40 pause", "paused x 30 *y 10"),
        ("stages", "0 start; 1 switch; 2 switch; 3 switch", "running *x 90 y 60"),
        ("byo-yomi", "0 start; 80 time", "expired x 0x y 60"),
    ],
)
def test_clock_system_in_per_group_gives_the_worked_readings(clock: str, script: str, face: str) -> None:
    session = play(spec("per_group", "A/x B/y C/x", clock=CLOCKS[clock]), script.replace("75 switch", "75 switch>B"))
    assert session.face == face


def test_participants_with_own_clock_systems_are_charged_by_these_systems() -> None:
    creation = spec("per_participant", "A B C D", clock=Fischer(1_000))
    a, b, c, d = creation.participants
    own = (a, replace(b, clock=Delay(5_000)), replace(c, clock=Byoyomi(1, 10_000), total_time_ms=5_000), d)
    session = play(
        replace(creation, participants=own), "0 start; 10 switch; 20 switch; 30 switch; 40 switch; 41 switch>C; 60 time"
    )
    assert session.face == "expired A 51 B 55 C 0x D 51"
    assert session.lines[-1] == "51 expired C"


def test_deadline_follows_from_the_clock_system() -> None:
    for clock, seconds in (("delay", 65), ("byo-yomi", 80), ("canadian", 80), ("per move", 30), ("hourglass", 60)):
        state = play(spec("per_participant", "A B", clock=CLOCKS[clock]), "0 start").state
        assert deadline_at_ms(state) == T0 + seconds * 1000


def test_deadline_in_overtime_is_none() -> None:
    creation = spec("per_participant", "A B", "overtime", clock=Delay(5_000))
    state = play(creation, "0 start").state
    assert deadline_at_ms(state) == T0 + 65_000
    late = play(creation, "0 start; 70 switch; 80 switch")
    assert late.face == "running *A -5 B 55"
    assert deadline_at_ms(late.state) is None


@pytest.mark.parametrize(
    ("clock", "script", "face"),
    [
        ("fischer", "0 start; 60 switch", "running A 0 *B 60"),
        ("fischer", "0 start; 59.999 switch", "running A 2.001 *B 60"),
        ("fischer", "0 start; 70 switch; 80 switch; 90 switch", "running A -20 *B 52"),
        ("bronstein", "0 start; 70 switch; 80 switch; 90 switch", "running A -20 *B 55"),
        ("byo-yomi", "0 start; 90 switch; 91 switch; 92 switch", "running A -11 *B 59"),
        ("canadian", "0 start; 90 switch; 91 switch; 92 switch", "running A -11 *B 59"),
        ("per move", "0 start; 40 switch; 41 switch", "running *A 30 B 30"),
        ("hourglass", "0 start; 70 switch; 75 switch", "running *A -5 B 125"),
    ],
)
def test_debt_from_overtime_is_not_reduced_by_the_clock_system(clock: str, script: str, face: str) -> None:
    assert play(spec("per_participant", "A B", "overtime", clock=CLOCKS[clock]), script).face == face


def test_increment_alone_means_fischer_in_modes_with_own_budgets() -> None:
    assert play(spec("per_participant", increment_ms=2_000), "").state.rules.clock == Fischer(2_000)
    assert play(spec("per_group", "A/x", increment_ms=2_000), "").state.rules.clock == Fischer(2_000)
    assert play(spec("per_participant", increment_ms=0), "").state.rules.clock == SuddenDeath()
    assert play(spec("global", increment_ms=2_000), "").state.rules.clock == SuddenDeath()
    assert play(spec("per_participant", increment_ms=2, clock=Delay(1)), "").state.rules.clock == Delay(1)


def test_participant_can_be_used_as_a_budget() -> None:
    budget: BudgetHolder = play(spec("per_participant", "A"), "").state.participants[0]
    assert SuddenDeath().time_to_zero_ms(budget, 0) == MINUTE


def test_creation_keeps_display_names() -> None:
    creation = replace(spec("per_participant", ""), participants=(NewParticipant("A", display_name="Ann"),))
    assert play(creation, "").state.participants[0].display_name == "Ann"


def test_delay_without_main_time_gives_each_turn_its_free_time() -> None:
    creation = spec("per_participant", "A=0 B=0", clock=Delay(10_000))
    session = play(creation, "0 start; 9 switch; 18 switch; 27 join:C; 28 time")
    assert session.face == "expired A 0x B 0 C 60"
    assert session.lines[-1] == "28 expired A"


def test_stages_of_us_chess_have_a_delay_in_each_turn() -> None:
    stages = Stages((Stage(2, 30_000, delay_ms=5_000), Stage(delay_ms=5_000)))
    session = play(spec("per_participant", "A B", clock=stages), "0 start; 8 switch; 9 switch; 29 switch")
    assert session.face == "running A 72 *B 60"
    assert session.state.participants[0].reading == ClockReadingDetails(stage=1)
    assert deadline_at_ms(session.state) == T0 + 29_000 + 65_000


def test_stage_that_ends_at_zero_continues_in_the_next_stage_without_a_version() -> None:
    stages = Stages((Stage(add_ms=30_000, at_zero=True), Stage(2, 10_000, 1_000), Stage()))
    running = play(spec("per_participant", "A B", clock=stages, warnings_ms=(20_000,)), "0 start; 60 time")
    assert running.lines == ["0 started A"]
    assert deadline_at_ms(running.state) == T0 + 90_000
    session = play(spec("per_participant", "A B", clock=stages), "0 start; 60 switch; 61 switch; 70 switch")
    assert session.remaining("A") == 30 + 1 - 9 + 1 + 10
    assert session.state.participants[0].reading == ClockReadingDetails(stage=2)


def test_periods_of_canadian_with_a_step_need_more_turns_up_to_a_maximum() -> None:
    clock = Canadian(1, 9_000, moves_step=2, moves_max=4)
    session = play(spec("per_participant", "A=0 B=0", clock=clock), "0 start; " + "; ".join(["1 switch"] * 18))
    needs = [
        (each.state.participants[0].reading or ClockReadingDetails()).period_moves for each in session.transitions[1::2]
    ]
    assert needs == [3, 3, 3, 4, 4, 4, 4, 4, 4]


def test_byoyomi_adds_its_increment_in_main_time_only() -> None:
    clock = Byoyomi(2, 9_000, increment_ms=2_000)
    session = play(spec("per_participant", "A=20 B=20", clock=clock), "0 start; 5 switch; 5 switch; 24 switch")
    assert session.remaining("A") == 9
    assert session.remaining("B") == 22


def test_initial_time_of_count_up_is_in_the_time_of_the_session_only() -> None:
    session = play(spec("count_up", "A B", initial_ms=20_000), "0 start; 10 switch; 99 time")
    assert session.lines[1:] == ["10 cycle_switched A", "40 expired B"]
    assert session.state.used_ms == 60_000
    assert session.used == "A 10 B 30"


@pytest.mark.parametrize("system", [Byoyomi(1, 10_000), Canadian(1, 10_000)], ids=["byo-yomi", "canadian"])
def test_one_added_millisecond_makes_one_more_period(system: ClockSystem) -> None:
    session = play(spec("per_participant", "A B", "pause", clock=system), "0 start; 81 time; 82 adjust+0.001:A")
    reading = session.state.participants[0].reading
    assert reading is not None
    assert (session.remaining("A"), reading.phase) == (0.001, "overtime")
    assert 1 in (reading.periods_left, reading.moves_left)
