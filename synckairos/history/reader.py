"""Reads of the audit tables in Postgres: evicted sessions, audit trails, lists of sessions and time reports.

Reads and commands of sessions that are in Redis do not use this module. Each method returns or raises within about two
seconds, time reports within ten seconds. Each method except `is_reachable` raises StoreUnavailable if Postgres is
unreachable. If retention removed a session from Postgres, it is read from cold storage, which can take longer. Lists
and time reports do not contain such sessions.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import orjson

from synckairos.config import Settings
from synckairos.errors import StoreUnavailable, ValidationFailed
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.cold.reader import COLD_TIMEOUT_S, ArchiveDamaged, ColdReader
from synckairos.history.page_cursor import parse_cursor, parse_list_cursor, render_cursor
from synckairos.history.page_size import MAX_PAGE_BYTES, MAX_PAGE_ITEMS, cut_to_page
from synckairos.history.queries import REPORT_TIMEOUT_S, TIMEOUT_S, HistoryQueries
from synckairos.history.records import (
    ArchiveRecord,
    AuditedVersion,
    Bucket,
    ListedSession,
    Page,
    ParticipantSession,
    TrailEvent,
    UsedTimeBucket,
    UsedTimeInOutbox,
)
from synckairos.history.time_bucket_bounds import build_time_buckets
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.transaction import Row
from synckairos.wire.idempotency_record import IdempotencyRecord
from synckairos.wire.instants import datetime_to_ms, ms_to_datetime
from synckairos.wire.snapshot import SessionSnapshot
from synckairos.wire.time_zones import parse_time_zone
from synckairos.wire.v2_state_parser import V2_GENERATION

T = TypeVar("T")

MAX_SLICES = 10_000
"""Maximum number of rows of a time report."""

_LONG_RANGE_MS = 400 * 86_400_000
"""Milliseconds of a range above which a time report begins at the first session, to avoid many empty buckets."""
_FIRST_MS, _LAST_MS = -62_000_000_000_000, 253_000_000_000_000
"""First and last instant, in milliseconds since the Unix epoch, that queries use. Postgres accepts both."""
_LAST_ID = "f" * 32


def open_history_pool(settings: Settings) -> PostgresPool:
    """Return a pool, not opened yet, for the history reads of an instance.

    The pool accepts only a primary. The primary can be read-only.
    """
    return PostgresPool(
        settings.database_url,
        "archive",
        max_connections=settings.database_pool_max,
        min_connections=settings.database_pool_min,
        host="primary",
        timeout_s=TIMEOUT_S,
        settings={"statement_timeout": f"{REPORT_TIMEOUT_S:.0f}s"},
    )


class HistoryReader:
    """Reader of the audit tables. If retention removed a session from Postgres, reads the session in cold storage."""

    def __init__(
        self, pool: PostgresPool, cold_storage: ColdStorage, *, cold_timeout_s: float = COLD_TIMEOUT_S
    ) -> None:
        """Save the pool and cold storage. `cold_timeout_s` is the maximum number of seconds to read one archive."""
        self.cold_reader = ColdReader(cold_storage, cold_timeout_s)
        self._queries = HistoryQueries(pool)

    async def is_reachable(self) -> bool:
        """Return whether Postgres answers."""
        try:
            await self._queries.run("ping", {})
        except StoreUnavailable:
            return False
        return True

    # -- one session --------------------------------------------------------------------------------------------------

    async def read_latest_version(self, session_id: str) -> AuditedVersion | None:
        """Return the newest version of a session, with the idempotency records of its newest 100 commands.

        Versions in the outbox are ignored. Return None if neither Postgres nor cold storage has the session. If the
        session was deleted, the result is its tombstone. Uses one round trip to Postgres, and then reads cold storage
        if retention removed the session.
        """
        rows = await self._queries.run("latest_version", {"session_id": _uuid(session_id)})
        if not rows:
            return None
        epoch, version, document, deleted, _, commands = rows[0]
        if document is None:
            return await self._read_cold(session_id, self.cold_reader.read_latest_version)
        records = {
            command_id: IdempotencyRecord(fingerprint, decided_in, decided, expired).render()
            for command_id, fingerprint, decided_in, decided, expired in reversed(commands or ())
        }
        snapshot = SessionSnapshot(epoch, version, document, deleted=deleted)
        return AuditedVersion(session_id, snapshot, records)

    async def read_version_document(self, session_id: str, epoch: str, version: int) -> bytes | None:
        """Return the document of one version; None if neither Postgres nor cold storage has this version."""
        values = {"session_id": _uuid(session_id), "epoch": epoch, "version": version}
        rows = await self._queries.run("version_document", values)
        if rows:
            document: bytes = rows[0][0]
            return document
        return await self._read_cold(
            session_id, lambda records: self.cold_reader.read_version_document(records, epoch, version)
        )

    async def read_version_at_instant(self, session_id: str, at_ms: int) -> AuditedVersion | None:
        """Return the version of a session that was in effect at the instant `at_ms`.

        Return None if the instant is before the first version, or if there is no such session. The version can be a
        tombstone. The result has no idempotency records.
        """
        rows = await self._queries.run("version_at", {"session_id": _uuid(session_id), "at": _to_instant(at_ms)})
        if not rows:
            return await self._read_cold(
                session_id, lambda records: self.cold_reader.read_version_at_instant(records, at_ms)
            )
        epoch, version, document, deleted, _ = rows[0]
        snapshot = SessionSnapshot(epoch, version, document, deleted=deleted)
        return AuditedVersion(session_id, snapshot)

    async def events(
        self, session_id: str, *, cursor: str | None = None, limit: int = 50, snapshots: bool = False
    ) -> Page[TrailEvent]:
        """Return a page of a session's audit trail over all its epochs, oldest first.

        `limit` is the maximum number of events, from 1 to 200. A page with documents also ends with the event at which
        its documents reach 4 MiB. The page lacks versions that are in the outbox; `AuditTrail` adds these versions.

        Raises: ValidationFailed if the cursor or the limit is invalid.
        """
        after_ms, version, epoch = parse_cursor(cursor, int, int, str) if cursor else (None, 0, "")
        rows = await self._queries.run(
            "events",
            {
                "session_id": _uuid(session_id),
                "after_at": "-infinity" if after_ms is None else _to_instant(after_ms),
                "after_version": version,
                "after_epoch": epoch,
                "snapshots": snapshots,
                "limit": _checked_limit(limit) + 1,
                "max_bytes": MAX_PAGE_BYTES,
            },
        )
        found = [
            TrailEvent(row[0], row[1], row[2], datetime_to_ms(row[6]), row[3], row[4], row[5], row[7], row[8], row[9])
            for row in rows
        ]
        # If the query stopped because of MAX_PAGE_BYTES, the page ends at this event and omits later archived events.
        end = found[-1].sort_key if rows and rows[0][10] > len(rows) else None
        after = (-1, 0, "") if after_ms is None else (after_ms, version, epoch)
        cold = await self._read_cold(
            session_id, lambda records: self.cold_reader.events(records, after, limit + 1, snapshots)
        )
        if cold:
            known = {(event.epoch, event.version) for event in found}
            found += [event for event in cold if (event.epoch, event.version) not in known]
            found = sorted(
                (event for event in found if end is None or event.sort_key <= end), key=lambda event: event.sort_key
            )
        return build_trail_page(found, limit, has_more=end is not None)

    async def _read_cold(self, session_id: str, read: Callable[[Sequence[ArchiveRecord]], Awaitable[T]]) -> T | None:
        """Call `read` with those archive records of a session whose rows retention removed from Postgres, newest first.

        Return the result of `read`; None if there is no such record. If an archive is damaged, but a newer archive has
        replaced it, call `read` again with the newer record.

        Raises: ArchiveDamaged if an archive is damaged and was not replaced.
        """
        records = await self.archive_records(session_id, removed_only=True)
        try:
            return await read(records) if records else None
        except ArchiveDamaged:
            newer = await self.archive_records(session_id, removed_only=True)
            if newer == records:
                raise
            return await read(newer)

    async def archive_records(self, session_id: str, *, removed_only: bool = False) -> list[ArchiveRecord]:
        """Return the archive records of a session, newest first.

        A session that was deleted and created again has one record for each creation. With `removed_only`, return only
        the records of creations whose rows retention removed from Postgres.
        """
        rows = await self._queries.run(
            "archive_records", {"session_id": _uuid(session_id), "removed_only": removed_only}
        )
        return [parse_archive_record(row) for row in rows]

    async def sum_paused_ms(self, session_id: str, since_ms: int, until_ms: int) -> int:
        """Return the total duration of a session's pauses that began between two instants, in milliseconds.

        A pause counts until `until_ms` at most. Only rows in Postgres count.
        """
        values = {"session_id": _uuid(session_id), "since": _to_instant(since_ms), "until": _to_instant(until_ms)}
        paused_ms: int = (await self._queries.run("paused_time", values))[0][0]
        return paused_ms

    async def unfinished_sessions(self, *, other_than_generation: str, after: str | None, limit: int) -> list[str]:
        """Return ids of sessions that have not ended and whose epoch is not of the generation `other_than_generation`.

        Sessions in the audit of v2 are excluded. Return at most `limit` ids that are greater than `after`, in ascending
        order. `after` None begins at the first id.
        """
        nil = "00000000-0000-0000-0000-000000000000"
        rows = await self._queries.run(
            "unfinished_sessions",
            {
                "other_than_generation": other_than_generation,
                "v2_generation": V2_GENERATION,
                "after": after or nil,
                "limit": limit,
            },
        )
        return [row[0] for row in rows]

    # -- lists --------------------------------------------------------------------------------------------------------

    async def sessions(
        self,
        *,
        cursor: str | None = None,
        limit: int = 50,
        status: str | None = None,
        sync_mode: str | None = None,
    ) -> Page[ListedSession]:
        """Return a page of the sessions in Postgres that are not deleted, last created first.

        `limit` is the maximum number of sessions, from 1 to 200. The page also ends at about 4 MiB of documents.
        `status` and `sync_mode` are filters; None means no filter. The cursor contains `created_at_ms` and
        `session_id`.

        Raises: ValidationFailed if the cursor or the limit is invalid.
        """
        rows = await self._queries.run(
            "sessions",
            {
                **_position_parameters(cursor),
                "status": status,
                "sync_mode": sync_mode,
                "limit": _checked_limit(limit) + 1,
                "max_bytes": MAX_PAGE_BYTES,
            },
        )
        found = tuple(
            ListedSession(row[0], datetime_to_ms(row[3]), SessionSnapshot(row[1], row[2], row[4]))
            for row in rows[:limit]
        )
        more = bool(rows) and rows[0][5] > len(found)
        return Page(found, render_cursor(found[-1].created_at_ms, found[-1].session_id) if more else None)

    async def participant_sessions(
        self, participant_id: str, *, since_ms: int, cursor: str | None = None, limit: int = 50
    ) -> Page[ParticipantSession]:
        """Return a page of a participant's sessions with `began_at_ms >= since_ms`, the largest `began_at_ms` first.

        `limit` is the maximum number of sessions, from 1 to 200. The cursor contains `began_at_ms` and `session_id`.

        Raises: ValidationFailed if the cursor or the limit is invalid.
        """
        rows = await self._queries.run(
            "participant_sessions",
            {
                **_position_parameters(cursor),
                "participant_id": _uuid(participant_id),
                "session_ids": None,
                "since": _to_instant(since_ms),
                "limit": _checked_limit(limit) + 1,
            },
        )
        found = tuple(_parse_participant_session(row) for row in rows[:limit])
        return Page(found, render_cursor(*found[-1].sort_key) if len(rows) > limit else None)

    async def participant_sessions_by_id(
        self, participant_id: str, session_ids: Sequence[str]
    ) -> dict[str, ParticipantSession]:
        """Return those of the given sessions in which the participant takes or took part, by session id.

        The result lacks deleted sessions and sessions that Postgres does not have.
        """
        rows = await self._queries.run(
            "participant_sessions",
            {
                **_position_parameters(None),
                "participant_id": _uuid(participant_id),
                "session_ids": [UUID(each) for each in session_ids],
                "since": "-infinity",
                "limit": None,
            },
        )
        return {row[0]: _parse_participant_session(row) for row in rows}

    async def list_participant_session_starts(
        self, participant_id: str, *, since_ms: int, limit: int
    ) -> list[tuple[int, str]]:
        """Return `began_at_ms` and id of a participant's sessions with `began_at_ms >= since_ms`.

        Return at most `limit` sessions, the largest `began_at_ms` first.
        """
        values = {"participant_id": _uuid(participant_id), "since": _to_instant(since_ms), "limit": limit}
        return [
            (datetime_to_ms(began_at), session_id)
            for session_id, began_at in await self._queries.run("participant_session_starts", values)
        ]

    async def find_participant_session_starts(self, participant_id: str, session_ids: Sequence[str]) -> dict[str, int]:
        """Return `began_at_ms` by session id, for those given sessions that Postgres lists for the participant.

        The result lacks the other given sessions.
        """
        values = {"participant_id": _uuid(participant_id), "session_ids": [UUID(each) for each in session_ids]}
        return {
            session_id: datetime_to_ms(began_at)
            for session_id, began_at in await self._queries.run("known_session_starts", values)
        }

    async def now_ms(self) -> int:
        """Return the present instant in milliseconds by the clock of Postgres, for reads without Redis."""
        return datetime_to_ms((await self._queries.run("current_time", {}))[0][0])

    async def sum_participant_time(
        self,
        participant_id: str,
        *,
        from_ms: int,
        to_ms: int,
        now_ms: int,
        tz: str = "UTC",
        bucket: Bucket = "day",
        metadata_key: str | None = None,
        in_outbox: Sequence[UsedTimeInOutbox] = (),
    ) -> list[UsedTimeBucket]:
        """Return the time that a participant used from `from_ms` (included) to `to_ms` (excluded), by bucket.

        - `now_ms`: the present instant. A running turn counts until this instant, and time after it does not count.
        - `tz`: IANA name of the time zone for days and weeks.
        - `bucket`: one row for each session, local day or ISO week.
        - `metadata_key`: name of the metadata member by whose value rows are grouped. None does not group.
        - `in_outbox`: used time in versions that Postgres does not have yet.

        Return only the first 10,000 rows in the order of the buckets.

        Raises: ValidationFailed if the time zone is unknown.
        """
        try:
            zone = parse_time_zone(tz)
        except ValueError:
            raise ValidationFailed.at_path("tz", "should be the name of a time zone, such as Europe/Berlin") from None
        from_ms, until_ms = max(from_ms, _FIRST_MS), min(to_ms, now_ms)
        if until_ms - from_ms > _LONG_RANGE_MS:
            from_ms = max(from_ms, await self._first_time_ms(participant_id, until_ms, in_outbox))
        if from_ms >= until_ms:
            return []
        buckets = build_time_buckets(bucket, from_ms, until_ms, zone)
        rows = await self._queries.run_report(
            "participant_time_slices",
            {
                "participant_id": _uuid(participant_id),
                "since": _to_instant(from_ms),
                "until": _to_instant(until_ms),
                "in_outbox": [UUID(each.session_id) for each in in_outbox],
                "cut_at": [_to_instant(each.first_version[0]) for each in in_outbox],
                "cut_version": [each.first_version[1] for each in in_outbox],
                "metadata": [each.metadata for each in in_outbox],
                "is_deleted": [each.is_deleted for each in in_outbox],
                "running": [UUID(each.session_id) for each in in_outbox for _ in each.running],
                "began_at": [_to_instant(began_ms) for each in in_outbox for began_ms, _ in each.running],
                "ended_at": [_to_instant(ended_ms) for each in in_outbox for _, ended_ms in each.running],
                "bounds": [_to_instant(each) for each in buckets.bounds_ms],
                "by_session": bucket == "session",
                "key": metadata_key,
                "limit": MAX_SLICES,
            },
        )
        return [UsedTimeBucket(session_id or buckets.names[at - 1], *values) for at, session_id, *values in rows]

    async def _first_time_ms(self, participant_id: str, until_ms: int, in_outbox: Sequence[UsedTimeInOutbox]) -> int:
        """Return an instant, in milliseconds, before which the participant used no time.

        Return `until_ms` if the participant used no time before `until_ms`.
        """
        values = {"participant_id": _uuid(participant_id), "until": _to_instant(until_ms)}
        rows = await self._queries.run("first_session_created", values)
        audited_ms = [datetime_to_ms(created_at) for (created_at,) in rows if created_at is not None]
        return min((until_ms, *audited_ms, *(began_ms for each in in_outbox for began_ms, _ in each.running)))


def parse_archive_record(row: Row) -> ArchiveRecord:
    """Return the archive record in a row of the query `archive_records`."""
    values: Row = tuple(datetime_to_ms(value) if isinstance(value, datetime) else value for value in row)
    return ArchiveRecord(*values)


def build_trail_page(events: Sequence[TrailEvent], limit: int, *, has_more: bool = False) -> Page[TrailEvent]:
    """Build a page of at most `limit` events and about 4 MiB of documents from the first of these events.

    `has_more`: whether the audit trail has events after the last of these events.
    """
    items = tuple(cut_to_page(events, limit, lambda event: len(event.document or b"")))
    has_more = has_more or len(items) < len(events)
    return Page(items, render_cursor(*items[-1].sort_key) if has_more else None)


def _parse_participant_session(row: Row) -> ParticipantSession:
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


def _position_parameters(cursor: str | None) -> dict[str, Any]:
    """Return the query parameters for the list position in a cursor. None is the begin of the list."""
    before_ms, before_id = parse_list_cursor(cursor) or (None, _LAST_ID)
    return {"before_at": "infinity" if before_ms is None else _to_instant(before_ms), "before_id": before_id}


def _checked_limit(limit: int) -> int:
    if not 1 <= limit <= MAX_PAGE_ITEMS:
        raise ValidationFailed.at_path("limit", f"should be from 1 to {MAX_PAGE_ITEMS}")
    return limit


def _uuid(text: str) -> UUID | None:
    """Return `text` as a UUID. Return None, which matches no row, if `text` is not a UUID."""
    try:
        return UUID(text)
    except ValueError:
        return None


def _to_instant(at_ms: int) -> datetime:
    """Return an instant as a datetime. Instants outside of Postgres's range become the first or last instant."""
    return ms_to_datetime(min(max(at_ms, _FIRST_MS), _LAST_MS))
