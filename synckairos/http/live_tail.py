"""Live tail: a stream of a session's events as Server-Sent Events, first the past events, then each new event.

A commit signal only starts the next read. The tail reads all events from the audit trail, so it sends each event
exactly once. The id of an event in the stream is a cursor of the audit trail. A client that reconnects with
`Last-Event-ID` therefore gets the events after the event with this id.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

from synckairos.clock.transition import EVENTS_THAT_CHANGE_LABELS, EventType
from synckairos.errors import StoreUnavailable, SyncKairosError, TooManyConnections
from synckairos.history.audit_trail import AuditTrail
from synckairos.history.page_cursor import render_cursor
from synckairos.history.records import TrailEvent
from synckairos.http.live_tail_page import LiveTailPage
from synckairos.limits.shared_read import SharedRead
from synckairos.limits.work_limits import MAX_LIVE_TAILS
from synckairos.principal import Principal, Role
from synckairos.service.authorization import has_session_role

ReadKey = tuple[str, str | None, int, bool]
"""Parameters of a read of the audit trail: session name, cursor, number of events, and whether they have documents."""

CommitSignals = Callable[[str], AbstractAsyncContextManager[asyncio.Event]]
"""Function from a session name to a context manager that yields an `asyncio.Event`.

The event is set after each commit to the session, and possibly at other times.
"""

RoleFinder = Callable[[], Awaitable[Role]]
"""Function that returns the role of a caller on the session of its stream. It raises a SyncKairosError without a role.
"""

POLL_INTERVAL_S = 15.0
"""Maximum seconds between two reads of the audit trail. The commit signals start the other reads."""

POLL_INTERVAL_WITHOUT_SIGNALS_S = 1.0
"""Maximum seconds between two reads if there are no commit signals, or if a store did not answer."""

KEEPALIVE_INTERVAL_S = 15.0
"""Seconds without an event after which the tail sends a comment. The comment shows that the connection works."""

PAGE_SIZE = 200
"""Maximum number of events in one read of the audit trail after the first page."""

PAGE_AGE_S = 1.0
"""Maximum seconds since the read of a page with which a stream continues. The stream then reads the events after it."""

MAX_KEPT_PAGES = 4
"""Maximum number of pages that are kept for streams that begin soon."""


class ConnectionCounter(Protocol):
    """Counter of the connections of this instance. Each live tail counts as one connection."""

    def require_place(self, principal: Principal) -> None:
        """Check that a further connection of a principal is within its limits. Raises: TooManyConnections."""

    def count_live_tail(self, principal: Principal) -> AbstractContextManager[None]:
        """Count a live tail of a principal as a connection during the block."""


class LiveTail:
    """A stream of Server-Sent Events, and its place from `LiveEventStreams.reserve_place`.

    The caller must call `aclose` in all cases.
    """

    def __init__(self, events: AsyncGenerator[bytes, None], place: AbstractContextManager[object]) -> None:
        self._events = events
        self._place = place

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._events)

    async def aclose(self) -> None:
        """End the stream, and release its place. Further calls have no effect."""
        # The code of a generator that has not started does not run at its close. So the place is not released there.
        with self._place:
            await self._events.aclose()


class LiveEventStreams:
    """Source of event streams of sessions.

    A stream ends after it has sent the event of its session's deletion, or when a drain begins. Streams of one session
    that wait for the events after the same event share one read of the audit trail. So do streams that begin after the
    same event and are opened within `PAGE_AGE_S` seconds.
    """

    def __init__(
        self,
        audit_trail: AuditTrail,
        is_draining: Callable[[], bool],
        commit_signals: CommitSignals | None = None,
        connections: ConnectionCounter | None = None,
    ) -> None:
        self._audit_trail = audit_trail
        self._is_draining = is_draining
        self._commit_signals = commit_signals or _never_signalled
        self._poll_interval_s = POLL_INTERVAL_WITHOUT_SIGNALS_S if commit_signals is None else POLL_INTERVAL_S
        self._connections = connections
        self._rendering = asyncio.Lock()
        self._tails: Counter[str] = Counter()
        """Open streams by client."""
        self._reads: dict[ReadKey, tuple[SharedRead[LiveTailPage], int]] = {}
        """Each read that streams wait for, with the number of these streams."""
        self._pages: dict[ReadKey, LiveTailPage] = {}
        """The pages of the last second, oldest first."""

    def reserve_place(self, principal: Principal) -> contextlib.ExitStack:
        """Reserve a place for a stream of the principal's client, until the result is closed.

        The place counts as a connection of the principal. Reserve it before the read of the first page. Otherwise
        simultaneous requests would exceed the limits.

        Raises: TooManyConnections if the client has the maximum number of streams, or if a connection limit is reached.
        """
        if self._tails[principal.limited_client_id] >= MAX_LIVE_TAILS:
            raise TooManyConnections(f"A client has at most {MAX_LIVE_TAILS} live tails; close one first")
        if self._connections is not None:
            self._connections.require_place(principal)
        place = contextlib.ExitStack()
        place.enter_context(self._count(principal))
        return place

    @property
    def open_stream_count(self) -> int:
        """Return the number of reserved places. Each open stream has one."""
        return self._tails.total()

    @property
    def pending_read_count(self) -> int:
        """Return the number of reads of the audit trail for which at least one stream waits now."""
        return len(self._reads)

    async def read_page(self, session_name: str, cursor: str | None, limit: int, *, snapshots: bool) -> LiveTailPage:
        """Return a page of at most `limit` events after `cursor`. It has no events if there are none yet.

        `cursor` None means the begin of the audit trail. If `snapshots` is True, the events contain the session's
        document. The page comes from a read that other streams can share. A page with events was read in the last
        second or later, so newer events can be missing in it. A page without events comes from a read that begins at
        this call or later. The caller must have checked that its client may read the events of the session.

        Raises: ValidationFailed if the cursor or the limit is invalid. StoreUnavailable.
        """
        key = (session_name, cursor, limit, snapshots)
        if (kept := self._pages.get(key)) is not None:
            return kept
        shared, readers = self._reads.get(key) or (SharedRead(), 0)
        self._reads[key] = (shared, readers + 1)
        try:
            return await shared.join_next_read(lambda: self._read(key))
        finally:
            readers = self._reads[key][1] - 1
            if readers:
                self._reads[key] = (shared, readers)
            else:
                del self._reads[key]

    async def _read(self, key: ReadKey) -> LiveTailPage:
        session_name, cursor, limit, snapshots = key
        page = await self._audit_trail.read_page(session_name, cursor=cursor, limit=limit, snapshots=snapshots)
        found = LiveTailPage(page.items)
        if found.events:
            self._pages[key] = found
            asyncio.get_running_loop().call_later(PAGE_AGE_S, self._forget_page, key, found)
            if len(self._pages) > MAX_KEPT_PAGES:
                del self._pages[next(iter(self._pages))]
        return found

    def _forget_page(self, key: ReadKey, page: LiveTailPage) -> None:
        if self._pages.get(key) is page:
            del self._pages[key]

    def stream(
        self,
        place: contextlib.ExitStack,
        session_name: str,
        first_page: LiveTailPage,
        cursor: str | None,
        *,
        snapshots: bool,
        role: Role,
        find_role: RoleFinder | None = None,
    ) -> LiveTail:
        """Return a stream of Server-Sent Events as bytes: first the events of `first_page`, then all later events.

        `place` must come from `reserve_place`. It is released when the stream is closed. `first_page` must be the page
        from `read_page` after `cursor`; `cursor` None means the begin of the audit trail. If `snapshots` is True, the
        events contain the session's document. `role` is the role of the caller on the session. It decides whether the
        events contain the members of `ACTOR_MEMBERS`. `find_role` finds the role again; None if it cannot change while
        the stream is open.

        The stream ends after the event of the session's deletion, before an event that possibly changed labels if
        `find_role` does not return `role` any more, or when a drain begins. If a store is unavailable, the stream waits
        and tries again.
        """
        return LiveTail(self._generate(session_name, first_page, cursor, snapshots, role, find_role), place)

    async def _generate(
        self,
        session_name: str,
        page: LiveTailPage | None,
        cursor: str | None,
        snapshots: bool,
        role: Role,
        find_role: RoleFinder | None,
    ) -> AsyncGenerator[bytes, None]:
        yield b"retry: 1000\n\n"
        shows_actors = has_session_role(role, "read_actors")
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        async with self._commit_signals(session_name) as signal:
            while True:
                if page is not None and page.events:
                    if find_role is not None and not await _keeps_role(page.events, role, find_role):
                        return
                    last = page.events[-1]
                    cursor = render_cursor(*last.sort_key)
                    blocks = page.render_blocks(shows_actors=shows_actors)
                    while block := await self._render_block(blocks):
                        yield block
                    sent_at = loop.time()
                    if last.event_type == EventType.SESSION_DELETED:
                        return
                if self._is_draining():
                    return
                # Clear the signal before the read. A commit after the read then sets the signal again.
                signal.clear()
                page = await self._read_further_page(session_name, cursor, snapshots)
                if page is None or not page.events:
                    await self._wait(signal, page is None)
                if loop.time() - sent_at >= KEEPALIVE_INTERVAL_S:
                    yield b": still here\n\n"
                    sent_at = loop.time()

    async def _render_block(self, blocks: Iterator[bytes]) -> bytes:
        """Return the next of these blocks; empty at the end.

        The streams of this instance render one block after the other, with a turn of the event loop in between. So
        streams that begin at the same time block the event loop for only one block at a time.
        """
        async with self._rendering:
            block = next(blocks, b"")
            await asyncio.sleep(0)
            return block

    @contextlib.contextmanager
    def _count(self, principal: Principal) -> Iterator[None]:
        place = contextlib.nullcontext() if self._connections is None else self._connections.count_live_tail(principal)
        self._tails[principal.limited_client_id] += 1
        try:
            with place:
                yield
        finally:
            self._tails[principal.limited_client_id] -= 1
            if not self._tails[principal.limited_client_id]:
                del self._tails[principal.limited_client_id]

    async def _wait(self, signal: asyncio.Event, has_failed: bool) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_INTERVAL_WITHOUT_SIGNALS_S if has_failed else self._poll_interval_s):
                await signal.wait()

    async def _read_further_page(self, session_name: str, cursor: str | None, snapshots: bool) -> LiveTailPage | None:
        """Return the page after the cursor, None if a store is unavailable. The caller then calls this method again."""
        with contextlib.suppress(StoreUnavailable):
            return await self.read_page(session_name, cursor, PAGE_SIZE, snapshots=snapshots)
        return None


@contextlib.asynccontextmanager
async def _never_signalled(session_name: str) -> AsyncIterator[asyncio.Event]:
    yield asyncio.Event()


async def _keeps_role(events: Iterable[TrailEvent], role: Role, find_role: RoleFinder) -> bool:
    """Return whether the caller still has its role after these events. Without an answer of a store, it has none."""
    if all(each.event_type not in EVENTS_THAT_CHANGE_LABELS for each in events):
        return True
    try:
        return await find_role() == role
    except SyncKairosError:
        return False  # the client opens the stream again, and gets the error
