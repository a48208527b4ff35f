# Generated from synckairos.wire.document_split by `make python-client`. Do not edit.
"""A session's document cut into parts: head, participants, groups, tail. A change of few parts then costs little.

The module works on bytes and does not parse JSON. It finds each part by the text with which the part begins. This is
safe: a JSON string contains no unescaped quote, and the members before `participants` contain only names and numbers
that this server writes.
"""

from collections.abc import Sequence
from itertools import compress, count
from operator import ne
from typing import NamedTuple

_PARTICIPANT, _GROUP = b'{"participant_id":', b'{"group_id":'
_OPENING = b'"participants":['
_BETWEEN = b'],"groups":['
_CLOSING = b'],"active_participant_id":'

PartPositions = tuple[Sequence[int], Sequence[int]]
"""Ascending positions of participants in their array and of groups in their array, counted from 0."""


class DocumentParts(NamedTuple):
    """The parts of a document. `head` ends before the first participant; `tail` begins after the last group."""

    head: bytes
    participants: Sequence[bytes]
    groups: Sequence[bytes]
    tail: bytes

    @classmethod
    def parse(cls, document: bytes) -> "DocumentParts":
        """Cut a document into its parts.

        Raises: ValueError if the bytes are not a session's document.
        """
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

    def join(self) -> bytes:
        """Return the document that consists of these parts."""
        return b"".join((self.head, b",".join(self.participants), _BETWEEN, b",".join(self.groups), self.tail))

    def with_only_positions(self, positions: PartPositions) -> "DocumentParts":
        """Return the parts with only those participants and groups that are at `positions`. Head and tail stay."""
        participants, groups = ([rows[at] for at in some] for rows, some in zip(self[1:3], positions, strict=True))
        return DocumentParts(self.head, participants, groups, self.tail)


def _split(text: bytes, opening: bytes) -> list[bytes]:
    if not text:
        return []
    first, *others = text.split(b"," + opening)
    return [first, *(opening + each for each in others)]


def changed_parts(before: DocumentParts, after: DocumentParts) -> tuple[DocumentParts, DocumentParts]:
    """Return the parts of `before` and of `after`, without the participants and groups that are equal in both."""
    participants = _differing(before.participants, after.participants)
    groups = _differing(before.groups, after.groups)
    return (
        DocumentParts(before.head, participants[0], groups[0], before.tail),
        DocumentParts(after.head, participants[1], groups[1], after.tail),
    )


def _differing(before: Sequence[bytes], after: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    if len(before) == len(after):
        positions = list(compress(count(), map(ne, before, after)))
        return [before[at] for at in positions], [after[at] for at in positions]
    common = {*before} & {*after}
    return [row for row in before if row not in common], [row for row in after if row not in common]
