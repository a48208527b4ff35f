"""Ended sessions: the rows of `sync_sessions` that archive and retention jobs work on."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from synckairos.errors import SyncKairosError
from synckairos.jobs.archive_and_retention_sql import archive_statement
from synckairos.postgres.transaction import Transaction


class SessionNotFinished(SyncKairosError):
    """The session has not ended according to Postgres, or Postgres has no row of it."""

    code = "NOT_FINISHED"


class SessionRecreated(SessionNotFinished):
    """The session had ended and was created again under its id. There is no work to do and nothing to repair."""


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session that ended, as `sync_sessions` has it."""

    session_id: str
    epoch: str
    version: int
    sync_mode: str
    status: str
    created_at: datetime
    finished_at: datetime
    deleted: bool

    def object_path(self, content: bytes) -> str:
        """Return the path of its archive in cold storage: by the day of its end, different for different content."""
        name = f"{self.version}-{self.epoch}-{sha256(content).hexdigest()[:12]}"
        return f"sessions/{self.finished_at:%Y/%m/%d}/{self.session_id}/{name}.ndjson.gz"


async def load_ended_session(transaction: Transaction, session_id: str) -> EndedSession | None:
    """Return a session that ended; None if it has not ended or Postgres has no row of it."""
    rows = await transaction.fetch(archive_statement("ended_session"), {"session_id": session_id})
    return EndedSession(*rows[0]) if rows and rows[0][6] is not None else None
