"""Rules of individual clocks by scripts, and the clocks compared with ticking clocks."""

import random
from dataclasses import dataclass

import pytest

from synckairos.clock.commands import Adjust, Create, Expire, Finish, NewParticipant, Pause, Reopen, Resume, Start
from synckairos.clock.individual.row_clock import individual_clock, scale_time
from synckairos.clock.model import OnTimeout, Session, SyncMode
from synckairos.clock.recover_lost_session import OutageChargePolicy, recover_session
from synckairos.clock.timing import charge_session_until, deadline_at_ms
from tests.unit.clock.script import T0, Played, open_session, play, spec

MINUTE = 60_000


@pytest.mark.parametrize(
    ("people", "script", "face", "lines"),
    [
        (
            "A B",
            "0 start; 10 finish [A]",
            "running, A finished 50, B running 60",
            ["0 started A,B", "10 participant_finished A"],
        ),
        (
            "A B",
            "0 start [A]; 10 finish",
            "paused, A finished 50, B waiting 60",
            ["0 started A", "10 participant_finished A"],
        ),
        (
            "A B",
            "0 start [A]; 5 start",
            "running, A running 60, B running 60",
            ["0 started A", "5 participant_started B"],
        ),
        (
            "A/x B/y",
            "0 start [/x]; 5 pause [/x]",
            "paused, A paused 55, B waiting 60",
            ["0 started A", "5 participant_paused A"],
        ),
        ("A B", "0 start; 60 time", "expired, A expired 0, B expired 0", ["0 started A,B", "60 expired A,B"]),
        (
            "A=30 B",
            "0 start; 30 time",
            "running, A expired 0, B running 60",
            ["0 started A,B", "30 participant_expired A"],
        ),
        (
            "A B",
            "0 start; 9 finish [A]; 60 time",
            "completed, A finished 51, B expired 0",
            ["0 started A,B", "9 participant_finished A", "60 completed B"],
        ),
        ("A B", "0 start; 9 finish", "completed, A finished 51, B finished 51", ["0 started A,B", "9 completed A,B"]),
        ("A B", "0 start [A]; 9 complete", "completed, A finished 51, B waiting 60", ["0 started A", "9 completed"]),
        (
            "A B",
            "0 start; 9 finish [A]; 10 leave:B",
            "completed, A finished 51",
            ["0 started A,B", "9 participant_finished A", "10 participant_removed B", "10 completed"],
        ),
        (
            "A B",
            "0 start; 5 pause:x [A]; 6 pause:y; 9 resume:x",
            "paused, A paused 55, B paused 54",
            ["0 started A,B", "5 participant_paused A", "6 participant_paused A,B", "9 participant_resumed A"],
        ),
        (
            "A B",
            "0 start; 5 pause:x+3; 8 time",
            "running, A running 55, B running 55",
            ["0 started A,B", "5 participant_paused A,B", "8 participant_resumed A,B"],
        ),
        (
            "A B*1.25",
            "0 start; 9 adjust*8",
            "running, A running 59, B running 76",
            ["0 started A,B", "9 time_adjusted A,B"],
        ),
        (
            "A B",
            "0 start; 9 adjust-60 [A]",
            "running, A expired 0, B running 60",
            ["0 started A,B", "9 time_adjusted A", "9 participant_expired A"],
        ),
        (
            "A B",
            "0 start; 60 time; 70 reopen+5:A",
            "paused, A paused 5, B expired 0",
            ["0 started A,B", "60 expired A,B", "70 reopened A"],
        ),
        (
            "A B",
            "0 start; 9 finish [A]; 10 reopen",
            "running, A paused 51, B running 60",
            ["0 started A,B", "9 participant_finished A", "10 reopened A"],
        ),
        (
            "A B",
            "0 start; 5 join:C",
            "running, A running 60, B running 60, C waiting 60",
            ["0 started A,B", "5 participant_added C"],
        ),
    ],
)
def test_script_leads_to_these_clocks_and_events(people: str, script: str, face: str, lines: list[str]) -> None:
    played = play(spec("individual", people), script)
    assert (played.face, played.lines) == (face, lines)


