"""The plan of a session as rows of text: the current item, and all items with their starts. Pure."""

from datetime import UTC, datetime

from synckairos.admin.text_rows import TextRow, format_clock, short_id
from synckairos_client.generated.clock.model import Session
from synckairos_client.generated.clock.plan_item import ItemStatus, PlanItem
from synckairos_client.readings import expected_starts_ms


def plan_rows(charged: Session, now_ms: float | None) -> tuple[list[TextRow], list[TextRow]]:
    """Return the row of the item that runs or comes next, and the rows of all items.

    `charged` is a session with a plan in which the time until `now_ms` is charged. `now_ms` is the server's time in ms
    since the Unix epoch, None if it is not known. The note of an item has its participant and its planned start in UTC.
    It also has the expected start if that is another minute.
    """
    is_next = charged.next_item_position is not None
    position = charged.next_item_position if is_next else charged.item_position
    count = f"item {(position or 0) + 1} of {len(charged.plan)}"
    notes = [count, "comes next" if is_next else "", _offset_text(charged.schedule_offset_ms)]
    shared = TextRow(
        "next item" if is_next or charged.started_at_ms is None else "this item",
        format_clock(charged.remaining_ms or 0),
        ", ".join(filter(None, notes)),
    )
    # The starts are those of the session as it is now, so the charged state gives the same ones.
    expected = {} if now_ms is None else expected_starts_ms(charged, now_ms)
    names = {each.participant_id: each.display_name or short_id(each.participant_id) for each in charged.participants}
    return [shared, TextRow("", "")], [_item_row(item, names, expected) for item in charged.plan]


def _offset_text(offset_ms: int | None) -> str:
    if offset_ms is None or abs(offset_ms) < 1_000:
        return ""
    return f"{format_clock(abs(offset_ms) // 1_000 * 1_000).partition('.')[0]} {'late' if offset_ms > 0 else 'early'}"


def _item_row(item: PlanItem, names: dict[str, str], expected: dict[str, int]) -> TextRow:
    """Return the row of an item. An item that has not begun shows its time, and any other item its used time."""
    is_begun = item.status is not ItemStatus.PENDING
    planned = "" if item.planned_start_at_ms is None else _time_of_day(item.planned_start_at_ms)
    expects = _time_of_day(expected[item.item_id]) if item.item_id in expected else ""
    notes = [
        "done" if item.status is ItemStatus.DONE else "",
        f"planned {planned}" if planned else "",
        f"expected {expects}" if expects and expects != planned else "",
        names.get(item.participant_id or "", ""),
    ]
    face = format_clock(item.used_ms if is_begun else item.time_ms)
    return TextRow(
        short_id(item.title or item.item_id),
        face,
        ", ".join(filter(None, notes)),
        item.status is ItemStatus.RUNNING,
    )


def _time_of_day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%H:%M")
