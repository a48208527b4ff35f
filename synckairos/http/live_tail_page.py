"""A page of events that several live tails send: rendered once for all of them, as far as it is small."""

from collections.abc import Iterator, Sequence

import orjson

from synckairos.history.page_cursor import render_cursor
from synckairos.history.records import TrailEvent
from synckairos.wire.event_json import event_json

BLOCK_BYTES = 64 << 10
"""Minimum bytes of each block of a page, except the last one."""

MAX_KEPT_BYTES = 256 << 10
"""Bytes of rendered blocks that a page keeps for its further readers. They render all other blocks themselves."""


class LiveTailPage:
    """Events of one session, oldest first, and their first blocks as Server-Sent Events."""

    __slots__ = ("_kept", "_kept_bytes", "events")

    def __init__(self, events: Sequence[TrailEvent]) -> None:
        self.events = events
        self._kept: dict[bool, list[tuple[bytes, int]]] = {}
        """The kept blocks, each with the index of the event after it, by whether they show who caused the events."""
        self._kept_bytes = 0

    def render_blocks(self, *, shows_actors: bool) -> Iterator[bytes]:
        """Yield the events as blocks of at least 64 KiB. Only the final block can be smaller.

        If `shows_actors` is False, the members of `ACTOR_MEMBERS` are absent. A block that no reader has requested yet
        is rendered when the caller requests it.
        """
        kept = self._kept.setdefault(shows_actors, [])
        number = begin = 0
        while begin < len(self.events):
            if number < len(kept):
                block, begin = kept[number]
            else:
                block, begin = self._render_block(begin, shows_actors)
                if number == len(kept) and self._kept_bytes + len(block) <= MAX_KEPT_BYTES:
                    kept.append((block, begin))
                    self._kept_bytes += len(block)
            number += 1
            yield block

    def _render_block(self, begin: int, shows_actors: bool) -> tuple[bytes, int]:
        """Return the block that begins with the event at index `begin`, and the index of the event after the block."""
        parts: list[bytes] = []
        size, end = 0, begin
        while end < len(self.events) and size < BLOCK_BYTES:
            parts.append(_render_event(self.events[end], shows_actors))
            size += len(parts[-1])
            end += 1
        return b"".join(parts), end


def _render_event(event: TrailEvent, shows_actor: bool) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (
        render_cursor(*event.sort_key).encode(),
        event.event_type.encode(),
        orjson.dumps(event_json(event, shows_actor=shows_actor)),
    )
