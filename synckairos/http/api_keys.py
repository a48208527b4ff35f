"""REST routes of API keys: stored credentials for servers."""

import orjson

from synckairos.errors import AuthenticationOff
from synckairos.http.credential_answers import add_credential, answer_with_secret, request_id_of
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.revocations.channel import ControlChannel
from synckairos.store.rate_limits import RateLimits
from synckairos.stored_credentials.credential_json import api_key_json
from synckairos.stored_credentials.new_api_key import new_api_key
from synckairos.stored_credentials.table import CredentialTable
from synckairos.wire import api_keys as wire

COLLECTION_PATH = "/v1/keys"
KEY_PATH = "/v1/keys/{key_id}"


class ApiKeyRoutes:
    """REST operations on the API keys of the caller's tenant. All operations require the role `admin`.

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
                "POST", COLLECTION_PATH, "manage_keys", self.create, "Make an API key", tag,
                response_model=wire.ApiKeySecretAnswer, success_status=201, body_model=wire.CreateApiKey,
                is_body_required=True, refusal_statuses=(403, 409, 422), is_administrative=True,
            ),
            Operation(
                "GET", COLLECTION_PATH, "manage_keys", self.list, "List API keys, newest first", tag,
                response_model=wire.ApiKeyPage, query_model=wire.ApiKeysQuery, refusal_statuses=(403,),
            ),
            Operation(
                "POST", f"{KEY_PATH}/rotate", "manage_keys", self.rotate,
                "Give an API key a new secret; the previous one stays valid for 24 hours", tag,
                response_model=wire.ApiKeySecretAnswer, refusal_statuses=(403, 404), is_administrative=True,
            ),
            Operation(
                "DELETE", KEY_PATH, "manage_keys", self.delete, "Revoke an API key and what it made", tag,
                success_status=204, refusal_statuses=(403, 409), is_administrative=True,
            ),
        ]  # fmt: skip

    async def create(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/keys`: make an API key, and return its text."""
        body = await request.read_body(wire.CreateApiKey)
        await self._rate_limits.count(request.meter)
        channel = self._require_authentication()
        now_ms = await channel.read_time_ms()
        new = new_api_key(body, request.principal, now_ms)
        credential, secret = await add_credential(request, self._table, new, now_ms)
        return await self._answer(request, credential.credential_id, None if secret is None else secret.text, 201)

    async def list(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/keys`: list the API keys of the tenant, newest first."""
        query = request.read_query(wire.ApiKeysQuery)
        await self._rate_limits.count(request.meter)
        now_ms = await self._require_authentication().read_time_ms()
        page = await self._table.read_page(
            request.principal.tenant, "key", now_ms, cursor=query.cursor, limit=query.limit
        )
        rows = [api_key_json(each) for each in page.items]
        return RestResponse(orjson.dumps({"data": rows, "next_cursor": page.next_cursor}))

    async def rotate(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/keys/{key_id}/rotate`: give an API key a new secret, and return its new text."""
        key_id = request.path_text("key_id")
        await self._rate_limits.count(request.meter)
        now_ms = await self._require_authentication().read_time_ms()
        request_id = request_id_of(request)
        secret = await self._table.rotate(request.principal.tenant, "key", key_id, now_ms, request_id=request_id)
        return await self._answer(request, key_id, None if secret is None else secret.text, 200)

    async def delete(self, request: RestRequest) -> RestResponse:
        """Answer `DELETE /v1/keys/{key_id}`: revoke an API key and all credentials below it."""
        key_id = request.path_text("key_id")
        await self._rate_limits.count(request.meter)
        channel = self._require_authentication()
        now_ms = await channel.read_time_ms()
        await channel.revoke_credentials(
            request.principal, await self._table.end(request.principal.tenant, "key", key_id, now_ms)
        )
        return RestResponse(status=204)

    async def _answer(self, request: RestRequest, key_id: str, key: str | None, status: int) -> RestResponse:
        """Return the answer with the text of a key. If `key` is None, the answer is a replay without the text."""
        data = {"key_id": key_id} if key is None else {"key_id": key_id, "key": key}
        return await answer_with_secret(request, self._rate_limits, data, is_replay=key is None, status=status)

    def _require_authentication(self) -> ControlChannel:
        if self._channel is None:
            raise AuthenticationOff
        return self._channel
