"""Verifying the audit: every session's rows, read from Postgres and played through the engine again.

Reads only, and Postgres only: what is still on its way there isn't looked at.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, IsolationLevel

from synckairos.audit.entry_rows import EventRow
from synckairos.audit.replay import AuditReplay, ReplayFinding
from synckairos.clock.recovery import OutagePolicy
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import CONNECT_TIMEOUT_S, translate_postgres_errors

_SQL = "verify.sql"
_IDS = 500
_ROWS = 500
_NIL = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class VerifiedSession:
    """What verifying one session found: how many rows in how many epochs, and all that is to be said about them."""

    session_id: str
    versions: int
    epochs: int
    findings: tuple[ReplayFinding, ...]

    @property
    def is_sound(self) -> bool:
        return not any(finding.is_fault for finding in self.findings)


@asynccontextmanager
async def open_verifier(database_url: str, policy: OutagePolicy) -> AsyncIterator["AuditVerifier"]:
    """Connect, for reading alone. Raises StoreUnavailable where Postgres isn't reachable, or not migrated."""
    with translate_postgres_errors():
        connection = await AsyncConnection.connect(
            database_url,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="synckairos verify",
            options="-c timezone=UTC",
        )
        async with connection:
            await connection.set_read_only(True)
            # One snapshot for all of a session: a drain in between would look like a gap.
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            yield AuditVerifier(connection, policy)


class AuditVerifier:
    """Verifies sessions one by one, on a connection of its own."""

    def __init__(self, connection: AsyncConnection, policy: OutagePolicy) -> None:
        self._connection = connection
        self._policy = policy

    async def verify_session(self, session_id: str) -> VerifiedSession | None:
        """Verify one session; None where the archive has nothing of it. A few rows are in memory at a time."""
        findings: list[ReplayFinding] = []
        newest: dict[str, EventRow] = {}
        versions = 0
        async with self._connection.transaction():
            removed = await self._fetch("removed", session_id=session_id)
            replay = AuditReplay(self._policy, {row[0]: row[1] for row in removed})
            async with self._connection.cursor(name="rows", binary=True) as cursor:
                cursor.itersize = _ROWS
                await cursor.execute(load_statements(_SQL, "synckairos.audit")["rows"], {"session_id": session_id})
                async for values in cursor:
                    row = EventRow(*values)
                    bases = await self._bases(row) if row.command == "recover" else ()
                    findings += replay.check_row(row, bases)
                    newest[row.epoch] = row
                    versions += 1
            findings += [finding async for finding in self._beside(session_id, newest)]
        if not versions and not findings:
            return None
        return VerifiedSession(session_id, versions, len(newest), tuple(findings))

    async def verify_all(self) -> AsyncIterator[VerifiedSession]:
        """Verify every session, in order of id."""
        after = _NIL
        while True:
            async with self._connection.transaction():
                page = await self._fetch("ids", after=after, limit=_IDS)
            for (session_id,) in page:
                verified = await self.verify_session(session_id)
                if verified is not None:
                    yield verified
            if not page:
                return
            after = page[-1][0]

    async def _bases(self, row: EventRow) -> list[bytes]:
        found = await self._fetch("bases", session_id=row.session_id, version=row.version - 1, epoch=row.epoch)
        return [document for (document,) in found]

    async def _beside(self, session_id: str, newest: dict[str, EventRow]) -> AsyncIterator[ReplayFinding]:
        """Look at what the other tables say of the same versions."""
        for epoch, version in await self._fetch("conflicts", session_id=session_id):
            yield ReplayFinding(epoch, version, "conflict", "this version came a second time with other content")
        projected = await self._fetch("newest", session_id=session_id)
        for epoch, version, status, deleted in projected:
            row = newest.get(epoch)
            if row is None or row.version < version:
                yield ReplayFinding(epoch, version, "gap", "this version and what may be before it: missing")
            elif (row.version, row.status, row.deleted) != (version, status, deleted):
                yield ReplayFinding(epoch, row.version, "projection", "sync_sessions says something else")
        if newest and not projected:
            epoch, row = next(reversed(newest.items()))
            yield ReplayFinding(epoch, row.version, "projection", "sync_sessions has no row")

    async def _fetch(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        async with self._connection.cursor(binary=True) as cursor:
            await cursor.execute(load_statements(_SQL, "synckairos.audit")[name], values)
            return await cursor.fetchall()
