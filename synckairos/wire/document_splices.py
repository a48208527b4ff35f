"""Document splices: the format of a partial update of a session's document by byte ranges.

This module defines the format, and makes and applies splices. `store/lua/commit.lua` applies them in Redis and
makes the reverse splices. `tests/vectors/document_splices.json` has test vectors for both implementations.

    splices  = line LF texts
    line     = length *( SP offset SP removed SP inserted )      decimal numbers, single spaces
    length   = number of bytes of the document before
    offset   = position in bytes, from 0, in the document before at which a splice begins; ascending, no overlap
    removed  = number of bytes removed at the offset
    inserted = number of bytes inserted at the offset, taken from `texts` in order
    texts    = the inserted bytes of all splices, without separators

Readers ignore a space at the end of the line, which the script writes if there are no splices.

For example `10 2 1 3\\nabc` replaces the byte at position 2 of a document of 10 bytes by `abc`.

A *body* is either splices or a whole document. A document begins with `{`, splices begin with a digit, so the first
byte distinguishes them. Feed messages and the version history in Redis contain bodies.
"""

from collections.abc import Iterator
from itertools import compress, count
from operator import ne

from synckairos.wire.document_split import DocumentParts, PartPositions

_METADATA, _TURN = b',"metadata":', b',"turn":{"used_ms":'


def apply_message_body(before: bytes, body: bytes) -> bytes:
    """Return the document after a message.

    The result is `body` itself if it is a whole document, otherwise `before` with the splices of `body` applied.

    Raises:
        ValueError: the splices are malformed, or are for a document of another length.
    """
    if body.startswith(b"{"):
        return body
    line, _, texts = body.partition(b"\n")
    length, *numbers = map(int, line.split())
    if length != len(before):
        raise ValueError(f"The splices are for a document of {length} bytes, but this document has {len(before)} bytes")
    kept, pieces = memoryview(before), list[bytes | memoryview]()
    position = taken = 0
    for offset, removed, inserted in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        pieces += (kept[position:offset], texts[taken : taken + inserted])
        position, taken = offset + removed, taken + inserted
    return b"".join((*pieces, kept[position:]))


def find_document_length(splices: bytes) -> int:
    """Return the number of bytes of the document before these splices, 0 if the splices are malformed."""
    length = splices[:20].partition(b" ")[0]
    return int(length) if length.isdigit() else 0


def make_splices(before: DocumentParts, after: DocumentParts, positions: PartPositions, length: int) -> bytes:
    """Return the splices that lead from the document `before` to the document `after`.

    `length` must be the number of bytes of the document `before`. Both documents must have the same numbers of
    participants, groups and plan items. These rows must be equal at all positions that are not in `positions`.
    """
    numbers, texts = [length], list[bytes]()
    for offset, old, new in _candidates(before, after, positions, length):
        if old != new:
            numbers += (offset, len(old), len(new))
            texts.append(new)
    return b"%b\n%b" % (" ".join(map(str, numbers)).encode(), b"".join(texts))


def find_splices(before: bytes, after: bytes) -> bytes:
    """Return splices that lead from the document `before` to the document `after`, found by a comparison of both.

    The texts between commas are compared. If their numbers differ, one splice replaces all texts from the first to the
    last difference.
    """
    old, new = before.split(b","), after.split(b",")
    if len(old) != len(new):
        # Both lists keep at least one text to replace, so that the commas around it are the same.
        least = min(len(old), len(new)) - 1
        first = next((at for at in range(least) if old[at] != new[at]), least)
        most = least - first
        last = next((at for at in range(most) if old[-1 - at] != new[-1 - at]), most)
        middle = [b",".join(texts[first : len(texts) - last]) for texts in (old, new)]
        old, new = (
            [*texts[:first], text, *texts[len(texts) - last :]] for texts, text in zip((old, new), middle, strict=True)
        )
    numbers, texts, offset = [len(before)], list[bytes](), 0
    for one, other in zip(old, new, strict=True):
        if one != other:
            equal = next(compress(count(), map(ne, one, other)), min(len(one), len(other)))
            numbers += (offset + equal, len(one) - equal, len(other) - equal)
            texts.append(other[equal:])
        offset += len(one) + 1
    return b"%b\n%b" % (" ".join(map(str, numbers)).encode(), b"".join(texts))


def _candidates(
    before: DocumentParts, after: DocumentParts, positions: PartPositions, length: int
) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield the byte ranges that can differ, in ascending order.

    Each range is an offset in the document `before`, the bytes at this offset in `before`, and the bytes that replace
    them in `after`.
    """
    yield 0, before.head, after.head
    tail = length - len(before.tail)
    for begin, old, new, some in zip(before.row_offsets(), before.rows(), after.rows(), positions, strict=True):
        offset, passed = begin, 0
        for at in some:
            offset, passed = offset + sum(map(len, old[passed:at])) + at - passed, at
            yield offset, old[at], new[at]
    # The metadata can be large and rarely changes, so it is a range by itself. Splices are valid for every cut of the
    # tail.
    for part, new_part in zip(_cut_tail(before.tail), _cut_tail(after.tail), strict=True):
        yield tail, part, new_part
        tail += len(part)


def _cut_tail(tail: bytes) -> tuple[bytes, bytes, bytes]:
    """Cut a document's tail into three parts: the members before `metadata`, `metadata`, and the members after it."""
    end = max(0, tail.rfind(_TURN))
    begin = max(0, tail.find(_METADATA, 0, end))
    return tail[:begin], tail[begin:end], tail[end:]
