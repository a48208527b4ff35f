"""REST route of the list of sessions that the caller can reach."""

from synckairos.http.all_sessions_pages import SessionList
from synckairos.http.large_bodies import respond_with_pieces
from synckairos.http.list_responses import CONTENT_TYPES, JSON, next_page_link, render_json_page
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.work_limits import REPORTS
from synckairos.service.session_reach import SessionReach
from synckairos.store.rate_limits import RateLimits
from synckairos.wire import response_models
from synckairos.wire.query_parameters import ListQuery, OwnSessionsQuery


class OwnSessionRoutes:
    """REST operation that lists the sessions of the tenant which the grants or the member rows of the caller reach."""

    def __init__(self, session_list: SessionList, rate_limits: RateLimits, work: ClientWorkLimits) -> None:
        self._session_list = session_list
        self._rate_limits = rate_limits
        self._work = work

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        return [
            Operation(
                "GET", "/v1/me/sessions", "list_own_sessions", self.list_own_sessions,
                "List the sessions that the caller can reach, newest first", "credentials",
                response_model=response_models.SessionPage, query_model=OwnSessionsQuery, refusal_statuses=(431,),
            ),
        ]  # fmt: skip

    async def list_own_sessions(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/me/sessions`: list the sessions that the caller can reach, newest first."""
        query = request.read_query(OwnSessionsQuery)
        await self._rate_limits.count(request.meter)
        self._work.charge(request.principal.limited_client_id, REPORTS)
        reach = await SessionReach.of(request.principal)
        list_query = ListQuery(**query.model_dump(exclude_none=True))
        page = await self._session_list.read_page(request.principal.tenant, list_query, reach)
        response = respond_with_pieces(
            render_json_page(page.documents, page.next_cursor), sum(map(len, page.documents)), CONTENT_TYPES[JSON]
        )
        response.headers += next_page_link(request, page.next_cursor)
        return response
