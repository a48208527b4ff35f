"""Transitions: the event of one version of a session, the time that it charges, and the state after it.

`model.py` has the state.
"""

from enum import StrEnum

from msgspec import Struct

from synckairos.clock.model import Session


class EventType(StrEnum):
    """The type of a transition. `docs/reference/events.md` describes each type."""

    SESSION_CREATED = "session_created"
    SESSION_STARTED = "session_started"
    CYCLE_SWITCHED = "cycle_switched"
    SESSION_PAUSED = "session_paused"
    SESSION_RESUMED = "session_resumed"
    TIME_ADJUSTED = "time_adjusted"
    PARTICIPANT_ADDED = "participant_added"
    PARTICIPANT_REMOVED = "participant_removed"
    PARTICIPANT_UPDATED = "participant_updated"
    PARTICIPANT_DONE = "participant_done"
    PARTICIPANT_STARTED = "participant_started"
    PARTICIPANT_PAUSED = "participant_paused"
    PARTICIPANT_RESUMED = "participant_resumed"
    PARTICIPANT_FINISHED = "participant_finished"
    TURN_UNDONE = "turn_undone"
    PARTICIPANT_EXPIRED = "participant_expired"
    GROUP_EXPIRED = "group_expired"
    CYCLE_EXPIRED = "cycle_expired"
    TIME_WARNING = "time_warning"
    OVERTIME_STARTED = "overtime_started"
    METADATA_UPDATED = "metadata_updated"
    SESSION_UPDATED = "session_updated"
    PLAN_UPDATED = "plan_updated"
    ANNOUNCEMENT_UPDATED = "announcement_updated"
    SCREEN_UPDATED = "screen_updated"
    SESSION_REOPENED = "session_reopened"
    SESSION_RECORDED = "session_recorded"
    SESSION_AMENDED = "session_amended"
    SESSION_EXPIRED = "session_expired"
    SESSION_COMPLETED = "session_completed"
    SESSION_CANCELLED = "session_cancelled"
    SESSION_DELETED = "session_deleted"
    SESSION_RECOVERED = "session_recovered"
    SESSION_IMPORTED = "session_imported"


EVENTS_THAT_CHANGE_LABELS = frozenset(
    {EventType.SESSION_CREATED, EventType.SESSION_UPDATED, EventType.SESSION_RECOVERED, EventType.SESSION_IMPORTED}
)
"""Event types of versions whose labels can differ from those of the version before."""


class Charge(Struct, frozen=True):
    """The time that one version adds to the used time of one participant.

    The time lasts from `began_at_ms` (included) to `ended_at_ms` (excluded), both in ms since the Unix epoch, and is
    never empty. `charges.py` describes where the charge of a version comes from.
    """

    participant_id: str
    began_at_ms: int
    ended_at_ms: int


class Event(Struct, frozen=True):
    """The event of one transition, and the participant or group that the event concerns.

    `used_ms` and `remaining_ms` are the times of that participant or group after the event. If the event concerns
    neither, they are the times of the session. In `per_cycle`, the `remaining_ms` of a participant is that of the
    cycle.

    `charges` has the times that the transition charges, in the order of participant ids and instants; it is empty if no
    time is charged. There is at most one charge for each participant, except in the events of `recorded_times.py`. It
    is None for the import of a session, because the charged time is then the difference to the version of the other
    product.

    `participant_ids` is empty, except in `individual` if the event concerns several participants. `participant_id` is
    then None, and the times are those of the session.

    `restored_at_ms` is the instant of the version that an undo restores, None for any other event. All earlier charges
    after this instant are void.
    """

    type: EventType
    at_ms: int
    participant_id: str | None = None
    group_id: str | None = None
    used_ms: int | None = None
    remaining_ms: int | None = None
    charges: tuple[Charge, ...] | None = ()
    participant_ids: tuple[str, ...] = ()
    restored_at_ms: int | None = None


class Transition(Struct, frozen=True):
    """One fact: an event, and the state after the event.

    The version of `state` is greater by 1 than the version before. There are two exceptions: the first transition of an
    imported session has the version that the import gives, and a recovery leaves out lost version numbers.
    """

    event: Event
    state: Session
