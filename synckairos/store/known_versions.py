"""The newest version of each session that this instance has seen, to detect that Redis has lost versions.

A replica that takes over, or a Redis that restarts, can lack acknowledged versions. Redis would then issue their
numbers again with other content, under the same epoch. This module compares stored versions with the versions that the
instance has seen. It sends no command to Redis.
"""

from collections.abc import Iterator

from msgspec import Struct

from synckairos.wire.document_scan import extract_created_at_ms
from synckairos.wire.snapshot import SessionSnapshot
from synckairos.wire.v2_state_parser import is_v2_epoch

MAX_SESSIONS = 16_384
"""Maximum number of sessions whose newest version an instance remembers. They take about 6 MB."""

RECENT_MS = 600_000
"""Milliseconds: maximum age of a known version whose session Redis does not evict yet with the default settings."""


class KnownVersion(Struct, frozen=True):
    """The newest version of a session that this instance has committed, loaded or received.

    `tag` is empty if it is unknown. `at_ms` is an instant of Redis at which the version existed, in ms since the Unix
    epoch. `deleted` is True only for the last version of a deleted session.
    """

    epoch: str
    version: int
    tag: str
    at_ms: int
    deleted: bool = False

    def is_missing_in(self, stored: SessionSnapshot) -> bool:
        """Return whether Redis has lost this version. `stored` must have been read after the version was seen.

        Another epoch with a lower version is a loss, unless the session was created again: another instance has
        continued the session under a new epoch, and did not know this version.
        """
        if stored.deleted:
            return False
        if stored.epoch == self.epoch:
            is_other = stored.version == self.version and stored.tag != self.tag
            return stored.version < self.version or (is_other and bool(stored.tag and self.tag))
        if stored.version > self.version or self.deleted or is_v2_epoch(self.epoch):
            return False
        return extract_created_at_ms(stored.document) < self.at_ms

    def is_possibly_missing(self, stored: SessionSnapshot, tag: str) -> bool:
        """Return whether Redis has possibly lost this version. `stored` does not need its document.

        `tag` is the tag of this version in the version history of Redis, empty if the history does not have the
        version. If this method returns False, the version is not lost, or the version history is too short to show it.
        """
        if stored.epoch != self.epoch:
            return stored.version <= self.version and not self.deleted
        return stored.version < self.version or bool(tag and self.tag and tag != self.tag)

    def is_recent(self, now_ms: int) -> bool:
        """Return whether this version was seen so recently that its session is probably not evicted yet.

        `now_ms` is the time of Redis in ms since the Unix epoch. A deleted session is never recent.
        """
        return not self.deleted and now_ms - self.at_ms < RECENT_MS


class KnownVersions:
    """The known versions of sessions by name, for at most `max_sessions` sessions that were noted last."""

    def __init__(self, max_sessions: int = MAX_SESSIONS) -> None:
        self._max_sessions = max_sessions
        self._versions: dict[str, KnownVersion] = {}

    def note(self, session_name: str, snapshot: SessionSnapshot, at_ms: int) -> None:
        """Note that a version existed at the instant `at_ms` of Redis, in ms since the Unix epoch.

        An earlier version of the known epoch changes nothing.
        """
        known = self._versions.pop(session_name, None)
        if known is None or known.epoch != snapshot.epoch or known.version < snapshot.version:
            known = KnownVersion(*snapshot.epoch_and_version, snapshot.tag, at_ms, snapshot.deleted)
        self._versions[session_name] = known
        if len(self._versions) > self._max_sessions:
            del self._versions[next(iter(self._versions))]

    def find(self, session_name: str) -> KnownVersion | None:
        """Return the known version of a session, None if this instance knows none."""
        return self._versions.get(session_name)

    def list_newest_first(self) -> Iterator[tuple[str, KnownVersion]]:
        """Return the names and known versions of all sessions at the time of this call, the last noted first."""
        return iter(list(reversed(self._versions.items())))
