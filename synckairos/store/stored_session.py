"""Sessions as Redis holds them: parses the fields of a session's hash and the list of its version history.

Sends no command to Redis.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.history_walk_back import walk_back
from synckairos.wire.snapshot import Snapshot

SESSION_FIELDS = ("epoch", "version", "deleted", "due", "state", "audited", "tag")
"""The fields of a session's hash, in the order that `parse_stored_session` takes; `state` holds the document."""


class StoredSession(Struct, frozen=True):
    """A session as Redis holds it.

    `due_ms` is the instant of the next transition that falls due by time, None if there is none. `audited_version` is
    the newest version that Postgres is known to have, None if it is not known to have any.
    """

    snapshot: Snapshot
    due_ms: int | None = None
    audited_version: int | None = None


class LoadedSession(Struct, frozen=True):
    """The result of a load: Redis TIME, the session (None if there is none) and the record of the command id."""

    now_ms: int
    stored: StoredSession | None
    record: bytes | None = None

    @property
    def snapshot(self) -> Snapshot | None:
        """Return the snapshot of the session, None if there is no session."""
        return None if self.stored is None else self.stored.snapshot


def parse_stored_session(fields: Sequence[Any], held: Snapshot | None = None) -> StoredSession | None:
    """Parse the fields of a session's hash, None if there is no session.

    A missing document is that of `held`: the server leaves out a document that the caller holds already.
    """
    epoch, version, deleted, due, document, audited, tag = fields
    if epoch is None:
        return None
    if document is None and held is not None:
        document = held.document
    return StoredSession(
        Snapshot(epoch.decode(), int(version), document, "" if tag is None else tag.decode(), deleted == b"1"),
        due_ms=int(due) if due else None,
        audited_version=None if audited is None else int(audited),
    )


def parse_history(snapshot: Snapshot | None, kept: Sequence[bytes]) -> Iterator[FeedMessage]:
    """Return the versions that the version history still holds, newest first, from this snapshot back."""
    return iter(()) if snapshot is None else walk_back(snapshot, kept)
