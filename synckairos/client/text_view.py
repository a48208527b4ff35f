"""A session as lines of plain text that fit one screen, drawn for an instant. Pure: reads no clock, writes nothing."""

from dataclasses import dataclass
from unicodedata import combining, east_asian_width

from synckairos.client.readings import at, share_ms
from synckairos.clock.clock_systems import ClockReading
from synckairos.clock.model import Group, Participant, Session, SyncMode
from synckairos.clock.timing import active_group

TENTHS_BELOW_MS = 20_000
NAME_COLUMNS = 32


@dataclass(frozen=True, slots=True)
class _Row:
    """A clock: whose it is, what it shows, and whether it is the one whose turn it is."""

    name: str
    face: str
    note: str = ""
    is_turn: bool = False


def draw(state: Session, now_ms: float, *, columns: int, lines: int, footer: str = "") -> list[str]:
    """Return at most `lines` lines of at most `columns` columns: a head, the clocks, a foot.

    `now_ms` is the server's time, ms since the Unix epoch. Where not all clocks fit, those around whose turn it is do.
    """
    shown = at(state, now_ms)
    rules = shown.rules
    head = [f"session {rules.session_id}", f"{rules.sync_mode}, {shown.status}, version {shown.version}", ""]
    own, others = _clocks(shown)
    foot = ["", f"used {face(shown.used_ms)}" + (f" · {footer}" if footer else "")]
    room = max(1, lines - len(head) - len(own) - len(foot))
    drawn = [*head, *map(_line, own), *_window(others, room), *foot]
    return [fit(line, columns).rstrip() for line in drawn[:lines]]


def face(ms: int) -> str:
    """Return what a clock shows: rounded down, tenths in the last twenty seconds, a minus in overtime."""
    sign, ms = ("-", -ms) if ms < 0 else ("", ms)
    seconds, tenths = ms // 1000, f".{ms // 100 % 10}" if ms < TENTHS_BELOW_MS else ""
    hours, minutes = seconds // 3600, seconds // 60 % 60
    digits = f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"
    return f"{sign}{digits}{tenths}"


def fit(text: str, columns: int) -> str:
    """Cut a line to so many columns; what a terminal would obey instead of show is replaced."""
    kept, width = [], 0
    for char in text:
        char = char if char.isprintable() else "�"
        width += 0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1
        if width > columns:
            break
        kept.append(char)
    return "".join(kept)


def _clocks(shown: Session) -> tuple[list[_Row], list[_Row]]:
    """Return the clocks that are the session's or its groups', and those of its participants."""
    mode, people = shown.rules.sync_mode, shown.participants
    match mode:
        case SyncMode.PER_PARTICIPANT:
            return [], [_row(shown, each, share_ms(shown, each), each.reading) for each in people]
        case SyncMode.PER_GROUP:
            groups = [_group(each, each is active_group(shown)) for each in shown.groups]
            return [*groups, _Row("", "")], [_used(shown, each) for each in people]
        case SyncMode.PER_CYCLE:
            own = [_Row("this cycle", face(shown.remaining_ms or 0), f"cycle {shown.turn.cycles + 1}"), _Row("", "")]
        case SyncMode.GLOBAL:
            own = [_Row("session", face(shown.remaining_ms or 0)), _Row("", "")]
        case SyncMode.COUNT_UP:
            note = "" if shown.remaining_ms is None else f"{face(shown.remaining_ms)} left"
            own = [_Row("session", face(shown.used_ms), note), _Row("", "")]
    return own, [_used(shown, each) for each in people]


def _row(shown: Session, each: Participant, ms: int | None, reading: ClockReading | None) -> _Row:
    note = "expired" if each.has_expired else _note(reading)
    name = each.display_name or each.participant_id
    return _Row(name, "-" if ms is None else face(ms), note, each is shown.active_participant)


def _used(shown: Session, each: Participant) -> _Row:
    return _row(shown, each, each.used_ms, None)


def _group(each: Group, is_turn: bool) -> _Row:
    note = "expired" if each.has_expired else _note(each.reading)
    return _Row(each.group_id, face(each.remaining_ms), note, is_turn)


def _note(reading: ClockReading | None) -> str:
    """Return what a clock shows beside its time: periods, moves, the stage."""
    if reading is None:
        return ""
    facts = (("periods", reading.periods_left), ("moves", reading.moves_left))
    stage = None if reading.stage is None else f"stage {reading.stage + 1}"
    told = [stage, *(f"{value} {name}" for name, value in facts if value is not None)]
    return ", ".join(each for each in told if each)


def _window(rows: list[_Row], room: int) -> list[str]:
    """Return as many rows as there is room for, around the one whose turn it is, saying how many aren't shown."""
    if len(rows) <= room:
        return [_line(row) for row in rows]
    kept = max(1, room - 2)
    turn = next((place for place, row in enumerate(rows) if row.is_turn), 0)
    begin = max(0, min(turn - kept // 2, len(rows) - kept))
    end = begin + kept
    drawn = [_line(row) for row in rows[begin:end]]
    return drawn if room < 3 else [f"  … {begin} above", *drawn, f"  … {len(rows) - end} below"]


def _line(row: _Row) -> str:
    name = fit(row.name, NAME_COLUMNS)
    padding = " " * (NAME_COLUMNS - _width(name))
    return f"{'>' if row.is_turn else ' '} {name}{padding} {row.face:>10}  {row.note}"


def _width(text: str) -> int:
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)
