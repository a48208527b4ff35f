"""Independent sums of the time in a history: of the session by kinds of time, and of the charges of participants."""

from collections import Counter
from dataclasses import dataclass, field

from synckairos.clock.earlier_turns import RestoredTurn
from synckairos.clock.model import Session, Status
from synckairos.clock.timing import charge_session_until
from synckairos.clock.transition import Charge, Event, EventType, Transition
from synckairos.frozen_replace import replace


@dataclass(slots=True)
class Ledger:
    """Elapsed, paused and compensated time, calculated only from the instants of transitions, without the engine.

    `forgiven_ms` is the time that undos took back from all participants.
    """

    ran_ms: int = 0
    paused_ms: int = 0
    unowned_ms: int = 0
    left_ms: int = 0
    compensated_ms: int = 0
    ended_ms: int = 0
    forgiven_ms: int = 0
    _at_version: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    @property
    def wall_ms(self) -> int:
        """Return the sum of all kinds of time."""
        return self.ran_ms + self.paused_ms + self.compensated_ms + self.forgiven_ms + self.ended_ms

    def count(self, before: Session, transition: Transition, restored: RestoredTurn | None = None) -> None:
        """Count the time between two versions. `restored` is the restored turn if the second version is of an undo."""
        after = transition.state
        if transition.event.type is EventType.SESSION_AMENDED:
            self._count_stated_times(after)
        elif restored is None:
            self._count(before, after)
        else:
            self._count(before, replace(after, lag_receipt=before.lag_receipt, participants=before.participants))
            self._undo(after, restored)
        self._at_version[after.version] = self.ran_ms, self.unowned_ms, self.compensated_ms

    def _count(self, before: Session, after: Session) -> None:
        passed_ms = after.updated_at_ms - before.updated_at_ms
        if after.lag_receipt is not before.lag_receipt and after.lag_receipt is not None:
            passed_ms -= after.lag_receipt.compensated_ms
            self.compensated_ms += after.lag_receipt.compensated_ms
        if before.status is Status.RUNNING:
            self.ran_ms += passed_ms
            if before.active_position is None:
                self.unowned_ms += passed_ms
        elif before.status is Status.PAUSED:
            self.paused_ms += passed_ms
        elif before.status.is_final and after.status is Status.PAUSED:
            assert before.completed_at_ms is not None
            self.ended_ms += after.updated_at_ms - before.completed_at_ms
        gone = {p.participant_id for p in before.participants} - {p.participant_id for p in after.participants}
        ran_on = charge_session_until(before, after.updated_at_ms)
        self.left_ms += sum(p.used_ms for p in ran_on.participants if p.participant_id in gone)

    def _undo(self, after: Session, restored: RestoredTurn) -> None:
        """Forgive the time of the undone turns, except the kept time."""
        kept_ms = after.used_ms - restored.used_ms
        counted_ms = self.ran_ms + self.compensated_ms
        self.ran_ms, self.unowned_ms, self.compensated_ms = self._at_version[restored.version]
        self.ran_ms += kept_ms
        self.unowned_ms += kept_ms if after.active_position is None else 0
        self.forgiven_ms += counted_ms - self.ran_ms - self.compensated_ms
        assert self.forgiven_ms >= 0

    def _count_stated_times(self, amended: Session) -> None:
        """Count the times of an amendment instead of all measured times."""
        assert amended.completed_at_ms is not None
        assert amended.started_at_ms is not None
        assert amended.breaks is not None
        self.paused_ms = sum(each.ended_at_ms - each.began_at_ms for each in amended.breaks)
        self.ran_ms = amended.completed_at_ms - amended.started_at_ms - self.paused_ms
        self.unowned_ms = self.left_ms = self.compensated_ms = self.ended_ms = self.forgiven_ms = 0


class ChargeLedger:
    """The charges so far that are not void, with their versions."""

    def __init__(self) -> None:
        self._charges: list[tuple[int, Charge]] = []

    def add(self, version: int, event: Event, restored: RestoredTurn | None) -> None:
        """Add the charges of a version. An undo and an amendment make earlier charges void."""
        if event.type is EventType.SESSION_AMENDED:
            self._charges.clear()
        if restored is not None:
            self._charges = [each for each in self._charges if each[0] <= restored.version]
        self._charges += [(version, each) for each in event.charges or ()]

    def leave(self, participant_id: str) -> int:
        """Remove the charges of a participant, and return their sum in ms."""
        left_ms = self.sums()[participant_id]
        self._charges = [each for each in self._charges if each[1].participant_id != participant_id]
        return left_ms

    def sums(self) -> Counter[str]:
        """Return the sum of the charges of each participant in ms."""
        sums = Counter[str]()
        for _, each in self._charges:
            sums[each.participant_id] += each.ended_at_ms - each.began_at_ms
        return sums
