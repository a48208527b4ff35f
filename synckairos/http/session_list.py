"""The list of sessions: what the archive has, with what is live now merged in, each session once and as it is now."""

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson

from synckairos.errors import SessionNotFound
from synckairos.history.page_cursor import parse_list_cursor, render_cursor
from synckairos.history.reader import HistoryReader
from synckairos.service.sessions import Sessions
from synckairos.store.participant_sessions import Key
from synckairos.store.sessions import SessionStore
from synckairos.store.stored_session import StoredSession
from synckairos.wire.query_parameters import ListQuery

LIVE_BATCH_SIZE = 200
MAX_LIVE_BATCHES = 10
"""Pages of live sessions looked through, for one page of the list, for those that a filter wants."""


@dataclass(frozen=True, slots=True)
class SessionsPage:
    """Documents of sessions, newest first, and the cursor of the page after them."""

    documents: list[bytes]
    next_cursor: str | None


class SessionList:
    """Pages of sessions out of both stores."""

    def __init__(self, sessions: Sessions, store: SessionStore, history: HistoryReader) -> None:
        self._sessions = sessions
        self._store = store
        self._history = history

    async def page(self, query: ListQuery) -> SessionsPage:
        """Return a page, newest creation first; none that isn't the last is empty.

        Raises ValidationFailed for a bad cursor, StoreUnavailable.
        """
        while True:
            page = await self._page(query)
            if page.documents or page.next_cursor is None:
                return page
            # All that was on it was deleted meanwhile.
            query = query.model_copy(update={"cursor": page.next_cursor})

    async def _page(self, query: ListQuery) -> SessionsPage:
        before = parse_list_cursor(query.cursor)
        # Live sessions first: one that ends in between is then in both, and never in neither.
        live, live_to = await self._live(query, before)
        archived = await self._history.sessions(
            cursor=query.cursor, limit=query.limit, status=query.status, sync_mode=query.sync_mode
        )
        found: dict[Key, bytes] = dict(live)
        unseen = [item for item in archived.items if (item.created_at_ms, item.session_id) not in found]
        loaded = await asyncio.gather(*(self._store.load(item.session_id) for item in unseen))
        for item, now in zip(unseen, loaded, strict=True):
            document = await self._current_document(item.session_id, now.stored, now.now_ms, item.snapshot.document)
            if document is not None and _matches(document, query):
                found[item.created_at_ms, item.session_id] = document
        # Beyond where a source was looked through there may be more of it, which belongs before what is older.
        ends = [] if live_to is None else [live_to]
        if archived.next_cursor is not None:
            last = archived.items[-1]
            ends.append((last.created_at_ms, last.session_id))
        end = max(ends, default=None)
        keys = sorted((key for key in found if end is None or key >= end), reverse=True)
        if len(keys) > query.limit:
            end = keys[query.limit - 1]
        documents = [found[key] for key in keys[: query.limit]]
        return SessionsPage(documents, None if end is None else render_cursor(*end))

    async def _live(self, query: ListQuery, before: Key | None) -> tuple[list[tuple[Key, bytes]], Key | None]:
        """Return up to a page of live sessions that the query wants, and how far it looked, None for to the end."""
        found: list[tuple[Key, bytes]] = []
        if query.status in ("expired", "completed", "cancelled"):
            return found, None
        at_once = LIVE_BATCH_SIZE if query.status or query.sync_mode else query.limit
        for _ in range(MAX_LIVE_BATCHES):
            page = await self._store.live(at_once, before)
            if not page:
                return found, None
            now_ms = await self._store.now_ms()
            for at_ms, session_id, stored in page:
                before = (at_ms, session_id)
                document = await self._current_document(session_id, stored, now_ms, None)
                if document is not None and _matches(document, query):
                    found.append((before, document))
                    if len(found) == query.limit:
                        return found, before
        return found, before

    async def _current_document(
        self, session_id: str, stored: StoredSession | None, now_ms: int, archived: bytes | None
    ) -> bytes | None:
        """Return a session's document as of now, None where it was deleted; nobody is shown a clock past its zero."""
        if stored is None:
            return archived
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
