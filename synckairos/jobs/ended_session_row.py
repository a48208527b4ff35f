"""Ended sessions: the rows of `sync_sessions` on which archive and retention jobs work."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from synckairos.errors import SyncKairosError
from synckairos.jobs.archive_and_retention_sql import load_statement
from synckairos.postgres.transaction import Transaction


class SessionNotFinished(SyncKairosError):
    """Postgres has no row of the session, or the session has not ended according to this row."""

    code = "NOT_FINISHED"


class SessionRecreated(SessionNotFinished):
    """The session ended, but a new session was created under its id, so that the job has no work. This is no fault."""


@dataclass(frozen=True, slots=True)
class EndedSession:
    """Row of `sync_sessions` for a session that ended. `finished_at` is the instant of its end or deletion."""

    session_id: str
    epoch: str
    version: int
    sync_mode: str
    status: str
    created_at: datetime
    finished_at: datetime
    deleted: bool

    def object_path(self, content: bytes) -> str:
        """Return the path for the session's archive in cold storage. `content` is the compressed archive.

        The path contains the day of the session's end and a hash of `content`, so different content has a different
        path.
        """
        name = f"{self.version}-{self.epoch}-{sha256(content).hexdigest()[:12]}"
        return f"sessions/{self.finished_at:%Y/%m/%d}/{self.session_id}/{name}.ndjson.gz"


async def load_ended_session(transaction: Transaction, session_id: str) -> EndedSession | None:
    """Return the row of an ended session. Return None if Postgres has no row of the session, or if it has not ended."""
    rows = await transaction.fetch(load_statement("ended_session"), {"session_id": session_id})
    return EndedSession(*rows[0]) if rows and rows[0][6] is not None else None
