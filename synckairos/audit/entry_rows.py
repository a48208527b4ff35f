"""Conversion of outbox entries to rows of the audit tables. Pure functions, so that tests cover every invalid entry.

The column `snapshot` keeps the unchanged bytes of the document. The other columns are only for queries.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from synckairos.audit.charge_coverage import ChargeCoverage, SessionKey
from synckairos.clock.transition import Charge
from synckairos.session_names import participant_name, session_name, split_session_name
from synckairos.wire.charges_json import parse_charge_rows
from synckairos.wire.instants import ms_to_datetime
from synckairos.wire.outbox_entry import OutboxEntry, stored_charges

NUL_ESCAPE = rb"\u0000"
"""The escape sequence of U+0000 in JSON. Postgres cannot store this character in text or JSON columns."""


class RowChange(NamedTuple):
    """The splices from the document of the version before to the document of a row (`wire/document_splices.py`).

    `hash_before` is the SHA-256 of the document of the version before. `is_found_by_drain` is True if the outbox entry
    had the document, and the drain compared it with the document before.
    """

    splices: bytes
    hash_before: bytes
    is_found_by_drain: bool = False


class EventRow(NamedTuple):
    """Row of `sync_events`: one version.

    The fields are in the order of the columns of COPY. `args` and `participant_ids` are JSON text. `snapshot` is the
    document and `event` the event, both as the JSON bytes of the outbox entry. `event` is stored only if the version is
    disputed. `change` is None if the outbox entry had the document. Otherwise Postgres can store the change instead of
    the document (`stored_snapshots.py`).
    """

    tenant: str
    session_id: UUID
    epoch: str
    version: int
    occurred_at: datetime
    event_type: str
    status: str
    running_participant_id: UUID | None
    participant_id: UUID | None
    group_id: str | None
    time_used_ms: int | None
    time_remaining_ms: int | None
    actor: str | None
    command: str | None
    args: str | None
    command_id: str | None
    fingerprint: str | None
    expired_participant_id: str | None
    role: str | None
    on_behalf_of: UUID | None
    participant_ids: str | None
    deleted: bool
    payload_hash: bytes
    snapshot: bytes
    event: bytes
    change: RowChange | None = None

    @property
    def session_key(self) -> SessionKey:
        """Return the tenant and the id of the session."""
        return self.tenant, self.session_id


class ChargeRow(NamedTuple):
    """Row of `sync_charges`: the time that one version charges to one participant."""

    tenant: str
    session_id: UUID
    epoch: str
    version: int
    participant_id: UUID
    began_at: datetime
    ended_at: datetime


class SessionRow(NamedTuple):
    """Row of `sync_sessions`: the newest version of a session in a batch. `metadata` and `labels` are JSON text.

    `charged_epoch` and `charged_version` name the version before the batch (`charge_coverage.py`). If Postgres has all
    charges up to that version, the batch completes the charges up to `version`.
    """

    tenant: str
    session_id: UUID
    epoch: str
    version: int
    sync_mode: str
    status: str
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    updated_at: datetime
    deleted_at: datetime | None
    metadata: str
    labels: str
    charged_epoch: str | None = None
    charged_version: int | None = None

    @property
    def session_key(self) -> SessionKey:
        """Return the tenant and the id of the session."""
        return self.tenant, self.session_id

    @property
    def session_name(self) -> str:
        """Return the name of the session in Redis."""
        return session_name(self.tenant, str(self.session_id))


class ParticipantRow(NamedTuple):
    """Row of `sync_participants`: a participant at the newest version of the session in a batch.

    A participant that the batch removed from the session also has a row. In this row `left_at` is set, and
    `participant_index` and `cycle_count` are None. These two columns in Postgres then keep their values.
    """

    tenant: str
    session_id: UUID
    participant_id: UUID
    participant_index: int | None
    group_id: str | None
    began_at: datetime
    left_at: datetime | None
    time_used_ms: int
    cycle_count: int | None

    @property
    def session_name(self) -> str:
        """Return the name of the session in Redis."""
        return session_name(self.tenant, str(self.session_id))

    @property
    def participant_name(self) -> str:
        """Return the name of the participant in Redis."""
        return participant_name(self.tenant, str(self.participant_id))


class ParsedEntry(NamedTuple):
    """A parsed outbox entry: the event row, the name of the session, and the charges.

    `charges` is None if the entry does not say what it charges: entries of the previous release, and imports. The
    parsed document is not kept, because thousands of parsed documents would cost much time in the garbage
    collector.
    """

    event: EventRow
    session_name: str
    charges: tuple[ChargeRow, ...] | None = None

    @property
    def parsed_document(self) -> dict[str, Any]:
        """Parse the session document and return it. Each call parses the document again."""
        document: dict[str, Any] = orjson.loads(self.event.snapshot)
        return document


@dataclass(frozen=True, slots=True)
class BatchRows:
    """The rows that one transaction writes."""

    events: list[EventRow]
    sessions: list[SessionRow]
    participants: list[ParticipantRow]
    charges: list[ChargeRow] = field(default_factory=list)


def parse_entry(
    entry: OutboxEntry, change: RowChange | None = None, *, payload_hash: bytes | None = None
) -> ParsedEntry:
    """Parse an outbox entry, and build its event row. `change` is the change of the row.

    `payload_hash` is the SHA-256 of the document, 32 bytes. If it is None, it is calculated.

    Raises: ValueError if the entry is not JSON, lacks a member, or if its document belongs to another version. Also if
        the tenant in its event is not the tenant in the name of its session.
    """
    try:
        return _parse(entry, change, payload_hash)
    except (KeyError, TypeError, AttributeError, OverflowError) as fault:
        raise ValueError(f"not an outbox entry: {type(fault).__name__}: {fault}") from fault


def _parse(entry: OutboxEntry, change: RowChange | None, payload_hash: bytes | None) -> ParsedEntry:
    event: dict[str, Any] = orjson.loads(entry.event)
    document: dict[str, Any] = orjson.loads(entry.document)
    args = event.get("args")  # the unchanged arguments, which the replay needs
    if NUL_ESCAPE in entry.event:
        event = replace_nul(event)
    tenant, session_id = split_session_name(entry.session_name)
    if event.get("tenant", tenant) != tenant:
        raise ValueError("the event belongs to another tenant than the session")
    if document["session_id"] != session_id or document["version"] != entry.version:
        raise ValueError("the document belongs to another session or another version")
    is_running = document["status"] == "running" and document["cycle_started_at"] is not None
    get = event.get
    # Positional arguments take a third of the time of keyword arguments.
    row = EventRow(
        tenant,
        _uuid(session_id),
        entry.epoch,
        entry.version,
        ms_to_datetime(event["occurred_at_ms"]),
        event["event_type"],
        document["status"],
        _optional_uuid(document["active_participant_id"]) if is_running else None,
        _optional_uuid(get("participant_id")),
        get("group_id"),
        get("time_used_ms"),
        get("time_remaining_ms"),
        get("actor"),
        get("command"),
        None if args is None else orjson.dumps(args).decode(),
        get("command_id"),
        get("fingerprint"),
        get("expired_participant_id"),
        get("role"),
        _optional_uuid(get("on_behalf_of")),
        None if get("participant_ids") is None else orjson.dumps(get("participant_ids")).decode(),
        get("deleted", False),
        payload_hash or sha256(entry.document).digest(),
        entry.document,
        entry.event,
        change,
    )
    return ParsedEntry(row, entry.session_name, _charges(row, stored_charges(event)))


def _charges(row: EventRow, stored: Any) -> tuple[ChargeRow, ...] | None:
    if not stored:
        return None if stored is None else ()
    return tuple(build_charge_rows(row.session_key, row.epoch, row.version, parse_charge_rows(stored)))


def build_charge_rows(session: SessionKey, epoch: str, version: int, charges: Iterable[Charge]) -> Iterator[ChargeRow]:
    """Yield the rows of the charges of one version of a session.

    Raises: ValueError if a participant id is not a UUID.
    """
    for each in charges:
        began_at, ended_at = ms_to_datetime(each.began_at_ms), ms_to_datetime(each.ended_at_ms)
        yield ChargeRow(*session, epoch, version, _uuid(each.participant_id), began_at, ended_at)


def build_batch_rows(parsed: Iterable[ParsedEntry]) -> BatchRows:
    """Build the rows of one transaction from parsed entries in the order of their commits.

    Each entry gives one event row, and a row for each of its charges. The newest version of each session in `parsed`
    gives the session row and the participant rows.

    Raises: ValueError if the document of a newest version is incomplete.
    """
    events: list[EventRow] = []
    charges: list[ChargeRow] = []
    coverage = ChargeCoverage()
    newest: dict[SessionKey, ParsedEntry] = {}
    removed: dict[tuple[SessionKey, UUID], EventRow] = {}
    for each in parsed:
        row = each.event
        events.append(row)
        charges += each.charges or ()
        key = row.session_key
        coverage.add_version(key, row.epoch, row.version, row.event_type, is_charged=each.charges is not None)
        before = newest.get(key)
        if before is None or before.event.epoch != row.epoch or before.event.version <= row.version:
            newest[key] = each
        if row.event_type == "participant_removed" and row.participant_id is not None:
            removed[key, row.participant_id] = row
    sessions: list[SessionRow] = []
    participants: dict[tuple[SessionKey, UUID], ParticipantRow] = {}
    try:
        for key, each in newest.items():
            document = replace_nul(each.parsed_document) if NUL_ESCAPE in each.event.snapshot else each.parsed_document
            session = _session(each.event, document)
            covered_after = coverage.find_version_before(key, session.epoch, session.version)
            if covered_after is not None:
                session = session._replace(charged_epoch=covered_after[0], charged_version=covered_after[1])
            sessions.append(session)
            for part in _participants(session, document):
                participants[key, part.participant_id] = part
        by_key = {session.session_key: session for session in sessions}
        for part_key, row in removed.items():
            session = by_key[row.session_key]
            if part_key not in participants and session.epoch == row.epoch:
                participants[part_key] = _removed_participant(session, part_key[1], row)
    except (KeyError, TypeError, AttributeError) as fault:
        raise ValueError(f"not a session document: {type(fault).__name__}: {fault}") from fault
    return BatchRows(events, sessions, list(participants.values()), charges)


def _session(row: EventRow, document: dict[str, Any]) -> SessionRow:
    return SessionRow(
        tenant=row.tenant,
        session_id=row.session_id,
        epoch=row.epoch,
        version=row.version,
        sync_mode=document["sync_mode"],
        status=row.status,
        created_at=datetime.fromisoformat(document["created_at"]),
        started_at=_instant(document["session_started_at"]),
        completed_at=_instant(document["session_completed_at"]),
        updated_at=datetime.fromisoformat(document["updated_at"]),
        deleted_at=row.occurred_at if row.deleted else None,
        metadata=orjson.dumps(document["metadata"]).decode(),
        labels=orjson.dumps(document.get("labels", {})).decode(),
    )


def _participants(session: SessionRow, document: dict[str, Any]) -> Iterable[ParticipantRow]:
    began_at = session.started_at or session.created_at
    for part in document["participants"]:
        yield ParticipantRow(
            tenant=session.tenant,
            session_id=session.session_id,
            participant_id=_uuid(part["participant_id"]),
            participant_index=part["participant_index"],
            group_id=part.get("group_id"),
            began_at=began_at,
            left_at=None,
            time_used_ms=part["time_used_ms"],
            cycle_count=part["cycle_count"],
        )


def _removed_participant(session: SessionRow, participant_id: UUID, row: EventRow) -> ParticipantRow:
    return ParticipantRow(
        tenant=session.tenant,
        session_id=session.session_id,
        participant_id=participant_id,
        participant_index=None,
        group_id=row.group_id,
        began_at=session.started_at or session.created_at,
        left_at=row.occurred_at,
        time_used_ms=row.time_used_ms or 0,
        cycle_count=None,
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


@lru_cache(maxsize=1 << 16)
def _uuid(text: str) -> UUID:
    return UUID(text)


def _optional_uuid(text: str | None) -> UUID | None:
    return None if text is None else _uuid(text)


def replace_nul(value: Any) -> Any:
    """Return a copy of a JSON value with U+FFFD in place of U+0000 in all texts and member names.

    Postgres cannot store U+0000 in text and JSON columns. The bytes in the column `snapshot` keep U+0000.
    """
    match value:
        case str():
            return value.replace("\0", "\ufffd")
        case list():
            return [replace_nul(item) for item in value]
        case dict():
            return {replace_nul(key): replace_nul(item) for key, item in value.items()}
        case _:
            return value
