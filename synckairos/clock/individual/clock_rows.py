"""The participants of a session in `individual`, with an index of their clocks.

With 1,000 participants, a scan of all clocks takes longer than a whole command. So a tuple of participants carries an
index, and a change of few participants changes the index without a scan. The index is only a cache: it follows from
the participants and the session, it is no part of the value, and two tuples are equal if their participants are equal.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from typing import Self

from synckairos.clock.individual.row_clock import RowDue, individual_clock, row_instants
from synckairos.clock.individual_clock import ParticipantStatus
from synckairos.clock.model import Participant, Session
from synckairos.frozen_replace import replace

SCAN_SHARE = 8
"""If more than one in so many participants changes, a scan of all clocks is faster than changes of the index."""


class ClockRows(tuple[Participant, ...]):  # noqa: SLOT001 - a tuple cannot have slots
    """The participants of a session in `individual`, in index order. A tuple with a cache."""

    def __new__(cls, rows: Iterable[Participant]) -> Self:
        """Return the participants. A `ClockRows` is returned unchanged, with its cache."""
        if isinstance(rows, cls):
            return rows
        return super().__new__(cls, rows)

    positions: Mapping[str, int] | None = None
    """The position of each participant by its id, None until it is needed."""

    clocks: "ClockIndex | None" = None
    """The index of the clocks, None until it is needed."""

    def position_of(self, participant_id: str) -> int | None:
        """Return the position of a participant, None if the session has no such participant."""
        return self.positions_by_id().get(participant_id)

    def positions_by_id(self) -> Mapping[str, int]:
        """Return the position of each participant by its id."""
        if self.positions is None:
            self.positions = {row.participant_id: position for position, row in enumerate(self)}
        return self.positions

    def with_changes(self, changes: Mapping[int, Participant]) -> "ClockRows":
        """Return the participants with those in `changes`, by position, replaced by participants with the same ids."""
        rows = list(self)
        for position, row in changes.items():
            rows[position] = row
        changed = ClockRows(rows)
        # The ids stay, so all later versions share one index of positions.
        changed.positions = self.positions_by_id()
        return changed


class ClockIndex:
    """The index of the clocks of a session: due events and deadlines in order, counts, and the sum of all budgets.

    `due` has the next event of each clock with the position of its participant. `deadlines` has the deadline of each
    clock that has not ended. `counts` has the number of clocks by status. `remaining_ms` is the sum of all budgets.
    """

    __slots__ = ("_session", "counts", "deadlines", "due", "remaining_ms")

    def __init__(self, state: Session) -> None:
        """Build the index of the clocks of `state` by a scan of all participants."""
        self._session = _instants(state)
        self.counts = dict.fromkeys(ParticipantStatus, 0)
        self.remaining_ms = sum([row.remaining_ms for row in state.participants])
        found: list[tuple[RowDue, int]] = []
        deadlines: list[int] = []
        counts = self.counts
        for position, row in enumerate(state.participants):
            due, deadline_ms = row_instants(state, row)
            if due is not None:
                found.append((due, position))
            if deadline_ms is not None:
                deadlines.append(deadline_ms)
            assert row.individual is not None
            counts[row.individual.status] += 1
        self.due, self.deadlines = sorted(found), sorted(deadlines)

    @property
    def has_open_clock(self) -> bool:
        """Return whether some clock waits, runs or is paused."""
        counts = self.counts
        return bool(counts[ParticipantStatus.WAITING] or counts[ParticipantStatus.PAUSED] or self.has_running_clock)

    @property
    def has_running_clock(self) -> bool:
        """Return whether some clock runs."""
        return self.counts[ParticipantStatus.RUNNING] > 0

    def is_of(self, state: Session) -> bool:
        """Return whether the index, which is that of the participants of `state`, was built with the same instants."""
        return self._session == _instants(state)

    def with_changes(self, before: Session, after: Session, positions: Iterable[int]) -> "ClockIndex":
        """Return the index of `after`. It differs from `before`, which this index is of, in these positions only."""
        changed = ClockIndex.__new__(ClockIndex)
        changed._session = self._session
        changed.due, changed.deadlines = self.due.copy(), self.deadlines.copy()
        changed.counts, changed.remaining_ms = self.counts.copy(), self.remaining_ms
        for position in positions:
            changed._remove(before, position)
            changed._add(after, position)
        return changed

    def _remove(self, state: Session, position: int) -> None:
        row = state.participants[position]
        due, deadline_ms = row_instants(state, row)
        if due is not None:
            del self.due[bisect_left(self.due, (due, position))]
        if deadline_ms is not None:
            del self.deadlines[bisect_left(self.deadlines, deadline_ms)]
        self.counts[individual_clock(row).status] -= 1
        self.remaining_ms -= row.remaining_ms

    def _add(self, state: Session, position: int) -> None:
        row = state.participants[position]
        due, deadline_ms = row_instants(state, row)
        if due is not None:
            insort(self.due, (due, position))
        if deadline_ms is not None:
            insort(self.deadlines, deadline_ms)
        self.counts[individual_clock(row).status] += 1
        self.remaining_ms += row.remaining_ms


def clock_index(state: Session) -> ClockIndex:
    """Return the index of the clocks of a session in `individual`. It is built if the participants have none yet."""
    rows = state.participants
    if isinstance(rows, ClockRows):
        if rows.clocks is None or not rows.clocks.is_of(state):
            rows.clocks = ClockIndex(state)
        return rows.clocks
    return ClockIndex(state)


def with_clocks(state: Session, changes: Mapping[int, Participant]) -> Session:
    """Return the state with the participants at the positions in `changes` replaced. Version and status stay.

    The session's used time grows by the time that the changes charge.
    """
    before = ClockRows(state.participants)
    rows = before.with_changes(changes)
    added_ms = sum(row.used_ms - before[position].used_ms for position, row in changes.items())
    after = replace(state, participants=rows, used_ms=state.used_ms + added_ms)
    index = before.clocks
    if index is not None and index.is_of(state) and SCAN_SHARE * len(changes) <= len(rows):
        rows.clocks = index.with_changes(state, after, changes)
    return after


def _instants(state: Session) -> tuple[int | None, ...]:
    """Return the facts of a session, beside its rules and participants, on which the index depends."""
    return state.starts_at_ms, state.started_at_ms, state.ends_at_ms
