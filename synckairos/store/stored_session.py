"""Sessions as Redis stores them: parsing of the fields of a session's hash and of its version history.

This module sends no command to Redis.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from synckairos.session_names import split_session_name
from synckairos.store.known_versions import KnownVersion
from synckairos.telemetry.invalid_data import PARSE_ERRORS, report_invalid_data
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.history_walk_back import rebuild_earlier_versions
from synckairos.wire.snapshot import SessionSnapshot

SESSION_FIELDS = ("epoch", "version", "deleted", "due", "state", "audited", "tag")
"""The fields of a session's hash, in the order in which `parse_stored_session` reads them.

The field `state` has the document.
"""

_SESSION_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class StoredSession(Struct, frozen=True):
    """A session as Redis stores it.

    `due_ms` is the instant of the next transition by time, in ms since the Unix epoch, None if there is none.
    `audited_version` is a version number: Postgres has this version and all versions before it. It is None if that is
    not known of any version.
    """

    snapshot: SessionSnapshot
    due_ms: int | None = None
    audited_version: int | None = None


class SessionLoadResult(Struct, frozen=True):
    """The result of a load: the time of Redis, the session, and the idempotency record of the command id.

    The session or the record is None if Redis does not have it. `lost` is a version that this instance has seen and
    that Redis has lost, None normally. It is also None if Redis does not have the session.
    """

    now_ms: int
    stored: StoredSession | None
    record: bytes | None = None
    lost: KnownVersion | None = None

    @property
    def snapshot(self) -> SessionSnapshot | None:
        """Return the snapshot of the session, None if Redis does not have the session.

        An evicted session also gives None, although Postgres has it. For a deleted session that Redis still has,
        `snapshot.deleted` is True.
        """
        return None if self.stored is None else self.stored.snapshot


def parse_session_name(member: bytes) -> str:
    """Parse a session name from a member of a sorted set.

    Raises: ValueError if the member is not the name of a session.
    """
    name = member.decode()
    _, session_id = split_session_name(name)
    if not _SESSION_ID.fullmatch(session_id):
        raise ValueError(f"{name!r} is no session name")
    return name


def parse_stored_session(fields: Sequence[Any], held: SessionSnapshot | None = None) -> StoredSession | None:
    """Parse the fields of a session's hash. Return None if there is no session.

    Redis omits the document if the caller already has the document. If the document is missing in `fields`, the result
    has the document of `held`.

    Raises: ValueError, TypeError or AttributeError if fields are invalid.
    """
    epoch, version, deleted, due, document, audited, tag = fields
    if epoch is None:
        if version is not None or document:
            raise ValueError("the session has no epoch")
        return None
    if document is None:
        if held is None:
            raise ValueError("the session has no document")
        document = held.document
    return StoredSession(
        SessionSnapshot(epoch.decode(), int(version), document, "" if tag is None else tag.decode(), deleted == b"1"),
        due_ms=int(due) if due else None,
        audited_version=None if audited is None else int(audited),
    )


def parse_history(snapshot: SessionSnapshot | None, kept: Sequence[bytes], key: str) -> Iterator[FeedMessage]:
    """Yield the version `snapshot` and the versions before it in the version history, newest first.

    If a version cannot be parsed, the result ends before that version, and the Redis key `key` is reported. If
    `snapshot` is None, the result is empty.
    """
    if snapshot is None:
        return
    try:
        yield from rebuild_earlier_versions(snapshot, kept)
    except PARSE_ERRORS as error:
        report_invalid_data(key, error)
