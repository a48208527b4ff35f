"""Random histories of sessions in `individual`, decoded from bytes, with commands close to deadlines."""

from collections.abc import Iterator

from synckairos.clock.audience_display import ScreenMode
from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Announce,
    Cancel,
    Command,
    Complete,
    Create,
    Delete,
    Done,
    Expire,
    Finish,
    NewParticipant,
    Pause,
    RemoveParticipant,
    Reopen,
    Resume,
    Screen,
    Start,
    Switch,
    UpdateMetadata,
    UpdateSession,
)
from synckairos.clock.model import OnTimeout, SyncMode
from tests.unit.clock.histories import Bytes, draw_update
from tests.unit.clock.script import T0

NAMES = "ABCD"
FACTORS = (100, 125, 133, 150, 500)
WAITS_MS = (0, 1, 499, 500, 1_000, 2_500, 4_000, 9_000)


def draw_individual_creation(tape: Bytes) -> Create:
    """Return a valid creation in `individual` with budgets of a few seconds."""
    options = tape.below(256)
    is_overtime = bool(options & 1)
    has_end = bool(options & 2)
    has_start = bool(options & 4)
    people = tuple(
        NewParticipant(
            NAMES[at],
            total_time_ms=None if has_end or options & 8 else (5 + 2 * at) * 1_000,
            group_id="xy"[at % 2] if options & 16 else None,
            time_factor=FACTORS[tape.below(len(FACTORS))] if options & 32 else 100,
        )
        for at in range(1 + tape.below(4))
    )
    starts_at_ms = T0 + (0, 500, 3_000)[tape.below(3)] if has_start else None
    return Create(
        SyncMode.INDIVIDUAL,
        people,
        total_time_ms=6_001 if options & 8 and not has_end else None,
        on_timeout=OnTimeout.OVERTIME if is_overtime else (None, OnTimeout.EXPIRE)[tape.below(2)],
        warnings_ms=((4_000, 0, -2_000) if is_overtime else (4_000, 1_000)) if options & 64 else (),
        pause_budget=tape.below(3) if options & 128 else None,
        starts_at_ms=starts_at_ms,
        ends_at_ms=T0 + 12_000 if has_end else None,
    )


def individual_commands(tape: Bytes, count: int) -> Iterator[tuple[int, Command]]:
    """Yield `count` commands, each with the delay after the command before, in ms. Some delays are negative."""
    yield tape.below(3) * 500, Start(*_targets(tape))
    for _ in range(count):
        gap = tape.below(256)
        yield -300 if gap == 255 else WAITS_MS[gap % 8], _command(tape)


def _targets(tape: Bytes) -> tuple[tuple[str, ...] | None, str | None]:
    match tape.below(8):
        case 0 | 1 | 2:
            return (_name(tape),), None
        case 3:
            return tuple(dict.fromkeys((_name(tape), _name(tape)))), None
        case 4:
            return None, "xyz"[tape.below(3)]
        case 5:
            return (_name(tape),), "xy"[tape.below(2)]
        case _:
            return None, None


def _name(tape: Bytes) -> str:
    return "ABCDZ"[tape.below(5)]


def _command(tape: Bytes) -> Command:
    which = tape.below(26)
    match which:
        case 0 | 1 | 2:
            return Start(*_targets(tape))
        case 3 | 4 | 5:
            max_ms = (None, 700, 3_000)[tape.below(3)]
            reason, holder = ("manual", "tea")[tape.below(2)], ("p", None)[tape.below(2)]
            return Pause(reason, max_ms, "ab"[tape.below(2)], holder, *_targets(tape))
        case 6 | 7 | 8:
            lifted = (None, None, "tea", "reopened")[tape.below(4)]
            return Resume(lifted, ("p", None, None)[tape.below(3)], *_targets(tape))
        case 9 | 10:
            return Finish(*_targets(tape))
        case 11 | 12 | 13:
            delta_ms = (2_000, -2_000, 30_001, -30_001)[tape.below(4)]
            return Adjust(delta_ms, *_targets(tape), scaled=tape.one_in(2))
        case 14:
            budget_ms = (None, 4_000)[tape.below(2)]
            factor = FACTORS[tape.below(len(FACTORS))]
            return AddParticipant(NewParticipant(_name(tape), None, budget_ms, time_factor=factor))
        case 15:
            return RemoveParticipant(_name(tape))
        case 16 | 17 | 18:
            ids = (_name(tape),) if tape.one_in(2) else None
            return Reopen((3_000, 3_000, -1_000, None)[tape.below(4)], ids)
        case 19:
            start = (None, T0 + 2_000, T0 + 9_000)[tape.below(3)]
            end = (None, T0 + 10_000, T0 + 30_000)[tape.below(3)]
            return UpdateSession({"room": "1"}, None, start, end, removes_start=start is None and tape.one_in(2))
        case 24 | 25:
            return draw_update(tape, _name(tape))
        case 20:
            return (UpdateMetadata({"round": 2}), Announce("Tea"), Screen(ScreenMode.STANDBY))[tape.below(3)]
        case 21:
            return (Complete(), Cancel(), Delete(), Switch(), Done("A"))[tape.below(5)]
        case _:
            return Expire()
