"""REST routes of links: make, list, end and redeem links to one session."""

import orjson

from synckairos.errors import AuthenticationOff, CredentialNotFound, Forbidden, SessionNotFound
from synckairos.http.allowed_origins import AllowedOrigins
from synckairos.http.client_address import CallerResolver
from synckairos.http.credential_answers import NO_STORE, add_credential, answer_with_secret
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.identity.authenticator import Authenticator
from synckairos.revocations.channel import ControlChannel
from synckairos.service.authorization import require_session_role
from synckairos.service.sessions import Sessions
from synckairos.store.rate_limits import RateLimits
from synckairos.stored_credentials.credential_json import link_json, redeemed_link_json
from synckairos.stored_credentials.new_link import link_url, new_link
from synckairos.stored_credentials.redemption import LinkRedeemer
from synckairos.stored_credentials.table import CredentialTable
from synckairos.wire import links as wire

COLLECTION_PATH = "/v1/links"
LINK_PATH = "/v1/links/{link_id}"


class LinkRoutes:
    """REST operations on links. A link gives access to one session, without an account.

    `channel`, `redeemer` and `authenticator` are None while authentication is off. Then all operations answer 403.
    """

    def __init__(
        self,
        sessions: Sessions,
        table: CredentialTable,
        channel: ControlChannel | None,
        redeemer: LinkRedeemer | None,
        authenticator: Authenticator | None,
        callers: CallerResolver,
        origins: AllowedOrigins,
        rate_limits: RateLimits,
    ) -> None:
        self._sessions = sessions
        self._table = table
        self._channel = channel
        self._redeemer = redeemer
        self._authenticator = authenticator
        self._callers = callers
        self._origins = origins
        self._rate_limits = rate_limits

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        tag = "credentials"
        return [
            Operation(
                "POST", COLLECTION_PATH, "manage_links", self.create, "Make a link to a session", tag,
                response_model=wire.LinkSecretAnswer, success_status=201, body_model=wire.CreateLink,
                is_body_required=True, refusal_statuses=(403, 404, 409, 422), is_administrative=True,
            ),
            Operation(
                "GET", COLLECTION_PATH, "manage_links", self.list, "List valid links, newest first", tag,
                response_model=wire.LinkPage, query_model=wire.LinksQuery, refusal_statuses=(403, 404),
            ),
            Operation(
                "DELETE", LINK_PATH, "manage_links", self.delete, "Revoke a link and its session tokens",
                tag, success_status=204, refusal_statuses=(403, 404, 409), is_administrative=True,
            ),
            Operation(
                "POST", f"{COLLECTION_PATH}/redeem", "redeem_link", self.redeem,
                "Redeem a link for a session token", tag,
                response_model=wire.RedeemedLinkAnswer, body_model=wire.RedeemLink, is_body_required=True,
                refusal_statuses=(401, 403),
            ),
        ]  # fmt: skip

    async def create(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/links`: make a link, and return its secret and its URL."""
        body = await request.read_body(wire.CreateLink)
        await self._rate_limits.count(request.meter)
        channel = self._require_authentication()
        role = await self._sessions.find_role(request.principal, body.session_id)
        await self._sessions.read(request.principal, body.session_id)  # a missing session is 404 for each role
        require_session_role(role, "manage_links")
        now_ms = await channel.read_time_ms()
        new = new_link(body, request.principal, now_ms)
        credential, secret = await add_credential(request, self._table, new, now_ms)
        data = {"link_id": credential.credential_id}
        if secret is not None:
            url = link_url(self._server_url(request), body.session_id, body.role, secret.text)
            data |= {"secret": secret.text, "url": url}
        return await answer_with_secret(request, self._rate_limits, data, is_replay=secret is None)

    async def list(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/links`: list the valid links to one session, or for administrators those of the tenant."""
        query = request.read_query(wire.LinksQuery)
        await self._rate_limits.count(request.meter)
        channel, tenant = self._require_authentication(), request.principal.tenant
        if query.session_id is None:
            if request.principal.role != "admin":
                raise Forbidden("A list of links needs a session_id. Only the role admin lists links of all sessions")
            now_ms = await channel.read_time_ms()
            page = await self._table.read_page(tenant, "link", now_ms, cursor=query.cursor, limit=query.limit)
        else:
            await self._sessions.require_role(request.principal, query.session_id, "manage_links")
            now_ms = await channel.read_time_ms()
            page = await self._table.read_links(
                tenant, query.session_id, now_ms, cursor=query.cursor, limit=query.limit
            )
        rows = [link_json(each) for each in page.items]
        return RestResponse(orjson.dumps({"data": rows, "next_cursor": page.next_cursor}))

    async def delete(self, request: RestRequest) -> RestResponse:
        """Answer `DELETE /v1/links/{link_id}`: revoke a link, its session tokens, and the links that they made.

        For a link to a session that the caller cannot reach, the answer is that for an unknown link.
        """
        link_id, principal = request.path_text("link_id"), request.principal
        await self._rate_limits.count(request.meter)
        channel = self._require_authentication()
        if principal.role != "admin":
            await self._require_role_on_link(request, link_id)
        now_ms = await channel.read_time_ms()
        await channel.revoke_credentials(principal, await self._table.end(principal.tenant, "link", link_id, now_ms))
        return RestResponse(status=204)

    async def _require_role_on_link(self, request: RestRequest, link_id: str) -> None:
        """Check the role of a caller on the session of a link. Raises: Forbidden, CredentialNotFound."""
        if not request.principal.has_role("controller"):
            raise Forbidden("manage_links requires the role controller or a higher role")
        session_id = await self._table.read_link_session(request.principal.tenant, link_id)
        try:
            if session_id is None:
                raise CredentialNotFound("link")
            require_session_role(await self._sessions.find_role(request.principal, session_id), "manage_links")
        except SessionNotFound:
            raise CredentialNotFound("link") from None

    async def redeem(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/links/redeem`: count a use of a link, and return a session token.

        The operation has no command id, because its caller is anonymous. Each request is a use.
        """
        if self._redeemer is None or self._authenticator is None:
            raise AuthenticationOff
        self._authenticator.require_secure(request.scope)
        body = await request.read_body(wire.RedeemLink)
        await self._rate_limits.count(request.meter)
        page = self._origins.tenants_of_page(request.scope)
        found = await self._redeemer.redeem(body.secret, request.principal.address, page)
        data = redeemed_link_json(found, self._redeemer.now_ms())
        return RestResponse(orjson.dumps({"data": data}), headers=[NO_STORE])

    def _server_url(self, request: RestRequest) -> str:
        """Return the URL under which the caller reaches this server, without a slash at its end."""
        return self._callers.origin_for(request.scope) + request.to_public_path("")

    def _require_authentication(self) -> ControlChannel:
        if self._channel is None:
            raise AuthenticationOff
        return self._channel
