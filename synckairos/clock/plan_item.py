"""The facts of one item of a plan."""

from enum import StrEnum

from msgspec import Struct


class ItemStatus(StrEnum):
    """The status of a plan item: not begun, the item of the current turn, or begun and ended."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"


class PlanItem(Struct, frozen=True):
    """An item of a plan. The plan of a `per_cycle` session gives each turn its own time.

    `time_ms` is the budget of a turn with this item. `participant_id` is the participant that has the turn, None if the
    item names no participant. `warnings_ms` holds the warning thresholds of the item, the greatest first; if it is
    None, the thresholds of the session apply. `used_ms` is the time of all turns with this item before the anchor.
    `planned_start_at_ms` is the instant at which the item begins according to the plan at the start of the session. It
    is None before the start, and for an item that was added after the start.
    """

    item_id: str
    time_ms: int
    title: str | None = None
    participant_id: str | None = None
    warnings_ms: tuple[int, ...] | None = None
    status: ItemStatus = ItemStatus.PENDING
    used_ms: int = 0
    planned_start_at_ms: int | None = None
