"""A session as lines of plain text for one screen at one instant. Pure: reads no clock and writes nothing."""

import math
from dataclasses import replace
from unicodedata import combining, east_asian_width

from synckairos.admin.plan_text import plan_rows
from synckairos.admin.text_rows import NAME_COLUMNS, TextRow, format_clock, short_id
from synckairos_client.generated.clock.budget import ClockReadingDetails
from synckairos_client.generated.clock.individual.row_clock import individual_clock
from synckairos_client.generated.clock.individual_clock import ParticipantStatus
from synckairos_client.generated.clock.model import Group, Participant, Session, Status, SyncMode
from synckairos_client.generated.clock.timing import active_group, session_remaining_ms
from synckairos_client.readings import changes_with_time, participant_remaining_ms, session_charged_until

UNKNOWN_FACE = "-:--"
"""Clock face if the server's time is not known."""


def render_session_lines(
    state: Session, now_ms: float | None, *, columns: int, lines: int, footer: str = ""
) -> list[str]:
    """Return at most `lines` lines of at most `columns` columns: a header, the clocks, a footer.

    `now_ms` is the server's time in ms since the Unix epoch. If it is None and a clock runs, no time is shown. If there
    is no room for all clocks, only the clock that has the turn and the clocks around it are shown.
    """
    is_known = now_ms is not None or not changes_with_time(state)
    charged = state if now_ms is None else session_charged_until(state, now_ms)
    rules = charged.rules
    status = f"{rules.sync_mode}, {charged.status}{_until_start(state, now_ms)}, version {charged.version}"
    header = [f"session {rules.session_id}", status, ""]
    shared, own = _rows(charged)
    if charged.plan:
        shared, own = plan_rows(charged, now_ms)
    if not is_known:
        shared, own = _without_times(shared), _without_times(own)
    used = format_clock(charged.used_ms) if is_known else UNKNOWN_FACE
    end = ["", f"used {used}" + (f" · {footer}" if footer else "")]
    room = max(1, lines - len(header) - len(shared) - len(end))
    drawn = [*header, *map(_line, shared), *_window(own, room), *end]
    return [cut_to_columns(line, columns).rstrip() for line in drawn[:lines]]


def _until_start(state: Session, now_ms: float | None) -> str:
    """Return the text of the time until a pending session starts by itself, empty if it does not or now is unknown."""
    if state.status is not Status.PENDING or state.starts_at_ms is None or now_ms is None:
        return ""
    return f" (starts in {format_clock(max(0, state.starts_at_ms - math.floor(now_ms)))})"


def cut_to_columns(text: str, columns: int) -> str:
    """Return a line of text, cut so that it takes at most `columns` columns of a terminal.

    Control characters are replaced, because a terminal would execute them.
    """
    kept, width = [], 0
    for char in text:
        char = char if char.isprintable() else "�"
        width += 0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1
        if width > columns:
            break
        kept.append(char)
    return "".join(kept)


def _rows(charged: Session) -> tuple[list[TextRow], list[TextRow]]:
    """Return the rows of the clocks of the session or its groups, and the rows of the participants."""
    mode, people = charged.rules.sync_mode, charged.participants
    match mode:
        case SyncMode.PER_PARTICIPANT:
            return [], [_clock_row(charged, each, participant_remaining_ms(charged, each)) for each in people]
        case SyncMode.INDIVIDUAL:
            return [], [_individual_row(each) for each in people]
        case SyncMode.PER_GROUP:
            groups = [_group_row(each, each is active_group(charged)) for each in charged.groups]
            return [*groups, TextRow("", "")], [_used_row(charged, each) for each in people]
        case SyncMode.PER_CYCLE:
            note = f"cycle {charged.turn.cycles + 1}"
            shared = [TextRow("this cycle", format_clock(charged.remaining_ms or 0), note), TextRow("", "")]
        case SyncMode.GLOBAL:
            left_ms = session_remaining_ms(charged)
            shared = [TextRow("session", UNKNOWN_FACE if left_ms is None else format_clock(left_ms)), TextRow("", "")]
        case SyncMode.COUNT_UP:
            note = "" if charged.remaining_ms is None else f"{format_clock(charged.remaining_ms)} left"
            shared = [TextRow("session", format_clock(charged.used_ms), note), TextRow("", "")]
    return shared, [_used_row(charged, each) for each in people]


def _individual_row(each: Participant) -> TextRow:
    """Return the row of a participant in `individual`: the time of its clock, its status, and whether it runs."""
    clock = individual_clock(each)
    is_running = clock.status is ParticipantStatus.RUNNING
    reasons = f" ({', '.join(pause.reason for pause in clock.pauses)})" if clock.pauses else ""
    note = "" if is_running else f"{clock.status}{reasons}"
    name = each.display_name or short_id(each.participant_id)
    return TextRow(name, format_clock(each.remaining_ms), note, is_running)


def _without_times(rows: list[TextRow]) -> list[TextRow]:
    return [replace(each, face=UNKNOWN_FACE, note="") if each.name else each for each in rows]


def _clock_row(charged: Session, each: Participant, left_ms: int | None) -> TextRow:
    return _participant_row(charged, each, left_ms, each.reading)


def _used_row(charged: Session, each: Participant) -> TextRow:
    return _participant_row(charged, each, each.used_ms, None)


def _participant_row(
    charged: Session, each: Participant, ms: int | None, reading: ClockReadingDetails | None
) -> TextRow:
    note = "expired" if each.has_expired else _note(reading)
    name = each.display_name or short_id(each.participant_id)
    return TextRow(name, "-" if ms is None else format_clock(ms), note, each is charged.active_participant)


def _group_row(each: Group, is_turn: bool) -> TextRow:
    note = "expired" if each.has_expired else _note(each.reading)
    return TextRow(short_id(each.group_id), format_clock(each.remaining_ms), note, is_turn)


def _note(reading: ClockReadingDetails | None) -> str:
    """Return the text of the facts next to the time of a clock: stage, periods, moves."""
    if reading is None:
        return ""
    facts = (("periods", reading.periods_left), ("moves", reading.moves_left))
    stage = None if reading.stage is None else f"stage {reading.stage + 1}"
    notes = [stage, *(f"{value} {name}" for name, value in facts if value is not None)]
    return ", ".join(each for each in notes if each)


def _window(rows: list[TextRow], room: int) -> list[str]:
    """Return at most `room` lines around the row that has the turn. Hidden rows are counted above and below."""
    if len(rows) <= room:
        return [_line(row) for row in rows]
    kept = max(1, room - 2)
    turn = next((position for position, row in enumerate(rows) if row.is_turn), 0)
    begin = max(0, min(turn - kept // 2, len(rows) - kept))
    end = begin + kept
    drawn = [_line(row) for row in rows[begin:end]]
    return drawn if room < 3 else [f"  … {begin} above", *drawn, f"  … {len(rows) - end} below"]


def _line(row: TextRow) -> str:
    name = cut_to_columns(row.name, NAME_COLUMNS)
    padding = " " * (NAME_COLUMNS - _width(name))
    return f"{'>' if row.is_turn else ' '} {name}{padding} {row.face:>10}  {row.note}"


def _width(text: str) -> int:
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)
