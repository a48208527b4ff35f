"""Random histories, decoded from bytes: all clock systems and modes, with commands close to deadlines."""

from collections.abc import Iterator

from synckairos.clock.audience_display import ScreenMode
from synckairos.clock.clock_systems import Bronstein, ClockSystem, Delay, Fischer, Hourglass, PerMove, SuddenDeath
from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Amend,
    Announce,
    Cancel,
    Command,
    Complete,
    Create,
    Delete,
    Done,
    Expire,
    NewGroup,
    NewParticipant,
    Pause,
    RemoveParticipant,
    Reopen,
    Resume,
    Screen,
    SetPlan,
    Start,
    Switch,
    Undo,
    UpdateMetadata,
    UpdateParticipant,
    UpdateSession,
    VersionPrecondition,
)
from synckairos.clock.earlier_turns import UndoCharge
from synckairos.clock.model import TURN_MODES, Break, ExtendBy, OnTimeout, RestRule, SyncMode
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.plan_item import PlanItem
from synckairos.clock.stages import Stage, Stages

SYSTEMS: tuple[ClockSystem, ...] = (
    SuddenDeath(),
    Fischer(3_000),
    Fischer(3_000, cap_ms=9_000),
    Bronstein(2_000),
    Delay(2_000),
    Byoyomi(2, 3_000),
    Canadian(2, 5_000),
    PerMove(6_000),
    Stages((Stage(2, 4_000, 500), Stage(1, 2_000, 0), Stage(None, 0, 1_000))),
    Byoyomi(2, 3_000, increment_ms=700),
    Canadian(1, 3_000, moves_step=1, moves_max=3),
    Stages((Stage(2, 4_000, delay_ms=1_000), Stage(add_ms=2_000, at_zero=True, delay_ms=2_500), Stage(delay_ms=400))),
    Hourglass(),
)
MODES = TURN_MODES
TIMEOUTS = (None, *OnTimeout)
NAMES = "ABCD"
T0 = 1_750_000_000_000
"""The instant of each creation in ms since the Unix epoch. It equals `script.T0`."""

MIDNIGHT_OFFSET = 533
"""Offset to UTC in minutes with which a Monday begins 20 s after T0."""

LAGS_MS = (None, 0, 1, 100, 400, 1_000, 10**9, 10**9)


class Bytes:
    """A sequence of bytes that makes choices. After the end of the bytes, each choice is the first option."""

    def __init__(self, tape: bytes) -> None:
        self._tape = iter(tape)

    def below(self, bound: int) -> int:
        return next(self._tape, 0) % bound

    def one_in(self, n: int) -> bool:
        return self.below(n) == n - 1


