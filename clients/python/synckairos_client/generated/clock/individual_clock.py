# Generated from synckairos.clock.individual_clock by `make python-client`. Do not edit.
"""The facts of the clock of one participant in `individual`."""

from dataclasses import dataclass
from enum import StrEnum

from synckairos_client.generated.clock.active_pause import ActivePause


class ParticipantStatus(StrEnum):
    """The status of a participant's clock in `individual`.

    `waiting`: the clock has not started. `finished`: a command ended the clock before its zero. `expired`: the clock
    ended at its zero.
    """

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Return whether the clock has ended. Only a reopening changes this status."""
        return self in ENDED


ENDED = frozenset({ParticipantStatus.FINISHED, ParticipantStatus.EXPIRED})
"""Statuses of clocks that have ended. Code that reads all clocks of a session compares with this set, because a call of
`is_final` for each of 1,000 clocks takes longer."""


FULL_FACTOR = 100
"""The time factor 1, in hundredths."""


@dataclass(frozen=True, slots=True)
class IndividualClock:
    """The clock of one participant in `individual`. The budget is in the participant (`remaining_ms`, `used_ms`).

    `anchor_ms` is the instant from which the running clock is measured, None if it does not run. `finished_at_ms` is
    the instant at which the clock ended, None if it has not ended. `pauses` holds the reasons for which the clock is
    paused. `time_factor` is the factor of the participant's time in hundredths (100 to 500). `warned_ms` and
    `is_in_overtime` have the same meaning as in `CurrentTurn`.

    In a session with an end, `end_offset_ms` is the time by which adjustments moved the end of this clock. The budget
    is then the time to this end as of the last change of the clock.
    """

    status: ParticipantStatus = ParticipantStatus.WAITING
    anchor_ms: int | None = None
    finished_at_ms: int | None = None
    pauses: tuple[ActivePause, ...] = ()
    time_factor: int = FULL_FACTOR
    warned_ms: tuple[int, ...] = ()
    is_in_overtime: bool = False
    end_offset_ms: int = 0
