"""Execution of socket commands with the requests, idempotency records and rate limits that REST commands also use."""

from contextlib import suppress

from synckairos.config import Settings
from synckairos.errors import SessionNotFound, StoreUnavailable, ValidationFailed
from synckairos.limits.tenant_budgets import TenantBudgets
from synckairos.principal import Principal
from synckairos.service.requests import CommandRequest, SessionResult
from synckairos.service.sessions import Sessions
from synckairos.session_names import session_name
from synckairos.store.rate_limits import RateLimits
from synckairos.store.rate_meter import RateMeter
from synckairos.store.rate_quotas import PRESSES, Quota, general_rate, switch_rate
from synckairos.wire import v3_messages
from synckairos.wire.body_parser import parse_command
from synckairos.wire.command_bodies.turns import SwitchBody


class CommandHandler:
    """Executes socket commands through the session service.

    The `id` of a socket command and the `Idempotency-Key` of a REST command are both command ids. If a client sends a
    command through a socket and repeats it through REST with the same command id, the command is executed one time.
    """

    def __init__(self, sessions: Sessions, rate_limits: RateLimits, tenants: TenantBudgets, settings: Settings) -> None:
        self._sessions = sessions
        self._tenants = tenants
        self._rate_limits = rate_limits
        self._general_rate = general_rate(settings.rate_limit_general)
        self._switch_rate = switch_rate(settings.rate_limit_switch)

    async def execute_command(
        self, principal: Principal, message: v3_messages.Command, round_trip_ms: int | None = None
    ) -> SessionResult:
        """Execute a command of a v3 client, and return its result.

        If the command id was used for an equal command, return the result of that command.

        `round_trip_ms` is the measured round-trip time of the client in milliseconds; None if it is not measured. If
        the caller is cancelled, the execution continues.

        Raises: SyncKairosError if the command is refused. If the refusal is saved for replays, its `document` is the
            session document on which the refusal is based.
        """
        self._tenants.charge_requests(principal.tenant, are_presses=message.command in PRESSES)
        arguments = dict(message.args)
        if message.expected_version is not None:
            arguments["expected_version"] = message.expected_version
        if message.expected_turn is not None:
            arguments["expected_turn"] = message.expected_turn
        if message.on_behalf_of is not None:
            arguments["on_behalf_of"] = message.on_behalf_of
        meter = RateMeter(Quota(self._general_rate, principal.limited_client_id))
        try:
            body = parse_command(message.command, arguments)
        except ValidationFailed:
            # The load of a session counts all other commands. As over REST, this refusal is not counted in an outage.
            with suppress(StoreUnavailable):
                await self._rate_limits.count(meter)
            raise
        if round_trip_ms is not None and isinstance(body, SwitchBody) and body.lag_ms is not None:
            body = body.with_measured_lag(round_trip_ms)
        if message.command in PRESSES:
            name = session_name(principal.tenant, message.session_id)
            meter.count_as_press(Quota(self._switch_rate, name))
        request = CommandRequest.for_command(
            principal, message.session_id, message.command, body, arguments, command_id=message.id, meter=meter
        )
        try:
            return await self._sessions.execute_shielded(request)
        except SessionNotFound:
            # The service loads no session that the caller cannot reach, so such a command is not counted yet.
            if meter.is_due:
                with suppress(StoreUnavailable):
                    await self._rate_limits.count(meter)
            raise
