"""The engine compared with a simple ticking clock, which advances by 0.1 s and is written from the rules alone.

The ticking clock shares only the settings of the clock systems with `synckairos.clock`. It calculates no deadline and
no reading.
"""

import copy
import random
from dataclasses import dataclass
from typing import Any

import pytest

from synckairos.clock.clock_systems import Bronstein, ClockSystem, Delay, Fischer, Hourglass, PerMove, SuddenDeath
from synckairos.clock.commands import Create, Expire, NewParticipant, Pause, Resume, Start, Switch, Undo
from synckairos.clock.earlier_turns import UndoCharge
from synckairos.clock.model import EventType, OnTimeout, Participant, SyncMode
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.stages import Stage, Stages
from synckairos.clock.timing import charge_session_until
from tests.unit.clock.script import T0, Played, open_session

TICK_MS = 100
HISTORIES = 150
CHARGES = (
    UndoCharge.NO_PARTICIPANT,
    UndoCharge.NO_PARTICIPANT,
    UndoCharge.NO_PARTICIPANT,
    UndoCharge.MOVER,
    UndoCharge.RESUMED,
)

SYSTEMS: dict[str, ClockSystem] = {
    "sudden death": SuddenDeath(),
    "fischer": Fischer(3 * TICK_MS),
    "fischer with a cap": Fischer(6 * TICK_MS, cap_ms=20 * TICK_MS),
    "bronstein": Bronstein(3 * TICK_MS),
    "delay": Delay(4 * TICK_MS),
    "byo-yomi": Byoyomi(3, 5 * TICK_MS),
    "canadian": Canadian(2, 8 * TICK_MS),
    "per move": PerMove(7 * TICK_MS),
    "stages": Stages((Stage(2, 9 * TICK_MS, TICK_MS), Stage(1, 4 * TICK_MS, 0), Stage(None, 0, 2 * TICK_MS))),
    "byo-yomi with an increment": Byoyomi(2, 5 * TICK_MS, increment_ms=3 * TICK_MS),
    "canadian with a step": Canadian(1, 6 * TICK_MS, moves_step=1, moves_max=3),
    "stages with delays": Stages((Stage(2, 9 * TICK_MS, delay_ms=4 * TICK_MS), Stage(delay_ms=2 * TICK_MS))),
    "stages at zero": Stages(
        (
            Stage(add_ms=4 * TICK_MS, at_zero=True, delay_ms=2 * TICK_MS),
            Stage(add_ms=3 * TICK_MS, increment_ms=TICK_MS, at_zero=True),
            Stage(delay_ms=3 * TICK_MS),
        )
    ),
    "hourglass": Hourglass(),
}


