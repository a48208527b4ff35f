"""The snapshot of a session: the document of one version, with the members that identify it."""

from msgspec import Struct


class Snapshot(Struct, frozen=True):
    """One version of a session, as all layers pass it on. `document` is the session's JSON, as it was stored.

    `tag` is a random name for exactly these bytes, empty if it is not known. After a failover a version number can be
    issued again with other content, so that epoch and version alone do not identify the bytes. `deleted` marks the last
    version of a deleted session.
    """

    epoch: str
    version: int
    document: bytes
    tag: str = ""
    deleted: bool = False

    @property
    def position(self) -> tuple[str, int]:
        """Return the epoch and the version."""
        return self.epoch, self.version
