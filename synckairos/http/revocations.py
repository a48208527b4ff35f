"""REST routes that end credentials and sockets early: revocations and disconnections."""

import orjson

from synckairos.errors import AuthenticationOff
from synckairos.history.page_cursor import parse_cursor, render_cursor
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.revocations.channel import ControlChannel
from synckairos.store.rate_limits import RateLimits
from synckairos.stored_credentials.revoked_credentials import end_revoked_credentials
from synckairos.stored_credentials.table import CredentialTable
from synckairos.wire import revocations as wire

PATH = "/v1/revocations"


class RevocationRoutes:
    """REST operations on revocations and disconnections. All operations require the role `admin`.

    `channel` is None while authentication is off. Then all operations answer 403.
    """

    def __init__(self, table: CredentialTable, channel: ControlChannel | None, rate_limits: RateLimits) -> None:
        self._table = table
        self._channel = channel
        self._rate_limits = rate_limits

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        tag = "credentials"
        return [
            Operation(
                "POST", PATH, "manage_revocations", self.create, "Revoke credentials of the tenant", tag,
                response_model=wire.RevocationAnswer, success_status=201, body_model=wire.CreateRevocation,
                is_body_required=True, refusal_statuses=(403, 409), is_administrative=True,
            ),
            Operation(
                "GET", PATH, "manage_revocations", self.list, "List revocations that have an effect, newest first", tag,
                response_model=wire.RevocationPage, query_model=wire.RevocationsQuery, refusal_statuses=(403,),
            ),
            Operation(
                "POST", "/v1/disconnect", "disconnect", self.disconnect,
                "Close all sockets and streams of a subject", tag,
                success_status=204, body_model=wire.Disconnect, is_body_required=True, refusal_statuses=(403, 409),
                is_administrative=True,
            ),
        ]  # fmt: skip

    async def create(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/revocations`: revoke the credentials that the body selects."""
        body = await request.read_body(wire.CreateRevocation)
        channel = await self._authorize(request)
        made = await channel.revoke_as_requested(request.principal, body)
        await end_revoked_credentials(self._table, channel, made)
        request.act_target = made.entry_id
        return RestResponse(orjson.dumps({"data": wire.revocation_json(made)}), 201)

    async def list(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/revocations`: list the revocations of the tenant, newest first."""
        query = request.read_query(wire.RevocationsQuery)
        channel = await self._authorize(request)
        channel.require_current()
        found = channel.list_revocations(request.principal.tenant)
        if query.cursor is not None:
            after = parse_cursor(query.cursor, int, str)
            found = [each for each in found if (each.at_ms, each.entry_id) < after]
        page = found[: query.limit]
        cursor = render_cursor(page[-1].at_ms, page[-1].entry_id) if len(found) > len(page) else None
        return RestResponse(orjson.dumps({"data": [*map(wire.revocation_json, page)], "next_cursor": cursor}))

    async def disconnect(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/disconnect`: close all sockets and streams of a subject."""
        body = await request.read_body(wire.Disconnect)
        await (await self._authorize(request)).disconnect(request.principal, body.subject)
        request.act_target = body.subject
        return RestResponse(status=204)

    async def _authorize(self, request: RestRequest) -> ControlChannel:
        """Count the request against its rate limits, and return the channel.

        Raises: RateLimitExceeded or StoreUnavailable from the count. AuthenticationOff.
        """
        await self._rate_limits.count(request.meter)
        if self._channel is None:
            raise AuthenticationOff
        return self._channel
