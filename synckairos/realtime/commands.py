"""Commands that come by socket: the same requests that REST makes, counted and remembered alike."""

from typing import Any

from synckairos.clock.commands import Precondition
from synckairos.config import Settings
from synckairos.errors import SyncKairosError
from synckairos.principal import Principal
from synckairos.service.requests import Answer, CommandRequest, request_fingerprint
from synckairos.service.sessions import Sessions
from synckairos.store.rate_limits import RateMeter, general_quota, switch_quota
from synckairos.wire import v3_messages
from synckairos.wire.request_bodies import SwitchBody, parse_command

_REST = {
    "add_participant": ("POST", "/participants"),
    "remove_participant": ("DELETE", "/participants"),
    "update_metadata": ("PATCH", ""),
    "delete": ("DELETE", ""),
}
"""Method and end of the path of commands that REST doesn't name by their verb."""

_UNDECIDED = frozenset({"RATE_LIMIT_EXCEEDED", "STORE_UNAVAILABLE", "SESSION_NOT_FOUND", "IDEMPOTENCY_KEY_REUSED"})


class CommandHandler:
    """Carries commands out; the id of one is its idempotency key, in one space with REST's."""

    def __init__(self, sessions: Sessions, settings: Settings) -> None:
        self._sessions = sessions
        self._general = settings.rate_limit_general
        self._switches = settings.rate_limit_switch

    async def carry_out(self, principal: Principal, asked: v3_messages.Command, lag_ms: int | None = None) -> Answer:
        """Carry a command out, once for its id. `lag_ms` is the way to the client and back, where it was measured.

        Raises SyncKairosError; a refusal that was decided carries the state it was decided on as `document`.
        """
        given = dict(asked.args)
        if asked.expected_version is not None:
            given["expected_version"] = asked.expected_version
        body = parse_command(asked.command, given)
        if lag_ms is not None and isinstance(body, SwitchBody) and body.lag_ms is not None:
            body = body.measured(lag_ms)
        meter = RateMeter(general_quota(principal.address, self._general))
        if asked.command == "switch":
            meter.add(switch_quota(asked.session_id, self._switches))
        args = body.model_dump(exclude_unset=True, exclude={"expected_version"})
        request = CommandRequest(
            principal=principal,
            session_id=asked.session_id,
            command=body.command(),
            verb=asked.command,
            args=args or None,
            precondition=None if body.expected_version is None else Precondition(version=body.expected_version),
            command_id=asked.id,
            fingerprint=fingerprint(asked.session_id, asked.command, given),
            meter=meter,
        )
        try:
            return await self._sessions.execute(request)
        except SyncKairosError as refusal:
            if refusal.document is None and refusal.code not in _UNDECIDED:
                return await self._sessions.execute(request)  # as it was decided, with the state it was decided on
            raise


def fingerprint(session_id: str, verb: str, given: dict[str, Any]) -> str:
    """Digest what a command id stands for, as REST digests the request that means the same."""
    method, end = _REST.get(verb, ("POST", f"/{verb}"))
    return request_fingerprint(method, f"/v1/sessions/{session_id}{end}", given)
