"""Conversion of rows of v2's audit to rows of this audit. Pure; `v2_table_conversion.py` reads and writes Postgres.

v2 records two event types, `session_created` and `session_updated`, with the whole state of the session. Two successive
states show which event happened between them. The rows of this audit have the states as documents of this product. They
cannot be replayed, because v2 records neither commands nor actors.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from msgspec import Struct

from synckairos.audit.entry_rows import ParsedEntry, parse_entry
from synckairos.clock.clock_systems import SuddenDeath
from synckairos.clock.make_transition import make_event, make_session_event
from synckairos.clock.model import OnTimeout, Participant, Rules, Session, Status, SyncMode
from synckairos.clock.transition import Event, EventType, Transition
from synckairos.frozen_replace import replace
from synckairos.wire.field_types import metadata_fault
from synckairos.wire.instants import datetime_to_ms
from synckairos.wire.outbox_entry import CommitCause, OutboxEntry, render_event
from synckairos.wire.session_json import render_session
from synckairos.wire.v2_state_parser import (
    IMPORT_COMMAND,
    V2_ACTOR,
    V2StateMalformed,
    epoch_of_v2_session,
    parse_v2_session,
)

_CAUSE = CommitCause(V2_ACTOR, IMPORT_COMMAND)

_EVENTS_BY_CHANGE = {
    (Status.PENDING, Status.RUNNING): EventType.SESSION_STARTED,
    (Status.RUNNING, Status.RUNNING): EventType.CYCLE_SWITCHED,
    (Status.RUNNING, Status.PAUSED): EventType.SESSION_PAUSED,
    (Status.PAUSED, Status.RUNNING): EventType.SESSION_RESUMED,
}
_EVENTS_AT_THE_END = {
    Status.COMPLETED: EventType.SESSION_COMPLETED,
    Status.CANCELLED: EventType.SESSION_CANCELLED,
    Status.EXPIRED: EventType.SESSION_EXPIRED,
}
_ENDS_A_TURN = frozenset({EventType.CYCLE_SWITCHED, *_EVENTS_AT_THE_END.values()})


class V2Event(NamedTuple):
    """One row of v2's `sync_events`. `state` is the column `state_snapshot` as JSON text."""

    event_id: str
    event_type: str
    recorded_at: datetime
    state: str | None


class V2Session(NamedTuple):
    """One row of v2's `sync_sessions`. `metadata` is JSON text."""

    sync_mode: str
    time_per_cycle_ms: int | None
    increment_ms: int | None
    max_time_ms: int | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    final_status: str | None
    metadata: str | None


class V2Participant(NamedTuple):
    """One row of v2's `sync_participants`. v2 never writes this table, but a fork of v2 can."""

    participant_id: str
    total_time_ms: int
    group_id: str | None
    total_cycles: int
    total_time_active_ms: int


class _Known(Struct, frozen=True):
    """An event of v2 with its parsed state. The state is None if the row has no state that this product can read."""

    event: V2Event
    state: Session | None


def convert_session(
    session_id: str, session: V2Session | None, events: Iterable[V2Event], participants: Sequence[V2Participant] = ()
) -> list[ParsedEntry]:
    """Return the rows of one session of v2 in the order of their versions. A session without events has one row.

    `session` is the row of v2's `sync_sessions`, None if it is missing. The result is empty if the rows of v2 contain
    no state that this product can read. If v2 created a session several times under one id, each creation has a
    separate epoch. In each epoch the versions are counted from 1. They are equal to v2's versions if v2 lost no row and
    issued no version twice.
    """
    known = sorted((_Known(each, _parse(session_id, each.state)) for each in events), key=_recording_order)
    skeleton = None if session is None else _skeleton(session_id, session, participants)
    lives = _lives(known, skeleton)
    metadata = {} if session is None else _metadata(session.metadata)
    entries: list[ParsedEntry] = []
    for created_ms in sorted(lives):
        entries += _convert_life(created_ms, lives[created_ms], skeleton, metadata)
    if not entries and skeleton is not None:
        created_ms = skeleton.rules.created_at_ms
        entries.append(_entry(Transition(_session_event(EventType.SESSION_IMPORTED, skeleton), skeleton), created_ms))
    if entries and not Status(entries[-1].event.status).is_final:
        # This is the last state that v2 recorded. No clock of the session runs here, except if the session is also
        # imported from v2's Redis.
        last = entries[-1]
        entries[-1] = ParsedEntry(last.event._replace(running_participant_id=None), last.session_name)
    return entries


def _parse(session_id: str, text: str | None) -> Session | None:
    if text is None:
        return None
    try:
        state = parse_v2_session(orjson.loads(text))
    except (V2StateMalformed, orjson.JSONDecodeError):
        return None
    return state if state.session_id == session_id else None


def _recording_order(known: _Known) -> tuple[datetime, str]:
    return known.event.recorded_at, known.event.event_id


def _lives(known: Sequence[_Known], skeleton: Session | None) -> dict[int, list[_Known]]:
    """Return the events by the creation instant of their session, in ms.

    An event without a state belongs to the same creation as the event before.
    """
    first = next((each.state for each in known if each.state is not None), skeleton)
    if first is None:
        return {}
    created_ms = first.rules.created_at_ms
    lives: dict[int, list[_Known]] = {}
    for each in known:
        if each.state is not None:
            created_ms = each.state.rules.created_at_ms
        lives.setdefault(created_ms, []).append(each)
    for life in lives.values():
        _sort_by_version(life)
    return lives


