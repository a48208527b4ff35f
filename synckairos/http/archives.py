"""REST route that reads the archive of an ended session from cold storage.

The caller's role decides which parts of the archive the response contains.
"""

from collections.abc import Iterator
from typing import Any, Literal

import orjson

from synckairos.config import Settings
from synckairos.errors import ArchiveInProgress, Forbidden, NotArchived
from synckairos.history.cold.archive_format import Archive
from synckairos.history.cold.reader import ArchiveDamaged
from synckairos.history.reader import HistoryReader
from synckairos.history.records import ArchiveRecord
from synckairos.http.content_negotiation import preferred_media_type
from synckairos.http.etag import is_not_modified
from synckairos.http.large_bodies import LARGE_BYTES, stream_in_blocks
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.principal import Role, includes_role
from synckairos.service.authorization import has_session_role
from synckairos.service.sessions import Sessions
from synckairos.service.visible_rows import limit_document
from synckairos.session_names import bare_id
from synckairos.store.rate_limits import RateLimits
from synckairos.wire import response_models
from synckairos.wire.event_json import event_json
from synckairos.wire.instants import render_instant
from synckairos.wire.query_parameters import ArchiveQuery

JSON, NDJSON = "application/json", "application/x-ndjson"

_EVENT_BYTES = 300  # approximate bytes of a rendered event without its document

ReadableScope = Literal["all", "events", "events_without_actors", "state"]
"""Part of an archive that a caller is allowed to read.

`all`: events, final state and storage data. `events`: events and final state. `events_without_actors`: the same without
the members of `ACTOR_MEMBERS`. `state`: only the final state.
"""


