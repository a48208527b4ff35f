"""Facts of earlier turns, which the commands `Reopen` and `Undo` need and the state of a session does not contain."""

from enum import StrEnum

from msgspec import Struct

from synckairos.clock.budget import ClockReadingDetails
from synckairos.clock.lag_compensation import LagAccount, LagReceipt
from synckairos.clock.model import Extensions
from synckairos.clock.plan_item import ItemStatus


class EndedTurn(Struct, frozen=True):
    """The turn in which a session ended, as it was at the end. The state of an ended session does not contain it.

    `participant_id` is the participant that had the turn, None if no participant had it. `used_ms` is the time of the
    turn in ms, and `cycles` the number of turns that ended before it. `is_held` is True if the session ended in a hold.
    `next_item_id` is then the plan item that would have begun after the hold, None without a plan.
    `began_version` is that of the turn, see `CurrentTurn`.
    """

    participant_id: str | None
    used_ms: int
    cycles: int
    is_held: bool = False
    next_item_id: str | None = None
    began_version: int | None = None


class UndoCharge(StrEnum):
    """The participant that keeps time of the undone turns as used.

    `nobody`: no participant. `mover`: the participant of the restored turn keeps the time that it used in this turn.
    `resumed`: the participant of the restored turn is charged for all turns since the beginning of this turn.
    """

    NO_PARTICIPANT = "nobody"
    MOVER = "mover"
    RESUMED = "resumed"


class RestoredParticipant(Struct, frozen=True, omit_defaults=True):
    """The facts of a participant that an undo restores. The fields are those of `Participant`."""

    participant_id: str
    remaining_ms: int
    used_ms: int = 0
    cycle_count: int = 0
    has_expired: bool = False
    reading: ClockReadingDetails | None = None
    lag: LagAccount | None = None


class RestoredGroup(Struct, frozen=True, omit_defaults=True):
    """The facts of a group that an undo restores. The fields are those of `Group`."""

    group_id: str
    remaining_ms: int
    used_ms: int = 0
    has_expired: bool = False
    reading: ClockReadingDetails | None = None


class RestoredItem(Struct, frozen=True, omit_defaults=True):
    """The facts of a plan item that an undo restores. The fields are those of `PlanItem`."""

    item_id: str
    status: ItemStatus = ItemStatus.PENDING
    used_ms: int = 0


class RestoredTurn(Struct, frozen=True, omit_defaults=True):
    """The facts that an undo restores: those at the beginning of an earlier turn. The audit stores them as JSON.

    `version` is the version that began the turn, and `at_ms` its instant in ms since the Unix epoch. The participant
    `active_participant_id` had the turn, None if no participant had it. It used `used_in_turn_ms` until the turn after
    it began. `participants` has this participant, and all participants whose facts have changed since then, and
    `groups` and `items` all groups and plan items whose facts have changed. `item_id` is the plan item that began with
    the turn, None without a plan. The other fields are those of `Session` and `CurrentTurn`.
    """

    version: int
    at_ms: int
    active_participant_id: str | None = None
    used_in_turn_ms: int = 0
    used_ms: int = 0
    remaining_ms: int | None = None
    cycles: int = 0
    participants: tuple[RestoredParticipant, ...] = ()
    groups: tuple[RestoredGroup, ...] = ()
    items: tuple[RestoredItem, ...] = ()
    item_id: str | None = None
    schedule_offset_ms: int | None = None
    extensions: Extensions | None = None
    lag_receipt: LagReceipt | None = None
