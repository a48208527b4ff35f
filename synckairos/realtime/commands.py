"""Execution of socket commands: the same requests, idempotency records and rate limits as for REST commands."""

from synckairos.config import Settings
from synckairos.principal import Principal
from synckairos.service.requests import Answer, CommandRequest
from synckairos.service.sessions import Sessions
from synckairos.store.rate_limits import RateMeter, general_quota, switch_quota
from synckairos.wire import v3_messages
from synckairos.wire.request_bodies import SwitchBody, parse_command


class CommandHandler:
    """Executes commands. The id of a command is its idempotency key; socket and REST commands share one key space."""

    def __init__(self, sessions: Sessions, settings: Settings) -> None:
        self._sessions = sessions
        self._general_rate = settings.rate_limit_general
        self._switch_rate = settings.rate_limit_switch

    async def execute(
        self, principal: Principal, message: v3_messages.Command, round_trip_ms: int | None = None
    ) -> Answer:
        """Execute a command, once for its id. `round_trip_ms` is the measured time to the client and back.

        Raises: SyncKairosError. A saved refusal has the document that it was decided on.
        """
        arguments = dict(message.args)
        if message.expected_version is not None:
            arguments["expected_version"] = message.expected_version
        body = parse_command(message.command, arguments)
        if round_trip_ms is not None and isinstance(body, SwitchBody) and body.lag_ms is not None:
            body = body.with_measured_lag(round_trip_ms)
        meter = RateMeter(general_quota(principal.address, self._general_rate))
        if message.command == "switch":
            meter.add(switch_quota(message.session_id, self._switch_rate))
        request = CommandRequest.for_command(
            principal, message.session_id, message.command, body, arguments, command_id=message.id, meter=meter
        )
        return await self._sessions.execute_shielded(request)
