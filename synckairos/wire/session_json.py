"""The session's document: the JSON that is stored, published, audited and returned, always with the same bytes.

`render_session` and `session_parser.parse_session` are inverse: rendering a parsed document gives the same bytes. All
JSON members are facts at the last transition, so the document of a version never changes.
"""

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import orjson

from synckairos.clock.active_pause import HOLD_REASON, ActivePause
from synckairos.clock.budget import Budget, ClockReadingDetails
from synckairos.clock.clock_systems import ClockSystem, Delay, Hourglass
from synckairos.clock.individual.row_clock import own_end_ms, row_deadline_at_ms
from synckairos.clock.individual_clock import FULL_FACTOR, IndividualClock
from synckairos.clock.lag_compensation import LagReceipt
from synckairos.clock.model import Break, Group, Participant, Session, Status, SyncMode
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.stages import Stages
from synckairos.clock.timing import (
    active_group,
    active_group_index,
    clock_system_for,
    deadline_at_ms,
    is_turn_free,
    session_remaining_ms,
    time_to_zero_ms,
)
from synckairos.wire.audience_display_json import announcement_json
from synckairos.wire.clock_system_json import READING_FACTS, render_clock_system
from synckairos.wire.instants import render_instant
from synckairos.wire.plan_json import plan_json

DOCUMENT_SCHEMA = 1
"""Number of the document's schema. Redis stores this number with the document."""


SYSTEMS_WITH_DERIVED_READING = (Delay, Hourglass)
"""Clock systems whose `reading` contains no facts, because it follows from the clock system and the turn."""

RECEIPT_MEMBERS = ("participant_id", "elapsed_ms", "trusted_lag_ms", "compensated_ms", "charged_ms", "quota_left_ms")
"""Names of the JSON members of a lag receipt, in order."""


EXTENSION_RULES = ("extend_window_ms", "extend_by", "max_extension_ms", "max_extensions")
"""Names of the optional rules of a soft close. `Rules` and the document have the same names."""

_REMAINING_MS = attrgetter("remaining_ms")


def render_session(state: Session) -> bytes:
    """Render the session's document: UTF-8 JSON with its members in the published order."""
    return orjson.dumps(session_json(state))


def session_json(state: Session, *, with_lists: bool = True) -> dict[str, Any]:
    """Return the session's document as JSON values.

    If `with_lists` is False, the arrays of participants, groups and plan items are empty.
    """
    rules = state.rules
    total_ms, remaining_ms = _totals(state)
    group = active_group(state)
    active = state.active_participant
    turn = state.turn
    document: dict[str, Any] = {
        "session_id": rules.session_id,
        "sync_mode": rules.sync_mode,
        "status": state.status,
        "version": state.version,
        "epoch": state.epoch,
        "participants": participants_json(state) if with_lists else [],
        "groups": groups_json(state) if with_lists and state.groups else [],
    }
    if state.plan:
        document["plan"] = plan_json(state) if with_lists else []
    document |= {
        "active_participant_id": None if active is None else active.participant_id,
        "active_group_id": None if group is None else group.group_id,
        "total_time_ms": total_ms,
        "time_used_ms": state.used_ms,
        "time_remaining_ms": remaining_ms,
        "time_per_cycle_ms": rules.time_per_cycle_ms,
    }
    # v2 clients validate strictly. So these JSON members are absent if they are unset, and never null.
    if rules.increment_ms is not None:
        document["increment_ms"] = rules.increment_ms
    if rules.max_time_ms is not None:
        document["max_time_ms"] = rules.max_time_ms
    if rules.initial_ms is not None:
        document["initial_ms"] = rules.initial_ms
    if rules.extend_on_switch_ms is not None:
        document["extend_on_switch_ms"] = rules.extend_on_switch_ms
        for name in EXTENSION_RULES:
            if (value := getattr(rules, name)) is not None:
                document[name] = value
        if state.extensions is not None:
            document["extensions"] = {"count": state.extensions.count, "added_ms": state.extensions.added_ms}
    if rules.switch_while_paused:
        document["switch_while_paused"] = True
    if rules.holds_between_turns:
        document["between_turns"] = HOLD_REASON
    if rules.rest is not None:
        document["rest"] = {
            "weekdays": rules.rest.weekdays,
            "utc_offset_minutes": rules.rest.utc_offset_minutes,
        }
    if rules.free_first_turn_ms is not None:
        document["free_first_turn"] = {"limit_ms": rules.free_first_turn_ms}
    if rules.closes_when_all_done:
        document["close_when_all_done"] = True
    if state.item_position is not None:
        document["current_item_id"] = state.plan[state.item_position].item_id
    if state.next_item_position is not None:
        document["next_item_id"] = state.plan[state.next_item_position].item_id
    if state.schedule_offset_ms is not None:
        document["schedule_offset_ms"] = state.schedule_offset_ms
    if state.starts_at_ms is not None:
        document["starts_at"] = render_instant(state.starts_at_ms)
    if state.ends_at_ms is not None:
        document["ends_at"] = render_instant(state.ends_at_ms)
    if state.breaks is not None:
        document["breaks"] = breaks_json(state.breaks)
    if state.announcement is not None:
        document["announcement"] = announcement_json(state.announcement)
    if state.screen is not None:
        document["screen"] = state.screen
    if rules.pause_budget is not None:
        document["pause_budget"] = rules.pause_budget
        document["pauses_taken"] = state.pauses_taken
    if rules.lag_compensation:
        document["lag_compensation"] = True
        if state.lag_receipt is not None:
            document["lag_receipt"] = receipt_json(state.lag_receipt)
    updated_at = render_instant(state.updated_at_ms)
    document |= {
        "max_cycles": rules.max_cycles,
        "clock": render_clock_system(rules.clock),
        "on_timeout": rules.on_timeout,
        "warnings_ms": rules.warnings_ms,
        "pauses": [_pause_json(pause) for pause in state.pauses],
        "deadline_at": _render_optional(deadline_at_ms(state)),
        "cycle_started_at": (
            updated_at if state.anchor_ms == state.updated_at_ms else _render_optional(state.anchor_ms)
        ),
        "session_started_at": _render_optional(state.started_at_ms),
        "session_completed_at": _render_optional(state.completed_at_ms),
        "created_at": render_instant(rules.created_at_ms),
        "updated_at": updated_at,
        "metadata": state.metadata,
        "turn": {"used_ms": turn.used_ms, "cycles": turn.cycles, "warned_ms": turn.warned_ms},
    }
    if turn.is_in_overtime:
        document["turn"]["overtime"] = True
    if turn.began_version is not None:
        document["turn"]["began_version"] = turn.began_version
    if state.labels:
        document["labels"] = state.labels
    if state.turn_number is not None:
        document["turn_number"] = state.turn_number  # the last member, as `is_second_edition` expects
    return document