def draw_creation(tape: Bytes) -> Create:
    """Return a valid creation with budgets of a few seconds."""
    mode = MODES[tape.below(len(MODES))]
    own = mode in (SyncMode.PER_PARTICIPANT, SyncMode.PER_GROUP)
    clock = SYSTEMS[tape.below(len(SYSTEMS))] if own else None
    count = 1 + tape.below(4)
    on_timeout = TIMEOUTS[tape.below(len(TIMEOUTS))]
    is_overtime = on_timeout is OnTimeout.OVERTIME
    if isinstance(clock, Hourglass):
        mode, count = SyncMode.PER_PARTICIPANT, 2
    options = tape.below(256)
    extends = bool(options & 32) and mode in (SyncMode.GLOBAL, SyncMode.COUNT_UP)
    people = tuple(
        NewParticipant(
            NAMES[at],
            total_time_ms=(5 + 2 * at) * 1_000,
            group_id="xy"[at % 2] if mode is SyncMode.PER_GROUP or options & 1 else None,
            clock=SYSTEMS[tape.below(len(SYSTEMS) - 1)]
            if mode is SyncMode.PER_PARTICIPANT and options & 2 and not isinstance(clock, Hourglass)
            else None,
        )
        for at in range(count)
    )
    edition = 1 if tape.below(8) == 7 and not is_overtime else 2
    plan = (
        _draw_plan(tape, count, is_overtime) if mode is SyncMode.PER_CYCLE and edition == 2 and tape.one_in(2) else ()
    )
    is_named = any(item.participant_id for item in plan)
    has_end = mode is SyncMode.GLOBAL and edition == 2 and on_timeout is not OnTimeout.PAUSE and tape.one_in(2)
    starts_at_ms = T0 + (0, 500, 3_000, 9_000)[tape.below(4)] if edition == 2 and tape.one_in(4) else None
    return Create(
        mode,
        people,
        groups=(NewGroup("y", 8_000),) if mode is SyncMode.PER_GROUP and options & 4 else (),
        total_time_ms=15_000 if mode is SyncMode.GLOBAL and not has_end else None,
        time_per_cycle_ms=6_000 if mode is SyncMode.PER_CYCLE and not plan else None,
        max_time_ms=15_000 if mode is SyncMode.COUNT_UP and options & 8 else None,
        max_cycles=3 + tape.below(4) if options & 8 and not plan else None,
        clock=clock,
        on_timeout=on_timeout,
        warnings_ms=((4_000, 0, -2_000) if is_overtime else (4_000, 1_000)) if options & 16 else (),
        extend_on_switch_ms=3_000 if extends else None,
        lag_compensation=mode is SyncMode.PER_PARTICIPANT and bool(options & 8) and not isinstance(clock, Hourglass),
        pause_budget=tape.below(3) if options & 4 else None,
        active_participant_id=NAMES[count - 1] if options & 64 and not is_named else None,
        metadata={"round": 1} if options & 128 else {},
        extend_window_ms=(None, 2_000, 8_000)[tape.below(3)] if extends else None,
        extend_by=(None, ExtendBy.RESET, ExtendBy.ADD)[tape.below(3)] if extends else None,
        max_extension_ms=(None, 3_500)[tape.below(2)] if extends else None,
        max_extensions=(None, 1, 2)[tape.below(3)] if extends else None,
        initial_ms=2_000 if mode is SyncMode.COUNT_UP and tape.one_in(4) else None,
        switch_while_paused=tape.one_in(4),
        rest=RestRule(((1,), (7,), (1, 3))[tape.below(3)], MIDNIGHT_OFFSET)
        if edition == 2 and not has_end and tape.one_in(6)
        else None,
        free_first_turn_ms=5_000 if mode is SyncMode.PER_PARTICIPANT and tape.one_in(4) else None,
        holds_between_turns=tape.one_in(4),
        edition=edition,
        closes_when_all_done=edition == 2 and tape.one_in(3),
        starts_at_ms=starts_at_ms,
        ends_at_ms=T0 + 15_000 if has_end else None,
        plan=plan,
    )


ITEM_IDS = ("1", "2", "3", "last", "extra")


def _draw_plan(tape: Bytes, count: int, is_overtime: bool) -> tuple[PlanItem, ...]:
    """Return a plan of 1 to 4 items for the first `count` participants. In half of the plans no item names one."""
    is_named = tape.one_in(2)
    return tuple(
        _draw_item(tape, name, count if is_named else 0, is_overtime) for name in ITEM_IDS[: 1 + tape.below(4)]
    )


def _draw_item(tape: Bytes, item_id: str, count: int, is_overtime: bool) -> PlanItem:
    """Return an item. It names one of the first `count` participants, or none."""
    named = tape.below(count + 1) if count else 0
    return PlanItem(
        item_id,
        (6_000, 1_000, 2_500, 0 if is_overtime else 4_000)[tape.below(4)],
        (None, "é")[tape.below(2)],
        NAMES[named - 1] if named else None,
        (None, (500,), (5_000, 2_000))[tape.below(3)],
    )


def _edit_plan(tape: Bytes, created: tuple[PlanItem, ...]) -> SetPlan:
    """Return a change of the plan of the creation: an item is added, changed, removed or moved, mostly at the end.

    Some changes are not allowed, because the item has begun.
    """
    plan, kind = list(created) or [PlanItem("1", 1_000)], tape.below(6)
    at = tape.below(len(plan)) if tape.one_in(4) else len(plan) - 1
    if kind in (0, 1):
        plan.insert(at + kind, _draw_item(tape, "extra", tape.below(5), False))
    elif kind == 2:
        plan[at] = _draw_item(tape, plan[at].item_id, tape.below(5), False)
    elif kind == 3 and len(plan) > 1:
        del plan[at]
    elif kind == 4:
        plan.insert(tape.below(len(plan)), plan.pop(at))
    return SetPlan(tuple(plan))


