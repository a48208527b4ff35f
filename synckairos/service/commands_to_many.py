"""One command for many sessions. Each session has its own commit and its own result."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson

from synckairos.errors import IdempotencyKeyReused, SyncKairosError
from synckairos.principal import Principal
from synckairos.service.create import KEY_TTL_S
from synckairos.service.requests import CommandRequest, SessionResult
from synckairos.service.sessions import Sessions
from synckairos.session_names import session_name
from synckairos.store.rate_meter import RateMeter
from synckairos.store.rate_quotas import PRESSES, Quota, general_rate, switch_rate
from synckairos.store.sessions import SessionStore
from synckairos.telemetry.invalid_data import reporting_invalid_data
from synckairos.wire.command_bodies.shared_members import CommandBody

MAX_CONCURRENT = 50
"""Maximum number of sessions on which a command is executed at the same time."""

ChooseSessions = Callable[[], Awaitable[Sequence[str]]]
"""Function that chooses the sessions of a new command. It returns their ids."""


class CommandsToMany:
    """Executes a command on many sessions. For one command id it is executed exactly once on each session."""

    def __init__(self, sessions: Sessions, store: SessionStore, *, requests_per_min: int, presses_per_s: int) -> None:
        """Take the service, the store, and the limits of requests of a client and of presses of a session."""
        self._sessions = sessions
        self._store = store
        self._general_rate = general_rate(requests_per_min)
        self._press_rate = switch_rate(presses_per_s)

    async def find_session_ids(
        self, principal: Principal, command_id: str, fingerprint: str, choose: ChooseSessions
    ) -> list[str]:
        """Return the ids of the sessions of a command. A repeated command has the sessions of the first request.

        `choose` is called only if the command id is new. `fingerprint` is the digest of the request.

        Raises: IdempotencyKeyReused if the command id was used for another request. The errors of `choose`.
            StoreUnavailable.
        """
        name = f"bulk:{principal.qualify_request_id(command_id)}"
        reserved = await self._store.read_reserved_command_id(name)
        if reserved is None:
            value = orjson.dumps([fingerprint, *await choose()]).decode()
            reserved = await self._store.reserve_command_id(name, value, KEY_TTL_S) or value
        with reporting_invalid_data(self._store.keys.reserved_command_id(name)):
            reserved_fingerprint: str
            session_ids: list[str]
            reserved_fingerprint, *session_ids = orjson.loads(reserved)
        if reserved_fingerprint != fingerprint:
            raise IdempotencyKeyReused
        return session_ids

    async def execute(
        self,
        principal: Principal,
        session_ids: Sequence[str],
        verb: str,
        body: CommandBody,
        given: Any,
        command_id: str,
    ) -> list[SessionResult | SyncKairosError]:
        """Execute a command on each session, and return the results or the refusals in the order of `session_ids`.

        `body` is the parsed command, and `given` has the JSON values from which it was parsed. The rights of the caller
        are decided for each session. A press counts against the limit of presses of its session, as in other requests.
        """
        places = asyncio.Semaphore(MAX_CONCURRENT)

        async def execute_on(session_id: str) -> SessionResult | SyncKairosError:
            meter = None
            if verb in PRESSES:
                meter = RateMeter(Quota(self._general_rate, principal.limited_client_id))
                meter.count_as_press(Quota(self._press_rate, session_name(principal.tenant, session_id)))
            request = CommandRequest.for_command(
                principal, session_id, verb, body, given, command_id=f"bulk:{command_id}", meter=meter
            )
            async with places:
                try:
                    return await self._sessions.execute_shielded(request)
                except SyncKairosError as refusal:
                    return refusal

        return await asyncio.gather(*(execute_on(each) for each in session_ids))
