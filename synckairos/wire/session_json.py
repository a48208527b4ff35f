"""The session's document: the JSON that is stored, published, audited and returned, always with the same bytes.

`render_session` and `parse_session` are inverse: rendering a parsed document gives the same bytes. All JSON members are
facts at the last transition, so the document of a version never changes.
"""

import re
from operator import attrgetter
from typing import Any

import orjson

from synckairos.clock.clock_systems import (
    Budget,
    Byoyomi,
    Canadian,
    ClockReadingDetails,
    ClockSystem,
    Delay,
    Hourglass,
    Stages,
)
from synckairos.clock.lag_compensation import LagAccount, LagReceipt
from synckairos.clock.model import (
    HOLD_REASON,
    ActivePause,
    CurrentTurn,
    ExtendBy,
    Extensions,
    Group,
    OnTimeout,
    Participant,
    Rules,
    Session,
    Status,
    SyncMode,
)
from synckairos.clock.timing import active_group, active_group_index, clock_system_for, deadline_at_ms
from synckairos.wire.clock_system_json import parse_clock_system, render_clock_system
from synckairos.wire.instants import parse_instant_ms, render_instant

DOCUMENT_SCHEMA = 1
"""Number of the document's schema. Redis stores this number with the document."""


SYSTEMS_WITH_DERIVED_READING = (Delay, Hourglass)
"""Clock systems whose `reading` contains no facts, because it follows from the clock system and the turn."""

RECEIPT_MEMBERS = ("participant_id", "elapsed_ms", "trusted_lag_ms", "compensated_ms", "charged_ms", "quota_left_ms")
"""Names of the JSON members of a lag receipt, in order."""

READING_FACTS = ("phase", "periods_left", "moves_left", "stage", "period_moves")
"""Names of the JSON members of a `reading` that are facts. The other members only help clients."""


EXTENSION_RULES = ("extend_window_ms", "extend_by", "max_extension_ms", "max_extensions")
"""Names of the optional rules of a soft close. `Rules` and the document have the same names."""

_REMAINING_MS = attrgetter("remaining_ms")


def render_session(state: Session) -> bytes:
    """Render the session's document: UTF-8 JSON with its members in the published order."""
    return orjson.dumps(session_json(state))


def session_json(state: Session, *, with_lists: bool = True) -> dict[str, Any]:
    """Return the session's document as JSON values.

    If `with_lists` is False, the arrays of participants and groups are empty.
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
        "groups": groups_json(state) if with_lists else [],
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
    if rules.pause_budget is not None:
        document["pause_budget"] = rules.pause_budget
        document["pauses_taken"] = state.pauses_taken
    if rules.lag_compensation:
        document["lag_compensation"] = True
        if state.lag_receipt is not None:
            document["lag_receipt"] = receipt_json(state.lag_receipt)
    document |= {
        "max_cycles": rules.max_cycles,
        "clock": render_clock_system(rules.clock),
        "on_timeout": rules.on_timeout,
        "warnings_ms": rules.warnings_ms,
        "pauses": [_pause_json(pause) for pause in state.pauses],
        "deadline_at": _render_optional(deadline_at_ms(state)),
        "cycle_started_at": _render_optional(state.anchor_ms),
        "session_started_at": _render_optional(state.started_at_ms),
        "session_completed_at": _render_optional(state.completed_at_ms),
        "created_at": render_instant(rules.created_at_ms),
        "updated_at": render_instant(state.updated_at_ms),
        "metadata": state.metadata,
        "turn": {"used_ms": turn.used_ms, "cycles": turn.cycles, "warned_ms": turn.warned_ms},
    }
    if turn.is_in_overtime:
        document["turn"]["overtime"] = True
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
            remaining_ms = state.remaining_ms
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
    """Return the session's groups as JSON values."""
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
        # full budget.
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
    if mode is SyncMode.PER_PARTICIPANT:
        if participant.clock is not None:
            document["clock"] = render_clock_system(participant.clock)
        system = clock_system_for(state, participant)
        if participant.reading is not None or isinstance(system, SYSTEMS_WITH_DERIVED_READING):
            document["reading"] = _reading_json(state, system, participant.reading, is_turn)
        if (lag := participant.lag) is not None:
            account = {"quota_ms": lag.quota_ms, "gain_ms": lag.gain_ms, "compensated_ms": lag.compensated_ms}
            document["lag"] = account
    return document


def receipt_json(receipt: LagReceipt) -> dict[str, Any]:
    """Return a lag receipt as JSON values."""
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


def _render_optional(at_ms: int | None) -> str | None:
    return None if at_ms is None else render_instant(at_ms)


def extract_participants_json(document: bytes) -> bytes:
    """Return the bytes of the array of participants in a document, without parsing the document."""
    # The members before the array contain only names and numbers that this server writes. No text inside the array
    # contains an unescaped quote.
    return document[document.index(b'"participants":') + 15 : document.index(b',"groups":[')]


def extract_updated_at_ms(document: bytes) -> int:
    """Return the instant of the last transition in a document, in ms since the Unix epoch.

    The document is not parsed.
    """
    # No text before this member contains an unescaped quote, so the first match is the member itself.
    begin = document.index(b'"updated_at":"') + 14
    return parse_instant_ms(document[begin : document.index(b'"', begin)].decode())


