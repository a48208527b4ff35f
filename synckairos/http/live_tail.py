"""The live tail of a session's events, as Server-Sent Events: the trail so far, then whatever is committed.

Whoever tells that something was committed only wakes it; what happened is read from the trail, so nothing is missed and
nothing told twice. Event ids are cursors of the trail: a client that comes back goes on where it was.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import orjson

from synckairos.clock.model import EventType
from synckairos.errors import StoreUnavailable
from synckairos.history.audit_trail import AuditTrail
from synckairos.history.page_cursor import render_cursor
from synckairos.history.records import TrailEvent
from synckairos.wire.event_json import event_json

CommitSignals = Callable[[str], AbstractAsyncContextManager[asyncio.Event]]
"""Gives, for a session, an event that is set whenever something may have been committed."""

POLL_INTERVAL_S = 1.0
"""Without anybody to wake it, or where a wake-up got lost, it looks this often."""

KEEPALIVE_INTERVAL_S = 15.0
"""After so much silence a comment shows that the connection lives."""

PAGE_SIZE = 200


class LiveTail:
    """Tails of any session. Ends one when its session was deleted, or when the server drains."""

    def __init__(self, trail: AuditTrail, is_draining: Callable[[], bool], watch: CommitSignals | None = None) -> None:
        self._trail = trail
        self._is_draining = is_draining
        self._watch = watch or _never_signalled

    async def stream(
        self, session_id: str, first: Sequence[TrailEvent], cursor: str | None, snapshots: bool
    ) -> AsyncGenerator[bytes, None]:
        """Yield events from `first` on, which is the trail's page after `cursor`, then those to come."""
        yield b"retry: 1000\n\n"
        events = first
        loop = asyncio.get_running_loop()
        spoke_at = loop.time()
        async with self._watch(session_id) as woken:
            while True:
                for event in events:
                    cursor = render_cursor(*event.key)
                    yield _render(event, cursor)
                    spoke_at = loop.time()
                    if event.event_type == EventType.SESSION_DELETED and event is events[-1]:
                        return
                if self._is_draining():
                    return
                # Cleared before the look: what is committed after it sets the event again.
                woken.clear()
                events = await self._events_after(session_id, cursor, snapshots)
                if not events:
                    await self._wait(woken)
                if loop.time() - spoke_at >= KEEPALIVE_INTERVAL_S:
                    yield b": still here\n\n"
                    spoke_at = loop.time()

    async def _wait(self, woken: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_INTERVAL_S):
                await woken.wait()

    async def _events_after(self, session_id: str, cursor: str | None, snapshots: bool) -> Sequence[TrailEvent]:
        try:
            return (await self._trail.page(session_id, cursor=cursor, limit=PAGE_SIZE, snapshots=snapshots)).items
        except StoreUnavailable:
            return ()


@contextlib.asynccontextmanager
async def _never_signalled(session_id: str) -> AsyncIterator[asyncio.Event]:
    yield asyncio.Event()


def _render(event: TrailEvent, cursor: str) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (
        cursor.encode(),
        event.event_type.encode(),
        orjson.dumps(event_json(event)),
    )
