"""Live tail of a session's events as Server-Sent Events: the audit trail so far, then each event after its commit.

A commit signal only wakes the tail. The events themselves are read from the audit trail, so each is sent exactly once.
Event ids are cursors of the trail: a client that reconnects with `Last-Event-ID` continues where it stopped.
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
"""Returns, for a session id, an event that is set after each possible commit to that session."""

POLL_INTERVAL_S = 1.0
"""Seconds between reads of the trail if there is no commit signal, or if a signal was lost."""

KEEPALIVE_INTERVAL_S = 15.0
"""Seconds without an event after which a comment is sent. It shows that the connection still works."""

PAGE_SIZE = 200


class LiveTail:
    """Streams events of sessions. A stream ends when its session was deleted or when the server drains."""

    def __init__(
        self, audit_trail: AuditTrail, is_draining: Callable[[], bool], commit_signals: CommitSignals | None = None
    ) -> None:
        self._audit_trail = audit_trail
        self._is_draining = is_draining
        self._commit_signals = commit_signals or _never_signalled

    async def stream(
        self, session_id: str, first_page: Sequence[TrailEvent], cursor: str | None, snapshots: bool
    ) -> AsyncGenerator[bytes, None]:
        """Yield the events of `first_page`, which is the page after `cursor`, and then all later events."""
        yield b"retry: 1000\n\n"
        events = first_page
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        async with self._commit_signals(session_id) as signal:
            while True:
                for event in events:
                    cursor = render_cursor(*event.key)
                    yield _render(event, cursor)
                    sent_at = loop.time()
                    if event.event_type == EventType.SESSION_DELETED and event is events[-1]:
                        return
                if self._is_draining():
                    return
                # Clear the signal before the read: a commit after the read sets it again.
                signal.clear()
                events = await self._events_after(session_id, cursor, snapshots)
                if not events:
                    await self._wait(signal)
                if loop.time() - sent_at >= KEEPALIVE_INTERVAL_S:
                    yield b": still here\n\n"
                    sent_at = loop.time()

    async def _wait(self, signal: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_INTERVAL_S):
                await signal.wait()

    async def _events_after(self, session_id: str, cursor: str | None, snapshots: bool) -> Sequence[TrailEvent]:
        """Return the page after `cursor`; empty if a store is unavailable, because the next read tries again."""
        try:
            return (await self._audit_trail.page(session_id, cursor=cursor, limit=PAGE_SIZE, snapshots=snapshots)).items
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
