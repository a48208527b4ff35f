"""Random histories for ticking sessions in `individual`, decoded from bytes. Times are tenths of a second."""

from collections.abc import Iterator

from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Cancel,
    Command,
    Complete,
    Create,
    Expire,
    Finish,
    NewParticipant,
    Pause,
    RemoveParticipant,
    Reopen,
    Resume,
    Start,
    UpdateParticipant,
    UpdateSession,
)
from synckairos.clock.model import OnTimeout, SyncMode
from tests.unit.clock.histories import Bytes
from tests.unit.clock.script import T0

FACTORS = (100, 150, 200)
WAITS = (0, 0, 2, 2, 4, 6, 10, 24)
"""Ticks of 50 ms between two commands."""


def draw_individual(tape: Bytes) -> Create:
    """Return a creation in `individual`, with an end or with budgets."""
    is_overtime, has_end, has_teams = tape.one_in(3), tape.one_in(2), tape.one_in(2)
    thresholds = ((12, 4, 0, -5) if is_overtime else (12, 4)) if tape.one_in(2) else ()
    people = tuple(
        NewParticipant(
            "ABCD"[at],
            total_time_ms=None if has_end or tape.one_in(3) else 100 * (10 + tape.below(30)),
            group_id="xy"[at % 2] if has_teams else None,
            time_factor=FACTORS[tape.below(3)],
        )
        for at in range(1 + tape.below(4))
    )
    return Create(
        SyncMode.INDIVIDUAL,
        people,
        total_time_ms=None if has_end else 2_000,
        on_timeout=OnTimeout.OVERTIME if is_overtime else OnTimeout.EXPIRE,
        warnings_ms=tuple(100 * each for each in thresholds),
        pause_budget=(None, None, 2)[tape.below(3)],
        starts_at_ms=T0 + 100 * tape.below(8) if tape.one_in(4) else None,
        ends_at_ms=T0 + 100 * (20 + tape.below(30)) if has_end else None,
    )


def draw_individual_commands(tape: Bytes, count: int, spec: Create) -> Iterator[tuple[int, Command]]:
    """Yield `count` commands, each with the ticks since the command before, and some commands before the start."""
    for _ in range(tape.below(8) // 4):
        yield WAITS[tape.below(4)], _command(tape, spec)
    for _ in range(count):
        yield WAITS[tape.below(8)], _command(tape, spec)


def _command(tape: Bytes, spec: Create) -> Command:
    has_end = spec.ends_at_ms is not None
    match tape.below(24):
        case 0 | 1 | 2 | 3 | 4:
            return Start(*_targets(tape))
        case 5 | 6 | 7:
            return Pause(("manual", "tea")[tape.below(2)], (None, 400, 900)[tape.below(3)], "p", None, *_targets(tape))
        case 8 | 9 | 10:
            return Resume((None, None, "tea")[tape.below(3)], None, *_targets(tape))
        case 11:
            return Finish(*_targets(tape))
        case 12 | 13 | 14 | 15:
            return Adjust((600, -600, 3_000, -3_000)[tape.below(4)], *_targets(tape), scaled=tape.one_in(2))
        case 16 | 17 | 18:
            ids = (_name(tape),) if tape.one_in(2) else None
            return Reopen((None, 800, 1_500, -300)[tape.below(4)], ids)
        case 19:
            if tape.one_in(2):
                return RemoveParticipant(_name(tape))
            budget_ms = None if has_end else 1_500
            return AddParticipant(NewParticipant(_name(tape), None, budget_ms, time_factor=FACTORS[tape.below(3)]))
        case 20:
            return UpdateParticipant(_name(tape), (0, 900, 2_500)[tape.below(3)])
        case 21 | 22 if has_end or tape.one_in(3):
            start, end = (None, 5, 20)[tape.below(3)], (None, 25, 45)[tape.below(3)]
            return UpdateSession(
                starts_at_ms=None if start is None or tape.one_in(2) else T0 + 100 * start,
                ends_at_ms=None if end is None or not has_end else T0 + 100 * end,
                removes_start=start is None and tape.one_in(2),
            )
        case 23 if tape.one_in(4):
            return (Complete(), Cancel())[tape.below(2)]
        case _:
            return Expire()


def _targets(tape: Bytes) -> tuple[tuple[str, ...] | None, str | None]:
    match tape.below(8):
        case 0 | 1 | 2:
            return (_name(tape),), None
        case 3:
            return tuple(dict.fromkeys((_name(tape), _name(tape)))), None
        case 4:
            return None, "xyz"[tape.below(3)]
        case _:
            return None, None


def _name(tape: Bytes) -> str:
    return "ABCDZ"[tape.below(5)]
