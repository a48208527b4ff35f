"""The parser of the session's document, the inverse of `session_json.render_session`."""

from collections.abc import Iterable
from typing import Any

import orjson

from synckairos.clock.active_pause import ActivePause
from synckairos.clock.audience_display import ScreenMode
from synckairos.clock.budget import ClockReadingDetails
from synckairos.clock.individual.clock_rows import ClockRows
from synckairos.clock.individual_clock import FULL_FACTOR, IndividualClock, ParticipantStatus
from synckairos.clock.lag_compensation import LagAccount, LagReceipt
from synckairos.clock.model import (
    Break,
    CurrentTurn,
    ExtendBy,
    Extensions,
    Group,
    OnTimeout,
    Participant,
    RestRule,
    Rules,
    Session,
    Status,
    SyncMode,
)
from synckairos.wire.audience_display_json import parse_announcement
from synckairos.wire.clock_system_json import READING_FACTS, parse_clock_system
from synckairos.wire.instants import parse_instant_ms
from synckairos.wire.plan_json import parse_item_position, parse_plan


def parse_session(document: bytes, deleted: bool = False) -> Session:
    """Return the session whose document `render_session` rendered.

    The document does not contain whether the session is deleted. So the caller must pass `deleted=True` for a
    tombstone.
    """
    return session_from_json(orjson.loads(document), deleted)


def session_from_json(d: dict[str, Any], deleted: bool = False) -> Session:
    """Return the session that the JSON values of a document describe.

    The document does not contain whether the session is deleted. So the caller must pass `deleted=True` for a
    tombstone.
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
        free_first_turn_ms=d["free_first_turn"]["limit_ms"] if "free_first_turn" in d else None,
        rest=RestRule(tuple(d["rest"]["weekdays"]), d["rest"]["utc_offset_minutes"]) if "rest" in d else None,
        switch_while_paused=d.get("switch_while_paused", False),
        holds_between_turns="between_turns" in d,
        closes_when_all_done=d.get("close_when_all_done", False),
    )
    mode = rules.sync_mode
    own = mode in (SyncMode.PER_PARTICIPANT, SyncMode.PER_GROUP, SyncMode.INDIVIDUAL)
    active_id = d["active_participant_id"]
    participants = _parse_participants(d["participants"], mode)
    turn = d["turn"]
    plan = parse_plan(d["plan"]) if "plan" in d else ()
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
        remaining_ms=None if own or "ends_at" in d else d["time_remaining_ms"],
        turn=CurrentTurn(
            turn["used_ms"],
            turn["cycles"],
            tuple(turn["warned_ms"]),
            turn.get("overtime", False),
            turn.get("began_version"),
        ),
        pauses=_parse_pauses(d["pauses"]),
        pauses_taken=d.get("pauses_taken", {}),
        lag_receipt=LagReceipt(**d["lag_receipt"]) if "lag_receipt" in d else None,
        anchor_ms=_parse_optional(d["cycle_started_at"]),
        started_at_ms=_parse_optional(d["session_started_at"]),
        completed_at_ms=_parse_optional(d["session_completed_at"]),
        metadata=d["metadata"],
        labels=d.get("labels", {}),
        deleted=deleted,
        turn_number=d.get("turn_number"),
        extensions=Extensions(**d["extensions"]) if "extensions" in d else None,
        starts_at_ms=_parse_optional(d.get("starts_at")),
        ends_at_ms=_parse_optional(d.get("ends_at")),
        breaks=parse_breaks(d["breaks"]) if "breaks" in d else None,
        plan=plan,
        item_position=parse_item_position(plan, d, "current_item_id"),
        next_item_position=parse_item_position(plan, d, "next_item_id"),
        schedule_offset_ms=d.get("schedule_offset_ms"),
        announcement=parse_announcement(d["announcement"]) if "announcement" in d else None,
        screen=ScreenMode(d["screen"]) if "screen" in d else None,
    )


def parse_breaks(values: list[dict[str, str]]) -> tuple[Break, ...]:
    """Return the breaks that `session_json.breaks_json` rendered."""
    return tuple(Break(parse_instant_ms(each["from"]), parse_instant_ms(each["to"])) for each in values)


def _parse_participants(documents: list[dict[str, Any]], mode: SyncMode) -> tuple[Participant, ...]:
    # The arguments are positional, because keyword arguments take a third longer with 1,000 participants.
    is_per_cycle = mode is SyncMode.PER_CYCLE
    is_individual = mode is SyncMode.INDIVIDUAL
    participants = tuple(
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
            d.get("done_turn"),
            _parse_individual_clock(d) if is_individual else None,
        )
        for d in documents
    )
    return ClockRows(participants) if is_individual else participants


def _parse_individual_clock(d: dict[str, Any]) -> IndividualClock:
    return IndividualClock(
        ParticipantStatus(d["status"]),
        _parse_optional(d.get("anchor_at")),
        _parse_optional(d.get("finished_at")),
        _parse_pauses(d.get("pauses", ())),
        round(d.get("time_factor", 1) * FULL_FACTOR),
        tuple(d.get("warned_ms", ())),
        d.get("overtime", False),
        d.get("end_offset_ms", 0),
    )


def _parse_pauses(documents: Iterable[dict[str, Any]]) -> tuple[ActivePause, ...]:
    return tuple(
        ActivePause(p["reason"], parse_instant_ms(p["paused_at"]), p["max_ms"], p["paused_by"]) for p in documents
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