def _sort_by_version(life: list[_Known]) -> None:
    """Sort events by v2's version, because v2's queue writes rows in any order.

    An event without a state stays after the event that was recorded before it.
    """
    versions: dict[str, int] = {}
    version = 0
    for each in life:
        version = version if each.state is None else each.state.version
        versions[each.event.event_id] = version
    life.sort(key=lambda each: (versions[each.event.event_id], *_recording_order(each)))


def _convert_life(
    created_ms: int, life: Sequence[_Known], skeleton: Session | None, metadata: dict[str, Any]
) -> Iterable[ParsedEntry]:
    before: Session | None = None
    is_recorded = False
    base = skeleton or next((each.state for each in life if each.state is not None), None)
    at_ms = created_ms
    for version, each in enumerate(life, start=1):
        state = each.state or before or base
        assert state is not None  # at least one event has a state, or there is a skeleton
        effective_ms = datetime_to_ms(each.event.recorded_at) if each.state is None else state.updated_at_ms
        at_ms = max(at_ms, effective_ms)
        after = replace(
            state,
            epoch=epoch_of_v2_session(created_ms),
            version=version,
            updated_at_ms=at_ms,
            metadata=state.metadata or metadata,
        )
        yield _entry(Transition(_event(each, before if is_recorded else None, after), after), created_ms)
        before, is_recorded = after, each.state is not None


def _event(known: _Known, before: Session | None, after: Session) -> Event:
    kind = _event_type(known, before, after)
    if kind in (EventType.SESSION_CREATED, EventType.SESSION_IMPORTED):
        return _session_event(kind, after)
    of: Participant | None = None
    ended = None if before is None or kind not in _ENDS_A_TURN else before.active_participant
    if ended is not None:
        of = next((each for each in after.participants if each.participant_id == ended.participant_id), None)
    return make_event(kind, after, after.updated_at_ms, of)


def _event_type(known: _Known, before: Session | None, after: Session) -> EventType:
    """Return the event type of a recorded event.

    For v2's `session_updated` events, return the type that the change from `before` to `after` shows.
    """
    # v2 uses the name `session_updated` for every change of the state.
    if known.event.event_type != "session_updated" and known.event.event_type in tuple(EventType):
        return EventType(known.event.event_type)
    if before is None or known.state is None:
        return EventType.SESSION_IMPORTED
    if after.status is not before.status and after.status in _EVENTS_AT_THE_END:
        return _EVENTS_AT_THE_END[after.status]
    return _EVENTS_BY_CHANGE.get((before.status, after.status), EventType.SESSION_IMPORTED)


def _session_event(kind: EventType, state: Session) -> Event:
    return make_session_event(kind, state, state.updated_at_ms)


def _entry(transition: Transition, created_ms: int) -> ParsedEntry:
    after = transition.state
    document = render_session(after)
    event = render_event(transition, _CAUSE)
    return parse_entry(OutboxEntry(after.session_id, epoch_of_v2_session(created_ms), after.version, event, document))


def _skeleton(session_id: str, session: V2Session, participants: Sequence[V2Participant]) -> Session:
    """Build the state of a session whose states are missing, from v2's `sync_sessions` and `sync_participants`."""
    status = Status(session.final_status or Status.PENDING)
    created_ms = datetime_to_ms(session.created_at)
    completed_ms = None if session.completed_at is None else datetime_to_ms(session.completed_at)
    started_ms = None if session.started_at is None else datetime_to_ms(session.started_at)
    updated_ms = max(each for each in (created_ms, started_ms, completed_ms) if each is not None)
    mode = SyncMode(session.sync_mode)
    is_per_cycle = mode is SyncMode.PER_CYCLE
    return Session(
        rules=Rules(
            session_id=session_id,
            sync_mode=mode,
            on_timeout=OnTimeout.ADVANCE if is_per_cycle else OnTimeout.EXPIRE,
            created_at_ms=created_ms,
            clock=SuddenDeath(),
            increment_ms=session.increment_ms,
            time_per_cycle_ms=session.time_per_cycle_ms,
            max_time_ms=session.max_time_ms,
        ),
        epoch=epoch_of_v2_session(created_ms),
        version=1,
        status=status,
        updated_at_ms=updated_ms,
        participants=tuple(
            Participant(
                participant_id=each.participant_id,
                index=at,
                remaining_ms=0
                if mode is SyncMode.PER_CYCLE
                else max(0, each.total_time_ms - each.total_time_active_ms),
                used_ms=each.total_time_active_ms,
                cycle_count=each.total_cycles,
                group_id=each.group_id,
            )
            for at, each in enumerate(participants)
        ),
        used_ms=sum(each.total_time_active_ms for each in participants),
        started_at_ms=started_ms,
        completed_at_ms=(completed_ms or updated_ms) if status.is_final else None,
        metadata=_metadata(session.metadata),
    )


def _metadata(text: str | None) -> dict[str, Any]:
    """Return v2's metadata; an empty object if this product cannot store them.

    v2 never writes this column, but a fork of v2 can.
    """
    value = None if text is None else orjson.loads(text)
    return value if isinstance(value, dict) and metadata_fault(value) is None else {}
