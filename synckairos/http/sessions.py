"""Sessions over REST: create, read, command, patch, delete. Parses, calls the service, renders; decides nothing."""

from contextlib import suppress
from typing import Any

import orjson

from synckairos.errors import PreconditionFailed, SessionNotFound
from synckairos.http.etag import is_not_modified, parse_etags, render_etag
from synckairos.http.operations import Handler, Operation
from synckairos.http.request import RestRequest, RestResponse
from synckairos.service.requests import Answer, CommandRequest, CreateRequest
from synckairos.service.sessions import Sessions
from synckairos.store.rate_limits import switch_quota
from synckairos.wire import response_models
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.instants import render_instant
from synckairos.wire.query_parameters import ReadQuery
from synckairos.wire.request_bodies import (
    COMMAND_BODIES,
    CommandBody,
    DeleteBody,
    JoinBody,
    LeaveBody,
    MetadataBody,
    StartBody,
)
from synckairos.wire.session_json import extract_participants, receipt_json

MERGE_PATCH = "application/merge-patch+json"

ONE_SESSION = "/v1/sessions/{session_id}"


class SessionRoutes:
    """The operations on one session, and its creation."""

    def __init__(self, sessions: Sessions, switches_per_s: int) -> None:
        self._sessions = sessions
        self._switches_per_s = switches_per_s

    def operations(self) -> list[Operation]:
        """Return the operations for the table, in the order in which a session's life meets them."""
        session = response_models.SessionAnswer

        def command(verb: str, summary: str) -> Operation:
            return Operation(
                "POST", f"{ONE_SESSION}/{verb}", self._command(verb), summary, "sessions",
                answer=session, body=COMMAND_BODIES[verb], body_required=verb == "adjust",
                refusals=(404, 409, 412, 422),
            )  # fmt: skip

        return [
            Operation(
                "POST", "/v1/sessions", self.create, "Create a session", "sessions",
                answer=session, status=201, body=CreateSession, body_required=True, refusals=(409, 422),
            ),
            Operation(
                "GET", ONE_SESSION, self.read, "Read it, as it is or as it was", "sessions",
                answer=session, query=ReadQuery, refusals=(304, 404, 412),
            ),
            command("start", "Start it"),
            Operation(
                "POST", f"{ONE_SESSION}/switch", self.switch, "End the turn, begin the next", "sessions",
                answer=response_models.SwitchAnswer, body=COMMAND_BODIES["switch"], refusals=(404, 409, 412, 422),
            ),
            command("pause", "Pause it for a reason"),
            command("resume", "Lift one reason for its pause, or all"),
            command("adjust", "Add or take time"),
            Operation(
                "POST", f"{ONE_SESSION}/participants", self.join, "Let someone join", "sessions",
                answer=session, body=JoinBody, body_required=True, refusals=(404, 409, 412, 422),
            ),
            Operation(
                "DELETE", f"{ONE_SESSION}/participants/{{participant_id}}", self.leave, "Let someone leave", "sessions",
                answer=session, body=StartBody, refusals=(404, 409, 412),
            ),
            Operation(
                "PATCH", ONE_SESSION, self.patch, "Merge into its metadata", "sessions",
                answer=session, body=MetadataBody, body_required=True, refusals=(404, 409, 412, 422),
                media_types=(MERGE_PATCH,),
            ),
            command("complete", "Complete it"),
            command("cancel", "Cancel it"),
            Operation(
                "DELETE", ONE_SESSION, self.delete, "Delete it; its audit trail stays", "sessions",
                status=204, body=DeleteBody, refusals=(409, 412),
            ),
        ]  # fmt: skip

    # -- one by one ---------------------------------------------------------------------------------------------------

    async def create(self, request: RestRequest) -> RestResponse:
        body = await request.read_body(CreateSession)
        command_id = request.command_id()
        answer = await self._sessions.create(
            CreateRequest(
                principal=request.principal,
                spec=body.to_create(),
                session_id=body.session_id,
                args=body.model_dump(exclude_unset=True),
                command_id=command_id,
                fingerprint=request.fingerprint() if command_id is not None else "",
                meter=request.meter,
            )
        )
        response = _session_response(answer)
        response.status = 201
        response.headers.append((b"location", f"/v1/sessions/{answer.session.session_id}".encode()))
        return response

    async def read(self, request: RestRequest) -> RestResponse:
        query = request.read_query(ReadQuery)
        session_id = request.path_uuid("session_id")
        if query.at is None:
            answer = await self._sessions.read(session_id, request.meter)
        else:
            answer = await self._sessions.read_at(session_id, query.at, request.meter)
        response, snapshot = _session_response(answer), answer.snapshot
        tags = parse_etags(request.header(b"if-match"))
        if tags and (snapshot.version, snapshot.epoch) not in tags:
            raise PreconditionFailed(f"The session is at version {snapshot.version} of epoch {snapshot.epoch}")
        response.headers.append((b"cache-control", b"no-cache"))
        if is_not_modified(request.header(b"if-none-match"), render_etag(snapshot.version, snapshot.epoch)):
            response.status, response.body = 304, b""
        return response

    async def switch(self, request: RestRequest) -> RestResponse:
        body = await request.read_body(COMMAND_BODIES["switch"])
        session_id = request.path_uuid("session_id")
        answer = await self._execute(request, session_id, "switch", body)
        return _session_response(answer, render_switch(answer))

    def _command(self, verb: str) -> Handler:
        model = COMMAND_BODIES[verb]

        async def handle(request: RestRequest) -> RestResponse:
            body = await request.read_body(model)
            return _session_response(await self._execute(request, request.path_uuid("session_id"), verb, body))

        return handle

    async def patch(self, request: RestRequest) -> RestResponse:
        body = await request.read_body(MetadataBody, "application/json", MERGE_PATCH)
        answer = await self._execute(request, request.path_uuid("session_id"), "update_metadata", body)
        return _session_response(answer)

    async def join(self, request: RestRequest) -> RestResponse:
        body = await request.read_body(JoinBody)
        return _session_response(await self._execute(request, request.path_uuid("session_id"), "add_participant", body))

    async def leave(self, request: RestRequest) -> RestResponse:
        body = await request.read_body(StartBody)
        given = body.model_dump(exclude_unset=True)
        leaver = LeaveBody(**given, participant_id=request.path_uuid("participant_id"))
        return _session_response(
            await self._execute(request, request.path_uuid("session_id"), "remove_participant", leaver)
        )

    async def delete(self, request: RestRequest) -> RestResponse:
        body = await request.read_body(DeleteBody)
        with suppress(SessionNotFound):
            await self._execute(request, request.path_uuid("session_id"), "delete", body)
        return RestResponse(status=204)

    # -- together -----------------------------------------------------------------------------------------------------

    async def _execute(self, request: RestRequest, session_id: str, verb: str, body: CommandBody) -> Answer:
        command_id = request.command_id() if request.scope["method"] in ("POST", "PATCH") else None
        etags = tuple(parse_etags(request.header(b"if-match")))
        if verb == "switch":
            request.meter.add(switch_quota(session_id, self._switches_per_s))
        # A request is answered to its end, also when its client is gone.
        return await self._sessions.carry_out(
            CommandRequest.for_command(
                request.principal,
                session_id,
                verb,
                body,
                request.body_json,
                etags=etags,
                command_id=command_id,
                meter=request.meter,
            )
        )


