"""Known versions of sessions: which stored versions show a loss, and how many sessions an instance remembers."""

import orjson
import pytest

from synckairos.store.known_versions import RECENT_MS, KnownVersion, KnownVersions
from synckairos.wire.instants import render_instant
from synckairos.wire.snapshot import SessionSnapshot
from synckairos.wire.v2_state_parser import V2_GENERATION

SEEN_MS = 1_000_000
KNOWN = KnownVersion("e1", 5, "t5", SEEN_MS)
DELETED = KnownVersion("e1", 5, "t5", SEEN_MS, deleted=True)
IMPORTED = KnownVersion(f"{V2_GENERATION}1", 5, "t5", SEEN_MS)


def stored(epoch: str, version: int, tag: str = "", *, created_ms: int = 0, deleted: bool = False) -> SessionSnapshot:
    document = orjson.dumps({"created_at": render_instant(created_ms)})
    return SessionSnapshot(epoch, version, document, tag, deleted)


@pytest.mark.parametrize(
    ("known", "snapshot", "is_missing"),
    [
        (KNOWN, stored("e1", 4, "t4"), True),
        (KNOWN, stored("e1", 5, "t5"), False),
        (KNOWN, stored("e1", 5, "other"), True),
        (KNOWN, stored("e1", 5, ""), False),
        (KnownVersion("e1", 5, "", SEEN_MS), stored("e1", 5, "other"), False),
        (KNOWN, stored("e1", 6, "t6"), False),
        (KNOWN, stored("e1", 4, "t4", deleted=True), False),
        (KNOWN, stored("e2", 5, created_ms=SEEN_MS - 1), True),
        (KNOWN, stored("e2", 5, created_ms=SEEN_MS), False),
        (KNOWN, stored("e2", 6, created_ms=SEEN_MS - 1), False),
        (DELETED, stored("e1", 4, "t4"), True),
        (DELETED, stored("e2", 1, created_ms=SEEN_MS - 1), False),
        (IMPORTED, stored("e2", 5, created_ms=SEEN_MS - 1), False),
    ],
    ids=[
        *("lower number", "same version", "other tag", "stored tag unknown", "known tag unknown", "higher number"),
        *("deleted since", "continued without it", "created again", "continued above it"),
        *("lost deletion", "created after a deletion", "imported from v2"),
    ],
)
def test_stored_version_shows_whether_the_known_one_is_missing(
    known: KnownVersion, snapshot: SessionSnapshot, is_missing: bool
) -> None:
    assert known.is_missing_in(snapshot) is is_missing


@pytest.mark.parametrize(
    ("known", "snapshot", "tag", "is_possible"),
    [
        (KNOWN, stored("e1", 4), "", True),
        (KNOWN, stored("e1", 9), "other", True),
        (KNOWN, stored("e1", 9), "t5", False),
        (KNOWN, stored("e1", 9), "", False),
        (KNOWN, stored("e2", 5), "", True),
        (KNOWN, stored("e2", 6), "", False),
        (DELETED, stored("e2", 1), "", False),
    ],
    ids=[
        *("lower number", "number issued again", "same tag", "history too short"),
        *("other epoch", "other epoch above it", "created after a deletion"),
    ],
)
def test_stored_tag_shows_whether_the_known_version_is_possibly_missing(
    known: KnownVersion, snapshot: SessionSnapshot, tag: str, is_possible: bool
) -> None:
    assert known.is_possibly_missing(snapshot, tag) is is_possible


def test_only_versions_that_were_seen_a_short_time_ago_and_did_not_delete_are_recent() -> None:
    assert KNOWN.is_recent(SEEN_MS + RECENT_MS - 1)
    assert not KNOWN.is_recent(SEEN_MS + RECENT_MS)
    assert not DELETED.is_recent(SEEN_MS)


def test_earlier_version_of_the_known_epoch_changes_nothing() -> None:
    versions = KnownVersions()
    for snapshot in (stored("e1", 5, "t5"), stored("e1", 4, "t4"), stored("e1", 5, "other")):
        versions.note("a", snapshot, SEEN_MS)
    assert versions.find("a") == KNOWN
    versions.note("a", stored("e2", 1, "t1"), SEEN_MS)
    assert versions.find("a") == KnownVersion("e2", 1, "t1", SEEN_MS)


def test_number_of_known_sessions_is_bounded_and_the_session_that_was_noted_first_leaves() -> None:
    versions = KnownVersions(2)
    for name in ("a", "b", "a", "c"):
        versions.note(name, stored("e1", 5, "t5"), SEEN_MS)
    assert versions.find("b") is None
    assert list(versions.list_newest_first()) == [("c", KNOWN), ("a", KNOWN)]