@dataclass
class Clock:
    """The ticking clock of one player, in ticks: the shown time, and the other facts of its clock system."""

    system: ClockSystem
    left: int
    in_main: bool = True
    periods: int = 0
    moves: int = 0
    period_moves: int = 0
    stage: int = 0
    free: int = 0
    turn: int = 0
    has_run_out: bool = False
    is_out: bool = False

    def __post_init__(self) -> None:
        match self.system:
            case Byoyomi():
                self.periods = self.system.periods
            case Canadian():
                self.moves = self.period_moves = self.system.moves
            case PerMove():
                self.left = self.system.move_ms // TICK_MS
            case Stages():
                self.moves = self.system.stages[0].moves or 0

    def begin(self) -> None:
        """Begin a turn. If the clock has a debt, it has run out from the beginning."""
        self.turn = 0
        self.free = 0
        match self.system:
            case Delay(delay_ms=delay_ms):
                self.free = delay_ms // TICK_MS
            case Stages(stages=stages):
                self.free = (stages[self.stage].delay_ms or 0) // TICK_MS
        self.has_run_out = self.left < 0 or (self.left == 0 and not self.free)

    def tick(self) -> None:
        """Let 0.1 s of the turn pass."""
        self.turn += 1
        if self.free:
            self.free -= 1
        else:
            self.left -= 1
        self.check_zero()

    def check_zero(self) -> None:
        """Apply the end of the main time, of a period or of all time, if the clock has reached it."""
        if self.left > 0:
            return
        match self.system:
            case Byoyomi(period_ms=period_ms) if self.in_main or self.periods > 1:
                self.periods -= not self.in_main
                self.in_main, self.left = False, period_ms // TICK_MS
            case Byoyomi():
                self.periods, self.has_run_out = 0, True
            case Canadian(period_ms=period_ms) if self.in_main:
                self.in_main, self.left = False, period_ms // TICK_MS
            case Stages(stages=stages) if stages[self.stage].at_zero and self.stage + 1 < len(stages):
                if not self.free:
                    self.left = stages[self.stage].add_ms // TICK_MS
                    self.stage += 1
                    self.moves = stages[self.stage].moves or 0
                    self.free = max(0, (stages[self.stage].delay_ms or 0) // TICK_MS - self.turn)
            case _ if not self.free:
                self.has_run_out = True

    def end(self) -> None:
        """End the turn. If the clock ran out in this turn, the turn earns no time."""
        if self.has_run_out:
            if isinstance(self.system, PerMove):
                self.left = self.system.move_ms // TICK_MS
            return
        match self.system:
            case Fischer(increment_ms=increment_ms, cap_ms=None):
                self.left += increment_ms // TICK_MS
            case Fischer(increment_ms=increment_ms, cap_ms=int(cap_ms)):
                if self.left < cap_ms // TICK_MS:
                    self.left = min(self.left + increment_ms // TICK_MS, cap_ms // TICK_MS)
            case Bronstein(delay_ms=delay_ms):
                self.left += min(self.turn, delay_ms // TICK_MS)
            case Byoyomi(period_ms=period_ms) if not self.in_main:
                self.left = period_ms // TICK_MS
            case Byoyomi(increment_ms=int(increment_ms)):
                self.left += increment_ms // TICK_MS
            case Canadian(period_ms=period_ms, moves_step=step, moves_max=most) if not self.in_main:
                self.moves -= 1
                if not self.moves:
                    self.period_moves = min(self.period_moves + (step or 0), most or self.period_moves)
                    self.moves, self.left = self.period_moves, period_ms // TICK_MS
            case PerMove(move_ms=move_ms):
                self.left = move_ms // TICK_MS
            case Stages(stages=stages):
                self.left += stages[self.stage].increment_ms // TICK_MS
                if self.moves:
                    self.moves -= 1
                    if not self.moves:
                        self.left += stages[self.stage].add_ms // TICK_MS
                        if self.stage + 1 < len(stages):
                            self.stage += 1
                            self.moves = stages[self.stage].moves or 0

    @property
    def face(self) -> tuple[Any, ...]:
        """Return the shown values. If main time has just run out, show the period that begins."""
        match self.system:
            case Byoyomi():
                return self.left, "main" if self.in_main else "overtime", self.periods
            case Canadian():
                return self.left, "main" if self.in_main else "overtime", self.moves
            case Stages():
                return self.left, self.stage, self.moves
            case _:
                return (self.left,)


@dataclass
class TurnRecord:
    """The clocks at the beginning of a turn, whose turn it is, the ticks before the turn, and those of the turn."""

    clocks: list[Clock]
    active: int
    ran_before: int
    used: int = 0


@dataclass
class Table:
    """The players of a session and their ticking clocks."""

    clocks: list[Clock]
    on_timeout: OnTimeout
    now: int = 0
    active: int = 0
    is_over: bool = False
    is_paused: bool = False

    def __post_init__(self) -> None:
        self.timeouts: list[tuple[int, int]] = []
        self.turns: list[TurnRecord] = []
        self.ran = 0
        self.take_turn(0)

    def pass_time(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now += 1
            if self.is_over or self.is_paused:
                continue
            clock = self.clocks[self.active]
            had_run_out = clock.has_run_out
            self.tick()
            if clock.has_run_out and not had_run_out:
                self.run_out()

    def tick(self) -> None:
        clock = self.clocks[self.active]
        clock.tick()
        self.ran += 1
        self.turns[-1].used += 1
        if isinstance(clock.system, Hourglass):
            self.clocks[1 - self.active].left += 1

    def undo(self, count: int, charge: str) -> None:
        """Put all clocks back to the beginning of an earlier turn, and let the kept time pass again."""
        ran = self.ran
        undone = self.turns[-count - 1]
        kept = {"nobody": 0, "mover": undone.used, "resumed": ran - undone.ran_before}[charge]
        del self.turns[-count:]
        self.clocks = copy.deepcopy(undone.clocks)
        self.active, self.ran, undone.used = undone.active, undone.ran_before, 0
        clock = self.clocks[self.active]
        for _ in range(kept):
            if clock.has_run_out and self.on_timeout is not OnTimeout.OVERTIME:
                break
            self.tick()
        if clock.has_run_out:
            self.run_out()

    def run_out(self) -> None:
        if self.on_timeout is OnTimeout.OVERTIME:
            return
        self.timeouts.append((self.now, self.active))
        self.clocks[self.active].is_out = True
        following = self.following()
        if self.on_timeout is OnTimeout.EXPIRE or following is None:
            self.is_over = True
            return
        self.take_turn(following)

    def following(self) -> int | None:
        count = len(self.clocks)
        places = [(self.active + step) % count for step in range(1, count + 1)]
        return next((at for at in places if not self.clocks[at].is_out), None)

    def take_turn(self, at: int) -> None:
        self.active = at
        self.clocks[at].begin()
        self.turns.append(TurnRecord(copy.deepcopy(self.clocks), at, self.ran))

    def press(self) -> None:
        self.clocks[self.active].end()
        following = self.following()
        assert following is not None
        self.take_turn(following)


def shown(player: Participant, system: ClockSystem) -> tuple[Any, ...]:
    """Return the engine's reading of one player in the form of `Clock.face`."""
    left, odd = divmod(player.remaining_ms, TICK_MS)
    assert odd == 0
    reading = player.reading
    match system:
        case Byoyomi():
            assert reading is not None
            return left, reading.phase, reading.periods_left
        case Canadian():
            assert reading is not None
            return left, reading.phase, reading.moves_left
        case Stages():
            assert reading is not None
            return left, reading.stage, reading.moves_left or 0
        case _:
            return (left,)


@pytest.mark.parametrize("timeout", ["expire", "advance", "overtime"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_readings_of_the_engine_equal_those_of_a_ticking_clock(name: str, timeout: str) -> None:
    system, on_timeout = SYSTEMS[name], OnTimeout(timeout)
    ends = set()
    for seed in range(HISTORIES):
        pick = random.Random(f"{name} {timeout} {seed}")
        count = 2 if isinstance(system, Hourglass) else pick.randint(1, 4)
        budgets = [pick.randint(10, 40) for _ in range(count)]
        table = Table([Clock(system, budget) for budget in budgets], on_timeout)
        people = tuple(NewParticipant("ABCD"[at], total_time_ms=budget * TICK_MS) for at, budget in enumerate(budgets))
        spec = Create(SyncMode.PER_PARTICIPANT, people, clock=system, on_timeout=on_timeout)
        played = Played(open_session(spec))
        played.do(T0, Start())
        seen = 0
        for _ in range(pick.choice((10, 25))):
            table.pass_time(pick.choice((0, 1, 2, 3, 4, 5, 6, 9)))
            at_ms = T0 + table.now * TICK_MS
            unseen = table.timeouts[seen:]
            seen = len(table.timeouts)
            if table.is_over:
                played.do(at_ms, Expire())
            elif table.is_paused:
                table.is_paused = False
                played.do(at_ms, Resume())
            elif (which := pick.randrange(8)) == 0:
                table.is_paused = True
                played.do(at_ms, Pause())
            elif which == 1:
                played.do(at_ms, Expire())
            elif which == 2:
                count, charge = pick.choice((1, 1, 2, 3)), pick.choice(CHARGES)
                refusal = played.do(at_ms, Undo(count, charge)).refusal
                assert (refusal is not None) == (count >= len(table.turns))
                if refusal is None:
                    table.undo(count, charge)
                    seen = len(table.timeouts)
            elif not unseen:
                table.press()
                played.do(at_ms, Switch())
            else:
                # The switch was meant for the first turn that has run out in the meantime, so the switch is consumed.
                assert played.do(at_ms, Switch()).expired_participant_id == "ABCD"[unseen[0][1]]
            compare(played, table, system, at_ms)
        ends.add(table.is_over)
    assert ends == ({False} if on_timeout is OnTimeout.OVERTIME else {True, False})


def compare(played: Played, table: Table, system: ClockSystem, at_ms: int) -> None:
    """Check the readings at an instant, the active player, and the timeouts with their instants."""
    now = charge_session_until(played.state, at_ms)
    assert [shown(player, system) for player in now.participants] == [clock.face for clock in table.clocks], (
        played.lines
    )
    assert (now.active_position if not now.status.is_final else table.active) == table.active
    assert now.status.is_final == table.is_over
    ran_out = (EventType.PARTICIPANT_EXPIRED, EventType.SESSION_EXPIRED)
    events = [transition.event for transition in played.transitions if transition.event.type in ran_out]
    assert [((event.at_ms - T0) // TICK_MS, event.participant_id) for event in events] == [
        (now_at, "ABCD"[at]) for now_at, at in table.timeouts
    ]
