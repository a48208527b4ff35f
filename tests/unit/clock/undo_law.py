"""The law of undos: what an undo restores, what it keeps, and what it charges."""

from collections.abc import Mapping

from synckairos.clock.earlier_turns import RestoredTurn, UndoCharge
from synckairos.clock.model import OnTimeout, Session
from synckairos.clock.timing import charge_session_until, time_to_zero_ms
from synckairos.frozen_replace import replace


def check_undo(
    before: Session, after: Session, restored: RestoredTurn, charge: UndoCharge, states: Mapping[int, Session]
) -> None:
    """Check that an undo restores a version, and that only the kept time is added to it."""
    begun = states[restored.version]
    kept_ms = after.used_ms - begun.used_ms
    most_ms = {
        UndoCharge.NO_PARTICIPANT: 0,
        UndoCharge.MOVER: restored.used_in_turn_ms,
        UndoCharge.RESUMED: charge_session_until(before, after.updated_at_ms).used_ms - begun.used_ms,
    }[charge]
    assert 0 <= kept_ms <= most_ms
    if kept_ms < most_ms:
        assert (time_to_zero_ms(after) or 0) <= 0
        assert after.rules.on_timeout is not OnTimeout.OVERTIME
    again = charge_session_until(replace(begun, anchor_ms=0, ends_at_ms=None), kept_ms)
    assert (after.participants, after.groups, after.used_ms) == (
        tuple(
            replace(each, done_turn=now.done_turn)
            for each, now in zip(again.participants, before.participants, strict=True)
        ),
        again.groups,
        again.used_ms,
    )
    assert (after.active_position, after.lag_receipt) == (begun.active_position, begun.lag_receipt)
    if after.ends_at_ms is None:
        assert (after.remaining_ms, after.extensions) == (again.remaining_ms, begun.extensions)
    else:
        assert (after.ends_at_ms, after.extensions) == (before.ends_at_ms, before.extensions)
    assert [(each.item_id, each.used_ms) for each in after.plan] == [
        (each.item_id, each.used_ms) for each in again.plan
    ]
    assert (after.item_position, after.next_item_position) == (begun.item_position, None)
    assert [each.status for each in after.plan] == [each.status for each in begun.plan]
    kept = [each for each in before.pauses if each.reason not in ("hold", "timeout")]
    assert [each for each in after.pauses if each.reason != "timeout"] == kept
    assert (after.metadata, after.labels, after.pauses_taken) == (before.metadata, before.labels, before.pauses_taken)
