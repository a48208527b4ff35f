"""REST routes that create, read, change and delete one session.

The routes parse requests, call the session service, and render the answers. The service makes all decisions.
"""

from typing import Any

import orjson

from synckairos.errors import PreconditionFailed, SessionNotFound, ValidationFailed
from synckairos.http.etag import is_not_modified, parse_if_match, render_etag
from synckairos.http.operations import Handler, Operation
from synckairos.http.request_response import RestRequest, RestResponse, render_data_envelope
from synckairos.presets.expand import expand_preset
from synckairos.service.exclusive_start import stopped_json
from synckairos.service.requests import CommandRequest, CreateRequest, SessionResult
from synckairos.service.sessions import Sessions
from synckairos.service.visible_rows import find_only_row, find_row_limit
from synckairos.store.rate_quotas import PRESSES, Quota, switch_rate
from synckairos.wire import response_models
from synckairos.wire.command_bodies.participants import (
    JoinBody,
    LeaveBody,
    ParticipantChangesBody,
    RemovalBody,
    UpdateParticipantBody,
)
from synckairos.wire.command_bodies.session_changes import PatchBody
from synckairos.wire.command_bodies.shared_members import CommandBody
from synckairos.wire.command_bodies.start_and_end import DeleteBody
from synckairos.wire.command_bodies.table import COMMAND_BODIES
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.document_scan import extract_participants_json, find_session_id
from synckairos.wire.field_types import parse_uuid
from synckairos.wire.instants import render_instant
from synckairos.wire.participant_view import render_participant_view
from synckairos.wire.preset_models import CreateFromPreset
from synckairos.wire.query_parameters import ReadQuery
from synckairos.wire.session_json import receipt_json

MERGE_PATCH = "application/merge-patch+json"

SESSION_PATH = "/v1/sessions/{session_id}"