class ArchiveRoutes:
    """REST operation that reads the archive of a session."""

    def __init__(self, sessions: Sessions, history: HistoryReader, rate_limits: RateLimits, settings: Settings) -> None:
        self._sessions = sessions
        self._history = history
        self._rate_limits = rate_limits
        self._role = settings.archive_role
        self._events_role = settings.archive_events_role

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        return [
            Operation(
                "GET", "/v1/sessions/{session_id}/archive", "read_archive", self.read_archive,
                "Read the archive of a finished session from cold storage", "history",
                response_model=response_models.ArchiveAnswer, query_model=ArchiveQuery,
                refusal_statuses=(304, 403, 404, 409), media_types=(NDJSON,),
            ),
        ]  # fmt: skip

    async def read_archive(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/sessions/{id}/archive`: read the archive of a finished session from cold storage."""
        query = request.read_query(ArchiveQuery)
        session_id = request.path_uuid("session_id")
        media_type = preferred_media_type(request.header(b"accept"), (JSON, NDJSON))
        await self._rate_limits.count(request.meter)
        role = await self._sessions.find_role(request.principal, session_id)
        name = request.name_of(session_id)
        record = await self._newest_record(name)
        if not includes_role(role, self._role):
            raise Forbidden(f"Archives require the role {self._role} or a higher role")
        try:
            return await self._respond(request, role, record, media_type, query.snapshots)
        except ArchiveDamaged:
            # A newer archive can have replaced this archive in the meantime. Its object is then deleted.
            newer = await self._newest_record(name)
            if newer == record:
                raise
            return await self._respond(request, role, newer, media_type, query.snapshots)

    async def _respond(
        self, request: RestRequest, role: Role, record: ArchiveRecord, media_type: str, snapshots: bool
    ) -> RestResponse:
        scope = self._readable_scope(role)
        # Participants of an individual session see different rows.
        own_id = None if includes_role(role, "controller") else request.principal.participant_id
        viewer = scope if own_id is None else f"{scope}-{own_id}"
        etag = f'"{record.checksum.hex()[:32]}-{viewer}-{media_type.rpartition("-")[2]}-{snapshots:d}"'
        response = RestResponse(content_type=media_type.encode(), headers=[(b"etag", etag.encode())])
        response.headers += [(b"vary", b"Accept"), (b"cache-control", b"private, no-cache")]
        if is_not_modified(request.header(b"if-none-match"), etag):
            response.status = 304
            return response
        archive = await self._history.cold_reader.read_archive(record)
        newest = archive.newest_line.document
        document = limit_document(request.principal, record.session_id, newest)
        if document is not newest:
            scope = "state"  # the events also show the clocks of others
        is_raw = media_type == NDJSON and scope == "all"
        has_documents = is_raw or (snapshots and scope != "state")
        render = _render_ndjson if media_type == NDJSON else _render_json
        pieces = render(record, archive, document, scope, snapshots)
        size = len(archive.newest_line.document) + len(archive.events) * _EVENT_BYTES
        if has_documents:
            size += sum(line.row["state_bytes"] for line in archive.events)
        if size > LARGE_BYTES:
            response.stream = stream_in_blocks(pieces)
        else:
            response.body = b"".join(pieces)
        return response

    async def _newest_record(self, session_name: str) -> ArchiveRecord:
        """Return the newest archive record that has a stored object, even if a newer record has none.

        Raises (if no archive record of the session has a stored object):
            SessionNotFound: The session has no archive record and does not exist.
            NotArchived: The session exists without an archive record, or the archiving of its newest record failed.
            ArchiveInProgress: A worker writes the object of the newest record now.
        """
        records = await self._history.read_archive_records(session_name)
        stored = next((each for each in records if each.path is not None), None)
        if stored is not None:
            return stored
        session_id = bare_id(session_name)
        if not records:
            await self._sessions.read_as_server(session_name)
            raise NotArchived(session_id)
        if records[0].status == "processing":
            raise ArchiveInProgress(session_id)
        raise NotArchived(session_id, failed=True)

    def _readable_scope(self, role: Role) -> ReadableScope:
        if role == "admin":
            return "all"
        if not includes_role(role, self._events_role):
            return "state"
        return "events" if has_session_role(role, "read_actors") else "events_without_actors"


def _render_json(
    record: ArchiveRecord, archive: Archive, document: bytes, scope: ReadableScope, snapshots: bool
) -> Iterator[bytes]:
    """Yield the pieces of one JSON document with the parts of the archive that `scope` allows.

    `document` is the final session document as the caller sees it. An event is rendered when its piece is requested.
    `snapshots`: whether events contain the session's document.
    """
    members: dict[str, Any] = {
        "session_id": record.session_id,
        "version": record.version,
        "epoch": record.epoch,
        "archived_at": render_instant(record.archived_at_ms),
        "event_count": record.events,
        "session": orjson.Fragment(document),
    }
    yield b'{"data":' + orjson.dumps(members).removesuffix(b"}")
    if scope != "state":
        yield b',"events":['
        separator = b""
        for line in archive.read_events() if snapshots else archive.events:
            event = event_json(line.to_trail_event(snapshots), shows_actor=scope != "events_without_actors")
            yield separator + orjson.dumps(event)
            separator = b","
        yield b"]"
    if scope == "all":
        storage = {"path": record.path, "size_bytes": record.size_bytes, "checksum": record.checksum.hex()}
        yield b"," + orjson.dumps(storage)[1:-1]
    yield b"}}"


def _render_ndjson(
    record: ArchiveRecord, archive: Archive, document: bytes, scope: ReadableScope, snapshots: bool
) -> Iterator[bytes]:
    """Yield pieces of JSON lines. `scope` selects the content of the lines.

    - `all`: the stored lines of the archive, unchanged. A piece can end in the middle of a line.
    - `events` and `events_without_actors`: one line for each event. `snapshots`: whether these lines contain the
      session's document.
    - `state`: one line with `document`, the final session document as the caller sees it.
    """
    match scope:
        case "all":
            yield from archive.read_pieces()
        case "events" | "events_without_actors":
            for line in archive.read_events() if snapshots else archive.events:
                event = event_json(line.to_trail_event(snapshots), shows_actor=scope == "events")
                yield orjson.dumps(event) + b"\n"
        case _:
            yield document + b"\n"
