"""Commands that come by socket: the same requests that REST makes, counted and remembered alike."""

from synckairos.config import Settings
from synckairos.principal import Principal
from synckairos.service.requests import Answer, CommandRequest
from synckairos.service.sessions import Sessions
from synckairos.store.rate_limits import RateMeter, general_quota, switch_quota
from synckairos.wire import v3_messages
from synckairos.wire.request_bodies import SwitchBody, parse_command


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
            body = body.with_measured_lag(lag_ms)
        meter = RateMeter(general_quota(principal.address, self._general))
        if asked.command == "switch":
            meter.add(switch_quota(asked.session_id, self._switches))
        request = CommandRequest.for_command(
            principal, asked.session_id, asked.command, body, given, command_id=asked.id, meter=meter
        )
        return await self._sessions.execute(request)