def _totals(state: Session) -> tuple[int, int | None]:
    """Return the total time and the remaining time of the session in ms. The total is used time plus remaining time.

    The remaining time is None without a time limit. The total is then the used time.
    """
    match state.rules.sync_mode:
        case SyncMode.PER_PARTICIPANT:
            remaining_ms: int | None = sum(map(_REMAINING_MS, state.participants))
        case SyncMode.PER_GROUP:
            remaining_ms = sum(map(_REMAINING_MS, state.groups))
        case _:
            remaining_ms = session_remaining_ms(state)
    return state.used_ms + (remaining_ms or 0), remaining_ms


def shown_turn_indexes(state: Session) -> tuple[int | None, int | None]:
    """Return the positions of the participant and of the group whose turn the document shows.

    Both are None before the start. A position is also None if no participant or group is active.
    """
    return (None, None) if state.status is Status.PENDING else (state.active_position, active_group_index(state))


def participants_json(state: Session) -> list[dict[str, Any]]:
    """Return the session's participants as JSON values, in index order."""
    turn, _ = shown_turn_indexes(state)
    return [participant_json(state, p, at == turn) for at, p in enumerate(state.participants)]


def groups_json(state: Session) -> list[dict[str, Any]]:
    """Return the session's groups as JSON values, in the order of `state.groups`."""
    _, turn = shown_turn_indexes(state)
    return [group_json(state, group, at == turn) for at, group in enumerate(state.groups)]


def participant_json(state: Session, participant: Participant, is_turn: bool) -> dict[str, Any]:
    """Return a participant as JSON values.

    `is_turn` must be True only if the session has started and this participant has the turn.
    """
    mode = state.rules.sync_mode
    remaining_ms = participant.remaining_ms
    if mode is SyncMode.PER_CYCLE:
        # Each cycle has the same budget. The active participant shows the remaining time; other participants show the
        # full budget. With a plan, the items have different budgets, so other participants show 0.
        remaining_ms = (state.remaining_ms if is_turn else state.rules.time_per_cycle_ms) or 0
    document: dict[str, Any] = {
        "participant_id": participant.participant_id,
        "participant_index": participant.index,
        "display_name": participant.display_name,
        "group_id": participant.group_id,
        "total_time_ms": participant.used_ms + remaining_ms,
        "time_used_ms": participant.used_ms,
        "time_remaining_ms": remaining_ms,
        "cycle_count": participant.cycle_count,
        "is_active": is_turn,
        "has_expired": participant.has_expired,
    }
    if participant.group_id is None:
        del document["group_id"]
    if participant.done_turn is not None:
        document["done_turn"] = participant.done_turn
    if participant.individual is not None:
        document |= _individual_clock_json(state, participant, participant.individual)
    if mode is SyncMode.PER_PARTICIPANT:
        if participant.clock is not None:
            document["clock"] = render_clock_system(participant.clock)
        system = clock_system_for(state, participant)
        is_free = is_turn and state.rules.free_first_turn_ms is not None and is_turn_free(state)
        if is_free or participant.reading is not None or isinstance(system, SYSTEMS_WITH_DERIVED_READING):
            document["reading"] = _reading_json(state, system, participant.reading, is_turn)
        if is_free:
            document["reading"]["free_until_at"] = _free_until_at(state, time_to_zero_ms(state) or 0)
        if (lag := participant.lag) is not None:
            account = {"quota_ms": lag.quota_ms, "gain_ms": lag.gain_ms, "compensated_ms": lag.compensated_ms}
            document["lag"] = account
    return document