@pytest.mark.parametrize(
    ("script", "code", "named"),
    [
        ("0 start [A]; 5 pause [A,B]", "VALIDATION_ERROR", "B is waiting"),
        ("0 start; 5 finish [A]; 6 adjust+5 [B,A]", "VALIDATION_ERROR", "A is finished; reopen it"),
        ("0 start; 5 pause:x [A]; 6 pause:x [B,A]", "VALIDATION_ERROR", "A is already paused for the reason 'x'"),
        ("0 start; 5 resume [A]", "VALIDATION_ERROR", "A is running"),
        ("0 start [Z]", "PARTICIPANT_NOT_FOUND", ""),
        ("0 start [/z]", "VALIDATION_ERROR", "this group is not in this session"),
        ("0 start; 5 resume", "INVALID_STATE_TRANSITION", ""),
        ("0 start; 5 start", "INVALID_STATE_TRANSITION", ""),
        ("0 start; 5 switch", "INVALID_STATE_TRANSITION", ""),
        ("0 start; 5 done:A", "INVALID_STATE_TRANSITION", ""),
    ],
)
def test_command_that_does_not_apply_to_a_named_participant_changes_nothing(script: str, code: str, named: str) -> None:
    played = play(spec("individual", "A B"), script)
    refusal = played.decision.refusal
    assert refusal is not None
    assert refusal.code == code
    assert named in str(refusal.details)
    assert not played.decision.own


@pytest.mark.parametrize("mode", ["per_participant", "global"])
def test_other_modes_refuse_the_fields_of_individual_clocks(mode: str) -> None:
    played = play(spec(mode, "A B"), "0 start; 5 pause [A]")
    assert played.decision.refusal is not None
    assert played.decision.refusal.details == [{"path": "participant_ids", "message": "is allowed only in individual"}]


@pytest.mark.parametrize(
    ("time_ms", "factor", "scaled_ms"),
    [
        (1_001, 150, 1_502),
        (1_001, 100, 1_001),
        (3, 150, 5),
        (-3, 150, -5),
        (1_000, 133, 1_330),
        (1, 125, 1),
        (2, 125, 3),
    ],
)
def test_time_factor_rounds_half_up(time_ms: int, factor: int, scaled_ms: int) -> None:
    assert scale_time(time_ms, factor) == scaled_ms


def with_end(script: str, on_timeout: str = "expire") -> Played:
    people = (NewParticipant("A"), NewParticipant("B", time_factor=150))
    return play(Create(SyncMode.INDIVIDUAL, people, on_timeout=OnTimeout(on_timeout), ends_at_ms=T0 + MINUTE), script)


@pytest.mark.parametrize(
    ("script", "face"),
    [
        ("10 start", "running, A running 50, B running 75"),
        ("10 start; 20 pause; 60 time", "paused, A expired 0, B paused 65"),
        ("10 start [A]; 60 time", "paused, A expired 0, B waiting 75"),
        ("10 start [A]; 85 time", "expired, A expired 0, B expired 0"),
        ("10 start; 20 adjust+10", "running, A running 50, B running 75"),
        ("10 start; 20 adjust*10", "running, A running 50, B running 80"),
        ("10 start; 20 adjust+10 [B]; 60 time", "running, A expired 0, B running 75"),
        ("10 start; 20 update:end+70; 30 pause", "paused, A paused 40, B paused 70"),
        ("10 start; 60 time; 70 reopen+5:A", "running, A paused 5, B running 75"),
    ],
)
def test_end_of_each_clock_follows_from_its_factor(script: str, face: str) -> None:
    assert with_end(script).face == face


def test_1000_clocks_with_one_end_expire_in_one_version_and_with_other_ends_each_at_its_own() -> None:
    for step_ms, versions in ((0, 1), (10, 1_000)):
        people = tuple(NewParticipant(f"p{at}", total_time_ms=MINUTE + step_ms * at) for at in range(1_000))
        played = Played(open_session(Create(SyncMode.INDIVIDUAL, people)))
        played.do(T0, Start())
        before = len(played.transitions)
        played.do(T0 + MINUTE + 1_000 * step_ms, Expire())
        ends = [individual_clock(row).finished_at_ms for row in played.state.participants]
        assert len(played.transitions) - before == versions
        assert ends == [T0 + MINUTE + step_ms * at for at in range(1_000)]


