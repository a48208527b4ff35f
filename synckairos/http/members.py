"""REST routes of members: roles of subjects on sessions and labels."""

import orjson
from msgspec.structs import asdict

from synckairos.errors import AuthenticationOff
from synckairos.http.list_responses import next_page_link
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.members.member_changes import MemberChanges
from synckairos.members.table import Member, MemberTable
from synckairos.store.rate_limits import RateLimits
from synckairos.wire import members as wire
from synckairos.wire.validation_faults import raise_if_faults

PATH = "/v1/members"


class MemberRoutes:
    """REST operations on the members of the caller's tenant. All operations require the role `admin`.

    `changes` is None while authentication is off. Then all operations answer 403.
    """

    def __init__(self, table: MemberTable, changes: MemberChanges | None, rate_limits: RateLimits) -> None:
        self._table = table
        self._changes = changes
        self._rate_limits = rate_limits

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        tag = "credentials"
        return [
            Operation(
                "PUT", PATH, "manage_members", self.put, "Give subjects roles on sessions or labels", tag,
                response_model=wire.MembersPutAnswer, body_model=wire.PutMembers, is_body_required=True,
                refusal_statuses=(403, 409), is_administrative=True,
            ),
            Operation(
                "GET", PATH, "manage_members", self.list, "List members, by subject and resource", tag,
                response_model=wire.MemberPage, query_model=wire.MembersQuery, refusal_statuses=(403, 431),
            ),
            Operation(
                "DELETE", PATH, "manage_members", self.delete, "Remove the role of a subject on a resource", tag,
                success_status=204, query_model=wire.DeleteMemberQuery, refusal_statuses=(403, 409, 431),
                is_administrative=True,
            ),
        ]  # fmt: skip

    async def put(self, request: RestRequest) -> RestResponse:
        """Answer `PUT /v1/members`: add members, or change their roles."""
        body = await request.read_body(wire.PutMembers, max_bytes=wire.MAX_BULK_BYTES)
        rows = body.rows
        raise_if_faults(wire.duplicate_faults(rows))
        await self._rate_limits.count(request.meter)
        members = [Member(each.subject, each.resource, each.role) for each in rows]
        changed = await self._require_authentication().put(request.principal.tenant, members)
        request.act_target = rows[0].subject if body.members is None else f"{len(rows)} members"
        data = {"member_count": len(rows), "changed_subject_count": len(changed.subjects)}
        return RestResponse(orjson.dumps({"data": data}))

    async def list(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/members`: list the members of the tenant, by subject and resource."""
        query = request.read_query(wire.MembersQuery)
        await self._rate_limits.count(request.meter)
        self._require_authentication()
        page = await self._table.read_page(
            request.principal.tenant,
            subject=query.subject,
            resource=query.resource,
            cursor=query.cursor,
            limit=query.limit,
        )
        return RestResponse(
            orjson.dumps({"data": [*map(asdict, page.items)], "next_cursor": page.next_cursor}),
            headers=next_page_link(request, page.next_cursor),
        )

    async def delete(self, request: RestRequest) -> RestResponse:
        """Answer `DELETE /v1/members`: delete the row of a subject for a resource."""
        query = request.read_query(wire.DeleteMemberQuery)
        await self._rate_limits.count(request.meter)
        await self._require_authentication().delete(request.principal.tenant, query.subject, query.resource)
        request.act_target = query.subject
        return RestResponse(status=204)

    def _require_authentication(self) -> MemberChanges:
        if self._changes is None:
            raise AuthenticationOff
        return self._changes
