"""Archive format: parsing with little memory, and every kind of damage."""

import gzip
import tracemalloc
from datetime import UTC, datetime
from hashlib import sha256

import orjson
import pytest

from synckairos.history.cold.archive_format import (
    ArchiveBytesDamaged,
    ArchiveWriter,
    parse_archive,
    render_archive_line,
)

DOCUMENTS = [orjson.dumps({"filler": f"{number} " * 300_000}) for number in range(3)]


def render_bundle(documents: list[bytes]) -> bytes:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        {"epoch": "e", "version": number + 1, "occurred_at": at, "payload_hash": sha256(document).digest()}
        for number, document in enumerate(documents)
    ]
    writer = ArchiveWriter({"epoch": "e", "version": len(rows), "events": len(rows), "conflicts": 0})
    writer.add(render_archive_line("event", row, document) for row, document in zip(rows, documents, strict=True))
    return writer.finish_to_bytes()


def test_archive_has_all_rows_and_the_newest_document_and_reads_the_other_documents() -> None:
    content = render_bundle(DOCUMENTS)
    archive = parse_archive(content)
    assert [line.document for line in archive.events] == [b"", b"", DOCUMENTS[2]]
    assert archive.newest_line.document == DOCUMENTS[2]
    assert [line.document for line in archive.read_events()] == DOCUMENTS
    assert [line.row for line in archive.events] == [line.row for line in archive.read_lines()]
    assert b"".join(archive.read_pieces()) == gzip.decompress(content)


def test_huge_archive_is_parsed_and_read_with_little_memory() -> None:
    document = b'{"text":"%b"}' % (b"x" * 200_000)
    content = render_bundle([document] * 100)
    tracemalloc.start()
    try:
        archive = parse_archive(content)
        assert sum(len(line.document) for line in archive.read_events()) == 100 * len(document)
        assert sum(len(piece) for piece in archive.read_pieces()) > 100 * len(document)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 100 * len(document) / 3, "copies of a few documents, not of all"


@pytest.mark.parametrize("damage", ["no trailer", "half", "empty", "changed byte", "other format"])
def test_a_damaged_bundle_is_rejected(damage: str) -> None:
    content = render_bundle(DOCUMENTS)
    damaged = {
        "no trailer": content[:-9],
        "half": content[: len(content) // 2],
        "empty": b"",
        "changed byte": content[:50] + b"\0" + content[51:],
        "other format": gzip.compress(b'{"format":"another"}\n'),
    }[damage]
    with pytest.raises(ArchiveBytesDamaged):
        parse_archive(damaged)


def test_a_changed_document_is_rejected_by_its_hash() -> None:
    lines = gzip.decompress(render_bundle([b'{"a":1}', b'{"a":2}']))
    with pytest.raises(ArchiveBytesDamaged, match="hash"):
        parse_archive(gzip.compress(lines.replace(b'{"a":1}', b'{"a":3}')))


def test_a_document_that_does_not_match_its_hash_is_not_rendered() -> None:
    row = {"epoch": "e", "version": 1, "payload_hash": sha256(b"{}").digest()}
    for document in (b"{ }", b'{"a":\n1}'):
        with pytest.raises(ValueError, match="version 1 of epoch e"):
            render_archive_line("event", row, document)
