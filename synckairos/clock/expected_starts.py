"""Expected starts of the items of a plan: a reading that depends on the present, and is not stored."""

from synckairos.clock.model import Session
from synckairos.clock.rest_days import end_of_running_time_ms


def expected_starts_ms(state: Session, now_ms: float) -> dict[str, int]:
    """Return the expected start of each item after the current one by its id, as of the instant `now_ms`.

    All instants are in ms since the Unix epoch. An expected start is the earliest instant at which the item begins if
    no command shortens an item: a session that is paused, held or pending goes on at `now_ms`, or at its later
    `starts_at_ms`. The clock stands still on rest days. An item that runs over ends at `now_ms`. Items before the
    current item have no expected start, and an ended session has none at all.
    """
    if not state.plan or state.status.is_final:
        return {}
    at_ms = int(now_ms // 1)
    left_ms = max(0, state.remaining_ms or 0)
    if state.anchor_ms is not None:
        at_ms = max(at_ms, _end_ms(state, state.anchor_ms, left_ms))
        first = (state.item_position or 0) + 1
    elif state.started_at_ms is not None and state.next_item_position is None:
        at_ms = _end_ms(state, at_ms, left_ms)
        first = (state.item_position or 0) + 1
    else:
        if state.started_at_ms is None and state.starts_at_ms is not None:
            at_ms = max(at_ms, state.starts_at_ms)
        first = state.next_item_position or 0
    starts: dict[str, int] = {}
    for position in range(first, len(state.plan)):
        item = state.plan[position]
        starts[item.item_id] = at_ms
        is_shown = position == first and state.anchor_ms is None and state.next_item_position is not None
        is_shown = is_shown or (state.started_at_ms is None and position == 0)
        # The budget of an item that is shown can be adjusted before the item begins.
        at_ms = _end_ms(state, at_ms, left_ms if is_shown else item.time_ms)
    return starts


def _end_ms(state: Session, from_ms: int, running_ms: int) -> int:
    """Return the instant at which a clock that runs from `from_ms` on has run for `running_ms`, without the rests."""
    rest = state.rules.rest
    return from_ms + running_ms if rest is None else end_of_running_time_ms(rest, from_ms, running_ms)
