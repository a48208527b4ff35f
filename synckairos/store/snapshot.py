"""A session as it lies in Redis: what the fields of its hash and its history's list say. Asks nothing itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from synckairos.fast_dataclass import fast_dataclass
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.version_history import walk_back

FIELDS = ("epoch", "version", "deleted", "due", "state", "audited", "tag")


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Stored:
    """A session as Redis holds it: `document` is its JSON, `audited_version` what Postgres is known to have.

    `due_ms` is when time itself acts next, None where it doesn't. `tag` names the document's very bytes, empty where
    nothing does: which session, epoch and version they are doesn't say it after a failover that lost some.
    """

    epoch: str
    version: int
    deleted: bool
    document: bytes
    due_ms: int | None = None
    audited_version: int | None = None
    tag: str = ""


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Loaded:
    """What one load found: the instant by Redis, the session, an earlier decision for the command id."""

    now_ms: int
    stored: Stored | None
    record: bytes | None = None


def parse_stored(fields: Sequence[Any], held: Stored | None = None) -> Stored | None:
    """Return the session from its hash fields, None where there is none; one without a state is the one `held`."""
    epoch, version, deleted, due, state, audited, tag = fields
    if epoch is None:
        return None
    if state is None and held is not None:
        state = held.document
    return Stored(
        epoch=epoch.decode(),
        version=int(version),
        deleted=deleted == b"1",
        document=state,
        due_ms=int(due) if due else None,
        audited_version=None if audited is None else int(audited),
        tag="" if tag is None else tag.decode(),
    )


def parse_history(stored: Stored | None, kept: Sequence[bytes]) -> Iterator[FeedMessage]:
    """Return the versions of a session that Redis still holds, newest first, from its history's list."""
    if stored is None:
        return iter(())
    return walk_back(stored.epoch, stored.version, stored.tag, stored.document, kept)
