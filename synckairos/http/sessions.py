"""Sessions over REST: create, read, command, patch, delete. Parses, calls the service, renders; decides nothing."""

from contextlib import suppress
from typing import Any

import orjson

from synckairos.errors import PreconditionFailed, SessionNotFound
from synckairos.http.etag import is_unchanged, parse_etags, render_etag
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

    async def create(self, call: RestRequest) -> RestResponse:
        body = await call.body(CreateSession)
        command_id = call.command_id()
        answer = await self._sessions.create(
            CreateRequest(
                principal=call.principal,
                spec=body.to_create(),
                session_id=body.session_id,
                args=body.model_dump(exclude_unset=True),
                command_id=command_id,
                fingerprint=call.fingerprint() if command_id is not None else "",
                meter=call.meter,
            )
        )
        reply = _session_reply(answer)
        reply.status = 201
        reply.headers.append((b"location", f"/v1/sessions/{answer.session.session_id}".encode()))
        return reply

    async def read(self, call: RestRequest) -> RestResponse:
        query = call.query(ReadQuery)
        session_id = call.id("session_id")
        if query.at is None:
            answer = await self._sessions.read(session_id, call.meter)
        else:
            answer = await self._sessions.read_at(session_id, query.at, call.meter)
        reply = _session_reply(answer)
        tags = parse_etags(call.header(b"if-match"))
        if tags and (answer.version, answer.epoch) not in tags:
            raise PreconditionFailed(f"The session is at version {answer.version} of epoch {answer.epoch}")
        reply.headers.append((b"cache-control", b"no-cache"))
        if is_unchanged(call.header(b"if-none-match"), render_etag(answer.version, answer.epoch)):
            reply.status, reply.body = 304, b""
        return reply

    async def switch(self, call: RestRequest) -> RestResponse:
        body = await call.body(COMMAND_BODIES["switch"])
        session_id = call.id("session_id")
        answer = await self._execute(call, session_id, "switch", body)
        return _session_reply(answer, render_switch(answer))

    def _command(self, verb: str) -> Handler:
        model = COMMAND_BODIES[verb]

        async def handle(call: RestRequest) -> RestResponse:
            body = await call.body(model)
            return _session_reply(await self._execute(call, call.id("session_id"), verb, body))

        return handle

    async def patch(self, call: RestRequest) -> RestResponse:
        body = await call.body(MetadataBody, "application/json", MERGE_PATCH)
        answer = await self._execute(call, call.id("session_id"), "update_metadata", body)
        return _session_reply(answer)

    async def join(self, call: RestRequest) -> RestResponse:
        body = await call.body(JoinBody)
        return _session_reply(await self._execute(call, call.id("session_id"), "add_participant", body))

    async def leave(self, call: RestRequest) -> RestResponse:
        body = await call.body(StartBody)
        given = body.model_dump(exclude_unset=True)
        leaver = LeaveBody(**given, participant_id=call.id("participant_id"))
        return _session_reply(await self._execute(call, call.id("session_id"), "remove_participant", leaver))

    async def delete(self, call: RestRequest) -> RestResponse:
        body = await call.body(DeleteBody)
        with suppress(SessionNotFound):
            await self._execute(call, call.id("session_id"), "delete", body)
        return RestResponse(status=204)

    # -- together -----------------------------------------------------------------------------------------------------

    async def _execute(self, call: RestRequest, session_id: str, verb: str, body: CommandBody) -> Answer:
        command_id = call.command_id() if call.scope["method"] in ("POST", "PATCH") else None
        etags = tuple(parse_etags(call.header(b"if-match")))
        if verb == "switch":
            call.meter.add(switch_quota(session_id, self._switches_per_s))
        # A request is answered to its end, also when its client is gone.
        return await self._sessions.carry_out(
            CommandRequest.for_command(
                call.principal,
                session_id,
                verb,
                body,
                call.given,
                etags=etags,
                command_id=command_id,
                meter=call.meter,
            )
        )


def _session_reply(answer: Answer, document: bytes | None = None) -> RestResponse:
    """Wrap a session's own bytes, or `document` instead, and say which version they are."""
    headers = [(b"etag", render_etag(answer.version, answer.epoch).encode())]
    if answer.audited_version is not None:
        headers.append((b"synckairos-audited-version", b"%d" % answer.audited_version))
    if answer.replayed:
        headers.append((b"idempotency-replayed", b"true"))
    return RestResponse(b'{"data":%b}' % (answer.document if document is None else document), headers=headers)


def render_switch(answer: Answer) -> bytes:
    """Render the answer to a switch; the participants are the document's own bytes."""
    session = answer.session
    active = session.active_participant
    result: dict[str, Any] = {
        "session_id": session.session_id,
        "active_participant_id": None if active is None else active.participant_id,
        "cycle_started_at": None if session.anchor_ms is None else render_instant(session.anchor_ms),
        "participants": orjson.Fragment(extract_participants(answer.document)),
        "status": session.status,
        "version": session.version,
    }
    if answer.expired_participant_id is not None:
        result["expired_participant_id"] = answer.expired_participant_id
    if (receipt := answer.lag_receipt) is not None:
        result["lag_receipt"] = receipt_json(receipt)
    return orjson.dumps(result)
