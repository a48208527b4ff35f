"""Random histories for ticking sessions, decoded from bytes. Times are whole ticks, and often close to deadlines."""

from collections.abc import Iterator
from typing import NamedTuple

from synckairos.clock.clock_systems import Bronstein, ClockSystem, Delay, Fischer, Hourglass, PerMove, SuddenDeath
from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Cancel,
    Command,
    Complete,
    Create,
    Done,
    Expire,
    NewGroup,
    NewParticipant,
    Pause,
    RemoveParticipant,
    Reopen,
    Resume,
    SetPlan,
    Start,
    Switch,
    Undo,
    UpdateParticipant,
    UpdateSession,
)
from synckairos.clock.earlier_turns import UndoCharge
from synckairos.clock.model import ExtendBy, OnTimeout, SyncMode
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.plan_item import PlanItem
from synckairos.clock.stages import Stage, Stages
from tests.unit.clock.histories import Bytes
from tests.unit.clock.oracle.ticking_clock import TICK_MS
from tests.unit.clock.script import T0

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

ITEM_NAMES = ("i", "j", "k", "l")
WAITS = (0, 0, 1, 1, 2, 3, 6, 14)
TIMEOUTS = (OnTimeout.EXPIRE, OnTimeout.ADVANCE, OnTimeout.PAUSE, OnTimeout.OVERTIME)


class Case(NamedTuple):
    """A kind of session with turns. `system` is the clock system if budgets have owners."""

    mode: SyncMode
    system: ClockSystem = SuddenDeath()
    has_plan: bool = False
    has_end: bool = False


CASES = {
    **{name: Case(SyncMode.PER_PARTICIPANT, system) for name, system in SYSTEMS.items()},
    **{f"groups, {name}": Case(SyncMode.PER_GROUP, each) for name, each in SYSTEMS.items() if name != "hourglass"},
    "cycles": Case(SyncMode.PER_CYCLE),
    "plan": Case(SyncMode.PER_CYCLE, has_plan=True),
    "global": Case(SyncMode.GLOBAL),
    "global with an end": Case(SyncMode.GLOBAL, has_end=True),
    "count_up": Case(SyncMode.COUNT_UP),
}


def draw_session(case: Case, tape: Bytes) -> Create:
    """Return a creation of a session of this kind."""
    mode, system = case.mode, case.system
    on_timeout = TIMEOUTS[tape.below(4)]
    if case.has_end and on_timeout is OnTimeout.PAUSE:
        on_timeout = OnTimeout.EXPIRE
    is_overtime = on_timeout is OnTimeout.OVERTIME
    has_owners = mode in (SyncMode.PER_PARTICIPANT, SyncMode.PER_GROUP)
    is_hourglass = has_owners and isinstance(system, Hourglass)
    count = 2 if is_hourglass else 1 + tape.below(4)
    teams = mode is SyncMode.PER_GROUP or tape.one_in(3)
    people = tuple(
        NewParticipant(
            "ABCD"[at],
            total_time_ms=None if mode is SyncMode.PER_CYCLE else (10 + tape.below(30)) * TICK_MS,
            group_id="xy"[at % 2] if teams else None,
            clock=_other_system(tape) if mode is SyncMode.PER_PARTICIPANT and not is_hourglass else None,
        )
        for at in range(count)
    )
    plan = tuple(_draw_item(tape, name, count) for name in ITEM_NAMES[: 1 + tape.below(4)])
    has_plan, has_end = case.has_plan, case.has_end
    names_owners = has_plan and any(each.participant_id for each in plan)
    extends = mode in (SyncMode.GLOBAL, SyncMode.COUNT_UP) and tape.one_in(2)
    thresholds = ((12, 4, 0, -5) if is_overtime else (12, 4)) if tape.one_in(2) else ()
    return Create(
        mode,
        people,
        groups=(NewGroup("x", 25 * TICK_MS),) if teams and mode is SyncMode.PER_GROUP and tape.one_in(2) else (),
        total_time_ms=(20 + tape.below(30)) * TICK_MS if mode is SyncMode.GLOBAL and not has_end else None,
        time_per_cycle_ms=(10 + tape.below(10)) * TICK_MS if mode is SyncMode.PER_CYCLE and not has_plan else None,
        max_time_ms=50 * TICK_MS if mode is SyncMode.COUNT_UP and tape.one_in(2) else None,
        max_cycles=3 + tape.below(4) if mode is SyncMode.PER_CYCLE and not has_plan and tape.one_in(2) else None,
        clock=system if has_owners else None,
        on_timeout=on_timeout,
        warnings_ms=tuple(each * TICK_MS for each in thresholds),
        extend_on_switch_ms=8 * TICK_MS if extends else None,
        extend_window_ms=(None, 20 * TICK_MS)[tape.below(2)] if extends else None,
        extend_by=(ExtendBy.RESET, ExtendBy.ADD)[tape.below(2)] if extends else None,
        max_extension_ms=(None, 13 * TICK_MS)[tape.below(2)] if extends else None,
        max_extensions=(None, 2)[tape.below(2)] if extends else None,
        pause_budget=(None, None, None, 2)[tape.below(4)],
        switch_while_paused=tape.one_in(3),
        holds_between_turns=tape.one_in(4),
        closes_when_all_done=tape.one_in(3),
        initial_ms=6 * TICK_MS if mode is SyncMode.COUNT_UP and tape.one_in(3) else None,
        free_first_turn_ms=12 * TICK_MS if mode is SyncMode.PER_PARTICIPANT and tape.one_in(4) else None,
        active_participant_id="ABCD"[count - 1] if not names_owners and tape.one_in(4) else None,
        starts_at_ms=T0 + WAITS[tape.below(8)] * TICK_MS if tape.one_in(5) else None,
        ends_at_ms=T0 + (30 + tape.below(30)) * TICK_MS if has_end else None,
        plan=plan if has_plan else (),
    )


