"""Pages of the list of sessions, merged from Postgres and Redis. Each session is listed once, in its current state."""

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson

from synckairos.clock.model import Status
from synckairos.errors import InvalidStoredData, SessionNotFound
from synckairos.history.page_cursor import parse_list_cursor, render_cursor
from synckairos.history.page_size import MAX_PAGE_BYTES, cut_to_page
from synckairos.history.reader import HistoryReader
from synckairos.history.records import ListedSession
from synckairos.service.session_reach import SessionReach
from synckairos.service.sessions import Sessions
from synckairos.session_names import session_name
from synckairos.store.participant_sessions import ListKey
from synckairos.store.sessions import SessionStore
from synckairos.store.stored_session import SessionLoadResult, StoredSession
from synckairos.telemetry.invalid_data import reporting_invalid_data
from synckairos.wire.query_parameters import ListQuery
from synckairos.wire.snapshot import check_stored_document

LIVE_BATCH_SIZE = 200
"""Number of live sessions that one read of Redis returns if the list has a filter. A live session has not ended."""

LOAD_BATCH_SIZE = 100
"""Number of audited sessions whose current state is loaded from Redis at the same time."""

MAX_LIVE_BATCHES = 10
"""Maximum number of reads of live sessions for one page, if a filter excludes most of the live sessions."""

MAX_READS = 5
"""Maximum number of reads of both stores for one page. Then the page ends, even if it is empty."""


@dataclass(frozen=True, slots=True)
class SessionsPage:
    """A page of the list of sessions. `documents` are the JSON documents of the sessions, newest creation first.

    `next_cursor` is the cursor of the next page, None if no further page exists.
    """

    documents: list[bytes]
    next_cursor: str | None


