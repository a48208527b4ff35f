"""The snapshot of a session: the document of one version, with the values that identify it."""

from msgspec import Struct
from msgspec.json import Decoder


class SessionSnapshot(Struct, frozen=True):
    """One version of a session, in the form that all layers use. `document` is the session's JSON as stored.

    `tag` is a random name for exactly these bytes, empty if the tag is unknown. After a failover, Redis can issue a
    version number again with other content. Then epoch and version alone do not identify the bytes. `deleted` is True
    only for the last version of a deleted session.
    """

    epoch: str
    version: int
    document: bytes
    tag: str = ""
    deleted: bool = False

    @property
    def epoch_and_version(self) -> tuple[str, int]:
        """Return the epoch and the version number."""
        return self.epoch, self.version


class _Head(Struct, frozen=True):
    session_id: str
    epoch: str
    version: int


_decode_head = Decoder(_Head).decode


def check_stored_document(session_id: str, snapshot: SessionSnapshot) -> None:
    """Check that the document of `snapshot` is JSON of the session `session_id`, and of its epoch and version.

    The check reads the whole document, but creates no Python values for most of its members.

    Raises: ValueError or MsgspecError if the check fails.
    """
    head = _decode_head(snapshot.document)
    if (head.session_id, head.epoch, head.version) != (session_id, snapshot.epoch, snapshot.version):
        raise ValueError("the document is of another session or version")
