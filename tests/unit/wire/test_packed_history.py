"""Packed messages of the version history: round trips, wrong documents, and histories with both formats."""

import pytest

from synckairos.clock.transition import EventType
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.history_walk_back import rebuild_earlier_versions
from synckairos.wire.packed_history import (
    MAX_DOCUMENT_BYTES,
    MAX_UNPACKED_BYTES,
    is_packed,
    is_worth_packing,
    pack_message,
    read_position,
    unpack_message,
)
from synckairos.wire.snapshot import SessionSnapshot

SESSION = "0190d0e2-7c6f-7000-8000-00000000000a"
EPOCH = "0123456789abcdef"


def document_of(version: int, size: int = 1_200) -> bytes:
    """Return a text of about `size` bytes that differs between versions in few places, as documents do."""
    members = b"".join(b'"member_%d":%d,' % (at, at * 7919) for at in range(size // 22))
    return b'{"session_id":"%b","version":%d,%b"used_ms":%d}' % (SESSION.encode(), version, members, version * 7_351)


def message_of(version: int) -> FeedMessage:
    snapshot = SessionSnapshot(EPOCH, version, document_of(version), f"tag-{version}")
    return FeedMessage(SESSION, snapshot, EventType.CYCLE_SWITCHED, version * 1_000)


def stored(version: int, *, packed: bool) -> bytes:
    """Return the message of a version as the version history has it."""
    header, before = message_of(version).render_header(), document_of(version - 1) if version > 1 else b""
    return pack_message(header, before, message_of(version).snapshot) if packed else header + before


FORMS = {
    "all packed": [True] * 6,
    "none packed": [False] * 6,
    "packed after an upgrade": [False] * 3 + [True] * 3,
    "not packed after a rollback": [True] * 3 + [False] * 3,
    "both releases": [True, False] * 3,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("read_later", [0, 1, 2])
def test_history_with_both_formats_leads_to_all_versions(form: str, read_later: int) -> None:
    """The list can be read later than the newest document. It then has messages of newer versions."""
    messages = [stored(at, packed=packed) for at, packed in enumerate(FORMS[form], start=1)]
    newest = message_of(6 - read_later)
    assert list(rebuild_earlier_versions(newest.snapshot, messages)) == [
        message_of(version) for version in range(6 - read_later, 0, -1)
    ]


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "not packed"])
def test_history_of_a_version_that_was_lost_and_issued_again_leads_nowhere(packed: bool) -> None:
    messages = [stored(at, packed=packed) for at in (1, 2, 3)]
    again = SessionSnapshot(EPOCH, 3, document_of(4), "another")
    assert list(rebuild_earlier_versions(again, messages)) == []


@pytest.mark.parametrize("size", [1_200, 3_700, 31_000])
def test_packed_switch_is_small_and_unpacks_to_the_same_bytes(size: int) -> None:
    header, before, document = message_of(2).render_header(), document_of(1, size), document_of(2, size)
    assert len(document) <= MAX_DOCUMENT_BYTES
    snapshot = SessionSnapshot(EPOCH, 2, document, "0123456789abcdef")
    packed = pack_message(header, before, snapshot)
    assert is_packed(packed)
    assert not is_packed(header + before)
    assert unpack_message(packed, document) == header + before
    assert read_position(packed) == SessionSnapshot(EPOCH, 2, b"", "0123456789abcdef")
    assert len(packed) < 140 + size // 50


PACKED = stored(2, packed=True)


@pytest.mark.parametrize(
    ("packed", "document", "text"),
    [
        (PACKED, document_of(3), "cannot be unpacked"),
        (PACKED[:-9], document_of(2), "incomplete"),
        (PACKED[:-2] + b"xx", document_of(2), "cannot be unpacked"),
        (b"", document_of(2), "incomplete"),
        (b"p e 2 t\ngarbage", document_of(2), "cannot be unpacked"),
        (pack_message(b"", bytes(MAX_UNPACKED_BYTES + 1), message_of(2).snapshot), document_of(2), "too large"),
    ],
    ids=["another document", "cut", "wrong checksum", "empty", "no stream", "too large"],
)
def test_invalid_packed_message_is_a_value_error(packed: bytes, document: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        unpack_message(packed, document)


@pytest.mark.parametrize("packed", [b"", b"p e 2\n", b"p e x t\n", b"p e 2 t u\n"])
def test_packed_message_without_a_position_is_a_value_error(packed: bytes) -> None:
    with pytest.raises(ValueError, match=r"unpack|invalid literal"):
        read_position(packed)


@pytest.mark.parametrize("size", [1_200, 20_000], ids=["small", "large"])
def test_documents_of_consecutive_versions_are_worth_packing(size: int) -> None:
    inserted = document_of(8, size).replace(b'"member_3"', b'"title":"%b","member_3"' % (b"x" * 500))
    assert is_worth_packing(document_of(7, size), document_of(8, size))
    assert is_worth_packing(document_of(7, size), inserted)
    assert is_worth_packing(inserted, document_of(9, size))


def test_a_large_document_whose_members_have_changed_is_not_worth_packing() -> None:
    before = b"".join(b"%d," % (at * 7919) for at in range(3_000))
    after = b"".join(b"%d," % (at * 7817 + 5) for at in range(3_000))
    assert len(before) <= MAX_DOCUMENT_BYTES
    assert not is_worth_packing(before, after)
    assert is_worth_packing(before[:4_000], after)
