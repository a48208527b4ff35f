"""Reads of the audit tables in Postgres: evicted sessions, audit trails and lists of sessions.

Reads and commands of sessions that are in Redis do not use this module. Each method returns or raises within about two
seconds. Each method except `find_schema_state` raises StoreUnavailable if Postgres is unreachable. If retention removed
a session from Postgres, it is read from cold storage, which can take longer. Lists do not contain such sessions.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import orjson

from synckairos.audit.row_documents import RowDocuments
from synckairos.config import Settings
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.cold.reader import COLD_TIMEOUT_S, ArchiveDamaged, ColdReader
from synckairos.history.list_pages import build_trail_page, check_limit, position_parameters
from synckairos.history.page_cursor import parse_cursor, render_cursor
from synckairos.history.page_size import MAX_PAGE_BYTES
from synckairos.history.participant_session_reader import ParticipantSessionReader
from synckairos.history.queries import REPORT_TIMEOUT_S, TIMEOUT_S, HistoryQueries
from synckairos.history.records import (
    ArchiveRecord,
    AuditedVersion,
    ListedSession,
    Page,
    TrailEvent,
)
from synckairos.history.row_values import (
    parse_archive_record,
    parse_trail_event,
    postgres_instant,
    uuid_or_none,
)
from synckairos.history.schema_state import SchemaState, find_schema_state
from synckairos.history.used_time_reader import UsedTimeReader
from synckairos.limits.running_request import run_in_thread
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.transaction import Row
from synckairos.principal import DEFAULT_TENANT
from synckairos.session_names import session_name, split_session_name
from synckairos.telemetry.invalid_data import reporting_invalid_data
from synckairos.wire.idempotency_record import IdempotencyRecord
from synckairos.wire.instants import datetime_to_ms
from synckairos.wire.snapshot import SessionSnapshot
from synckairos.wire.v2_state_parser import V2_GENERATION

T = TypeVar("T")


def open_history_pool(settings: Settings) -> PostgresPool:
    """Return a new pool for the history reads of an instance. The caller must open the pool.

    The pool connects only to a primary of Postgres. A primary that accepts no writes is allowed.
    """
    return PostgresPool(
        settings.database_url,
        "archive",
        max_connections=settings.database_pool_max,
        min_connections=settings.database_pool_min,
        host="primary",
        timeout_s=TIMEOUT_S,
        settings={"statement_timeout": f"{REPORT_TIMEOUT_S:.0f}s"},
        requires_roles=settings.auth == "required",
    )


class HistoryReader:
    """Reader of the audit tables. If retention removed a session from Postgres, the session is read from cold storage.

    Sessions and participants are given by their names in their tenants (`session_names.py`). Results have the bare ids.
    `cold_reader` reads archives, `used_time` sums used time, and `participant_sessions` reads sessions of participants.
    """

    def __init__(
        self, pool: PostgresPool, cold_storage: ColdStorage, *, cold_timeout_s: float = COLD_TIMEOUT_S
    ) -> None:
        """Save the pool and cold storage. `cold_timeout_s` is the maximum number of seconds to read one archive."""
        self.cold_reader = ColdReader(cold_storage, cold_timeout_s)
        self._queries = HistoryQueries(pool)
        self.used_time = UsedTimeReader(self._queries)
        self.participant_sessions = ParticipantSessionReader(self._queries)

    async def find_schema_state(self) -> SchemaState:
        """Return whether Postgres answers and has the migrations of this release. Never raises."""
        return await find_schema_state(self._queries)

    # -- one session --------------------------------------------------------------------------------------------------

    async def read_latest_version(self, session_id: str) -> AuditedVersion | None:
        """Return the newest version of a session in the audit, with the idempotency records of its newest 100 commands.

        Versions that only the outbox has are ignored. If the session was deleted, the result is its tombstone. Return
        None if neither Postgres nor cold storage has the session. The method uses one round trip to Postgres. If
        retention removed the session, a second round trip and a read of cold storage follow.
        """
        rows = await self._run_for_session("latest_version", session_id)
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
        """Return the document of one version as JSON bytes.

        Return None if neither Postgres nor cold storage has the version.
        """
        rows = await self._run_for_session("version_document", session_id, epoch=epoch, version=version)
        if rows:
            document: bytes = rows[0][0]
            return document
        return await self._read_cold(
            session_id, lambda records: self.cold_reader.read_version_document(records, epoch, version)
        )

    async def read_version_at_instant(self, session_id: str, at_ms: int) -> AuditedVersion | None:
        """Return the newest version of a session that was committed at or before `at_ms`.

        `at_ms` is an instant in ms since the Unix epoch. The version can be a tombstone. The result has no idempotency
        records. Return None if the first version is later than the instant, or if there is no such session.
        """
        rows = await self._run_for_session("version_at", session_id, at=postgres_instant(at_ms))
        if not rows:
            return await self._read_cold(
                session_id, lambda records: self.cold_reader.read_version_at_instant(records, at_ms)
            )
        epoch, version, document, deleted, _ = rows[0]
        snapshot = SessionSnapshot(epoch, version, document, deleted=deleted)
        return AuditedVersion(session_id, snapshot)

    async def read_newest_unfinished_version(self, session_id: str) -> SessionSnapshot | None:
        """Return the newest version of a session that is not final, None if Postgres has no such version.

        Versions that retention removed from Postgres are not read.
        """
        rows = await self._run_for_session("newest_unfinished_version", session_id)
        return SessionSnapshot(rows[0][0], rows[0][1], bytes(rows[0][2])) if rows else None

    async def read_events_page(
        self, session_id: str, *, cursor: str | None = None, limit: int = 50, snapshots: bool = False
    ) -> Page[TrailEvent]:
        """Return a page of a session's audit trail over all its epochs, oldest first.

        `cursor` is the `next_cursor` of the previous page; None for the first page. `limit` is the maximum number of
        events, from 1 to 200. If `snapshots` is True, each event has its document, and the page also ends with the
        event at which the documents reach 4 MiB. The page lacks versions that only the outbox has; `AuditTrail` adds
        these versions.

        Raises: ValidationFailed if the cursor or the limit is invalid. InvalidStoredData if a document cannot be built.
        """
        after_ms, version, epoch = parse_cursor(cursor, int, int, str) if cursor else (None, 0, "")
        rows = await self._run_for_session(
            "events",
            session_id,
            charges_time=snapshots,
            after_at="-infinity" if after_ms is None else postgres_instant(after_ms),
            after_version=version,
            after_epoch=epoch,
            snapshots=snapshots,
            limit=check_limit(limit) + 1,
            max_bytes=MAX_PAGE_BYTES,
        )
        built: Sequence[bytes | None] = [None] * len(rows)
        if snapshots:
            with reporting_invalid_data(f"sync_events {session_id}"):
                built = await _build_documents(rows)
        found = [parse_trail_event(*each) for each in zip(rows, built, strict=True)]
        # If the query stopped because of MAX_PAGE_BYTES, the page ends at this event and omits later archived events.
        end = found[-1].sort_key if rows and rows[0][10] > len(rows) else None
        after = (-1, 0, "") if after_ms is None else (after_ms, version, epoch)
        cold = await self._read_cold(
            session_id, lambda records: self.cold_reader.read_events(records, after, limit + 1, snapshots)
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
        records = await self.read_archive_records(session_id, removed_only=True)
        try:
            return await read(records) if records else None
        except ArchiveDamaged:
            newer = await self.read_archive_records(session_id, removed_only=True)
            if newer == records:
                raise
            return await read(newer)

    async def read_archive_records(self, session_id: str, *, removed_only: bool = False) -> list[ArchiveRecord]:
        """Return the archive records of a session, newest first.

        The list is empty if the session has no archive record.

        A session that was deleted and created again has one record for each creation. If `removed_only` is True, return
        only the records of creations whose rows retention removed from Postgres.
        """
        rows = await self._run_for_session("archive_records", session_id, removed_only=removed_only)
        return [parse_archive_record(row) for row in rows]

    async def sum_paused_ms(self, session_id: str, since_ms: int, until_ms: int) -> int:
        """Return the time in ms for which a session was paused from `since_ms` (included) to `until_ms` (excluded).

        Both instants are in ms since the Unix epoch. A pause that began before `since_ms` counts only from the first
        version at or after `since_ms`. Pauses in versions that Postgres does not have are missing.
        """
        rows = await self._run_for_session(
            "paused_time", session_id, since=postgres_instant(since_ms), until=postgres_instant(until_ms)
        )
        paused_ms: int = rows[0][0]
        return paused_ms

    async def list_unfinished_session_names(
        self, *, other_than_generation: str, after: str | None, limit: int
    ) -> list[str]:
        """Return names of sessions that have not ended and belong to another generation than `other_than_generation`.

        The result has the sessions of all tenants. The epoch of a session begins with its generation. Sessions in the
        audit of v2 are excluded. Return at most `limit` names in the order of tenants and ids, only names after
        `after`. If `after` is None, begin at the first name.
        """
        nil = "00000000-0000-0000-0000-000000000000"
        after_tenant, after_id = ("", nil) if after is None else split_session_name(after)
        rows = await self._queries.run(
            None,
            "unfinished_sessions",
            {
                "other_than_generation": other_than_generation,
                "v2_generation": V2_GENERATION,
                "after_tenant": after_tenant,
                "after": after_id,
                "limit": limit,
            },
        )
        return [session_name(*row) for row in rows]

    async def _run_for_session(
        self, name: str, session: str, *, charges_time: bool = False, **values: Any
    ) -> list[Row]:
        """Run a query for one session, whose name is `session`. For `charges_time` see `HistoryQueries.run`."""
        tenant, session_id = split_session_name(session)
        query_values = {"session_id": uuid_or_none(session_id), **values}
        return await self._queries.run(tenant, name, query_values, charges_time=charges_time)

    # -- lists --------------------------------------------------------------------------------------------------------

    async def read_sessions_page(
        self,
        *,
        cursor: str | None = None,
        limit: int = 50,
        status: str | None = None,
        sync_mode: str | None = None,
        labels: Mapping[str, str] | None = None,
        only_unfinished: bool = False,
        known_ids: Sequence[str] = (),
        reached_ids: Collection[str] | None = None,
        reached_labels: Collection[tuple[str, str]] = (),
        tenant: str = DEFAULT_TENANT,
    ) -> Page[ListedSession]:
        """Return a page of a tenant's sessions in Postgres that are not deleted, newest creation first.

        `cursor` is the `next_cursor` of the previous page; None for the first page. `limit` is the maximum number of
        sessions, from 1 to 200. The page also ends at about 4 MiB of documents. `status`, `sync_mode` and `labels` are
        filters; None means no filter. A session matches `labels` if it has all these labels with these values.
        `only_unfinished` excludes the sessions that have ended. The
        query does not read the documents of the sessions `known_ids`; these items have `snapshot` None. If
        `reached_ids` is not None, the page has only sessions with one of these ids or one of `reached_labels` (pairs
        of key and value).

        Raises: ValidationFailed if the cursor or the limit is invalid.
        """
        label_name, label_value = next(iter(labels.items())) if labels else (None, None)
        query = "labelled_sessions" if labels else "sessions"
        reached = {}
        if reached_ids is not None:
            query = "reached_sessions"
            reached = {
                "reached_ids": [UUID(each) for each in reached_ids],
                "reached_keys": [key for key, _ in reached_labels],
                "reached_values": [value for _, value in reached_labels],
            }
        rows = await self._queries.run(
            tenant,
            query,
            {
                **reached,
                **position_parameters(cursor),
                "status": status,
                "sync_mode": sync_mode,
                "only_unfinished": only_unfinished,
                "labels": orjson.dumps(labels).decode() if labels else None,
                "label_name": label_name,
                "label_value": label_value,
                "limit": check_limit(limit) + 1,
                "max_bytes": MAX_PAGE_BYTES,
                "known_ids": [UUID(each) for each in known_ids],
            },
        )
        found = tuple(
            ListedSession(
                row[0], datetime_to_ms(row[3]), None if row[4] is None else SessionSnapshot(row[1], row[2], row[4])
            )
            for row in rows[:limit]
        )
        more = bool(rows) and rows[0][5] > len(found)
        return Page(found, render_cursor(found[-1].created_at_ms, found[-1].session_id) if more else None)

    async def now_ms(self) -> int:
        """Return the present instant by the clock of Postgres, ms since the Unix epoch.

        Used for reads while Redis is unreachable.
        """
        return datetime_to_ms((await self._queries.run(DEFAULT_TENANT, "current_time", {}))[0][0])


async def _build_documents(rows: Sequence[Row]) -> list[bytes]:
    """Return the documents of rows of the query `events`.

    If rows have splices, a thread builds the documents, because documents of large sessions take milliseconds.

    Raises: ValueError if a row is missing that a document needs.
    """
    if all(row[-2] is None for row in rows):
        return [row[9] for row in rows]
    documents = RowDocuments()
    return await run_in_thread(lambda: [documents.build_document(row[9], row[-2], row[-1]) for row in rows])