def commands(
    tape: Bytes, count: int, plan: tuple[PlanItem, ...] = ()
) -> Iterator[tuple[int, Command, VersionPrecondition | None]]:
    """Yield `count` commands, each with the delay after the command before, in ms, and a precondition.

    Some delays are negative. Commands that change the plan begin with `plan`, the plan of the creation.
    """
    for _ in range(tape.below(8) // 6):
        yield 500, _command(tape, plan), None
    yield tape.below(3) * 500, Start(), None
    for _ in range(count):
        gap = tape.below(256)
        wait_ms = -300 if gap == 255 else (0, 1, 499, 500, 1_000, 2_500, 4_000, 9_000)[gap % 8]
        precondition = None
        if gap >= 248:
            precondition = VersionPrecondition(version=tape.below(8))
        elif gap >= 240:
            precondition = VersionPrecondition(turn=tape.below(6))
        yield wait_ms, _command(tape, plan), precondition


def _name(tape: Bytes) -> str:
    return "ABCDZ"[tape.below(5)]


def draw_update(tape: Bytes, name: str, systems: tuple[ClockSystem, ...] = ()) -> UpdateParticipant:
    """Return a change of the budget or the display name of a participant, or of its clock if `systems` has some."""
    own = systems[tape.below(len(systems))] if systems and tape.one_in(3) else None
    budget_ms = (None, 0, 1_000, 2_500, 7_000)[tape.below(5)]
    display_name = ("Ä", None)[tape.below(2)]
    return UpdateParticipant(name, budget_ms, own, display_name, display_name is None and tape.one_in(2))


def _command(tape: Bytes, plan: tuple[PlanItem, ...]) -> Command:
    match tape.below(39):
        case 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 as which:
            measured_lag_ms = (None, 10, 2_000)[which % 3]
            hold, item_id = tape.one_in(6), ITEM_IDS[tape.below(5)] if tape.one_in(8) else None
            return Switch(lag_ms=LAGS_MS[which], measured_lag_ms=measured_lag_ms, hold=hold, item_id=item_id)
        case 8:
            return Switch(next_participant_id=_name(tape))
        case 9:
            return Switch(current_participant_id=_name(tape))
        case 10 | 11 | 12:
            return Pause(("manual", "tea")[tape.below(2)], (None, 700, 3_000)[tape.below(3)], "ab"[tape.below(2)])
        case 13 | 14 | 15:
            return Resume((None, None, "tea", "timeout")[tape.below(4)])
        case 16 | 17:
            return Adjust((2_000, -2_000, 30_000, -30_000)[tape.below(4)])
        case 18:
            return Adjust((2_000, -2_000, 30_000, -30_000)[tape.below(4)], participant_ids=(_name(tape),))
        case 19:
            return Adjust((2_000, -2_000)[tape.below(2)], group_id="xyz"[tape.below(3)])
        case 20 | 21:
            group = ("x", "y", "z", None)[tape.below(4)]
            own = SYSTEMS[tape.below(len(SYSTEMS))] if tape.one_in(4) else None
            return AddParticipant(NewParticipant(_name(tape), None, 4_000, group_id=group, clock=own))
        case 22 | 23:
            return RemoveParticipant(_name(tape))
        case 24:
            if tape.one_in(2):
                labels: dict[str, str | None] = {"round": ("2", None)[tape.below(2)], "a.b": "é"}
                start = (None, T0 + 2_000, T0 + 9_000)[tape.below(3)]
                end = (None, T0 + 10_000, T0 + 30_000)[tape.below(3)]
                removes_start = start is None and tape.one_in(2)
                return UpdateSession(labels if tape.one_in(2) else {}, None, start, end, removes_start)
            if tape.one_in(2):
                return (Announce("Tea"), Announce(None), Screen(ScreenMode.FOCUS), Screen(None))[tape.below(4)]
            return UpdateMetadata(({"round": 2}, {"round": None}, {"a": {"b": True}})[tape.below(3)])
        case 28 | 29:
            return Done(_name(tape))
        case 30:
            return _edit_plan(tape, plan)
        case 33 | 35:
            return Undo((1, 1, 2, 3)[tape.below(4)], tuple(UndoCharge)[tape.below(3)])
        case 26 | 27:
            ids = (_name(tape),) if tape.one_in(4) else None
            return Reopen((3_000, 3_000, -1_000, None)[tape.below(4)], ids)
        case 31 | 34:
            begin_ms, end_ms = (
                (None, T0, T0 + 700)[tape.below(3)],
                (None, T0 + 900, T0 + 2_000, T0 + 10**7)[tape.below(4)],
            )
            pause = (None, (), (Break(T0 + 750, T0 + 800),), (Break(T0, T0 + 1),))[tape.below(4)]
            return Amend((None, _name(tape))[tape.one_in(4)], begin_ms, end_ms, pause)
        case 36 | 37 | 38:
            return draw_update(tape, _name(tape), SYSTEMS)
        case 32:
            return Switch(item_id=ITEM_IDS[tape.below(5)])
        case 25:
            return (Start(), Complete(), Cancel(), Delete())[tape.below(4)] if tape.one_in(4) else Expire()
        case _:
            return Expire()
