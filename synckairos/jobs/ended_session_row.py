"""Ended sessions: the rows of `sync_sessions` on which archive and retention jobs work."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from synckairos.errors import SyncKairosError
from synckairos.history.cold.tenant_folders import tenant_folder
from synckairos.jobs.archive_and_retention_sql import load_statement
from synckairos.postgres.transaction import Transaction
from synckairos.session_names import session_name, split_session_name


class SessionNotFinished(SyncKairosError):
    """Postgres has no row of the session, or the session has not ended according to this row."""

    code = "NOT_FINISHED"


class SessionRecreated(SessionNotFinished):
    """The session ended, but a new session was created under its id, so that the job has no work. This is no fault."""


@dataclass(frozen=True, slots=True)
class EndedSession:
    """Row of `sync_sessions` for a session that ended. `finished_at` is the instant of its end or deletion."""

    tenant: str
    session_id: str
    epoch: str
    version: int
    sync_mode: str
    status: str
    created_at: datetime
    finished_at: datetime
    deleted: bool

    @property
    def name(self) -> str:
        """Return the name of the session in its tenant."""
        return session_name(self.tenant, self.session_id)

    def object_path(self, content: bytes) -> str:
        """Return the path for the session's archive in cold storage. `content` is the compressed archive.

        The path begins with the folder of the tenant. It contains the day of the session's end and a hash of `content`,
        so different content has a different path.
        """
        name = f"{self.version}-{self.epoch}-{sha256(content).hexdigest()[:12]}"
        folder = f"{tenant_folder(self.tenant)}sessions/{self.finished_at:%Y/%m/%d}"
        return f"{folder}/{self.session_id}/{name}.ndjson.gz"


async def load_ended_session(transaction: Transaction, name: str) -> EndedSession | None:
    """Return the row of the ended session `name`.

    Return None if Postgres has no row of the session, or if it has not ended.
    """
    rows = await transaction.fetch(load_statement("ended_session"), session_parameters(name))
    return EndedSession(*rows[0]) if rows and rows[0][7] is not None else None


def session_parameters(name: str) -> dict[str, str]:
    """Return the parameters `tenant` and `session_id` of a statement for the session `name`."""
    tenant, session_id = split_session_name(name)
    return {"tenant": tenant, "session_id": session_id}
