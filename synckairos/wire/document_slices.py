"""A session's document cut into rows, so that what changed can be told, and said, without looking at all the rest.

Works on bytes alone. No text inside a document's strings can hold an unescaped quote, and before the participants and
groups stand names and numbers of ours, so each is found by how its members begin.
"""

from collections.abc import Iterator, Sequence
from itertools import compress, count
from operator import ne
from typing import NamedTuple

_PARTICIPANT, _GROUP = b'{"participant_id":', b'{"group_id":'
_OPENING = b'"participants":['
_BETWEEN = b'],"groups":['
_CLOSING = b'],"active_participant_id":'
_METADATA, _TURN = b',"metadata":', b',"turn":{"used_ms":'

Places = tuple[Sequence[int], Sequence[int]]
"""Positions of participants and of groups, in order."""


class DocumentSlices(NamedTuple):
    """A document: up to its participants, each of them, each group, and from the end of those on."""

    head: bytes
    participants: Sequence[bytes]
    groups: Sequence[bytes]
    tail: bytes

    @classmethod
    def of(cls, document: bytes) -> "DocumentSlices":
        """Cut a document."""
        begin = document.index(_OPENING) + len(_OPENING)
        between = document.index(_BETWEEN, begin)
        groups = between + len(_BETWEEN)
        end = document.index(_CLOSING, groups)
        return cls(
            document[:begin],
            _split(document[begin:between], _PARTICIPANT),
            _split(document[groups:end], _GROUP),
            document[end:],
        )

    def joined(self) -> bytes:
        """Return the document again."""
        return b"".join((self.head, b",".join(self.participants), _BETWEEN, b",".join(self.groups), self.tail))

    def only(self, places: Places) -> "DocumentSlices":
        """Return the document with these participants and groups alone."""
        participants, groups = ([rows[at] for at in some] for rows, some in zip(self[1:3], places, strict=True))
        return DocumentSlices(self.head, participants, groups, self.tail)


def _split(text: bytes, opening: bytes) -> list[bytes]:
    if not text:
        return []
    first, *others = text.split(b"," + opening)
    return [first, *(opening + each for each in others)]


def changed_slices(before: DocumentSlices, after: DocumentSlices) -> tuple[DocumentSlices, DocumentSlices]:
    """Return two documents without the participants and groups that are the same in both."""
    participants = _differing(before.participants, after.participants)
    groups = _differing(before.groups, after.groups)
    return (
        DocumentSlices(before.head, participants[0], groups[0], before.tail),
        DocumentSlices(after.head, participants[1], groups[1], after.tail),
    )


def _differing(before: Sequence[bytes], after: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    if len(before) == len(after):
        places = list(compress(count(), map(ne, before, after)))
        return [before[at] for at in places], [after[at] for at in places]
    common = {*before} & {*after}
    return [row for row in before if row not in common], [row for row in after if row not in common]


# -- splices ----------------------------------------------------------------------------------------------------------
#
# They lead from one text to another: a line of numbers, first the length of the text before, then three for each: where
# it begins there, how many bytes give way, how many come instead; after the line feed all that comes. Where the text
# begins with a brace it is no splices but the whole document. `store/lua/commit.lua` reads them as well.


def apply_splices(before: bytes, change: bytes) -> bytes:
    """Return what a change makes of a text. Raises ValueError where it is for another one."""
    if change.startswith(b"{"):
        return change
    line, _, texts = change.partition(b"\n")
    length, *numbers = map(int, line.split())
    if length != len(before):
        raise ValueError(f"The splices are for a text of {length} bytes, this one has {len(before)}")
    kept, pieces = memoryview(before), list[bytes | memoryview]()
    here = taken = 0
    for at, cut, size in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        pieces += (kept[here:at], texts[taken : taken + size])
        here, taken = at + cut, taken + size
    return b"".join((*pieces, kept[here:]))


def make_splices(before: DocumentSlices, after: DocumentSlices, places: Places, length: int) -> bytes:
    """Return what leads from a document of `length` bytes to one with as many rows that differs at `places` alone."""
    numbers, texts = [length], list[bytes]()
    for at, old, new in _edits(before, after, places, length):
        if old != new:
            numbers += (at, len(old), len(new))
            texts.append(new)
    return b"%b\n%b" % (" ".join(map(str, numbers)).encode(), b"".join(texts))


def _edits(
    before: DocumentSlices, after: DocumentSlices, places: Places, length: int
) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield where something may differ in a text of `length`, what stood there, and what stands there now."""
    yield 0, before.head, after.head
    tail = length - len(before.tail)
    groups = tail - len(b",".join(before.groups))
    for begin, old, new, some in zip((len(before.head), groups), before[1:3], after[1:3], places, strict=True):
        offset, seen = begin, 0
        for at in some:
            offset, seen = offset + sum(map(len, old[seen:at])) + at - seen, at
            yield offset, old[at], new[at]
    # Metadata may be large, and hardly ever changes. Wherever one cuts, the parts make the whole.
    for part, new_part in zip(_in_three(before.tail), _in_three(after.tail), strict=True):
        yield tail, part, new_part
        tail += len(part)


def _in_three(tail: bytes) -> tuple[bytes, bytes, bytes]:
    end = max(0, tail.rfind(_TURN))
    begin = max(0, tail.find(_METADATA, 0, end))
    return tail[:begin], tail[begin:end], tail[end:]
