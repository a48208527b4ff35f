"""A session in `individual`, advanced tick by tick: each participant has its own clock.

A tick is 50 ms, so that the time factors 1.5 and 2 make whole ticks of times in tenths of a second.
`individual_commands.py` applies commands.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.individual_clock import ParticipantStatus
from synckairos.clock.model import OnTimeout, Status
from synckairos.clock.transition import EventType
from tests.unit.clock.oracle.facts import PauseReason, RefusedError
from tests.unit.clock.oracle.ticking_clock import whole_ticks
from tests.unit.clock.script import T0

TICK_MS = 50

WAITING, RUNNING, PAUSED = ParticipantStatus.WAITING, ParticipantStatus.RUNNING, ParticipantStatus.PAUSED
FINISHED, EXPIRED = ParticipantStatus.FINISHED, ParticipantStatus.EXPIRED


def in_ticks(time_ms: int) -> int:
    """Return a time in ticks. It is a whole number of ticks."""
    return whole_ticks(time_ms, TICK_MS)


def scale(ticks: int, factor: int) -> int:
    """Return a time multiplied by a factor in hundredths. The result is a whole number of ticks."""
    scaled, odd = divmod(ticks * factor, 100)
    assert odd == 0
    return scaled


@dataclass
class Row:
    """A participant with its clock. `extra` is the time by which the end of its clock was moved.

    `left` is the budget in a session without an end, and in a session with an end only that of an ended clock.
    """

    name: str
    team: str | None
    factor: int
    left: int
    used: int = 0
    status: ParticipantStatus = WAITING
    pauses: list[PauseReason] = field(default_factory=list)
    warned: set[int] = field(default_factory=set)
    is_in_overtime: bool = False
    ended_at: int | None = None
    extra: int = 0

    @property
    def is_open(self) -> bool:
        return not self.status.is_final


class TickingIndividual:
    """A session in `individual`. All times are in ticks since the creation."""

    tick_ms: ClassVar[int] = TICK_MS

    def __init__(self, spec: Create) -> None:
        self.spec = spec
        self.now = self.used = self.pauses_taken = 0
        self.status = Status.PENDING
        self.started: int | None = None
        self.ended: int | None = None
        self.starts = None if spec.starts_at_ms is None else in_ticks(spec.starts_at_ms - T0)
        self.ends = None if spec.ends_at_ms is None else in_ticks(spec.ends_at_ms - T0)
        self.overtime = spec.on_timeout is OnTimeout.OVERTIME
        self.thresholds = sorted({in_ticks(each) for each in spec.warnings_ms}, reverse=True)
        self.log: list[tuple[int, EventType]] = []
        self.rows: list[Row] = []
        for new in spec.participants:
            self.add_row(new)

    def add_row(self, new: NewParticipant) -> None:
        """Add a participant, whose clock waits."""
        total_ms = self.spec.total_time_ms if new.total_time_ms is None else new.total_time_ms
        left = 0 if self.ends is not None else scale(in_ticks(total_ms or 0), new.time_factor)
        self.rows.append(Row(new.participant_id, new.group_id, new.time_factor, left))

    def row(self, name: str) -> Row:
        """Return a participant."""
        for each in self.rows:
            if each.name == name:
                return each
        raise RefusedError

    # -- readings -----------------------------------------------------------------------------------------------------

    def end_of(self, row: Row) -> int | None:
        """Return the tick at which this clock ends, None without an end or if the start is not known."""
        begin = self.starts if self.started is None else self.started
        if self.ends is None or begin is None:
            return None
        return self.ends + scale(self.ends - begin, row.factor - 100) + row.extra

    def is_read(self, row: Row) -> bool:
        """Return whether the budget of a clock is a reading: the session runs, or the clock has ended."""
        return self.started is not None and not (self.status.is_final and row.is_open)

    def left(self, row: Row) -> int:
        """Return the budget of a clock now."""
        if self.ends is None or not row.is_open:
            return row.left
        end = self.end_of(row)
        if end is None:
            return 0
        return end - (self.now if self.started is not None else self.starts or 0)

    # -- time ---------------------------------------------------------------------------------------------------------

    def pass_time(self, ticks: int) -> None:
        """Let time pass."""
        self.apply_due()
        for _ in range(ticks):
            self.now += 1
            for row in self.rows:
                if row.status is RUNNING:
                    row.used += 1
                    self.used += 1
                    row.left -= self.ends is None
            self.apply_due()

    def apply_due(self) -> None:
        """Apply everything that is due at this instant. Clocks with the same event change in one version."""
        while (event := self._apply_next_due()) is not None:
            self.log.append((self.now, event))

    def _apply_next_due(self) -> EventType | None:
        if self.status is Status.PENDING and self.starts is not None and self.starts <= self.now:
            self.start([row for row in self.rows if self.can_start(row, is_first=True)])
            return EventType.SESSION_STARTED
        if self.status not in (Status.RUNNING, Status.PAUSED):
            return None
        if not any(row.is_open for row in self.rows):
            return self.follow_clocks(EventType.SESSION_EXPIRED)
        lifted = [row for row in self.rows if any(self._lifts_now(each) for each in row.pauses)]
        if lifted:
            for row in lifted:
                self.lift(row, [each for each in row.pauses if self._lifts_now(each)])
            return self.follow_clocks(EventType.PARTICIPANT_RESUMED)
        return self._warn() or self._reach_zero()

    def _lifts_now(self, pause: PauseReason) -> bool:
        return pause.until is not None and pause.until <= self.now

    def _runs_down(self, row: Row) -> bool:
        """Return whether time brings this clock closer to its zero."""
        if self.ends is None:
            return row.status is RUNNING
        return row.status in (RUNNING, PAUSED) or (row.status is WAITING and not self.overtime)

    def _next_threshold(self, row: Row) -> int | None:
        """Return the threshold whose warning is due for a clock, None if none is due."""
        left = self.left(row)
        if not self._runs_down(row) or row.status is WAITING or (left <= 0 and not self.overtime):
            return None
        for threshold in self.thresholds:
            if threshold < 0 and not row.is_in_overtime:
                break
            if threshold not in row.warned:
                return threshold if left <= threshold else None
        return None

    def _warn(self) -> EventType | None:
        due = [(threshold, row) for row in self.rows if (threshold := self._next_threshold(row)) is not None]
        if not due:
            return None
        greatest = max(threshold for threshold, _ in due)
        for threshold, row in due:
            if threshold == greatest:
                row.warned.add(threshold)
        return EventType.TIME_WARNING

    def _rows_at_zero(self) -> list[Row]:
        return [
            row
            for row in self.rows
            if self._runs_down(row) and self.left(row) <= 0 and not (self.overtime and row.is_in_overtime)
        ]

    def _reach_zero(self) -> EventType | None:
        rows = self._rows_at_zero()
        if not rows:
            return None
        for row in rows:
            if self.overtime:
                row.is_in_overtime = True
            else:
                self.stop(row, EXPIRED)
        return EventType.OVERTIME_STARTED if self.overtime else self.follow_clocks(EventType.PARTICIPANT_EXPIRED)

    # -- changes ------------------------------------------------------------------------------------------------------

    def can_start(self, row: Row, *, is_first: bool) -> bool:
        """Return whether a clock waits, and has time before its end."""
        started, self.started = self.started, self.now if is_first else self.started
        end = self.end_of(row)
        self.started = started
        return row.status is WAITING and (end is None or self.now < end)

    def start(self, rows: list[Row]) -> None:
        """Start clocks, and with the first of them the session."""
        if self.started is None:
            self.started = self.now
        for row in rows:
            row.status = RUNNING
            self.pass_thresholds(row)
        self.follow_clocks(EventType.PARTICIPANT_STARTED)

    def stop(self, row: Row, status: ParticipantStatus) -> None:
        """End a clock. An expired clock has no time left, even if its end was before this instant."""
        row.left = 0 if status is EXPIRED else self.left(row)
        row.status, row.ended_at, row.pauses = status, self.now, []

    def lift(self, row: Row, lifted: list[PauseReason]) -> None:
        """End reasons of the pause of a clock."""
        row.pauses = [each for each in row.pauses if each not in lifted]
        row.status = PAUSED if row.pauses else RUNNING

    def pass_thresholds(self, row: Row) -> None:
        """Count the thresholds at or above the reading of a clock as passed."""
        left = self.left(row)
        row.warned = {each for each in self.thresholds if each >= left}
        row.is_in_overtime = self.overtime and left <= 0

    def rearm(self, row: Row) -> None:
        """Count the thresholds below the reading of a clock as not passed."""
        left = self.left(row)
        row.warned = {each for each in row.warned if each >= left}
        row.is_in_overtime = row.is_in_overtime and left <= 0

    def follow_clocks(self, event: EventType) -> EventType:
        """Give the session the status of its clocks. Return the event, which is that of the end if the session ends."""
        if self.started is None:
            return event
        statuses = {row.status for row in self.rows}
        if RUNNING in statuses:
            self.status = Status.RUNNING
        elif statuses & {WAITING, PAUSED}:
            self.status = Status.PAUSED
        else:
            self.status = Status.COMPLETED if FINISHED in statuses else Status.EXPIRED
            self.ended = self.now
            return EventType.SESSION_COMPLETED if FINISHED in statuses else EventType.SESSION_EXPIRED
        return event