def _session_response(answer: Answer, document: bytes | None = None) -> RestResponse:
    """Wrap a session's own bytes, or `document` instead, and say which version they are."""
    snapshot = answer.snapshot
    headers = [(b"etag", render_etag(snapshot.version, snapshot.epoch).encode())]
    if answer.audited_version is not None:
        headers.append((b"synckairos-audited-version", b"%d" % answer.audited_version))
    if answer.replayed:
        headers.append((b"idempotency-replayed", b"true"))
    return RestResponse(b'{"data":%b}' % (snapshot.document if document is None else document), headers=headers)


def render_switch(answer: Answer) -> bytes:
    """Render the answer to a switch; the participants are the document's own bytes."""
    session = answer.session
    active = session.active_participant
    result: dict[str, Any] = {
        "session_id": session.session_id,
        "active_participant_id": None if active is None else active.participant_id,
        "cycle_started_at": None if session.anchor_ms is None else render_instant(session.anchor_ms),
        "participants": orjson.Fragment(extract_participants(answer.snapshot.document)),
        "status": session.status,
        "version": session.version,
    }
    if answer.expired_participant_id is not None:
        result["expired_participant_id"] = answer.expired_participant_id
    if (receipt := answer.lag_receipt) is not None:
        result["lag_receipt"] = receipt_json(receipt)
    return orjson.dumps(result)
