"""REST routes of reconciliations of members: requests on demand, and their reports."""

import orjson

from synckairos.errors import AuthenticationOff
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.members.requested_reconciliations import RequestedReconciliations, reconciliation_json
from synckairos.store.rate_limits import RateLimits
from synckairos.wire import member_reconciliations as wire

COLLECTION_PATH = "/v1/members/reconciliations"
JOB_PATH = "/v1/members/reconciliations/{job_id}"


class MemberReconciliationRoutes:
    """REST operations on the reconciliations of the caller's tenant. All operations require the role `admin`.

    `reconciliations` is None while authentication is off. Then all operations answer 403.
    """

    def __init__(self, reconciliations: RequestedReconciliations | None, rate_limits: RateLimits) -> None:
        self._reconciliations = reconciliations
        self._rate_limits = rate_limits

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        tag = "credentials"
        return [
            Operation(
                "POST", COLLECTION_PATH, "reconcile_members", self.create,
                "Reconcile the members of the tenant with their source", tag,
                response_model=wire.ReconciliationAnswer, success_status=202, body_model=wire.RequestReconciliation,
                refusal_statuses=(403, 409), is_administrative=True,
            ),
            Operation(
                "GET", COLLECTION_PATH, "reconcile_members", self.list,
                "List reconciliations of members with their reports, newest first", tag,
                response_model=wire.ReconciliationPage, query_model=wire.ReconciliationsQuery, refusal_statuses=(403,),
            ),
            Operation(
                "GET", JOB_PATH, "reconcile_members", self.read, "Read a reconciliation of members", tag,
                response_model=wire.ReconciliationAnswer, refusal_statuses=(403, 404),
            ),
        ]  # fmt: skip

    async def create(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/members/reconciliations`: enqueue a reconciliation."""
        body = await request.read_body(wire.RequestReconciliation)
        reconciliations = await self._authorize(request)
        job = await reconciliations.request(request.principal.tenant, body.max_removed_percent)
        request.act_target = str(job.job_id)
        response = RestResponse(orjson.dumps({"data": reconciliation_json(job)}), 202)
        location = request.to_public_path(f"{COLLECTION_PATH}/{job.job_id}")
        response.headers.append((b"location", location.encode()))
        return response

    async def list(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/members/reconciliations`: list the reconciliations of the tenant, newest first."""
        query = request.read_query(wire.ReconciliationsQuery)
        reconciliations = await self._authorize(request)
        page = await reconciliations.read_page(request.principal.tenant, cursor=query.cursor, limit=query.limit)
        return RestResponse(
            orjson.dumps({"data": [*map(reconciliation_json, page.items)], "next_cursor": page.next_cursor})
        )

    async def read(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/members/reconciliations/{job_id}`: read a reconciliation."""
        job_id = int(request.path_text("job_id"))
        reconciliations = await self._authorize(request)
        return RestResponse(
            orjson.dumps({"data": reconciliation_json(await reconciliations.read(request.principal.tenant, job_id))})
        )

    async def _authorize(self, request: RestRequest) -> RequestedReconciliations:
        """Count the request against its rate limits, and return the reconciliations.

        Raises: RateLimitExceeded or StoreUnavailable from the count. AuthenticationOff.
        """
        await self._rate_limits.count(request.meter)
        if self._reconciliations is None:
            raise AuthenticationOff
        return self._reconciliations