@pytest.mark.parametrize(
    ("policy", "left_ms", "deadline_ms"),
    [("charge", 60_000, 60_000), ("freeze", 50_000, 90_000), ("credit:5000", 55_000, 65_000)],
)
def test_outage_policy_applies_to_each_running_clock(policy: str, left_ms: int, deadline_ms: int) -> None:
    state = play(spec("individual", "A B C"), '0 start [A,B]; 10 merge:{"a":1}').state
    recovered = recover_session(state, "f", T0 + 40_000, OutageChargePolicy.parse(policy)).state
    assert [row.remaining_ms for row in recovered.participants] == [left_ms, left_ms, MINUTE]
    assert deadline_at_ms(recovered) == T0 + deadline_ms


# -- ticking clocks ---------------------------------------------------------------------------------------------------


@dataclass
class Ticking:
    """A clock in ticks of 0.1 s, written from the rules alone."""

    left: int
    status: str = "waiting"
    used: int = 0

    def tick(self, runs_over: bool) -> None:
        if self.status == "running":
            self.left -= 1
            self.used += 1
            if self.left == 0 and not runs_over:
                self.status = "expired"


@pytest.mark.parametrize("timeout", ["expire", "overtime"])
def test_individual_clocks_equal_ticking_clocks(timeout: str) -> None:
    ended = set()
    for seed in range(150):
        pick = random.Random(f"{timeout} {seed}")
        names = "ABCD"[: pick.randint(1, 4)]
        budgets = [pick.randint(10, 60) for _ in names]
        people = tuple(NewParticipant(n, total_time_ms=100 * b) for n, b in zip(names, budgets, strict=True))
        played = Played(open_session(Create(SyncMode.INDIVIDUAL, people, on_timeout=OnTimeout(timeout))))
        clocks = {name: Ticking(budget) for name, budget in zip(names, budgets, strict=True)}
        now = 0
        for _ in range(30):
            for _ in range(pick.choice((0, 1, 2, 3, 7))):
                now += 1
                for clock in clocks.values():
                    clock.tick(timeout == "overtime")
            name, at_ms = pick.choice(names), T0 + now * 100
            _apply_to_both(played, clocks[name], name, pick.randrange(8), at_ms)
            played.do(at_ms, Expire())
            shown = charge_session_until(played.state, at_ms)
            assert _faces(shown) == {n: (c.left, c.status, c.used) for n, c in clocks.items()}
        ended.add(played.state.status.is_final)
    assert ended == {True, False}


def _apply_to_both(played: Played, clock: Ticking, name: str, which: int, at_ms: int) -> None:
    """Apply a random command to the engine and to the ticking clock, if the rules allow it."""
    one, is_over = (name,), all(individual_clock(row).status.is_final for row in played.state.participants)
    match which:
        case 0 | 1 | 2 if clock.status == "waiting" and not is_over:
            played.do(at_ms, Start(one))
            clock.status = "running"
        case 3 if clock.status == "running":
            played.do(at_ms, Pause(participant_ids=one))
            clock.status = "paused"
        case 4 | 5 if clock.status == "paused":
            played.do(at_ms, Resume(participant_ids=one))
            clock.status = "running"
        case 6 if clock.status in ("running", "paused"):
            played.do(at_ms, Adjust(500, one))
            clock.left += 5
        case 7 if clock.status in ("running", "paused"):
            played.do(at_ms, Finish(one))
            clock.status = "finished"
        case 5 if clock.status in ("finished", "expired"):
            played.do(at_ms, Reopen(1_000, one))
            clock.left, clock.status = clock.left + 10, "paused"


def _faces(state: Session) -> dict[str, tuple[int, str, int]]:
    rows = ((row, individual_clock(row).status) for row in state.participants)
    return {row.participant_id: (row.remaining_ms // 100, str(status), row.used_ms // 100) for row, status in rows}
