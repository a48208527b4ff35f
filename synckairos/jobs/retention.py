"""Retention: sessions that ended long ago leave Postgres, once their archive was read back and is all they were.

What Redis holds in another version, or what is still on its way to Postgres, isn't touched.
"""

from typing import Any

import orjson
from psycopg import AsyncConnection

from synckairos.errors import SyncKairosError
from synckairos.history.cold.bundle import Bundle, BundleLine, find_version_gaps
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.cold.reader import ArchiveDamaged, ColdReader
from synckairos.history.participant_sessions.refresh import SummaryRefresh
from synckairos.history.records import ArchiveRecord
from synckairos.jobs.archive import SQL, Archiver, SessionNotFinished
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.store.outbox import Outbox
from synckairos.store.sessions import SessionStore


class ArchiveIncomplete(SyncKairosError):
    """Versions are missing: what isolated entries are about, most likely. The session stays where it is."""

    code = "INCOMPLETE"
    stored_as = "Incomplete"


class SessionRetained(SyncKairosError):
    """Nothing is wrong, but something has to happen first: the session is looked at again in an hour."""

    code = "STAYS"
    stored_as = "Stays"  # `archives.sql` looks for it


class Retention:
    """Takes archived sessions out of Postgres. Raises what archiving raises."""

    def __init__(
        self,
        pool: PostgresPool,
        objects: ColdStorage,
        archiver: Archiver,
        store: SessionStore,
        outbox: Outbox,
        upkeep: SummaryRefresh,
    ) -> None:
        self._pool = pool
        self._archiver = archiver
        self._cold = ColdReader(objects)
        self._store = store
        self._outbox = outbox
        self._upkeep = upkeep

    async def remove(self, session_id: str, after_s: float) -> bool:
        """Archive a session that ended `after_s` ago, verify the archive, and delete the rows it holds.

        False where it is to stay for now: Redis has another version of it, it changed meanwhile, or webhooks that tell
        of it are still to be sent. Of its rows either all go or none, and only those that the archive holds with the
        same hash.

        Raises:
            SessionNotFinished, Incomplete, ArchiveDamaged.
            StoreUnavailable: the object store or Redis doesn't answer.
        """
        filed = await self._archiver.archive(session_id)
        try:
            await self._remove(filed, after_s)
        except SessionRetained as reason:
            await self._archiver.failed(session_id, reason)
            return False
        except (ArchiveIncomplete, ArchiveDamaged) as fault:
            await self._archiver.failed(session_id, fault)
            raise
        return True

    async def _remove(self, filed: ArchiveRecord, after_s: float) -> None:
        await self._check_settled(filed)
        if await self._verify_and_remove(filed, after_s):
            return
        # There is more in Postgres than when it was archived: archive that, and look once more.
        filed = await self._archiver.archive(filed.session_id, anew=True)
        await self._check_settled(filed)
        if not await self._verify_and_remove(filed, after_s):
            raise SessionRetained("it changes meanwhile")

    async def _check_settled(self, filed: ArchiveRecord) -> None:
        """Raise Stays where Redis has something that the archive hasn't."""
        stored = (await self._store.load(filed.session_id)).stored
        archived = (filed.epoch, filed.version, filed.version)
        if stored is not None and (stored.snapshot.epoch, stored.snapshot.version, stored.audited_version) != archived:
            raise SessionRetained("Redis has another version of it")
        # A session that Redis let go is in Postgres in full, and so is one whose newest version is. What is isolated
        # may be of an earlier life.
        if await self._outbox.has_failed_entries(filed.session_id):
            raise SessionRetained("versions of it lie isolated (see `synckairos audit failed`)")

    async def _verify_and_remove(self, filed: ArchiveRecord, after_s: float) -> bool:
        bundle = await self._cold.read_bundle(filed, lean=True)
        if len(bundle.events) != filed.events or bundle.newest.version != (filed.epoch, filed.version):
            raise ArchiveDamaged(f"The archive of session {filed.session_id} isn't the one that was filed")
        missing = await self._missing(filed, bundle)
        if missing is not None:
            raise ArchiveIncomplete(
                f"Session {filed.session_id} stays: {missing} is missing (see `synckairos audit failed`)"
            )
        if not await self._delete(filed, bundle, after_s):
            return False
        # Also where it was removed before: whoever did it may have died here.
        await self._upkeep.remove_session(filed.session_id, _people(bundle))
        return True

    async def _missing(self, filed: ArchiveRecord, bundle: Bundle) -> str | None:
        """Name a version that is missing; None where all are there.

        What was on its way when an earlier life of this session left Postgres came afterwards: it is here, and what it
        goes on from is in that life's archive.
        """
        if next(find_version_gaps(bundle.events), None) is None:
            return None
        earlier = [await self._cold.read_bundle(each, lean=True) for each in await self._archiver.removed_before(filed)]
        return next(find_version_gaps(bundle.events, (line for each in earlier for line in each.events)), None)

    async def _delete(self, filed: ArchiveRecord, bundle: Bundle, after_s: float) -> bool:
        values: dict[str, Any] = {"session_id": filed.session_id, "after_s": after_s, "path": filed.path}
        sql = load_statements(SQL, "synckairos.jobs")
        async with self._pool.connection() as connection, connection.transaction() as transaction:
            if await (await connection.execute(sql["hold_archive"], values)).fetchone() is None:
                return False  # what was verified isn't what is filed any more
            held = await (await connection.execute(sql["hold"], values)).fetchone()
            if held is None and filed.removed:
                return True
            if held is None or not held[2]:
                raise SessionNotFinished(f"Session {filed.session_id} didn't end so long ago")
            if held[3]:
                raise SessionRetained("webhooks that tell of it are still to be sent")
            if (held[0], held[1]) == (filed.epoch, filed.version):
                events = await _removed(connection, "remove_events", values)
                conflicts = await _removed(connection, "remove_conflicts", values)
                if events <= _hashes(bundle.events) and conflicts <= _hashes(bundle.conflicts):
                    created_at = bundle.head["created_at"]
                    await connection.execute(sql["remove_session"], {**values, "created_at": created_at})
                    return True
            transaction.force_rollback = True
        return False


async def _removed(connection: AsyncConnection, name: str, values: dict[str, Any]) -> set[tuple[str, int, bytes]]:
    cursor = await connection.execute(load_statements(SQL, "synckairos.jobs")[name], values)
    return {(epoch, version, bytes(payload_hash)) for epoch, version, payload_hash in await cursor.fetchall()}


def _people(bundle: Bundle) -> set[str]:
    """Return who took part: those of the end, and whom events name, as they do whoever left."""
    ids = {line.row.get("participant_id") for line in bundle.events}
    ids |= {each["participant_id"] for each in orjson.loads(bundle.newest.document)["participants"]}
    return {each for each in ids if each is not None}


def _hashes(lines: tuple[BundleLine, ...]) -> set[tuple[str, int, bytes]]:
    return {(*line.version, line.payload_hash) for line in lines}
