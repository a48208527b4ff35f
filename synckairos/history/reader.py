"""What Postgres remembers: sessions that Redis let go, trails, lists and hours. Reads only, never beside a live read.

Every method takes about two seconds at most (reports ten) and raises StoreUnavailable where Postgres doesn't answer.
What retention took out of Postgres is read from cold storage, which may take longer: one session, its trail and its
past, but no lists and no hours.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import orjson
from psycopg.errors import InvalidParameterValue

from synckairos.config import Settings
from synckairos.errors import StoreUnavailable, ValidationFailed
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.cold.reader import ArchiveDamaged, ColdReader
from synckairos.history.page_cursor import parse_cursor, parse_list_cursor, render_cursor
from synckairos.history.queries import TIMEOUT_S, HistoryQueries, Row
from synckairos.history.records import (
    ArchiveRecord,
    AuditedVersion,
    Bucket,
    ListedSession,
    OutboxTime,
    Page,
    ParticipantSession,
    TimeSlice,
    TrailEvent,
)
from synckairos.postgres.pool import PostgresPool
from synckairos.wire.idempotency_record import IdempotencyRecord
from synckairos.wire.instants import instant_ms, to_datetime
from synckairos.wire.snapshot import Snapshot
from synckairos.wire.v2_session import V2_GENERATION

T = TypeVar("T")

MAX_PAGE = 200
MAX_SLICES = 10_000

_REPORT_TIMEOUT_S = 10.0
_ZONE = re.compile(r"UTC|GMT|[A-Za-z]+(?:/[A-Za-z0-9_+-]+)+")
_FIRST_MS, _LAST_MS = -62_000_000_000_000, 253_000_000_000_000
_LAST_ID = "f" * 32


def open_history_pool(settings: Settings) -> PostgresPool:
    """Make the connections of a server, for reading what is newest also while nothing can be written."""
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
    """The audit's tables, for reading."""

    def __init__(self, pool: PostgresPool, objects: ColdStorage) -> None:
        """Take Postgres, and where sessions are kept that retention took out of it."""
        self.cold_reader = ColdReader(objects)
        self._queries = HistoryQueries(pool)

    async def is_reachable(self) -> bool:
        """Tell whether Postgres answers."""
        try:
            await self._queries.run("ping", {})
        except StoreUnavailable:
            return False
        return True

    # -- one session --------------------------------------------------------------------------------------------------

    async def latest_version(self, session_id: str) -> AuditedVersion | None:
        """Return the newest version of a session with the newest 100 commands' records, None where there never was one.

        A tombstone comes back as `deleted`. One round trip, and cold storage where it is only there.
        """
        rows = await self._queries.run("latest", {"session_id": _uuid(session_id)})
        if not rows:
            return None
        epoch, version, document, deleted, recorded_at, commands = rows[0]
        if document is None:
            return await self._read_cold(session_id, self.cold_reader.latest_version)
        records = {
            command_id: IdempotencyRecord(fingerprint, decided_in, decided, expired).render()
            for command_id, fingerprint, decided_in, decided, expired in reversed(commands or ())
        }
        snapshot = Snapshot(epoch, version, document, deleted=deleted)
        return AuditedVersion(session_id, snapshot, instant_ms(recorded_at), records)

    async def version_document(self, session_id: str, epoch: str, version: int) -> bytes | None:
        """Return the document of one version, None where Postgres hasn't got it (yet)."""
        values = {"session_id": _uuid(session_id), "epoch": epoch, "version": version}
        rows = await self._queries.run("snapshot", values)
        if rows:
            document: bytes = rows[0][0]
            return document
        return await self._read_cold(session_id, lambda filed: self.cold_reader.version_document(filed, epoch, version))

    async def version_at(self, session_id: str, at_ms: int) -> AuditedVersion | None:
        """Return the newest version in effect at an instant, a tombstone too; None before the first."""
        rows = await self._queries.run("state_at", {"session_id": _uuid(session_id), "at": _at(at_ms)})
        if not rows:
            return await self._read_cold(session_id, lambda filed: self.cold_reader.version_at(filed, at_ms))
        epoch, version, document, deleted, recorded_at = rows[0]
        snapshot = Snapshot(epoch, version, document, deleted=deleted)
        return AuditedVersion(session_id, snapshot, instant_ms(recorded_at))

    async def events(
        self, session_id: str, *, cursor: str | None = None, limit: int = 50, snapshots: bool = False
    ) -> Page[TrailEvent]:
        """Return a page of a session's trail over all its epochs, oldest first; `limit` is 1 to 200.

        What is still on its way isn't in it: `trail.Trail` adds that. Raises ValidationFailed for a bad cursor.
        """
        after_ms, version, epoch = parse_cursor(cursor, int, int, str) if cursor else (None, 0, "")
        rows = await self._queries.run(
            "events",
            {
                "session_id": _uuid(session_id),
                "after_at": "-infinity" if after_ms is None else _at(after_ms),
                "after_version": version,
                "after_epoch": epoch,
                "snapshots": snapshots,
                "limit": _limit(limit) + 1,
            },
        )
        found = [
            TrailEvent(row[0], row[1], row[2], instant_ms(row[6]), row[3], row[4], row[5], row[7], row[8], row[9])
            for row in rows
        ]
        after = (-1, 0, "") if after_ms is None else (after_ms, version, epoch)
        cold = await self._read_cold(
            session_id, lambda filed: self.cold_reader.events(filed, after, limit + 1, snapshots)
        )
        if cold:
            known = {(event.epoch, event.version) for event in found}
            found += [event for event in cold if (event.epoch, event.version) not in known]
            found.sort(key=lambda event: event.key)
        return build_trail_page(found, limit)

    async def _read_cold(self, session_id: str, read: Callable[[Sequence[ArchiveRecord]], Awaitable[T]]) -> T | None:
        """Read the archives that are all there is of a session, newest first; None where there is none.

        Raises ArchiveDamaged: not where one was replaced by a newer one meanwhile.
        """
        filed = await self.archive_records(session_id, removed_only=True)
        try:
            return await read(filed) if filed else None
        except ArchiveDamaged:
            newer = await self.archive_records(session_id, removed_only=True)
            if newer == filed:
                raise
            return await read(newer)

    async def archive_records(self, session_id: str, *, removed_only: bool = False) -> list[ArchiveRecord]:
        """Return what was filed about a session's archives, one a life, newest first.

        With `removed_only` those alone that are all there is of it: retention took its rows away.
        """
        rows = await self._queries.run("filed", {"session_id": _uuid(session_id), "removed_only": removed_only})
        return [parse_archive_record(row) for row in rows]

    async def paused_ms(self, session_id: str, since_ms: int, until_ms: int) -> int:
        """Return how long a session was paused between two instants, as far as Postgres knows."""
        values = {"session_id": _uuid(session_id), "since": _at(since_ms), "until": _at(until_ms)}
        paused_ms: int = (await self._queries.run("breaks", values))[0][0]
        return paused_ms

    async def unfinished_sessions(self, *, other_than_generation: str, after: str | None, limit: int) -> list[str]:
        """Return ids of sessions that aren't over, in order, but not those whose epoch begins with this generation."""
        nil = "00000000-0000-0000-0000-000000000000"
        rows = await self._queries.run(
            "open_sessions",
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
        """Return a page of sessions that aren't deleted, newest creation first; `limit` is 1 to 200.

        The cursor's key is (created_at_ms, session_id). Raises ValidationFailed for a bad one.
        """
        rows = await self._queries.run(
            "sessions",
            {**_before(cursor), "status": status, "sync_mode": sync_mode, "limit": _limit(limit) + 1},
        )
        found = tuple(
            ListedSession(row[0], instant_ms(row[3]), Snapshot(row[1], row[2], row[4])) for row in rows[:limit]
        )
        more = len(rows) > limit
        return Page(found, render_cursor(found[-1].created_at_ms, found[-1].session_id) if more else None)

    async def participant_sessions(
        self, participant_id: str, *, since_ms: int, cursor: str | None = None, limit: int = 50
    ) -> Page[ParticipantSession]:
        """Return a page of the sessions somebody took part in that began since an instant, newest first.

        The cursor's key is (began_at_ms, session_id); `limit` is 1 to 200. Raises ValidationFailed for a bad cursor.
        """
        rows = await self._queries.run(
            "participant_sessions",
            {
                **_before(cursor),
                "participant_id": _uuid(participant_id),
                "session_ids": None,
                "since": _at(since_ms),
                "limit": _limit(limit) + 1,
            },
        )
        found = tuple(_part(row) for row in rows[:limit])
        return Page(found, render_cursor(*found[-1].key) if len(rows) > limit else None)

    async def participant_sessions_by_id(
        self, participant_id: str, session_ids: Sequence[str]
    ) -> dict[str, ParticipantSession]:
        """Return somebody's part in those of these sessions that they took part in."""
        rows = await self._queries.run(
            "participant_sessions",
            {
                **_before(None),
                "participant_id": _uuid(participant_id),
                "session_ids": [UUID(each) for each in session_ids],
                "since": "-infinity",
                "limit": None,
            },
        )
        return {row[0]: _part(row) for row in rows}

    async def participant_session_starts(
        self, participant_id: str, *, since_ms: int, limit: int
    ) -> list[tuple[int, str]]:
        """Return when somebody's sessions since an instant began, in ms, and their ids, newest first."""
        values = {"participant_id": _uuid(participant_id), "since": _at(since_ms), "limit": limit}
        return [
            (instant_ms(began_at), session_id)
            for session_id, began_at in await self._queries.run("participant_dates", values)
        ]

    async def known_session_starts(self, participant_id: str, session_ids: Sequence[str]) -> dict[str, int]:
        """Return those of these sessions in which Postgres knows of somebody's part, and when they began, in ms."""
        values = {"participant_id": _uuid(participant_id), "session_ids": [UUID(each) for each in session_ids]}
        return {
            session_id: instant_ms(began_at) for session_id, began_at in await self._queries.run("known_parts", values)
        }

    async def now_ms(self) -> int:
        """Return the instant by Postgres' clock: for reading history while Redis, whose clock decides, is away."""
        return instant_ms((await self._queries.run("now", {}))[0][0])

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
        waiting: Sequence[OutboxTime] = (),
    ) -> list[TimeSlice]:
        """Return how long somebody's time ran in [from_ms, to_ms), per session, local day or ISO week; in order.

        A turn that runs now counts up to `now_ms`, and what is `waiting` counts as if it were here. At most 10,000
        rows. Raises ValidationFailed for an unknown `tz`, an IANA name.
        """
        await self._check_zone(tz)
        rows = await self._queries.run(
            "participant_time",
            {
                "participant_id": _uuid(participant_id),
                "since": _at(from_ms),
                "until": _at(min(to_ms, now_ms)),
                "waiting": [UUID(each.session_id) for each in waiting],
                "cut_at": [_at(each.cut[0]) for each in waiting],
                "cut_version": [each.cut[1] for each in waiting],
                "metadata": [each.metadata for each in waiting],
                "is_gone": [each.is_gone for each in waiting],
                "running": [UUID(each.session_id) for each in waiting for _ in each.stretches],
                "began_at": [_at(began_ms) for each in waiting for began_ms, _ in each.stretches],
                "ended_at": [_at(ended_ms) for each in waiting for _, ended_ms in each.stretches],
                "tz": tz,
                "bucket": bucket,
                "key": metadata_key,
                "limit": MAX_SLICES,
            },
            timeout_s=_REPORT_TIMEOUT_S,
        )
        return [TimeSlice(bucket=row[0], key=row[1], time_used_ms=row[2], session_count=row[3]) for row in rows]

    async def _check_zone(self, tz: str) -> None:
        unknown = ValidationFailed.at("tz", "should be the name of a time zone, such as Europe/Berlin")
        # Postgres also takes abbreviations and POSIX rules, whose signs are the other way round: names only.
        if not _ZONE.fullmatch(tz):
            raise unknown
        try:
            await self._queries.run("time_zone", {"tz": tz})
        except InvalidParameterValue:
            raise unknown from None


