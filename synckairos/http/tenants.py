"""REST routes of tenants, for operators."""

import orjson

from synckairos.errors import AuthenticationOff
from synckairos.frozen_replace import replace
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.store.rate_limits import RateLimits
from synckairos.tenants.active_tenants import ActiveTenants
from synckairos.tenants.formats import parse_new_tenant, parse_tenant_changes, tenant_json
from synckairos.tenants.table import Tenant, TenantChanges, TenantTable
from synckairos.wire import tenants as wire
from synckairos.wire.webhooks import EmptyBody

COLLECTION_PATH = "/v1/tenants"
TENANT_PATH = "/v1/tenants/{tenant}"


class TenantRoutes:
    """REST operations on tenants. All operations require the key of an operator.

    `tenants` is None while authentication is off. Then all operations answer 403.
    """

    def __init__(self, table: TenantTable, tenants: ActiveTenants | None, rate_limits: RateLimits) -> None:
        self._table = table
        self._tenants = tenants
        self._rate_limits = rate_limits

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        tag, verb = "tenants", "manage_tenants"
        return [
            Operation(
                "POST", COLLECTION_PATH, verb, self.create, "Create a tenant", tag,
                response_model=wire.TenantAnswer, success_status=201, body_model=wire.CreateTenant,
                is_body_required=True, refusal_statuses=(409, 422), is_administrative=True,
            ),
            Operation(
                "GET", COLLECTION_PATH, verb, self.list, "List tenants, newest first", tag,
                response_model=wire.TenantPage, query_model=wire.TenantsQuery,
            ),
            Operation(
                "GET", TENANT_PATH, verb, self.read, "Read a tenant", tag,
                response_model=wire.TenantAnswer, refusal_statuses=(404,),
            ),
            Operation(
                "PATCH", TENANT_PATH, verb, self.patch, "Change the limits, the origins or the description of a tenant",
                tag,
                response_model=wire.TenantAnswer, body_model=wire.PatchTenant, is_body_required=True,
                refusal_statuses=(404, 409), is_administrative=True,
            ),
            Operation(
                "POST", f"{TENANT_PATH}/suspend", verb, self.suspend,
                "Refuse the credentials of a tenant, and close its sockets", tag,
                response_model=wire.TenantAnswer, body_model=EmptyBody, refusal_statuses=(404, 409),
                is_administrative=True,
            ),
            Operation(
                "POST", f"{TENANT_PATH}/activate", verb, self.activate, "Accept the credentials of a tenant again", tag,
                response_model=wire.TenantAnswer, body_model=EmptyBody, refusal_statuses=(404, 409),
                is_administrative=True,
            ),
            Operation(
                "DELETE", TENANT_PATH, verb, self.delete, "Delete a tenant and all its data", tag,
                response_model=wire.TenantAnswer, success_status=202, refusal_statuses=(404,), is_administrative=True,
            ),
        ]  # fmt: skip

    async def create(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/tenants`: create a tenant."""
        body = await request.read_body(wire.CreateTenant)
        new = parse_new_tenant(body, request.principal.actor)
        await self._rate_limits.count(request.meter)
        tenants = self._require_authentication()
        if (command_id := request.parse_command_id()) is not None:
            request_id = request.principal.qualify_request_id(command_id)
            new = replace(new, request_id=request_id, request_fingerprint=request.fingerprint())
        tenant, is_replay = await tenants.add(new)
        request.act_target = tenant.name
        response = _tenant_response(tenant, 201)
        location = request.to_public_path(f"{COLLECTION_PATH}/{tenant.name}")
        response.headers.append((b"location", location.encode()))
        if is_replay:
            await self._rate_limits.recount_as_replay(request.meter)
            response.headers.append((b"idempotency-replayed", b"true"))
        return response

    async def list(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/tenants`: list the tenants, newest first."""
        query = request.read_query(wire.TenantsQuery)
        await self._rate_limits.count(request.meter)
        self._require_authentication()
        page = await self._table.read_page(cursor=query.cursor, limit=query.limit)
        return RestResponse(orjson.dumps({"data": [*map(tenant_json, page.items)], "next_cursor": page.next_cursor}))

    async def read(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/tenants/{tenant}`: read a tenant."""
        name = request.path_text("tenant")
        await self._rate_limits.count(request.meter)
        self._require_authentication()
        return _tenant_response(await self._table.read(name))

    async def patch(self, request: RestRequest) -> RestResponse:
        """Answer `PATCH /v1/tenants/{tenant}`: change a tenant."""
        body = await request.read_body(wire.PatchTenant)
        return await self._change(request, parse_tenant_changes(request.path_text("tenant"), body))

    async def suspend(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/tenants/{tenant}/suspend`: refuse the credentials of a tenant, and close its sockets."""
        await request.read_body(EmptyBody)
        return await self._change(request, TenantChanges(status="suspended"))

    async def activate(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/tenants/{tenant}/activate`: accept the credentials of a tenant again."""
        await request.read_body(EmptyBody)
        return await self._change(request, TenantChanges(status="active"))

    async def delete(self, request: RestRequest) -> RestResponse:
        """Answer `DELETE /v1/tenants/{tenant}`: close a tenant at once, and enqueue the deletion of its data."""
        name = request.path_text("tenant")
        await self._rate_limits.count(request.meter)
        return _tenant_response(await self._require_authentication().delete(name), 202)

    async def _change(self, request: RestRequest, changes: TenantChanges) -> RestResponse:
        name = request.path_text("tenant")
        await self._rate_limits.count(request.meter)
        return _tenant_response(await self._require_authentication().change(name, changes))

    def _require_authentication(self) -> ActiveTenants:
        if self._tenants is None:
            raise AuthenticationOff
        return self._tenants


def _tenant_response(tenant: Tenant, status: int = 200) -> RestResponse:
    return RestResponse(orjson.dumps({"data": tenant_json(tenant)}), status)
