"""REST route that shows callers their own credential: who they are, and which role they have on a session."""

from collections.abc import Callable

import orjson

from synckairos.errors import SessionNotFound
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.principal import Principal, Role
from synckairos.service.sessions import Sessions
from synckairos.store.rate_limits import RateLimits
from synckairos.wire.own_credential import OwnCredentialAnswer, OwnCredentialQuery


class OwnCredentialRoutes:
    """REST operation that describes the caller. It reads a session only if labels of the session decide the role."""

    def __init__(self, sessions: Sessions, now_ms: Callable[[], int] | None, rate_limits: RateLimits) -> None:
        """Create the routes.

        `now_ms` returns the time of Redis in ms since the Unix epoch. It is None while authentication is off.
        """
        self._sessions = sessions
        self._now_ms = now_ms
        self._rate_limits = rate_limits

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        return [
            Operation(
                "GET", "/v1/me", "describe_caller", self.describe, "Describe the credential of the caller",
                "credentials", response_model=OwnCredentialAnswer, query_model=OwnCredentialQuery,
            ),
        ]  # fmt: skip

    async def describe(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/me`: describe the credential of the caller."""
        query = request.read_query(OwnCredentialQuery)
        await self._rate_limits.count(request.meter)
        principal = request.principal
        data = {
            "kind": principal.kind,
            "tenant": principal.tenant,
            "subject": principal.subject,
            "role": principal.role,
            "participant_id": principal.participant_id,
            "expires_in_ms": self._expires_in_ms(principal),
            "session_role": await self._find_session_role(principal, query.session_id),
        }
        return RestResponse(orjson.dumps({"data": data}), headers=[(b"cache-control", b"no-store")])

    def _expires_in_ms(self, principal: Principal) -> int | None:
        if principal.life is None or principal.life.expires_at_ms is None or self._now_ms is None:
            return None
        return max(0, principal.life.expires_at_ms - self._now_ms())

    async def _find_session_role(self, principal: Principal, session_id: str | None) -> Role | None:
        """Return the role on a session. Return None without a session, or if the caller cannot reach the session."""
        if session_id is None:
            return None
        try:
            return await self._sessions.find_role(principal, session_id)
        except SessionNotFound:
            return None
