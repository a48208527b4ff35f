"""Retention jobs: delete an ended session from Postgres after its archive was read back and verified.

A session stays in Postgres if Redis or the outbox has another version of it, if it has failed entries, or if it has
pending webhook deliveries.
"""

from typing import Any

import orjson

from synckairos.errors import SyncKairosError
from synckairos.history.cold.archive_format import Archive, ArchiveLine, find_version_gaps
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.cold.reader import ArchiveDamaged, ColdReader
from synckairos.history.participant_sessions.update_after_drain import SummaryRefresh
from synckairos.history.records import ArchiveRecord
from synckairos.jobs.archive_and_retention_sql import load_statement
from synckairos.jobs.ended_session_row import SessionNotFinished, session_parameters
from synckairos.jobs.write_archive import Archiver
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.transaction import Transaction
from synckairos.session_names import participant_name
from synckairos.store.outbox import Outbox
from synckairos.store.sessions import SessionStore


class ArchiveIncomplete(SyncKairosError):
    """The archive lacks versions, most likely versions in failed entries. The session stays in Postgres.

    `stored_as` is the begin of the text that is saved for the session; SQL statements compare it.
    """

    code = "INCOMPLETE"
    stored_as = "Incomplete"


class SessionRetained(SyncKairosError):
    """The session must stay in Postgres for now. Scheduled jobs try to remove the session again after an hour.

    `stored_as` is the begin of the text that is saved for the session; SQL statements compare it.
    """

    code = "STAYS"
    stored_as = "Stays"  # compared by `archive_and_retention.sql`