def _individual_clock_json(state: Session, participant: Participant, clock: IndividualClock) -> dict[str, Any]:
    """Return the members of a participant's clock in `individual`. Members that are unset are absent."""
    members: dict[str, Any] = {"status": clock.status}
    instants = {
        "anchor_at": clock.anchor_ms,
        "deadline_at": row_deadline_at_ms(state, participant),
        "finished_at": clock.finished_at_ms,
        "ends_at": None if state.started_at_ms is None or clock.status.is_final else own_end_ms(state, clock),
    }
    members |= {name: render_instant(at_ms) for name, at_ms in instants.items() if at_ms is not None}
    if clock.time_factor != FULL_FACTOR:
        members["time_factor"] = clock.time_factor / FULL_FACTOR
    if clock.end_offset_ms:
        members["end_offset_ms"] = clock.end_offset_ms
    if clock.pauses:
        members["pauses"] = [_pause_json(pause) for pause in clock.pauses]
    if clock.warned_ms:
        members["warned_ms"] = clock.warned_ms
    if clock.is_in_overtime:
        members["overtime"] = True
    return members


def receipt_json(receipt: LagReceipt) -> dict[str, Any]:
    """Return a lag receipt as a JSON object with the members `RECEIPT_MEMBERS`."""
    return {name: getattr(receipt, name) for name in RECEIPT_MEMBERS}


def group_json(state: Session, group: Group, is_turn: bool) -> dict[str, Any]:
    """Return a group as JSON values.

    `is_turn` must be True only if the session has started and this group has the turn.
    """
    document: dict[str, Any] = {
        "group_id": group.group_id,
        "total_time_ms": group.used_ms + group.remaining_ms,
        "time_used_ms": group.used_ms,
        "time_remaining_ms": group.remaining_ms,
        "has_expired": group.has_expired,
    }
    if state.rules.sync_mode is SyncMode.PER_GROUP:
        system = state.rules.clock
        if group.reading is not None or isinstance(system, SYSTEMS_WITH_DERIVED_READING):
            document["reading"] = _reading_json(state, system, group.reading, is_turn)
    return document


def _reading_json(
    state: Session, system: ClockSystem, facts: ClockReadingDetails | None, is_turn: bool
) -> dict[str, Any]:
    """Return the facts for a client to calculate a reading that is not simply remaining minus elapsed time.

    Empty if the reading of this clock is remaining minus elapsed time.
    """
    reading: dict[str, Any] = {}
    if facts is not None:
        values = ((name, getattr(facts, name)) for name in READING_FACTS)
        reading = {name: value for name, value in values if value is not None}
    match system:
        case Byoyomi() | Canadian():
            reading["period_ms"] = system.period_ms
        case Delay():
            free_ms = system.free_time_left_ms(state.turn.used_ms)
            reading["free_until_at"] = _free_until_at(state, free_ms) if is_turn else None
        case Stages() if facts is not None and any(each.delay_ms for each in system.stages):
            free_ms = system.free_time_left_ms(Budget(0, facts), state.turn.used_ms)
            reading["free_until_at"] = _free_until_at(state, free_ms) if is_turn else None
        case Hourglass():
            rate = 0 if state.anchor_ms is None else 1000
            reading["rate_ms"] = -rate if is_turn else rate
    return reading


def _free_until_at(state: Session, free_ms: int) -> str | None:
    """Return the instant at which this turn's free time ends or ended, None if no clock runs."""
    return None if state.anchor_ms is None else render_instant(state.anchor_ms + free_ms)


def _pause_json(pause: ActivePause) -> dict[str, Any]:
    return {
        "reason": pause.reason,
        "paused_at": render_instant(pause.paused_at_ms),
        "max_ms": pause.max_ms,
        "lifts_at": _render_optional(pause.lifts_at_ms),
        "paused_by": pause.paused_by,
    }


def breaks_json(breaks: Iterable[Break]) -> list[dict[str, str]]:
    """Return breaks as JSON values: the instants `from` and `to`."""
    return [{"from": render_instant(each.began_at_ms), "to": render_instant(each.ended_at_ms)} for each in breaks]


def _render_optional(at_ms: int | None) -> str | None:
    return None if at_ms is None else render_instant(at_ms)