def parse_archive_record(row: Row) -> ArchiveRecord:
    """Return what the query `filed` says of one archive."""
    values: Row = tuple(instant_ms(value) if isinstance(value, datetime) else value for value in row)
    return ArchiveRecord(*values)


def build_trail_page(found: list[TrailEvent], limit: int) -> Page[TrailEvent]:
    """Make a page of up to `limit` events out of at least one more, where there are more."""
    items = tuple(found[:limit])
    return Page(items, render_cursor(*items[-1].key) if len(found) > limit else None)


def _part(row: Row) -> ParticipantSession:
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


def _before(cursor: str | None) -> dict[str, Any]:
    """Return what a page newest first begins below: the whole list's end without a cursor."""
    before_ms, before_id = parse_list_cursor(cursor) or (None, _LAST_ID)
    return {"before_at": "infinity" if before_ms is None else _at(before_ms), "before_id": before_id}


def _limit(limit: int) -> int:
    if not 1 <= limit <= MAX_PAGE:
        raise ValidationFailed.at("limit", f"should be from 1 to {MAX_PAGE}")
    return limit


def _uuid(text: str) -> UUID | None:
    """Return the id; None, which is nobody's, where it isn't one."""
    try:
        return UUID(text)
    except ValueError:
        return None


def _at(at_ms: int) -> datetime:
    """Return the instant; one beyond what a calendar has is before or after everything."""
    return to_datetime(min(max(at_ms, _FIRST_MS), _LAST_MS))
