"""Rendered sessions: a session with its document, and the fast path to the next version's document.

In a session with many participants, a switch changes only two of them. So only these two are rendered. The change is
given as splices, for receivers that have the document before, and as a merge patch, for clients. The document always
has the same bytes as `render_session` gives.
"""

from collections.abc import Sequence
from itertools import compress, count
from operator import is_not, ne

import orjson

from synckairos.clock.clock_systems import Hourglass
from synckairos.clock.model import Session
from synckairos.frozen_replace import replace
from synckairos.wire import document_merge_patch
from synckairos.wire.document_splices import apply_body, make_splices
from synckairos.wire.document_split import DocumentParts
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
    """A session and its document, and the change from the version that it was made of.

    `splices` and `patch` are empty if the document was rendered as a whole. `patch` is also empty if only the full
    state can express the change (see `document_merge_patch.py`).
    """

    __slots__ = ("_parts", "document", "patch", "session", "splices")

    def __init__(
        self,
        session: Session,
        document: bytes,
        parts: DocumentParts | None = None,
        splices: bytes = b"",
        patch: bytes = b"",
    ) -> None:
        """Take a session and the result of `render_session` for it."""
        self.session = session
        self.document = document
        self.splices = splices
        self.patch = patch
        self._parts = parts

    @classmethod
    def render(cls, session: Session) -> "RenderedSession":
        """Render the whole document of a session."""
        return cls(session, render_session(session))

    @classmethod
    def parse(cls, document: bytes, known: "RenderedSession | None" = None) -> "RenderedSession":
        """Parse a document. If it has many participants, parse only those that differ from the version `known`."""
        parsed = None
        if known is not None and len(known.session.participants) >= SPLICING_MIN_PARTICIPANTS:
            parsed = known._parse_changed(document)
        return parsed or cls(parse_session(document), document)

    def _parse_changed(self, document: bytes) -> "RenderedSession | None":
        """Parse a document whose session differs from this one in few participants, None if it differs in more."""
        before, old, new = self.session, self.parts(), DocumentParts.parse(document)
        if len(new.participants) != len(old.participants):
            return None
        changed = list(compress(count(), map(ne, old.participants, new.participants)))
        partial = parse_session(new.select((changed, range(len(new.groups)))).join())
        if partial.rules != before.rules:
            return None
        participants = list(before.participants)
        for at, participant in zip(changed, partial.participants, strict=True):
            participants[at] = participant
        active_id = orjson.loads(b"{" + new.tail.removeprefix(b"],"))["active_participant_id"]
        active = next((at for at, each in enumerate(participants) if each.participant_id == active_id), None)
        session = replace(partial, rules=before.rules, participants=tuple(participants), active_position=active)
        return RenderedSession(session, document, new)

    def parts(self) -> DocumentParts:
        """Return the document's parts. They are cut on the first call."""
        if self._parts is None:
            self._parts = DocumentParts.parse(self.document)
        return self._parts

    def render_next(self, after: Session) -> "RenderedSession":
        """Render the next version. It reuses this version if there are many participants and few of them changed."""
        before = self.session
        if (
            not len(before.participants) == len(after.participants) >= SPLICING_MIN_PARTICIPANTS
            or len(before.groups) != len(after.groups)
            or before.rules is not after.rules
            or isinstance(after.rules.clock, Hourglass)  # every reading shows whether the clock runs, so all change
        ):
            return RenderedSession.render(after)
        (turn_before, group_turn_before), (turn, group_turn) = shown_turns(before), shown_turns(after)
        participants_at = _positions_to_render(before.participants, after.participants, turn_before, turn)
        groups_at = _positions_to_render(before.groups, after.groups, group_turn_before, group_turn)
        if 2 * (len(participants_at) + len(groups_at)) > len(after.participants):
            return RenderedSession.render(after)
        old, positions = self.parts(), (participants_at, groups_at)
        participants, groups = list(old.participants), list(old.groups)
        for at in participants_at:
            participants[at] = orjson.dumps(participant_json(after, after.participants[at], at == turn))
        for at in groups_at:
            groups[at] = orjson.dumps(group_json(after, after.groups[at], at == group_turn))
        empty_lists = DocumentParts.parse(orjson.dumps(session_json(after, with_lists=False)))
        new = DocumentParts(empty_lists.head, participants, groups, empty_lists.tail)
        splices = make_splices(old, new, positions, len(self.document))
        patch = document_merge_patch.render_patch(old.select(positions), new.select(positions)) or b""
        return RenderedSession(after, apply_body(self.document, splices), new, splices, patch)


def _positions_to_render(before: Sequence[object], after: Sequence[object], *turns: int | None) -> list[int]:
    """Return the positions whose JSON may differ: replaced objects, and the turns before and after."""
    return sorted({*compress(count(), map(is_not, before, after)), *(at for at in turns if at is not None)})