class SessionRoutes:
    """REST operations that create, read, change and delete one session."""

    def __init__(self, sessions: Sessions, presses_per_s: int) -> None:
        self._sessions = sessions
        self._press_rate = switch_rate(presses_per_s)

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class, in the order of their use in the life of a session."""
        tag, model = "sessions", response_models.SessionAnswer

        def command(verb: str, summary: str) -> Operation:
            is_body_required = verb in ("adjust", "done", "amend", "announce", "screen")
            return Operation(
                "POST", f"{SESSION_PATH}/{verb}", verb, self._command_handler(verb), summary, tag,
                response_model=model, body_model=COMMAND_BODIES[verb], is_body_required=is_body_required,
                refusal_statuses=(404, 409, 412, 422),
            )  # fmt: skip

        return [
            Operation(
                "POST", "/v1/sessions", "create", self.create, "Create a session", tag,
                response_model=model, success_status=201, body_model=CreateSession,
                other_body_models=(CreateFromPreset,), is_body_required=True,
                refusal_statuses=(409, 422),
            ),
            Operation(
                "GET", SESSION_PATH, "read", self.read, "Read a session, now or at an earlier instant", tag,
                response_model=model, query_model=ReadQuery, refusal_statuses=(304, 404, 412),
            ),
            command("start", "Start a session and its first turn"),
            Operation(
                "POST", f"{SESSION_PATH}/switch", "switch", self.switch, "End the current turn and start the next", tag,
                response_model=response_models.SwitchAnswer, body_model=COMMAND_BODIES["switch"],
                refusal_statuses=(404, 409, 412, 422),
            ),
            command("done", "Mark a participant as done in the current turn"),
            command("finish", "End clocks of participants in individual before their zero"),
            command("pause", "Add a pause reason; the clocks stop"),
            command("resume", "Remove one pause reason or all; after the last one the clocks continue"),
            command("adjust", "Add time to clocks or take time from them"),
            Operation(
                "POST", f"{SESSION_PATH}/participants", "add_participant", self.add_participant,
                "Add a participant", tag,
                response_model=model, body_model=JoinBody, is_body_required=True,
                refusal_statuses=(404, 409, 412, 422),
            ),
            Operation(
                "DELETE", f"{SESSION_PATH}/participants/{{participant_id}}", "remove_participant",
                self.remove_participant,
                "Remove a participant", tag,
                response_model=model, body_model=RemovalBody, refusal_statuses=(404, 409, 412),
            ),
            Operation(
                "PATCH", f"{SESSION_PATH}/participants/{{participant_id}}", "update_participant",
                self.update_participant,
                "Change the budget or clock system of a participant before its first turn is over, or its name", tag,
                response_model=model, body_model=ParticipantChangesBody, is_body_required=True,
                refusal_statuses=(404, 409, 412, 422), media_types=(MERGE_PATCH,),
            ),
            Operation(
                "PATCH", SESSION_PATH, "update_session", self.patch,
                "Change metadata, labels, and the instants of start and end by a merge patch (RFC 7396)", tag,
                response_model=model, body_model=PatchBody, is_body_required=True,
                refusal_statuses=(404, 409, 412, 422), media_types=(MERGE_PATCH,),
            ),
            Operation(
                "PUT", f"{SESSION_PATH}/plan", "set_plan", self._command_handler("set_plan"),
                "Replace the items of the plan that have not begun", tag,
                response_model=model, body_model=COMMAND_BODIES["set_plan"], is_body_required=True,
                refusal_statuses=(404, 409, 412, 422),
            ),
            command("complete", "End a session as completed"),
            command("cancel", "End a session as cancelled"),
            command("undo", "Take back turns; an earlier turn begins again"),
            command("reopen", "Continue an expired or completed session, paused in the turn in which it ended"),
            command("amend", "Replace the start, end or breaks of an ended count_up session"),
            command("announce", "Show a text to the audience, or remove it"),
            command("screen", "Change what the screens of the audience show"),
            Operation(
                "DELETE", SESSION_PATH, "delete", self.delete, "Delete a session; its audit trail stays", tag,
                success_status=204, body_model=DeleteBody, refusal_statuses=(409, 412),
            ),
        ]  # fmt: skip

    # -- handlers -----------------------------------------------------------------------------------------------------

    async def create(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/sessions`: create a session, from a preset if the body names one."""
        body = await request.read_body(CreateSession, prepare=_expand_creation)
        command_id = request.parse_command_id()
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
        response = _limited_response(request, answer)
        response.status = 201
        response.headers.append(
            (b"location", request.to_public_path(f"/v1/sessions/{answer.session.session_id}").encode())
        )
        return response

    async def read(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/sessions/{id}`: read a session, now or at an earlier instant."""
        query = request.read_query(ReadQuery)
        session_id = request.path_uuid("session_id")
        if query.at is None:
            answer = await self._sessions.read(request.principal, session_id, request.meter)
        else:
            answer = await self._sessions.read_at_instant(request.principal, session_id, query.at, request.meter)
        snapshot = answer.snapshot
        only = find_only_row(request.principal, session_id, snapshot.document, query.only)
        document = snapshot.document if only is None else render_participant_view(snapshot.document, only)
        response = _session_response(request, answer, document, only)
        tags = parse_if_match(request.header(b"if-match"))
        if tags and (snapshot.version, snapshot.epoch) not in tags:
            raise PreconditionFailed(f"The session is at version {snapshot.version} of epoch {snapshot.epoch}")
        response.headers.append((b"cache-control", b"private, no-cache"))
        if is_not_modified(request.header(b"if-none-match"), render_etag(snapshot.version, snapshot.epoch, only)):
            response.status, response.body = 304, b""
        return response

    async def switch(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/sessions/{id}/switch`: end the current turn and start the next."""
        body = await request.read_body(COMMAND_BODIES["switch"])
        session_id = request.path_uuid("session_id")
        answer = await self._execute(request, session_id, "switch", body)
        return _session_response(request, answer, render_switch_answer(answer))

    def _command_handler(self, verb: str) -> Handler:
        model = COMMAND_BODIES[verb]

        async def handle(request: RestRequest) -> RestResponse:
            body = await request.read_body(model)
            answer = await self._execute(request, request.path_uuid("session_id"), verb, body)
            return _limited_response(request, answer)

        return handle

    async def patch(self, request: RestRequest) -> RestResponse:
        """Answer `PATCH /v1/sessions/{id}`: change a session by a merge patch (RFC 7396)."""
        body = await request.read_body(PatchBody, "application/json", MERGE_PATCH)
        answer = await self._execute(request, request.path_uuid("session_id"), body.verb, body)
        return _limited_response(request, answer)

    async def add_participant(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/sessions/{id}/participants`: add a participant."""
        body = await request.read_body(JoinBody)
        answer = await self._execute(request, request.path_uuid("session_id"), "add_participant", body)
        return _limited_response(request, answer)

    async def remove_participant(self, request: RestRequest) -> RestResponse:
        """Answer `DELETE /v1/sessions/{id}/participants/{participant_id}`: remove a participant."""
        body = await request.read_body(RemovalBody)
        leave_body = LeaveBody(
            **body.model_dump(exclude_unset=True), participant_id=request.path_uuid("participant_id")
        )
        answer = await self._execute(request, request.path_uuid("session_id"), "remove_participant", leave_body)
        return _limited_response(request, answer)

    async def update_participant(self, request: RestRequest) -> RestResponse:
        """Answer `PATCH /v1/sessions/{id}/participants/{participant_id}`: change a participant by a merge patch."""
        body = await request.read_body(ParticipantChangesBody, "application/json", MERGE_PATCH)
        participant_id = request.path_uuid("participant_id")
        changes = UpdateParticipantBody(**body.model_dump(exclude_unset=True), participant_id=participant_id)
        session_id, path_values = request.path_uuid("session_id"), {"participant_id": participant_id}
        answer = await self._execute(request, session_id, "update_participant", changes, path_values)
        return _limited_response(request, answer)

    async def delete(self, request: RestRequest) -> RestResponse:
        """Answer `DELETE /v1/sessions/{id}`: delete a session. Its audit trail stays."""
        body = await request.read_body(DeleteBody)
        try:
            await self._execute(request, request.path_uuid("session_id"), "delete", body)
        except SessionNotFound:
            # For an admin a deletion of a missing session succeeds. Other callers may not delete.
            if request.principal.role != "admin":
                raise
        return RestResponse(status=204)

    # -- shared helpers -----------------------------------------------------------------------------------------------

    async def _execute(
        self,
        request: RestRequest,
        session_id: str,
        verb: str,
        body: CommandBody,
        path_values: dict[str, str] | None = None,
    ) -> SessionResult:
        """Execute a command. `path_values` has arguments of the command that the path has instead of the body.

        They are part of the fingerprint, so that a key that was used for one participant is refused for another one.
        """
        command_id = None if request.scope["method"] == "DELETE" else request.parse_command_id()
        etags = tuple(parse_if_match(request.header(b"if-match")))
        body, given = _with_represented_participant(request, body)
        if path_values is not None:
            given = {**(given or {}), **path_values}
        if verb in PRESSES:
            request.meter.count_as_press(Quota(self._press_rate, request.name_of(session_id)))
        # The service completes the command even if the client disconnects in the meantime.
        return await self._sessions.execute(
            CommandRequest.for_command(
                request.principal,
                session_id,
                verb,
                body,
                given,
                etags=etags,
                command_id=command_id,
                meter=request.meter,
            )
        )


def _with_represented_participant(request: RestRequest, body: CommandBody) -> tuple[CommandBody, Any]:
    """Return the body with `on_behalf_of` from the header `On-Behalf-Of`, and the JSON values as if the body had it.

    The header is for requests without a body. If the request does not have the header, the body stays unchanged.

    Raises: ValidationFailed if the header is not a UUID, or if the body names another participant.
    """
    header = request.header(b"on-behalf-of")
    if header is None:
        return body, request.body_json
    try:
        participant_id = parse_uuid(header)
    except ValueError as error:
        raise ValidationFailed.at_path("On-Behalf-Of", str(error)) from None
    if body.on_behalf_of not in (None, participant_id):
        raise ValidationFailed.at_path("On-Behalf-Of", "should name the same participant as on_behalf_of of the body")
    if body.on_behalf_of is not None:
        return body, request.body_json
    represented = body.model_copy(update={"on_behalf_of": participant_id})
    return represented, {**(request.body_json or {}), "on_behalf_of": participant_id}


def _limited_response(request: RestRequest, answer: SessionResult) -> RestResponse:
    """Build the response with the session as the caller sees it."""
    document = answer.snapshot.document
    # `answer.session` would parse the document, which replays do not need.
    only = find_row_limit(request.principal, find_session_id(document), document)
    return _session_response(
        request, answer, document if only is None else render_participant_view(document, only), only
    )


def _session_response(
    request: RestRequest, answer: SessionResult, document: bytes, only: str | None = None
) -> RestResponse:
    """Build the response to a request about one session, with headers such as `ETag` and `Idempotency-Replayed`.

    The body contains `document`. `only` is the participant whose row it has alone, None if it has all rows.
    """
    snapshot = answer.snapshot
    headers = [(b"etag", render_etag(snapshot.version, snapshot.epoch, only).encode())]
    if answer.audited_version is not None:
        headers.append((b"synckairos-audited-version", b"%d" % answer.audited_version))
    if answer.replayed:
        headers.append((b"idempotency-replayed", b"true"))
    body = render_data_envelope(document, request.warnings, stopped_json(answer.stopped))
    return RestResponse(body, headers=headers)


def render_switch_answer(answer: SessionResult) -> bytes:
    """Return the JSON of the answer to a switch. The participants' JSON is copied from the session's document."""
    session = answer.session
    active = session.active_participant
    result: dict[str, Any] = {
        "session_id": session.session_id,
        "active_participant_id": None if active is None else active.participant_id,
        "cycle_started_at": None if session.anchor_ms is None else render_instant(session.anchor_ms),
        "participants": orjson.Fragment(extract_participants_json(answer.snapshot.document)),
        "status": session.status,
        "version": session.version,
    }
    if answer.expired_participant_id is not None:
        result["expired_participant_id"] = answer.expired_participant_id
    if (receipt := answer.lag_receipt) is not None:
        result["lag_receipt"] = receipt_json(receipt)
    return orjson.dumps(result)


def _expand_creation(value: Any) -> Any:
    """Return the body of a creation, expanded if it names a preset."""
    return expand_preset(value) if isinstance(value, dict) and "preset" in value else value
