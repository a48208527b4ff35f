"""Rows of a member source: each invalid row is named by its line, and only a complete source is accepted."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from synckairos.members.source_rows import (
    MAX_LINE_BYTES,
    MAX_NAMED_FAULTS,
    SourceIncomplete,
    SourceRefused,
    SourceRows,
)

SESSION = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
GOOD = {"subject": "ada", "resource": "label:class=7b", "role": "viewer"}


def line(**members: Any) -> bytes:
    return orjson.dumps(GOOD | members) + b"\n"


def read(pieces: Sequence[bytes], *, has_marked_end: bool = True, max_bytes: int = 1 << 20) -> tuple[int, bytes]:
    """Return the number of rows of a source, and its text for COPY."""
    with SourceRows("acme", max_bytes) as rows:
        for piece in pieces:
            rows.add(piece)
        rows.finish(has_marked_end=has_marked_end)
        return rows.count, b"".join(rows.pieces())


def refusal(*lines: bytes) -> dict[str, Any]:
    with pytest.raises(SourceRefused) as caught:
        read(lines)
    return caught.value.report


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_rows_are_the_same_however_the_source_is_cut_into_pieces(size: int) -> None:
    source = (
        line(subject="a\\b", resource="label:group=é\\n")
        + b"\r\n"
        + line(resource=SESSION.upper(), role="controller", tenant="acme")
        + line(tenant=None).removesuffix(b"\n")
    )
    pieces = [source[at : at + size] for at in range(0, len(source), size)]
    expected = f"a\\\\b\tlabel:group=é\\\\n\tviewer\t1\nada\t{SESSION}\tcontroller\t3\nada\tlabel:class=7b\tviewer\t4\n"
    assert read(pieces) == (3, expected.encode())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"<html>", "malformed"),
        (line().strip()[:-1], "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"subject":"ada","resource":"label:class=7b"}', "missing required field `role`"),
        (line(role="admin").strip(), "Invalid enum value"),
        (line(rol="viewer").strip(), "unknown field `rol`"),
        (line(subject=1).strip(), "Expected `str`"),
        (line(subject="").strip(), "the subject should be"),
        (line(subject="a b").strip(), "the subject should be"),
        (line(subject="a" * 129).strip(), "the subject should be"),
        (line(resource="*").strip(), "the resource should be"),
        (line(resource="label:class=").strip(), "the resource should be"),
        (line(resource="label:class=a\tb").strip(), "the resource should be"),
        (line(resource="label:class=\0").strip(), "the resource should be"),
        (line(resource=f"{SESSION}\n").strip(), "the resource should be"),
        (line(tenant="other").strip(), "belongs to another tenant"),
        (b'{"subject":"\xff","resource":"label:class=7b","role":"viewer"}', "UTF-8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid_row_is_named_by_its_line(text: bytes, fault: str) -> None:
    report = refusal(line(), text + b"\n", line(subject="bob"))
    assert (report["refused"], report["rows"], report["invalid_rows"]) == ("invalid_rows", 2, 1)
    (named,) = report["faults"]
    assert named["line"] == 2
    assert fault in named["fault"]


def test_only_the_first_invalid_rows_are_named() -> None:
    report = refusal(*[b"{}\n"] * 1000)
    assert (report["invalid_rows"], len(report["faults"])) == (1000, MAX_NAMED_FAULTS)


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_long_line_ends_the_read(ending: bytes) -> None:
    report = refusal(line(), b" " * (MAX_LINE_BYTES + 1) + ending)
    assert report["faults"] == [{"line": 2, "fault": "is longer than 8,192 bytes"}]


def test_source_that_is_too_large_is_refused() -> None:
    with pytest.raises(SourceRefused) as caught:
        read([line(), line()], max_bytes=len(line()))
    assert caught.value.report == {"refused": "too_large"}


@pytest.mark.parametrize("lines", [[], [b"\n"], [b'{"rows": 0}']], ids=["no bytes", "an empty line", "only the number"])
def test_empty_source_is_refused(lines: list[bytes]) -> None:
    assert refusal(*lines) == {"refused": "empty", "rows": 0}


@pytest.mark.parametrize(
    ("last", "has_marked_end", "is_complete"),
    [
        (b'{"rows": 2}', False, True),
        (b'{"rows": 2}\n\n', True, True),
        (b"", True, True),
        (b"", False, False),
        (b'{"rows": 3}', True, False),
        (b'{"rows": 1}', True, False),
    ],
)
def test_end_of_the_source_must_be_marked(last: bytes, has_marked_end: bool, is_complete: bool) -> None:
    lines = [line(), line(subject="bob"), last]
    if is_complete:
        assert read(lines, has_marked_end=has_marked_end)[0] == 2
    else:
        with pytest.raises(SourceIncomplete):
            read(lines, has_marked_end=has_marked_end)


def test_row_after_the_line_with_the_number_of_rows_is_invalid() -> None:
    report = refusal(line(), b'{"rows": 2}\n', line())
    assert report["faults"] == [{"line": 3, "fault": "follows the line with the number of rows"}]


def test_more_rows_than_fit_into_memory_are_kept() -> None:
    many = b"".join(line(subject=f"subject-{number}", resource=SESSION) for number in range(5))
    with SourceRows("acme", 1 << 30) as rows:
        for _ in range(30_000):
            rows.add(many)
        rows.finish(has_marked_end=True)
        assert rows.count == 150_000
        assert sum(piece.count(b"\n") for piece in rows.pieces()) == 150_000
