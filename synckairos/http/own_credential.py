"""REST route that shows callers their own credential: who they are, and which role they have on a session."""

from collections.abc import Callable
from typing import Any

import orjson

from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.principal import Principal
from synckairos.store.rate_limits import RateLimits
from synckairos.wire.own_credential import OwnCredentialAnswer, OwnCredentialQuery


class OwnCredentialRoutes:
    """REST operation that describes the caller. It reads no session, so it works while the stores are away."""

    def __init__(self, now_ms: Callable[[], int] | None, rate_limits: RateLimits) -> None:
        """Create the routes.

        `now_ms` returns the time of Redis in ms since the Unix epoch. It is None while authentication is off.
        """
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
        query = request.read_query(OwnCredentialQuery)
        await self._rate_limits.count(request.meter)
        now_ms = None if self._now_ms is None else self._now_ms()
        data = _render_principal(request.principal, query.session_id, now_ms)
        return RestResponse(orjson.dumps({"data": data}), headers=[(b"cache-control", b"no-store")])


def _render_principal(principal: Principal, session_id: str | None, now_ms: int | None) -> dict[str, Any]:
    """Return the JSON object that describes a principal.

    `session_id` is the session of `session_role`, None if the query has no session. `now_ms` is the time of Redis in
    ms since the Unix epoch, None while authentication is off.
    """
    expires_in_ms = None
    if principal.life is not None and now_ms is not None:
        expires_in_ms = max(0, principal.life.expires_at_ms - now_ms)
    return {
        "kind": principal.kind,
        "tenant": principal.tenant,
        "subject": principal.subject,
        "role": principal.role,
        "participant_id": principal.participant_id,
        "expires_in_ms": expires_in_ms,
        "session_role": None if session_id is None else principal.role_on(session_id, ()),
    }