def extract_created_at_ms(document: bytes) -> int:
    """Return the instant of the session's creation in a document, ms since the Unix epoch.

    Raises: ValueError if the document is not JSON or has no such instant.
    """
    created_at = orjson.loads(document).get("created_at")
    if not isinstance(created_at, str):
        raise ValueError("the document has no instant of creation")
    return parse_instant_ms(created_at)


# -- parsing -----------------------------------------------------------------------------------------------------------


def parse_session(document: bytes, deleted: bool = False) -> Session:
    """Parse a document that `render_session` rendered.

    A document does not contain whether the session is deleted. So the caller must pass `deleted`.
    """
    return session_from_json(orjson.loads(document), deleted)


def may_use_lag_compensation(document: bytes) -> bool:
    """Return whether a session possibly uses lag compensation, without parsing the document.

    False is always correct. True can be wrong, because metadata can contain the same text.
    """
    return b'"lag_compensation":true' in document


_TURN_NUMBER_AT_END = re.compile(rb',"turn_number":\d+}\Z')


def is_second_edition(document: bytes) -> bool:
    """Return whether a document belongs to a session of the clock's second edition, without parsing the document."""
    return _TURN_NUMBER_AT_END.search(document, max(0, len(document) - 64)) is not None


def session_from_json(d: dict[str, Any], deleted: bool = False) -> Session:
    """Return the session that the JSON values of a document describe.

    A document does not contain whether the session is deleted. So the caller must pass `deleted`.
    """
    rules = Rules(
        session_id=d["session_id"],
        sync_mode=SyncMode(d["sync_mode"]),
        on_timeout=OnTimeout(d["on_timeout"]),
        created_at_ms=parse_instant_ms(d["created_at"]),
        clock=parse_clock_system(d["clock"]),
        increment_ms=d.get("increment_ms"),
        extend_on_switch_ms=d.get("extend_on_switch_ms"),
        pause_budget=d.get("pause_budget"),
        lag_compensation=d.get("lag_compensation", False),
        time_per_cycle_ms=d["time_per_cycle_ms"],
        max_time_ms=d.get("max_time_ms"),
        max_cycles=d["max_cycles"],
        warnings_ms=tuple(d["warnings_ms"]),
        extend_window_ms=d.get("extend_window_ms"),
        extend_by=ExtendBy(d["extend_by"]) if "extend_by" in d else None,
        max_extension_ms=d.get("max_extension_ms"),
        max_extensions=d.get("max_extensions"),
        initial_ms=d.get("initial_ms"),
        switch_while_paused=d.get("switch_while_paused", False),
        holds_between_turns="between_turns" in d,
    )
    mode = rules.sync_mode
    own = mode in (SyncMode.PER_PARTICIPANT, SyncMode.PER_GROUP)
    active_id = d["active_participant_id"]
    participants = _parse_participants(d["participants"], mode)
    turn = d["turn"]
    return Session(
        rules=rules,
        epoch=d["epoch"],
        version=d["version"],
        status=Status(d["status"]),
        updated_at_ms=parse_instant_ms(d["updated_at"]),
        participants=participants,
        groups=tuple(_parse_group(group) for group in d["groups"]),
        active_position=next((at for at, p in enumerate(participants) if p.participant_id == active_id), None),
        used_ms=d["time_used_ms"],
        remaining_ms=None if own else d["time_remaining_ms"],
        turn=CurrentTurn(turn["used_ms"], turn["cycles"], tuple(turn["warned_ms"]), turn.get("overtime", False)),
        pauses=tuple(
            ActivePause(p["reason"], parse_instant_ms(p["paused_at"]), p["max_ms"], p["paused_by"]) for p in d["pauses"]
        ),
        pauses_taken=d.get("pauses_taken", {}),
        lag_receipt=LagReceipt(**d["lag_receipt"]) if "lag_receipt" in d else None,
        anchor_ms=_parse_optional(d["cycle_started_at"]),
        started_at_ms=_parse_optional(d["session_started_at"]),
        completed_at_ms=_parse_optional(d["session_completed_at"]),
        metadata=d["metadata"],
        deleted=deleted,
        turn_number=d.get("turn_number"),
        extensions=Extensions(**d["extensions"]) if "extensions" in d else None,
    )


def _parse_participants(documents: list[dict[str, Any]], mode: SyncMode) -> tuple[Participant, ...]:
    # The arguments are positional, because keyword arguments take a third longer with 1,000 participants.
    is_per_cycle = mode is SyncMode.PER_CYCLE
    return tuple(
        Participant(
            d["participant_id"],
            d["participant_index"],
            0 if is_per_cycle else d["time_remaining_ms"],
            d["time_used_ms"],
            d["cycle_count"],
            d["has_expired"],
            d["display_name"],
            d.get("group_id"),
            parse_clock_system(d["clock"]) if "clock" in d else None,
            _parse_reading(d["reading"]) if "reading" in d else None,
            LagAccount(**d["lag"]) if "lag" in d else None,
        )
        for d in documents
    )


def _parse_group(d: dict[str, Any]) -> Group:
    return Group(
        group_id=d["group_id"],
        remaining_ms=d["time_remaining_ms"],
        used_ms=d["time_used_ms"],
        has_expired=d["has_expired"],
        reading=_parse_reading(d["reading"]) if "reading" in d else None,
    )


def _parse_reading(d: dict[str, Any]) -> ClockReadingDetails | None:
    facts = {name: d[name] for name in READING_FACTS if name in d}
    return ClockReadingDetails(**facts) if facts else None


def _parse_optional(text: str | None) -> int | None:
    return None if text is None else parse_instant_ms(text)
