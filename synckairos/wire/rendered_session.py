"""A session beside its document, and the next version's document made of this one's.

With many participants, a switch changes two of them: only those are rendered, and what changed is told on its own, as
splices for who holds the document before, and as a merge patch for clients. The bytes are `render_session`'s, always.
"""

from collections.abc import Sequence
from itertools import compress, count
from operator import is_not, ne

import orjson

from synckairos.clock.clock_systems import Hourglass
from synckairos.clock.model import Session
from synckairos.fast_dataclass import replace
from synckairos.wire import document_merge_patch
from synckairos.wire.document_parts import DocumentParts
from synckairos.wire.document_splices import apply_body, make_splices
from synckairos.wire.session_json import (
    group_json,
    parse_session,
    participant_json,
    render_session,
    session_json,
    shown_turns,
)

SPLICING_MIN_PARTICIPANTS = 32
"""Participants from which a version is made of the version before. With fewer, rendering the document is faster."""


class RenderedSession:
    """A session and its document; `splices` and `patch` lead here from the one it was made of, where that paid.

    `patch` is empty where only the full state can say it (see `delta.py`).
    """

    __slots__ = ("_parts", "document", "patch", "session", "splices")

    def __init__(
        self,
        session: Session,
        document: bytes,
        rows: DocumentParts | None = None,
        splices: bytes = b"",
        patch: bytes = b"",
    ) -> None:
        """Take a session and what `render_session` makes of it."""
        self.session = session
        self.document = document
        self.splices = splices
        self.patch = patch
        self._parts = rows

    @classmethod
    def render(cls, session: Session) -> "RenderedSession":
        return cls(session, render_session(session))

    @classmethod
    def parse(cls, document: bytes, known: "RenderedSession | None" = None) -> "RenderedSession":
        """Parse a document; of one with many participants only those that aren't as in another version `known`."""
        parsed = (
            None
            if known is None or len(known.session.participants) < SPLICING_MIN_PARTICIPANTS
            else known._parse_other(document)
        )
        return parsed or cls(parse_session(document), document)

    def _parse_other(self, document: bytes) -> "RenderedSession | None":
        before, old, new = self.session, self.parts(), DocumentParts.parse(document)
        if len(new.participants) != len(old.participants):
            return None
        others = list(compress(count(), map(ne, old.participants, new.participants)))
        some = parse_session(new.select((others, range(len(new.groups)))).join())
        if some.rules != before.rules:
            return None
        participants = list(before.participants)
        for at, participant in zip(others, some.participants, strict=True):
            participants[at] = participant
        active_id = orjson.loads(b"{" + new.tail.removeprefix(b"],"))["active_participant_id"]
        active = next((at for at, each in enumerate(participants) if each.participant_id == active_id), None)
        session = replace(some, rules=before.rules, participants=tuple(participants), active=active)
        return RenderedSession(session, document, new)

    def parts(self) -> DocumentParts:
        """Return the document cut into rows, the first time it is asked for."""
        if self._parts is None:
            self._parts = DocumentParts.parse(self.document)
        return self._parts

    def render_next(self, after: Session) -> "RenderedSession":
        """Return the next version, made of this one where it has many participants and few of them changed."""
        before = self.session
        if (
            not len(before.participants) == len(after.participants) >= SPLICING_MIN_PARTICIPANTS
            or len(before.groups) != len(after.groups)
            or before.rules is not after.rules
            or isinstance(after.rules.clock, Hourglass)  # its reading says for everybody whether the sand runs
        ):
            return RenderedSession.render(after)
        old = self.parts()
        bare = DocumentParts.parse(orjson.dumps(session_json(after, with_lists=False)))
        (was, was_group), (turn, group_turn) = shown_turns(before), shown_turns(after)
        people = _stale(before.participants, after.participants, was, turn)
        groups = _stale(before.groups, after.groups, was_group, group_turn)
        if 2 * (len(people) + len(groups)) > len(after.participants):
            return RenderedSession.render(after)
        participants, teams = list(old.participants), list(old.groups)
        for at in people:
            participants[at] = orjson.dumps(participant_json(after, after.participants[at], at == turn))
        for at in groups:
            teams[at] = orjson.dumps(group_json(after, after.groups[at], at == group_turn))
        new, places = DocumentParts(bare.head, participants, teams, bare.tail), (people, groups)
        leading_here = make_splices(old, new, places, len(self.document))
        patch = document_merge_patch.render_patch(old.select(places), new.select(places)) or b""
        return RenderedSession(after, apply_body(self.document, leading_here), new, leading_here, patch)


def _stale(before: Sequence[object], after: Sequence[object], *turns: int | None) -> list[int]:
    """Return where rows may differ: what isn't the same object any more, and whose turn it was and is."""
    return sorted({*compress(count(), map(is_not, before, after)), *(at for at in turns if at is not None)})
