"""Pages of the list of sessions, merged from Postgres and Redis: each session once, in its current state."""

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson

from synckairos.errors import SessionNotFound
from synckairos.history.page_cursor import parse_list_cursor, render_cursor
from synckairos.history.reader import HistoryReader
from synckairos.service.sessions import Sessions
from synckairos.store.participant_sessions import ListKey
from synckairos.store.sessions import SessionStore
from synckairos.store.stored_session import StoredSession
from synckairos.wire.query_parameters import ListQuery

LIVE_BATCH_SIZE = 200
"""Number of live sessions that are read together if the list has a filter."""

MAX_LIVE_BATCHES = 10
"""Number of batches of live sessions that are read for one page if a filter excludes most of them."""


@dataclass(frozen=True, slots=True)
class SessionsPage:
    """Documents of sessions, newest creation first, and the cursor of the next page."""

    documents: list[bytes]
    next_cursor: str | None


class SessionList:
    """Reads pages of sessions from both stores."""

    def __init__(
        self,
        sessions: Sessions,
        store: SessionStore,
        history: HistoryReader,
        *,
        live_batch_size: int = LIVE_BATCH_SIZE,
        max_live_batches: int = MAX_LIVE_BATCHES,
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._history = history
        self._live_batch_size = live_batch_size
        self._max_live_batches = max_live_batches

    async def page(self, query: ListQuery) -> SessionsPage:
        """Return a page of sessions, newest creation first. Only the last page can be empty.

        Raises ValidationFailed for an invalid cursor, and StoreUnavailable.
        """
        while True:
            page = await self._page(query)
            if page.documents or page.next_cursor is None:
                return page
            # All sessions of this page have been deleted meanwhile. Continue with the next one.
            query = query.model_copy(update={"cursor": page.next_cursor})

    async def _page(self, query: ListQuery) -> SessionsPage:
        before = parse_list_cursor(query.cursor)
        # Read live sessions first. A session that ends between the two reads is then in both results, never in none.
        live, live_end = await self._live_sessions(query, before)
        audited = await self._history.sessions(
            cursor=query.cursor, limit=query.limit, status=query.status, sync_mode=query.sync_mode
        )
        found: dict[ListKey, bytes] = dict(live)
        unseen = [item for item in audited.items if (item.created_at_ms, item.session_id) not in found]
        loaded = await asyncio.gather(*(self._store.load(item.session_id) for item in unseen))
        for item, current in zip(unseen, loaded, strict=True):
            document = await self._current_document(
                item.session_id, current.stored, current.now_ms, item.snapshot.document
            )
            if document is not None and _matches(document, query):
                found[item.created_at_ms, item.session_id] = document
        # A source that was not read to its end may have more sessions after its last key. So the page ends at the
        # newest of these keys: older sessions of the other source belong to a later page.
        ends = [] if live_end is None else [live_end]
        if audited.next_cursor is not None:
            last = audited.items[-1]
            ends.append((last.created_at_ms, last.session_id))
        end = max(ends, default=None)
        keys = sorted((key for key in found if end is None or key >= end), reverse=True)
        if len(keys) > query.limit:
            end = keys[query.limit - 1]
        documents = [found[key] for key in keys[: query.limit]]
        return SessionsPage(documents, None if end is None else render_cursor(*end))

    async def _live_sessions(
        self, query: ListQuery, before: ListKey | None
    ) -> tuple[list[tuple[ListKey, bytes]], ListKey | None]:
        """Return at most one page of matching live sessions, and the key that the read reached.

        The key is None if all live sessions were read.
        """
        found: list[tuple[ListKey, bytes]] = []
        if query.status in ("expired", "completed", "cancelled"):
            return found, None
        batch_size = self._live_batch_size if query.status or query.sync_mode else query.limit
        for _ in range(self._max_live_batches):
            batch = await self._store.list_live(batch_size, before)
            if not batch:
                return found, None
            now_ms = await self._store.now_ms()
            for at_ms, session_id, stored in batch:
                before = (at_ms, session_id)
                document = await self._current_document(session_id, stored, now_ms, None)
                if document is not None and _matches(document, query):
                    found.append((before, document))
                    if len(found) == query.limit:
                        return found, before
        return found, before

    async def _current_document(
        self, session_id: str, stored: StoredSession | None, now_ms: int, audited: bytes | None
    ) -> bytes | None:
        """Return the current document of a session, or None if the session was deleted.

        A session with a passed deadline is read by the service, which first commits the overdue transitions.
        """
        if stored is None:
            return audited
        if stored.snapshot.deleted:
            return None
        if stored.due_ms is None or stored.due_ms > now_ms:
            return stored.snapshot.document
        try:
            return (await self._sessions.read(session_id)).snapshot.document
        except SessionNotFound:
            return None


def _matches(document: bytes, query: ListQuery) -> bool:
    if query.status is None and query.sync_mode is None:
        return True
    session: dict[str, Any] = orjson.loads(document)
    return query.status in (None, session["status"]) and query.sync_mode in (None, session["sync_mode"])