def draw_command(tape: Bytes, spec: Create) -> Command:
    """Return a command to the session of the creation `spec`, mostly one that its mode allows."""
    has_owners = spec.sync_mode in (SyncMode.PER_PARTICIPANT, SyncMode.PER_GROUP)
    match tape.below(32):
        case 0 | 1 | 2 | 3 | 4 | 5:
            return Switch()
        case 6:
            return Switch(next_participant_id=_name(tape))
        case 7:
            return Switch(current_participant_id=_name(tape), hold=tape.one_in(2))
        case 8:
            return Switch(hold=True)
        case 9 | 10 if spec.plan or tape.one_in(8):
            return Switch(item_id=ITEM_NAMES[tape.below(4)])
        case 11 | 12:
            return Pause(("manual", "tea")[tape.below(2)], (None, 4 * TICK_MS, 9 * TICK_MS)[tape.below(3)])
        case 13 | 14 | 15:
            return Resume((None, None, "tea", "hold")[tape.below(4)])
        case 16 | 17:
            return Adjust(_delta_ms(tape))
        case 18 if has_owners:
            return Adjust(_delta_ms(tape), (_name(tape),))
        case 19 if has_owners:
            return Adjust(_delta_ms(tape), group_id="xyz"[tape.below(3)])
        case 20 | 21 | 22:
            return Done(_name(tape))
        case 23 | 24:
            return Undo(1 + tape.below(3), tuple(UndoCharge)[tape.below(3)])
        case 25 | 26:
            return Reopen((None, 9 * TICK_MS, -3 * TICK_MS)[tape.below(3)], (_name(tape),) if tape.one_in(4) else None)
        case 27 | 28 if spec.plan or tape.one_in(8):
            return SetPlan(_edit_plan(tape, spec.plan))
        case 29:
            if tape.one_in(2):
                return RemoveParticipant(_name(tape))
            own = _other_system(tape) if tape.one_in(3) and spec.sync_mode is SyncMode.PER_PARTICIPANT else None
            group_id = "xyz"[tape.below(3)]
            return AddParticipant(NewParticipant(_name(tape), None, 15 * TICK_MS, group_id=group_id, clock=own))
        case 30 if spec.ends_at_ms is not None or tape.one_in(4):
            start, end = (None, 5, 20)[tape.below(3)], (None, 25, 45)[tape.below(3)]
            return UpdateSession(
                starts_at_ms=None if start is None or tape.one_in(2) else T0 + start * TICK_MS,
                ends_at_ms=None if end is None or spec.ends_at_ms is None else T0 + end * TICK_MS,
                removes_start=start is None and tape.one_in(2),
            )
        case 31:
            return (Expire(), Expire(), Complete(), Cancel())[tape.below(4)]
        case 9 | 18 | 27 if has_owners:
            total_ms = (None, 9, 16, 30)[tape.below(4)]
            return UpdateParticipant(_name(tape), None if total_ms is None else total_ms * TICK_MS, _other_system(tape))
        case _:
            return Switch() if tape.one_in(2) else Expire()


def draw_commands(tape: Bytes, count: int, spec: Create) -> Iterator[tuple[int, Command]]:
    """Yield `count` commands, each with the ticks since the command before, and some commands before the start."""
    for _ in range(tape.below(8) // 4):
        yield WAITS[tape.below(4)], draw_command(tape, spec)
    yield WAITS[tape.below(4)], Start()
    for _ in range(count):
        yield WAITS[tape.below(8)], draw_command(tape, spec)


def _name(tape: Bytes) -> str:
    return "ABCDZ"[tape.below(5)]


def _delta_ms(tape: Bytes) -> int:
    return (6, -6, 40, -40)[tape.below(4)] * TICK_MS


def _other_system(tape: Bytes) -> ClockSystem | None:
    """Return a clock system of one participant, mostly None."""
    return tuple(SYSTEMS.values())[tape.below(len(SYSTEMS) - 1)] if tape.one_in(4) else None


def _draw_item(tape: Bytes, name: str, count: int) -> PlanItem:
    """Return an item of a plan. It names one of the first `count` participants, or none."""
    owner = (*"ABCD"[:count], None, None, None, None)[tape.below(count + 4)]
    return PlanItem(
        name,
        (10 + tape.below(12)) * TICK_MS,
        participant_id=owner,
        warnings_ms=(None, (5 * TICK_MS,))[tape.below(2)],
    )


def _edit_plan(tape: Bytes, created: tuple[PlanItem, ...]) -> tuple[PlanItem, ...]:
    """Return a changed plan. Some changes are not allowed, because the item has begun."""
    plan = list(created) or [PlanItem("i", 10 * TICK_MS)]
    at = len(plan) - 1 - (tape.below(len(plan)) if tape.one_in(3) else 0)
    match tape.below(4):
        case 0:
            plan.insert(at + 1, _draw_item(tape, "m", 4))
        case 1:
            plan[at] = _draw_item(tape, plan[at].item_id, 4)
        case 2 if len(plan) > 1:
            del plan[at]
        case _:
            plan.insert(tape.below(len(plan)), plan.pop(at))
    return tuple(plan)
