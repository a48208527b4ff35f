"""REST operation that sends one command to many sessions."""

from typing import Any

import orjson

from synckairos.errors import SyncKairosError, ValidationFailed
from synckairos.http.all_sessions_pages import SessionList
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.work_limits import COMMANDS_TO_MANY
from synckairos.principal import Principal
from synckairos.service.commands_to_many import CommandsToMany
from synckairos.service.requests import SessionResult
from synckairos.store.rate_limits import RateLimits
from synckairos.wire.body_parser import parse_command
from synckairos.wire.commands_to_many import MAX_SESSIONS, CommandResultsAnswer, CommandToMany
from synckairos.wire.problem_json import error_details
from synckairos.wire.query_parameters import UnfinishedListQuery

PAGE_SIZE = 200


class CommandToManyRoutes:
    """REST operation that executes one command on many sessions, by their ids or by their labels."""

    def __init__(
        self, commands: CommandsToMany, session_list: SessionList, rate_limits: RateLimits, work: ClientWorkLimits
    ) -> None:
        self._commands = commands
        self._session_list = session_list
        self._rate_limits = rate_limits
        self._work = work

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        return [
            Operation(
                "POST", "/v1/sessions/commands", "command_many", self.execute,
                "Execute one command on many sessions", "sessions",
                response_model=CommandResultsAnswer, body_model=CommandToMany, is_body_required=True,
                refusal_statuses=(422,),
            ),
        ]  # fmt: skip

    async def execute(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/sessions/commands`: execute one command on many sessions."""
        body = await request.read_body(CommandToMany)
        command = parse_command(body.command, body.args)
        await self._rate_limits.count(request.meter)
        principal = request.principal

        async def choose() -> list[str]:
            return body.session_ids or await self._find_by_labels(principal, body.label or [])

        session_ids = await self._commands.find_session_ids(principal, body.command_id, request.fingerprint(), choose)
        self._work.tenants.charge_requests(principal.tenant, count=len(session_ids))
        self._work.charge(principal.limited_client_id, COMMANDS_TO_MANY, len(session_ids))
        results = await self._commands.execute(
            principal, session_ids, body.command, command, body.args, body.command_id
        )
        rendered = [_render(*each) for each in zip(session_ids, results, strict=True)]
        return RestResponse(orjson.dumps({"data": {"results": rendered}}))

    async def _find_by_labels(self, principal: Principal, label: list[str]) -> list[str]:
        """Return the ids of the sessions that are not final, have all labels, and exist for the caller.

        Raises: ValidationFailed if there are more than `MAX_SESSIONS`. StoreUnavailable if Redis or Postgres does not
            answer, or if the member rows of the caller are needed and unknown.
        """
        found: list[str] = []
        query = UnfinishedListQuery(label=label, limit=PAGE_SIZE)
        while True:
            page = await self._session_list.read_page(principal.tenant, query)
            for document in page.documents:
                session = orjson.loads(document)
                session_id, labels = session["session_id"], session.get("labels", {}).items()
                if (members := principal.missing_members(session_id, labels)) is not None:
                    await members.load()
                if principal.role_on(session_id, labels) is not None:
                    found.append(session_id)
            if len(found) > MAX_SESSIONS:
                raise ValidationFailed.at_path("label", f"matches more than {MAX_SESSIONS:,} sessions")
            if page.next_cursor is None:
                return found
            query = query.model_copy(update={"cursor": page.next_cursor})


def _render(session_id: str, result: SessionResult | SyncKairosError) -> dict[str, Any]:
    if isinstance(result, SessionResult):
        return {"session_id": session_id, "version": result.snapshot.version}
    error: dict[str, Any] = {"code": result.code, "message": result.message}
    if (details := error_details(result)) is not None:
        error["details"] = details
    return {"session_id": session_id, "error": error}
