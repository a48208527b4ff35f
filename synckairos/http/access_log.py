"""REST route of the access log: administrative acts and refused requests."""

import orjson

from synckairos.access_log.records import AccessEntry
from synckairos.access_log.table import AccessTable
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.store.rate_limits import RateLimits
from synckairos.wire.access_log_models import AccessPage, AccessQuery
from synckairos.wire.instants import render_instant


class AccessRoutes:
    """REST operation that lists the access log of the caller's tenant. It requires the role `admin`."""

    def __init__(self, table: AccessTable, rate_limits: RateLimits) -> None:
        self._table = table
        self._rate_limits = rate_limits

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        return [
            Operation(
                "GET", "/v1/access", "read_access_log", self.list,
                "List administrative acts and refused requests, newest first", "access",
                response_model=AccessPage, query_model=AccessQuery,
            ),
        ]  # fmt: skip

    async def list(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/access`: list administrative acts and refused requests of the tenant, newest first."""
        query = request.read_query(AccessQuery)
        await self._rate_limits.count(request.meter)
        page = await self._table.read_page(
            request.principal.tenant, cursor=query.cursor, limit=query.limit, entry=query.entry
        )
        rows = [_entry_json(each) for each in page.items]
        return RestResponse(orjson.dumps({"data": rows, "next_cursor": page.next_cursor}))


def _entry_json(entry: AccessEntry) -> dict[str, object]:
    return {
        "access_id": entry.access_id,
        "entry": entry.entry,
        "at": render_instant(entry.at_ms),
        "kind": entry.kind,
        "subject": entry.subject,
        "role": entry.role,
        "address": entry.address,
        "action": entry.action,
        "target": entry.target,
        "status": entry.status,
        "reason": entry.reason,
        "count": entry.count,
    }
