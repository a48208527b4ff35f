"""A session's document cut into parts: head, participants, groups, plan items, tail.

A change of few parts then costs little.

The module works on bytes and does not parse JSON. It finds each part by the text with which the part begins. This is
safe: a JSON string contains no unescaped quote, and the members before `participants` contain only names and numbers
that this server writes.
"""

from collections.abc import Sequence
from itertools import compress, count
from operator import ne
from typing import NamedTuple

_PARTICIPANT, _GROUP, _ITEM = b'{"participant_id":', b'{"group_id":', b'{"item_id":'
_OPENING = b'"participants":['
_BETWEEN = b'],"groups":['
_PLAN = b'],"plan":['
_CLOSING = b'],"active_participant_id":'

PartPositions = tuple[Sequence[int], Sequence[int], Sequence[int]]
"""Ascending positions of participants, groups and plan items, each in their array, counted from 0."""


class DocumentParts(NamedTuple):
    """The parts of a document. `head` ends before the first participant; `tail` begins after the last row.

    The last row is a plan item, or a group in a document without a plan. `plan` is None in a document without a plan.
    """

    head: bytes
    participants: Sequence[bytes]
    groups: Sequence[bytes]
    plan: Sequence[bytes] | None
    tail: bytes

    @classmethod
    def parse(cls, document: bytes) -> "DocumentParts":
        """Cut a document into its parts.

        Raises: ValueError if the bytes are not a session's document.
        """
        begin, between, groups_end = cls.find_lists(document)
        end = document.index(_CLOSING, groups_end)
        return cls(
            document[:begin],
            _split(document[begin:between], _PARTICIPANT),
            _split(document[between + len(_BETWEEN) : groups_end], _GROUP),
            _split(document[groups_end + len(_PLAN) : end], _ITEM) if groups_end < end else None,
            document[end:],
        )

    @staticmethod
    def find_lists(document: bytes) -> tuple[int, int, int]:
        """Return the positions in bytes of the first participant, of the participants' end, and of the groups' end.

        Raises: ValueError if the bytes are not a session's document.
        """
        begin = document.index(_OPENING) + len(_OPENING)
        between = document.index(_BETWEEN, begin)
        groups = between + len(_BETWEEN)
        end = document.index(_CLOSING, groups)
        plan = document.find(_PLAN, groups, end)
        return begin, between, end if plan < 0 else plan

    @staticmethod
    def find_row(document: bytes, participant_id: str, begin: int, between: int) -> bytes:
        """Return the JSON of a participant in a document, empty if the document does not have it.

        `begin` and `between` are the positions of `find_lists`.
        """
        at = document.find(b'%b"%b"' % (_PARTICIPANT, participant_id.encode()), begin, between)
        if at < 0:
            return b""
        end = document.find(b"," + _PARTICIPANT, at, between)
        return document[at : between if end < 0 else end]

    def join(self) -> bytes:
        """Return the document that consists of these parts."""
        return b"".join((self.head, b",".join(self.participants), _BETWEEN, b",".join(self.groups), *self._end()))

    def _end(self) -> tuple[bytes, ...]:
        return (self.tail,) if self.plan is None else (_PLAN, b",".join(self.plan), self.tail)

    def rows(self) -> tuple[Sequence[bytes], Sequence[bytes], Sequence[bytes]]:
        """Return the participants, the groups and the plan items."""
        return self.participants, self.groups, self.plan or ()

    def row_offsets(self) -> tuple[int, int, int]:
        """Return the positions in bytes at which the participants, the groups and the plan items begin."""
        participants = len(self.head)
        groups = participants + len(b",".join(self.participants)) + len(_BETWEEN)
        return participants, groups, groups + len(b",".join(self.groups)) + len(_PLAN)

    def with_only_positions(self, positions: PartPositions) -> "DocumentParts":
        """Return the parts with only those rows that are at `positions`. Head and tail stay."""
        participants, groups, plan = (
            [rows[at] for at in some] for rows, some in zip(self.rows(), positions, strict=True)
        )
        return DocumentParts(self.head, participants, groups, None if self.plan is None else plan, self.tail)


def _split(text: bytes, opening: bytes) -> list[bytes]:
    if not text:
        return []
    first, *others = text.split(b"," + opening)
    return [first, *(opening + each for each in others)]


def changed_parts(before: DocumentParts, after: DocumentParts) -> tuple[DocumentParts, DocumentParts]:
    """Return the parts of `before` and of `after`, without the rows that are equal in both."""
    participants = _differing(before.participants, after.participants)
    groups = _differing(before.groups, after.groups)
    plan = _differing(before.plan or (), after.plan or ())
    return (
        DocumentParts(before.head, participants[0], groups[0], None if before.plan is None else plan[0], before.tail),
        DocumentParts(after.head, participants[1], groups[1], None if after.plan is None else plan[1], after.tail),
    )


def _differing(before: Sequence[bytes], after: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    if len(before) == len(after):
        positions = list(compress(count(), map(ne, before, after)))
        return [before[at] for at in positions], [after[at] for at in positions]
    common = {*before} & {*after}
    return [row for row in before if row not in common], [row for row in after if row not in common]
