"""Verification of the audit: reads the rows of sessions from Postgres and replays them through the clock engine.

Reads only, and only Postgres: versions in the outbox are not checked.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, IsolationLevel

from synckairos.audit.entry_rows import EventRow
from synckairos.audit.replay_check import AuditReplay, ReplayFinding
from synckairos.clock.recover_lost_session import OutagePolicy
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import CONNECT_TIMEOUT_S, translate_postgres_errors

_SQL = "verify.sql"
_IDS_PER_PAGE = 500
_ROWS_PER_FETCH = 500
_NIL = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class VerifiedSession:
    """Result of verifying one session: the number of versions and of epochs, and the findings."""

    session_id: str
    versions: int
    epochs: int
    findings: tuple[ReplayFinding, ...]


@asynccontextmanager
async def open_verifier(database_url: str, policy: OutagePolicy) -> AsyncIterator["AuditVerifier"]:
    """Open a read-only connection. Raises StoreUnavailable if Postgres is not reachable or not migrated."""
    with translate_postgres_errors():
        connection = await AsyncConnection.connect(
            database_url,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="synckairos verify",
            options="-c timezone=UTC",
        )
        async with connection:
            await connection.set_read_only(True)
            # All queries of a session see one snapshot. Otherwise a drain between two queries would look like a gap.
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            yield AuditVerifier(connection, policy)


class AuditVerifier:
    """Verifies sessions one by one, on its own connection."""

    def __init__(self, connection: AsyncConnection, policy: OutagePolicy) -> None:
        self._connection = connection
        self._policy = policy

    async def verify_session(self, session_id: str) -> VerifiedSession | None:
        """Verify one session; return None if Postgres has no row of it. Only some rows are in memory at a time."""
        findings: list[ReplayFinding] = []
        newest: dict[str, EventRow] = {}
        versions = 0
        async with self._connection.transaction():
            archived = await self._fetch("removed_versions", session_id=session_id)
            replay = AuditReplay(self._policy, {row[0]: row[1] for row in archived})
            async with self._connection.cursor(name="rows", binary=True) as cursor:
                cursor.itersize = _ROWS_PER_FETCH
                await cursor.execute(load_statements(_SQL, "synckairos.audit")["rows"], {"session_id": session_id})
                async for values in cursor:
                    row = EventRow(*values)
                    bases = await self._recovery_bases(row) if row.command == "recover" else ()
                    findings += replay.check_row(row, bases)
                    newest[row.epoch] = row
                    versions += 1
            findings += [finding async for finding in self._check_other_tables(session_id, newest)]
        if not versions and not findings:
            return None
        return VerifiedSession(session_id, versions, len(newest), tuple(findings))

    async def verify_all(self) -> AsyncIterator[VerifiedSession]:
        """Verify every session, in the order of ids."""
        after = _NIL
        while True:
            async with self._connection.transaction():
                page = await self._fetch("session_ids", after=after, limit=_IDS_PER_PAGE)
            for (session_id,) in page:
                verified = await self.verify_session(session_id)
                if verified is not None:
                    yield verified
            if not page:
                return
            after = page[-1][0]

    async def _recovery_bases(self, row: EventRow) -> list[bytes]:
        found = await self._fetch("recovery_bases", session_id=row.session_id, version=row.version - 1, epoch=row.epoch)
        return [document for (document,) in found]

    async def _check_other_tables(self, session_id: str, newest: dict[str, EventRow]) -> AsyncIterator[ReplayFinding]:
        """Compare `sync_conflicts` and `sync_sessions` with the newest version of each epoch."""
        for epoch, version in await self._fetch("conflicts", session_id=session_id):
            yield ReplayFinding(epoch, version, "conflict", "this version arrived a second time with different content")
        projected = await self._fetch("projections", session_id=session_id)
        for epoch, version, status, deleted in projected:
            row = newest.get(epoch)
            if row is None or row.version < version:
                yield ReplayFinding(epoch, version, "gap", "this version, and perhaps earlier ones: missing")
            elif (row.version, row.status, row.deleted) != (version, status, deleted):
                yield ReplayFinding(epoch, row.version, "projection", "sync_sessions differs")
        if newest and not projected:
            epoch, row = next(reversed(newest.items()))
            yield ReplayFinding(epoch, row.version, "projection", "sync_sessions has no row")

    async def _fetch(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        async with self._connection.cursor(binary=True) as cursor:
            await cursor.execute(load_statements(_SQL, "synckairos.audit")[name], values)
            return await cursor.fetchall()
