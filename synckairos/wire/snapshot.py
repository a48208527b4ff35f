"""The snapshot of a session: the document of one version, with the values that identify it."""

from msgspec import Struct


class Snapshot(Struct, frozen=True):
    """One version of a session, in the form that all layers use. `document` is the session's JSON as stored.

    `tag` is a random name for exactly these bytes, empty if the tag is unknown. After a failover, Redis can issue a
    version number again with other content. Then epoch and version alone do not identify the bytes. `deleted` is True
    for the last version of a deleted session.
    """

    epoch: str
    version: int
    document: bytes
    tag: str = ""
    deleted: bool = False

    @property
    def position(self) -> tuple[str, int]:
        """Return the epoch and the version number."""
        return self.epoch, self.version