class SessionList:
    """List of all sessions, merged from the audited sessions in Postgres and the live sessions in Redis."""

    def __init__(
        self,
        sessions: Sessions,
        store: SessionStore,
        history: HistoryReader,
        *,
        live_batch_size: int = LIVE_BATCH_SIZE,
        max_live_batches: int = MAX_LIVE_BATCHES,
        max_reads: int = MAX_READS,
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._history = history
        self._live_batch_size = live_batch_size
        self._max_live_batches = max_live_batches
        self._max_reads = max_reads

    async def read_page(self, tenant: str, query: ListQuery, reach: SessionReach | None = None) -> SessionsPage:
        """Return a page of at most `query.limit` sessions of a tenant, in the order of creation, the newest first.

        If `reach` is not None, the page has only the sessions that its caller reaches, as the caller sees them.

        A page can have fewer sessions than `query.limit`, for example after about 4 MiB of documents. A page
        can be empty if a filter excludes many sessions. The list is complete when the cursor of the next page is None.

        Raises: ValidationFailed if the cursor is invalid. StoreUnavailable if Redis or Postgres does not answer.
        """
        for _ in range(self._max_reads - 1):
            page = await self._page(tenant, query, reach)
            if page.documents or page.next_cursor is None:
                return page
            # No session of this page matches, or all were deleted in the meantime. Continue with the next page.
            query = query.model_copy(update={"cursor": page.next_cursor})
        return await self._page(tenant, query, reach)

    async def _page(self, tenant: str, query: ListQuery, reach: SessionReach | None) -> SessionsPage:
        before = parse_list_cursor(query.cursor)
        # Read Redis before Postgres. A session that ends between the two reads is then in both results, and cannot be
        # missing in both.
        live, live_end = await self._live_sessions(tenant, query, before, reach)
        found: dict[ListKey, bytes] = dict(live)
        audited = await self._history.read_sessions_page(
            cursor=query.cursor,
            limit=query.limit,
            status=query.status,
            sync_mode=query.sync_mode,
            labels=query.labels,
            only_unfinished=query.only_unfinished,
            tenant=tenant,
            known_ids=[session_id for _, session_id in found],
            reached_ids=None if reach is None else reach.session_ids,
            reached_labels=() if reach is None else reach.labels,
        )
        unseen = [item for item in audited.items if item.snapshot is not None]
        # A store that was not read to its end can have more sessions after the oldest key read from it. The page
        # therefore ends at the newest of these keys. Older sessions of the other stores belong to a later page.
        ends = [] if live_end is None else [live_end]
        if audited.next_cursor is not None:
            last = audited.items[-1]
            ends.append((last.created_at_ms, last.session_id))
        size = 0
        for first in range(0, len(unseen), LOAD_BATCH_SIZE):
            if size >= MAX_PAGE_BYTES:
                ends.append((unseen[first - 1].created_at_ms, unseen[first - 1].session_id))
                break
            batch = unseen[first : first + LOAD_BATCH_SIZE]
            loaded = await asyncio.gather(*(self._load(session_name(tenant, item.session_id)) for item in batch))
            for item, current in zip(batch, loaded, strict=True):
                if current is None or (audited_document := _checked_document(item)) is None:
                    continue
                document = await self._current_document(
                    session_name(tenant, item.session_id), current.stored, current.now_ms, audited_document
                )
                if document is not None and _matches(document, query, reach):
                    found[item.created_at_ms, item.session_id] = document
                    size += len(document)
        end = max(ends, default=None)
        keys = sorted((key for key in found if end is None or key >= end), reverse=True)
        page_keys = cut_to_page(keys, query.limit, lambda key: len(found[key]))
        if len(page_keys) < len(keys):
            end = page_keys[-1]
        documents = [found[key] if reach is None else reach.limit_document(found[key]) for key in page_keys]
        return SessionsPage(documents, None if end is None else render_cursor(*end))

    async def _load(self, name: str) -> SessionLoadResult | None:
        """Load a session from Redis. If Redis does not have the session, the result has no stored session.

        Return None if the data in Redis is invalid. The list omits sessions with invalid data.
        """
        try:
            return await self._store.load(name)
        except InvalidStoredData:
            return None

    async def _live_sessions(
        self, tenant: str, query: ListQuery, before: ListKey | None, reach: SessionReach | None
    ) -> tuple[list[tuple[ListKey, bytes]], ListKey | None]:
        """Return at most `query.limit` live sessions of a tenant that match the query, and the key of the read's end.

        The read begins after `before`, the key of the final session of the previous page. None begins at the newest
        session. The returned key is None if no further live session can match. Otherwise it is the key of the oldest
        session that was read, even if this session does not match.
        """
        found: list[tuple[ListKey, bytes]] = []
        if query.status in ("expired", "completed", "cancelled"):
            return found, None
        size = 0
        batch_size = self._live_batch_size if query.is_filtered or reach is not None else query.limit
        for _ in range(self._max_live_batches):
            batch = await self._store.live.list_live(batch_size, before, max_bytes=MAX_PAGE_BYTES, tenant=tenant)
            if not batch:
                return found, None
            now_ms = await self._store.now_ms()
            for at_ms, session_id, stored in batch:
                before = (at_ms, session_id)
                document = await self._current_document(session_name(tenant, session_id), stored, now_ms, None)
                if document is not None and _matches(document, query, reach):
                    found.append((before, document))
                    size += len(document)
                    if len(found) == query.limit or size >= MAX_PAGE_BYTES:
                        return found, before
        return found, before

    async def _current_document(
        self, name: str, stored: StoredSession | None, now_ms: int, audited: bytes | None
    ) -> bytes | None:
        """Return the current document of a session. None if the session was deleted or its data is invalid.

        `name` is the name of the session in its tenant.
        `stored` is the session in Redis. If it is None, Redis does not have the session, and the result is `audited`,
        the document in Postgres. If a deadline of the session has passed at `now_ms`, the session service reads the
        session. This read first commits the overdue transitions.
        """
        if stored is None:
            return audited
        if stored.snapshot.deleted:
            return None
        if stored.due_ms is None or stored.due_ms > now_ms:
            return stored.snapshot.document
        try:
            return (await self._sessions.read_as_server(name)).snapshot.document
        except (SessionNotFound, InvalidStoredData):
            return None


def _checked_document(item: ListedSession) -> bytes | None:
    """Return the session document of a list item from Postgres. Return None if it is absent or invalid.

    The list omits sessions with invalid documents.
    """
    if item.snapshot is None:
        return None
    try:
        with reporting_invalid_data(f"sync_events {item.session_id}"):
            check_stored_document(item.session_id, item.snapshot)
    except InvalidStoredData:
        return None
    return item.snapshot.document


def _matches(document: bytes, query: ListQuery, reach: SessionReach | None) -> bool:
    if reach is not None and not reach.has(document):
        return False
    if not query.is_filtered:
        return True
    session: dict[str, Any] = orjson.loads(document)
    return (
        query.status in (None, session["status"])
        and query.sync_mode in (None, session["sync_mode"])
        and query.labels.items() <= session.get("labels", {}).items()
        and not (query.only_unfinished and Status(session["status"]).is_final)
    )
