"""A session's archive, read back from cold storage: as much of it as the caller's role is shown."""

import asyncio
from typing import Any

import orjson

from synckairos.config import Settings
from synckairos.errors import ArchiveProcessing, Forbidden, NotArchived
from synckairos.history.cold.bundle import Bundle
from synckairos.history.cold.reader import ArchiveDamaged
from synckairos.history.reader import HistoryReader
from synckairos.history.records import ArchiveRecord
from synckairos.http.content_negotiation import preferred_media_type
from synckairos.http.etag import is_not_modified
from synckairos.http.operations import Operation
from synckairos.http.request import RestRequest, RestResponse
from synckairos.service.sessions import Sessions
from synckairos.store.rate_limits import RateLimits
from synckairos.wire import response_models
from synckairos.wire.event_json import event_json
from synckairos.wire.instants import render_instant
from synckairos.wire.query_parameters import ArchiveQuery

JSON, NDJSON = "application/json", "application/x-ndjson"

_LARGE = 100  # events; rendering more than these is a thread's work


class ArchiveRoutes:
    """The operation that reads cold storage."""

    def __init__(self, sessions: Sessions, history: HistoryReader, limits: RateLimits, settings: Settings) -> None:
        self._sessions = sessions
        self._history = history
        self._limits = limits
        self._role = settings.archive_role
        self._events_role = settings.archive_events_role

    def operations(self) -> list[Operation]:
        """Return the operations for the table."""
        return [
            Operation(
                "GET", "/v1/sessions/{session_id}/archive", self.read, "A finished session from cold storage",
                "history", answer=response_models.ArchiveAnswer, query=ArchiveQuery, refusals=(304, 403, 404, 409),
                media_types=(NDJSON,),
            ),
        ]  # fmt: skip

    async def read(self, request: RestRequest) -> RestResponse:
        query = request.read_query(ArchiveQuery)
        session_id = request.path_uuid("session_id")
        form = preferred_media_type(request.header(b"accept"), (JSON, NDJSON))
        await self._limits.take(request.meter)
        if not request.principal.may(self._role):
            raise Forbidden(f"Archives are for a {self._role} or a higher role")
        filed = await self._filed(session_id)
        try:
            return await self._show(request, filed, form, query.snapshots)
        except ArchiveDamaged:
            # Where a newer one was filed meanwhile the older object is gone.
            newer = await self._filed(session_id)
            if newer == filed:
                raise
            return await self._show(request, newer, form, query.snapshots)

    async def _show(self, request: RestRequest, filed: ArchiveRecord, form: str, snapshots: bool) -> RestResponse:
        shown = self._shown(request)
        etag = f'"{filed.checksum.hex()[:32]}-{shown}-{form.rpartition("-")[2]}-{snapshots:d}"'
        response = RestResponse(content_type=form.encode(), headers=[(b"etag", etag.encode()), (b"vary", b"Accept")])
        response.headers.append((b"cache-control", b"private, no-cache"))
        if is_not_modified(request.header(b"if-none-match"), etag):
            response.status = 304
            return response
        bundle = await self._history.cold_reader.read_bundle(filed)
        render = _render_lines if form == NDJSON else _render
        if len(bundle.events) > _LARGE:
            response.body = await asyncio.to_thread(render, filed, bundle, shown, snapshots)
        else:
            response.body = render(filed, bundle, shown, snapshots)
        return response

    async def _filed(self, session_id: str) -> ArchiveRecord:
        """Return the newest archive there is. Raises SessionNotFound, NotArchived, ArchiveProcessing."""
        found = await self._history.archive_records(session_id)
        filed = next((each for each in found if each.path is not None), None)
        if filed is not None:
            return filed
        if not found:
            await self._sessions.read(session_id)
            raise NotArchived(session_id)
        if found[0].status == "processing":
            raise ArchiveProcessing(session_id)
        raise NotArchived(session_id, failed=True)

    def _shown(self, request: RestRequest) -> str:
        """Return how much is shown: `all` of it, with `events`, or the final `state` alone."""
        if request.principal.may("admin"):
            return "all"
        return "events" if request.principal.may(self._events_role) else "state"


def _render(filed: ArchiveRecord, bundle: Bundle, shown: str, snapshots: bool) -> bytes:
    document: dict[str, Any] = {
        "session_id": filed.session_id,
        "version": filed.version,
        "epoch": filed.epoch,
        "archived_at": render_instant(filed.archived_at_ms),
        "event_count": filed.events,
        "session": orjson.Fragment(bundle.newest.document),
    }
    if shown != "state":
        document["events"] = [event_json(line.event(snapshots)) for line in bundle.events]
    if shown == "all":
        document |= {"path": filed.path, "size_bytes": filed.size_bytes, "checksum": filed.checksum.hex()}
    return orjson.dumps({"data": document})


def _render_lines(filed: ArchiveRecord, bundle: Bundle, shown: str, snapshots: bool) -> bytes:
    """Render the archive's own lines for admins, for others the events they may see, or the state alone."""
    match shown:
        case "all":
            return bundle.raw
        case "events":
            lines = [orjson.dumps(event_json(line.event(snapshots))) for line in bundle.events]
        case _:
            lines = [bundle.newest.document]
    return b"".join(line + b"\n" for line in lines)
