"""Reads of the audit's tables: evicted sessions, audit trails, lists of sessions and time reports.

No live read of a session needs them. Each method takes about two seconds at most (time reports ten seconds) and raises
StoreUnavailable if Postgres is not reachable. Sessions that retention removed from Postgres are read from cold storage,
which may take longer. Lists and time reports do not include them.
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
from synckairos.history.queries import TIMEOUT_S, HistoryQueries, Row
from synckairos.history.records import (
    ArchiveRecord,
    AuditedVersion,
    Bucket,
    ListedSession,
    Page,
    ParticipantSession,
    TimeSlice,
    TrailEvent,
    UsedTimeInOutbox,
)
from synckairos.history.time_buckets import build_time_buckets
from synckairos.postgres.pool import PostgresPool
from synckairos.wire.idempotency_record import IdempotencyRecord
from synckairos.wire.instants import instant_ms, to_datetime
from synckairos.wire.snapshot import Snapshot
from synckairos.wire.time_zones import parse_time_zone
from synckairos.wire.v2_state_parser import V2_GENERATION

T = TypeVar("T")

MAX_PAGE = 200
"""Items of a page."""

MAX_SLICES = 10_000
"""Rows of a time report."""

_REPORT_TIMEOUT_S = 10.0
_LONG_RANGE_MS = 400 * 86_400_000  # above this length, days without a session are left out first
_FIRST_MS, _LAST_MS = -62_000_000_000_000, 253_000_000_000_000  # range of instants that Postgres accepts
_LAST_ID = "f" * 32


def open_history_pool(settings: Settings) -> PostgresPool:
    """Return the pool of an instance. It connects to the primary, also while the primary is read-only."""
    return PostgresPool(
        settings.database_url,
        "archive",
        max_connections=settings.database_pool_max,
        min_connections=settings.database_pool_min,
        host="primary",
        timeout_s=TIMEOUT_S,
        options=f"-c statement_timeout={_REPORT_TIMEOUT_S:.0f}s",
        prepare_statements=False,
    )


class HistoryReader:
    """Reads the audit's tables, and cold storage for sessions that retention removed."""

    def __init__(
        self, pool: PostgresPool, cold_storage: ColdStorage, *, cold_timeout_s: float = COLD_TIMEOUT_S
    ) -> None:
        """Set the pool and cold storage. `cold_timeout_s` limits the read of one archive, in seconds."""
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

    async def latest_version(self, session_id: str) -> AuditedVersion | None:
        """Return the newest version of a session with the idempotency records of its newest 100 commands.

        Returns None if the session never existed, and the tombstone of a deleted session. One round trip, and a read of
        cold storage if the session is only there.
        """
        rows = await self._queries.run("latest_version", {"session_id": _uuid(session_id)})
        if not rows:
            return None
        epoch, version, document, deleted, _, commands = rows[0]
        if document is None:
            return await self._read_cold(session_id, self.cold_reader.latest_version)
        records = {
            command_id: IdempotencyRecord(fingerprint, decided_in, decided, expired).render()
            for command_id, fingerprint, decided_in, decided, expired in reversed(commands or ())
        }
        snapshot = Snapshot(epoch, version, document, deleted=deleted)
        return AuditedVersion(session_id, snapshot, records)

    async def version_document(self, session_id: str, epoch: str, version: int) -> bytes | None:
        """Return the document of one version, None if Postgres does not have it (yet)."""
        values = {"session_id": _uuid(session_id), "epoch": epoch, "version": version}
        rows = await self._queries.run("version_document", values)
        if rows:
            document: bytes = rows[0][0]
            return document
        return await self._read_cold(
            session_id, lambda records: self.cold_reader.version_document(records, epoch, version)
        )

    async def version_at(self, session_id: str, at_ms: int) -> AuditedVersion | None:
        """Return the version in effect at an instant, which may be a tombstone; None before the first version."""
        rows = await self._queries.run("version_at", {"session_id": _uuid(session_id), "at": _to_instant(at_ms)})
        if not rows:
            return await self._read_cold(session_id, lambda records: self.cold_reader.version_at(records, at_ms))
        epoch, version, document, deleted, _ = rows[0]
        snapshot = Snapshot(epoch, version, document, deleted=deleted)
        return AuditedVersion(session_id, snapshot)

    async def events(
        self, session_id: str, *, cursor: str | None = None, limit: int = 50, snapshots: bool = False
    ) -> Page[TrailEvent]:
        """Return a page of a session's audit trail over all its epochs, oldest first; `limit` is 1 to 200.

        Versions in the outbox are missing: `AuditTrail` adds them. Raises ValidationFailed for an invalid cursor.
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
            },
        )
        found = [
            TrailEvent(row[0], row[1], row[2], instant_ms(row[6]), row[3], row[4], row[5], row[7], row[8], row[9])
            for row in rows
        ]
        after = (-1, 0, "") if after_ms is None else (after_ms, version, epoch)
        cold = await self._read_cold(
            session_id, lambda records: self.cold_reader.events(records, after, limit + 1, snapshots)
        )
        if cold:
            known = {(event.epoch, event.version) for event in found}
            found += [event for event in cold if (event.epoch, event.version) not in known]
            found.sort(key=lambda event: event.key)
        return build_trail_page(found, limit)

    async def _read_cold(self, session_id: str, read: Callable[[Sequence[ArchiveRecord]], Awaitable[T]]) -> T | None:
        """Read the archives of the lives that retention removed, newest first; return None if there are none.

        If an archive is damaged and was replaced meanwhile, read the newer one. Otherwise raise ArchiveDamaged.
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
        """Return the archive records of a session, one for each life, newest first.

        With `removed_only`, return only those of lives whose rows retention removed.
        """
        rows = await self._queries.run(
            "archive_records", {"session_id": _uuid(session_id), "removed_only": removed_only}
        )
        return [parse_archive_record(row) for row in rows]

    async def paused_ms(self, session_id: str, since_ms: int, until_ms: int) -> int:
        """Return the total pause of a session between two instants in ms, according to Postgres."""
        values = {"session_id": _uuid(session_id), "since": _to_instant(since_ms), "until": _to_instant(until_ms)}
        paused_ms: int = (await self._queries.run("paused_time", values))[0][0]
        return paused_ms

    async def unfinished_sessions(self, *, other_than_generation: str, after: str | None, limit: int) -> list[str]:
        """Return the ids of sessions that have not ended, in order, without those whose epoch is of this generation."""
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
        """Return a page of the sessions that are not deleted, newest creation first; `limit` is 1 to 200.

        The key of the cursor is (created_at_ms, session_id). Raises ValidationFailed for an invalid cursor.
        """
        rows = await self._queries.run(
            "sessions",
            {
                **_position_parameters(cursor),
                "status": status,
                "sync_mode": sync_mode,
                "limit": _checked_limit(limit) + 1,
            },
        )
        found = tuple(
            ListedSession(row[0], instant_ms(row[3]), Snapshot(row[1], row[2], row[4])) for row in rows[:limit]
        )
        more = len(rows) > limit
        return Page(found, render_cursor(found[-1].created_at_ms, found[-1].session_id) if more else None)

    async def participant_sessions(
        self, participant_id: str, *, since_ms: int, cursor: str | None = None, limit: int = 50
    ) -> Page[ParticipantSession]:
        """Return a page of a participant's sessions that began at `since_ms` or later, newest first.

        The key of the cursor is (began_at_ms, session_id); `limit` is 1 to 200. Raises ValidationFailed for an invalid
        cursor.
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
        return Page(found, render_cursor(*found[-1].key) if len(rows) > limit else None)

    async def participant_sessions_by_id(
        self, participant_id: str, session_ids: Sequence[str]
    ) -> dict[str, ParticipantSession]:
        """Return those of these sessions that the participant took part in, by their ids."""
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

    async def participant_session_starts(
        self, participant_id: str, *, since_ms: int, limit: int
    ) -> list[tuple[int, str]]:
        """Return the start (ms) and the id of a participant's sessions since `since_ms`, newest first."""
        values = {"participant_id": _uuid(participant_id), "since": _to_instant(since_ms), "limit": limit}
        return [
            (instant_ms(began_at), session_id)
            for session_id, began_at in await self._queries.run("participant_session_starts", values)
        ]

    async def known_session_starts(self, participant_id: str, session_ids: Sequence[str]) -> dict[str, int]:
        """Return the start (ms) of those of these sessions that Postgres lists for the participant."""
        values = {"participant_id": _uuid(participant_id), "session_ids": [UUID(each) for each in session_ids]}
        return {
            session_id: instant_ms(began_at)
            for session_id, began_at in await self._queries.run("known_session_starts", values)
        }

    async def now_ms(self) -> int:
        """Return the instant (ms) by the clock of Postgres, for reads while Redis is not reachable."""
        return instant_ms((await self._queries.run("current_time", {}))[0][0])

    async def participant_time_slices(
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
    ) -> list[TimeSlice]:
        """Return the time of a participant in [from_ms, to_ms), per session, local day or ISO week, in order.

        A turn that runs now counts up to `now_ms`. `in_outbox` is the time of versions that Postgres does not have yet.
        Returns at most 10,000 rows. `tz` is an IANA name. Raises ValidationFailed if it is unknown.
        """
        try:
            zone = parse_time_zone(tz)
        except ValueError:
            raise ValidationFailed.at("tz", "should be the name of a time zone, such as Europe/Berlin") from None
        from_ms, until_ms = max(from_ms, _FIRST_MS), min(to_ms, now_ms)
        if until_ms - from_ms > _LONG_RANGE_MS:
            from_ms = max(from_ms, await self._first_time_ms(participant_id, until_ms, in_outbox))
        if from_ms >= until_ms:
            return []
        buckets = build_time_buckets(bucket, from_ms, until_ms, zone)
        rows = await self._queries.run(
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
            timeout_s=_REPORT_TIMEOUT_S,
        )
        return [TimeSlice(session_id or buckets.names[at - 1], *values) for at, session_id, *values in rows]

    async def _first_time_ms(self, participant_id: str, until_ms: int, in_outbox: Sequence[UsedTimeInOutbox]) -> int:
        """Return an instant before which the participant used no time; `until_ms` if it used none."""
        values = {"participant_id": _uuid(participant_id), "until": _to_instant(until_ms)}
        rows = await self._queries.run("first_session_created", values)
        audited_ms = [instant_ms(created_at) for (created_at,) in rows if created_at is not None]
        return min((until_ms, *audited_ms, *(began_ms for each in in_outbox for began_ms, _ in each.running)))


