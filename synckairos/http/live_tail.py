"""Live tail: a stream of a session's events as Server-Sent Events, first the past events, then each new event.

A commit signal only starts the next read. The tail reads all events from the audit trail, so it sends each event
exactly once. The id of an event in the stream is a cursor of the audit trail. A client that reconnects with
`Last-Event-ID` therefore gets the events after the event with this id.
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
"""Function from a session id to a context manager that yields an `asyncio.Event`.

The event is set after each commit to the session, and possibly at other times.
"""

POLL_INTERVAL_S = 1.0
"""Maximum seconds between two reads of the audit trail, if no commit signal arrives or a signal was lost."""

KEEPALIVE_INTERVAL_S = 15.0
"""Seconds without an event after which the tail sends a comment. The comment shows that the connection works."""

PAGE_SIZE = 200
"""Maximum number of events in one read of the audit trail."""


class LiveEventStreams:
    """Source of event streams of sessions. A stream ends after the deletion of its session, or at a drain."""

    def __init__(
        self, audit_trail: AuditTrail, is_draining: Callable[[], bool], commit_signals: CommitSignals | None = None
    ) -> None:
        self._audit_trail = audit_trail
        self._is_draining = is_draining
        self._commit_signals = commit_signals or _never_signalled

    async def stream(
        self, session_id: str, first_page: Sequence[TrailEvent], cursor: str | None, snapshots: bool
    ) -> AsyncGenerator[bytes, None]:
        """Yield Server-Sent Events as bytes: first the events of `first_page`, then all later events.

        `first_page` is the page of the audit trail after `cursor`; `cursor` None means the begin of the audit trail.
        `snapshots`: whether the events contain the session's document.
        """
        yield b"retry: 1000\n\n"
        events = first_page
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        async with self._commit_signals(session_id) as signal:
            while True:
                for event in events:
                    cursor = render_cursor(*event.sort_key)
                    yield _render(event, cursor)
                    sent_at = loop.time()
                    if event.event_type == EventType.SESSION_DELETED and event is events[-1]:
                        return
                if self._is_draining():
                    return
                # Clear the signal before the read. A commit after the read then sets the signal again.
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
        """Return the page of the audit trail after `cursor`.

        Return no events if a store is unavailable. The stream then continues with the next read.
        """
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