class SessionRowDeleter:
    """Deletion of the rows of archived sessions. Methods raise the errors of psycopg."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def delete(self, record: ArchiveRecord, archive: Archive, after_s: float) -> bool:
        """Delete a session's rows in one transaction, if the archive contains all of these rows with the same hashes.

        Return True if the rows are deleted, also if another worker deleted them before. Return False if all rows stay:
        if the archive was replaced, or if Postgres has rows that the archive lacks.

        Raises: The exceptions below. No row was deleted then.
            SessionNotFinished: The session has not ended, or ended less than `after_s` seconds ago.
            SessionRetained: The session has pending webhook deliveries.
        """
        values: dict[str, Any] = {**session_parameters(record.name), "after_s": after_s, "path": record.path}
        async with self._pool.transaction() as transaction:
            if not await transaction.fetch(load_statement("lock_archive"), values):
                return False  # another archive has replaced the verified archive
            session = next(iter(await transaction.fetch(load_statement("lock_session"), values)), None)
            if session is None and record.removed:
                return True
            if session is None or not session[2]:
                raise SessionNotFinished(
                    f"Session {record.session_id} has not ended, or ended less than {after_s:g} s ago"
                )
            if session[3]:
                raise SessionRetained("the session has pending webhook deliveries")
            if (session[0], session[1]) == (record.epoch, record.version):
                events = await _delete_returning(transaction, "delete_events", values)
                conflicts = await _delete_returning(transaction, "delete_conflicts", values)
                if events <= _hashes(archive.events) and conflicts <= _hashes(archive.conflicts):
                    created_at = archive.head["created_at"]
                    await transaction.execute(load_statement("delete_session"), {**values, "created_at": created_at})
                    return True
            transaction.is_rolled_back = True
        return False


class Retention:
    """Removal of archived sessions from Postgres. Methods raise the errors of `Archiver`."""

    def __init__(
        self,
        cold_storage: ColdStorage,
        archiver: Archiver,
        rows: SessionRowDeleter,
        store: SessionStore,
        outbox: Outbox,
        summary_refresh: SummaryRefresh,
    ) -> None:
        self._archiver = archiver
        self._cold_reader = ColdReader(cold_storage)
        self._rows = rows
        self._store = store
        self._outbox = outbox
        self._summary_refresh = summary_refresh

    async def archive_and_delete(self, session_id: str, after_s: float) -> bool:
        """Archive a session that ended at least `after_s` seconds ago, verify the archive, and delete the rows.

        `session_id` is the name of the session in its tenant. Return True if all rows of the session are deleted.
        Return False if all rows stay for now: if Redis has another version of the session, if the session changed in
        the meantime, or if the session has failed entries or pending webhook deliveries. Rows are deleted only if the
        archive contains each row with the same hash.

        Raises: The exceptions below. The archive can have been written then.
            SessionNotFinished, ArchiveIncomplete, ArchiveDamaged: See these classes.
            StoreUnavailable: The object store or Redis is unreachable.
        """
        record = await self._archiver.archive(session_id)
        try:
            await self._remove(record, after_s)
        except SessionRetained as reason:
            await self._archiver.save_failure_reason(session_id, reason)
            return False
        except (ArchiveIncomplete, ArchiveDamaged) as fault:
            await self._archiver.save_failure_reason(session_id, fault)
            raise
        return True

    async def _remove(self, record: ArchiveRecord, after_s: float) -> None:
        await self._check_no_later_versions(record)
        if await self._verify_and_delete(record, after_s):
            return
        # Postgres has rows that the archive lacks. Write a new archive, and try the deletion a second time.
        record = await self._archiver.archive(record.name, force=True)
        await self._check_no_later_versions(record)
        if not await self._verify_and_delete(record, after_s):
            raise SessionRetained("the session changed during the job")

    async def _check_no_later_versions(self, record: ArchiveRecord) -> None:
        """Raise SessionRetained if Redis has versions of the session that the archive lacks."""
        stored = (await self._store.load(record.name)).stored
        archived = (record.epoch, record.version, record.version)
        if stored is not None and (stored.snapshot.epoch, stored.snapshot.version, stored.audited_version) != archived:
            raise SessionRetained("Redis has another version of the session")
        # An evicted session is complete in Postgres, and so is a session whose newest version is audited.
        # Failed entries can belong to an earlier creation of the session.
        if await self._outbox.session_has_failed_entries(record.name):
            raise SessionRetained("the session has failed entries (see `synckairos audit failed`)")

    async def _verify_and_delete(self, record: ArchiveRecord, after_s: float) -> bool:
        """Read the archive, verify that it is complete, and delete the session's rows.

        Return whether they are deleted.
        """
        archive = await self._cold_reader.read_archive(record)
        if len(archive.events) != record.events or archive.newest_line.version != (record.epoch, record.version):
            raise ArchiveDamaged(f"The archive of session {record.session_id} does not match its record")
        missing = await self._find_missing_version(record, archive)
        if missing is not None:
            raise ArchiveIncomplete(
                f"Session {record.session_id} stays: {missing} is missing (see `synckairos audit failed`)"
            )
        if not await self._rows.delete(record, archive, after_s):
            return False
        # Do this also if another worker deleted the rows before. That worker may have died before this line.
        await self._summary_refresh.remove_from_caches(
            record.name, [participant_name(record.tenant, each) for each in _participant_ids(archive)]
        )
        return True

    async def _find_missing_version(self, record: ArchiveRecord, archive: Archive) -> str | None:
        """Return a description of a version that the archive lacks; None if the archive is complete.

        If a session was deleted and created again, a version of the first creation can have been in the outbox when its
        rows were removed. This version arrived later, so it is in this archive, and the version before it is in the
        earlier archive.
        """
        if next(find_version_gaps(archive.events), None) is None:
            return None
        records = await self._archiver.load_earlier_removed_records(record)
        earlier = [await self._cold_reader.read_archive(each) for each in records]
        return next(find_version_gaps(archive.events, (line for each in earlier for line in each.events)), None)


async def _delete_returning(transaction: Transaction, name: str, values: dict[str, Any]) -> set[tuple[str, int, bytes]]:
    rows = await transaction.fetch(load_statement(name), values)
    return {(epoch, version, bytes(payload_hash)) for epoch, version, payload_hash in rows}


def _participant_ids(archive: Archive) -> set[str]:
    """Return the ids of the participants in the newest version, and of removed participants that events name."""
    ids = {line.row.get("participant_id") for line in archive.events}
    ids |= {each["participant_id"] for each in orjson.loads(archive.newest_line.document)["participants"]}
    return {each for each in ids if each is not None}


def _hashes(lines: tuple[ArchiveLine, ...]) -> set[tuple[str, int, bytes]]:
    return {(*line.version, line.stored_payload_hash) for line in lines}
