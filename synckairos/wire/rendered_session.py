"""Rendered sessions: a session with its document, and a fast way to render the next version.

In a session with many participants or plan items, a switch changes only two of them. So only these are rendered again.
The change is available as splices, for receivers that have the document before, and as a merge patch, for clients. The
document always has the same bytes as the result of `render_session`.
"""

from collections.abc import Sequence
from itertools import compress, count
from operator import is_not, ne
from typing import TypeVar

import orjson

from synckairos.clock.clock_systems import Hourglass
from synckairos.clock.individual.clock_rows import ClockRows
from synckairos.clock.model import Participant, Session, SyncMode
from synckairos.frozen_replace import replace
from synckairos.wire import document_merge_patch
from synckairos.wire.document_splices import apply_message_body, make_splices
from synckairos.wire.document_split import DocumentParts
from synckairos.wire.plan_json import parse_item_position, plan_item_json
from synckairos.wire.session_json import group_json, participant_json, render_session, session_json, shown_turn_indexes
from synckairos.wire.session_parser import parse_session

T = TypeVar("T")

SPLICING_MIN_ROWS = 32
"""Minimum number of participants and plan items for splices. With fewer, rendering the whole document is faster."""


class RenderedSession:
    """A session with its document and, if `render_next` reused the version before, the change from that version.

    `splices` and `patch` are empty if the whole document was rendered or parsed. `patch` is also empty if the change
    needs the full state (see `document_merge_patch.py`).
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
        """Store the session and its document. `document` must be the bytes that `render_session` returns for `session`.

        If `parts` is None, the document is cut into its parts when they are needed.
        """
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
        """Return the rendered session of a document. The result has no splices and no patch.

        `known` is another version of the same session. If it has many participants or plan items, only those that
        differ from `known` are parsed. The result is the same as without `known`.
        """
        parsed = None
        if known is not None and _row_count(known.session) >= SPLICING_MIN_ROWS:
            parsed = known._parse_changed(document)
        return parsed or cls(parse_session(document), document)

    def _parse_changed(self, document: bytes) -> "RenderedSession | None":
        """Return the rendered session of another version's document, with only the changed rows parsed again.

        Return None if the number of participants or plan items, or the rules of the session, differ from this version.
        """
        before, old, new = self.session, self.parts(), DocumentParts.parse(document)
        if len(new.participants) != len(old.participants) or len(new.rows()[2]) != len(old.rows()[2]):
            return None
        changed, changed_items = (
            list(compress(count(), map(ne, *rows)))
            for rows in ((old.participants, new.participants), (old.rows()[2], new.rows()[2]))
        )
        partial = parse_session(new.with_only_positions((changed, range(len(new.groups)), changed_items)).join())
        if partial.rules != before.rules:
            return None
        participants: tuple[Participant, ...] = _with_items(before.participants, changed, partial.participants)
        if partial.rules.sync_mode is SyncMode.INDIVIDUAL:
            participants = ClockRows(participants)
        plan = _with_items(before.plan, changed_items, partial.plan)
        tail = orjson.loads(b"{" + new.tail.removeprefix(b"],"))
        active_id = tail["active_participant_id"]
        session = replace(
            partial,
            rules=before.rules,
            participants=participants,
            active_position=next((at for at, p in enumerate(participants) if p.participant_id == active_id), None),
            plan=plan,
            item_position=parse_item_position(plan, tail, "current_item_id"),
            next_item_position=parse_item_position(plan, tail, "next_item_id"),
        )
        return RenderedSession(session, document, new)

    def parts(self) -> DocumentParts:
        """Return the parts of the document. The first call cuts the document, and later calls return the same parts."""
        if self._parts is None:
            self._parts = DocumentParts.parse(self.document)
        return self._parts

    def render_next(self, after: Session) -> "RenderedSession":
        """Return the rendered session of a later version, whose state is `after`.

        If there are many participants or plan items and few of them changed, only the changed parts are rendered, and
        the result has the splices from this version. In all other cases the whole document is rendered, and the result
        has no splices and no patch. The document has the same bytes in both cases.
        """
        before = self.session
        if (
            len(before.participants) != len(after.participants)
            or len(before.plan) != len(after.plan)
            or len(before.groups) != len(after.groups)
            or _row_count(after) < SPLICING_MIN_ROWS
            or before.rules is not after.rules
            or isinstance(
                after.rules.clock, Hourglass
            )  # each reading shows whether the clock runs, so all readings change
        ):
            return RenderedSession.render(after)
        (turn_before, group_turn_before), (turn, group_turn) = shown_turn_indexes(before), shown_turn_indexes(after)
        participants_at = _positions_to_render(before.participants, after.participants, turn_before, turn)
        groups_at = _positions_to_render(before.groups, after.groups, group_turn_before, group_turn)
        items_at = _positions_to_render(before.plan, after.plan)
        if 2 * (len(participants_at) + len(groups_at) + len(items_at)) > _row_count(after):
            return RenderedSession.render(after)
        old, positions = self.parts(), (participants_at, groups_at, items_at)
        participants, groups, plan = map(list, old.rows())
        for at in participants_at:
            participants[at] = orjson.dumps(participant_json(after, after.participants[at], at == turn))
        for at in groups_at:
            groups[at] = orjson.dumps(group_json(after, after.groups[at], at == group_turn))
        for at in items_at:
            plan[at] = orjson.dumps(plan_item_json(after.plan[at], at))
        empty_lists = DocumentParts.parse(orjson.dumps(session_json(after, with_lists=False)))
        new = DocumentParts(empty_lists.head, participants, groups, plan if after.plan else None, empty_lists.tail)
        splices = make_splices(old, new, positions, len(self.document))
        patch = (
            document_merge_patch.render_document_patch(
                old.with_only_positions(positions), new.with_only_positions(positions)
            )
            or b""
        )
        return RenderedSession(after, apply_message_body(self.document, splices), new, splices, patch)


def _row_count(session: Session) -> int:
    return len(session.participants) + len(session.plan)


def _with_items(before: tuple[T, ...], positions: Sequence[int], items: Sequence[T]) -> tuple[T, ...]:
    """Return a copy of `before` with `items` at `positions`."""
    changed = list(before)
    for at, item in zip(positions, items, strict=True):
        changed[at] = item
    return tuple(changed)


def _positions_to_render(before: Sequence[object], after: Sequence[object], *turns: int | None) -> list[int]:
    """Return the positions of the items whose JSON can differ: replaced items, and the items in `turns`.

    `turns` has two positions: of the item that had the turn before, and of the item that has the turn after the change.
    A position is None if no item has the turn.
    """
    return sorted({*compress(count(), map(is_not, before, after)), *(at for at in turns if at is not None)})
