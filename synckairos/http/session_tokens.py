"""REST routes of session tokens: the exchange of an API key for a session token, and its end."""

from synckairos.errors import AuthenticationOff, Forbidden, Unauthorized
from synckairos.http.credential_answers import add_credential, answer_with_secret
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.revocations.channel import ControlChannel
from synckairos.store.rate_limits import RateLimits
from synckairos.stored_credentials.session_tokens import new_session_token, require_exchangeable
from synckairos.stored_credentials.table import CredentialTable
from synckairos.stored_credentials.verifier import REFUSED
from synckairos.wire.session_tokens import CreateSessionToken, SessionTokenAnswer

PATH = "/v1/tokens"


class SessionTokenRoutes:
    """REST operations on the session token of the caller itself.

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
                "POST", PATH, "make_session_token", self.create, "Exchange an API key for a session token", tag,
                response_model=SessionTokenAnswer, success_status=201, body_model=CreateSessionToken,
                refusal_statuses=(403, 409, 422), is_administrative=True,
            ),
            Operation(
                "DELETE", PATH, "end_session_token", self.delete, "End the session token of the caller and its sockets",
                tag, success_status=204, refusal_statuses=(403, 409), is_administrative=True,
            ),
        ]  # fmt: skip

    async def create(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/tokens`: make a session token with the rights of the API key of the caller."""
        await request.read_body(CreateSessionToken)
        await self._rate_limits.count(request.meter)
        channel, principal = self._require_authentication(), request.principal
        require_exchangeable(principal)
        now_ms = await channel.read_time_ms()
        found = (await self._table.read_valid([principal.subject], now_ms)).get(principal.subject)
        if found is None:
            raise Unauthorized(REFUSED)  # the key has ended since the check of the request
        new = new_session_token(found.credential, principal, now_ms)
        credential, secret = await add_credential(request, self._table, new, now_ms)
        data: dict[str, str | int] = {} if secret is None else {"token": secret.text}
        data["expires_in_ms"] = max(0, (credential.expires_at_ms or now_ms) - now_ms)
        return await answer_with_secret(request, self._rate_limits, data, is_replay=secret is None)

    async def delete(self, request: RestRequest) -> RestResponse:
        """Answer `DELETE /v1/tokens`: end the session token of the caller. Its key or link stays valid."""
        await self._rate_limits.count(request.meter)
        channel, principal = self._require_authentication(), request.principal
        token_id = None if principal.life is None else principal.life.token_id
        if principal.kind not in ("key", "link") or token_id is None:
            raise Forbidden("Only a session token can be ended by its bearer. An admin revokes other credentials")
        now_ms = await channel.read_time_ms()
        await self._table.end(principal.tenant, "session", token_id, now_ms)
        await channel.revoke(principal, token_id=token_id)
        return RestResponse(status=204)

    def _require_authentication(self) -> ControlChannel:
        if self._channel is None:
            raise AuthenticationOff
        return self._channel