def parse_archive_record(row: Row) -> ArchiveRecord:
    """Parse a row of the query `archive_records`."""
    values: Row = tuple(instant_ms(value) if isinstance(value, datetime) else value for value in row)
    return ArchiveRecord(*values)


def build_trail_page(events: list[TrailEvent], limit: int) -> Page[TrailEvent]:
    """Build a page of `limit` events. `events` has at least one more event if there are more."""
    items = tuple(events[:limit])
    return Page(items, render_cursor(*items[-1].key) if len(events) > limit else None)


def _parse_participant_session(row: Row) -> ParticipantSession:
    return ParticipantSession(
        session_id=row[0],
        epoch=row[1],
        version=row[2],
        sync_mode=row[3],
        status=row[4],
        started_at_ms=None if row[5] is None else instant_ms(row[5]),
        completed_at_ms=None if row[6] is None else instant_ms(row[6]),
        at_ms=instant_ms(row[7]),
        time_used_ms=row[8],
        paused_ms=row[9],
        cycle_count=row[10],
        metadata=orjson.dumps(row[11]),
        began_at_ms=instant_ms(row[12]),
    )


def _position_parameters(cursor: str | None) -> dict[str, Any]:
    """Return the position before which a page begins, newest first. Without a cursor the page is the first one."""
    before_ms, before_id = parse_list_cursor(cursor) or (None, _LAST_ID)
    return {"before_at": "infinity" if before_ms is None else _to_instant(before_ms), "before_id": before_id}


def _checked_limit(limit: int) -> int:
    if not 1 <= limit <= MAX_PAGE:
        raise ValidationFailed.at("limit", f"should be from 1 to {MAX_PAGE}")
    return limit


def _uuid(text: str) -> UUID | None:
    """Parse an id; return None, which matches no row, for a text that is not a UUID."""
    try:
        return UUID(text)
    except ValueError:
        return None


def _to_instant(at_ms: int) -> datetime:
    """Return an instant. Instants outside of the calendar become one before or after all others."""
    return to_datetime(min(max(at_ms, _FIRST_MS), _LAST_MS))
