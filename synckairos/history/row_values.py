"""Values of the history queries: conversion of query parameters to Postgres values, and of rows to records."""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from uuid import UUID

import orjson

from synckairos.history.records import ArchiveRecord, ParticipantSession, TrailEvent
from synckairos.postgres.transaction import Row
from synckairos.wire.charges_json import parse_charge_rows
from synckairos.wire.instants import datetime_to_ms, ms_to_datetime

FIRST_POSTGRES_MS, LAST_POSTGRES_MS = -62_000_000_000_000, 253_000_000_000_000
"""First and last instant, in milliseconds since the Unix epoch, that queries use. Postgres accepts both."""


def parse_archive_record(row: Row) -> ArchiveRecord:
    """Return the archive record in a row of the query `archive_records`."""
    values: Row = tuple(datetime_to_ms(value) if isinstance(value, datetime) else value for value in row)
    return ArchiveRecord(*values)


def parse_participant_session(row: Row) -> ParticipantSession:
    """Return the participant session in a row of the query `participant_sessions`."""
    return ParticipantSession(
        session_id=row[0],
        epoch=row[1],
        version=row[2],
        sync_mode=row[3],
        status=row[4],
        started_at_ms=None if row[5] is None else datetime_to_ms(row[5]),
        completed_at_ms=None if row[6] is None else datetime_to_ms(row[6]),
        at_ms=datetime_to_ms(row[7]),
        time_used_ms=row[8],
        paused_ms=row[9],
        cycle_count=row[10],
        metadata=orjson.dumps(row[11]),
        began_at_ms=datetime_to_ms(row[12]),
    )


def uuid_or_none(text: str) -> UUID | None:
    """Parse a UUID. Return None if `text` is not a UUID; as a query parameter None matches no row."""
    try:
        return UUID(text)
    except ValueError:
        return None


def postgres_instant(at_ms: int) -> datetime:
    """Return the instant `at_ms` (ms since the Unix epoch) as a datetime in UTC.

    An instant outside of `FIRST_POSTGRES_MS` to `LAST_POSTGRES_MS` becomes the nearer one of the two.
    """
    return ms_to_datetime(min(max(at_ms, FIRST_POSTGRES_MS), LAST_POSTGRES_MS))


def postgres_instants(at_ms: Iterable[int]) -> str:
    """Return instants of `postgres_instant` as the text of an array of the type `timestamptz[]`.

    psycopg takes five times as long for a list of datetimes, and a report by days has hundreds.
    """
    return f"{{{','.join(map(_instant_text, at_ms))}}}"


@lru_cache(maxsize=4096)  # the reports of a time zone have the same midnights
def _instant_text(at_ms: int) -> str:
    return postgres_instant(at_ms).isoformat()


def parse_trail_event(row: Row, document: bytes | None) -> TrailEvent:
    """Return the event of a row of the query `events`. `document` is its document, None if it was not requested."""
    return TrailEvent(
        row[0],
        row[1],
        row[2],
        datetime_to_ms(row[6]),
        participant_id=row[3],
        group_id=row[4],
        actor=row[5],
        time_used_ms=row[7],
        time_remaining_ms=row[8],
        document=document,
        role=row[11],
        on_behalf_of=row[12],
        record_name=row[13],
        charges=parse_charge_rows(row[14]),
        participant_ids=tuple(row[15] or ()),
    )
