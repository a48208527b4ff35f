"""REST routes that concern the instance: time, health, readiness, metrics, API descriptions and their web page."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import orjson

from synckairos import __version__
from synckairos.errors import Forbidden, StoreUnavailable, UpgradeRequired
from synckairos.history.schema_state import SchemaState
from synckairos.http.asyncapi import render_asyncapi
from synckairos.http.cached_probe import CachedProbe
from synckairos.http.openapi import render_openapi
from synckairos.http.operations import Handler, Operation
from synckairos.http.page_files import page_folder, read_page
from synckairos.http.problem_responses import render_problem
from synckairos.http.readiness import STORE_CHECK_TIMEOUT_S, check_stores
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.running_request import run_in_thread
from synckairos.limits.shared_read import SharedRead
from synckairos.limits.work_limits import SCRAPES
from synckairos.service.sessions import Sessions
from synckairos.telemetry import log, metrics
from synckairos.telemetry.outages import LogThrottle
from synckairos.wire import response_models

DRIFT_TOLERANCE_MS = 50
"""Milliseconds in the member `drift_tolerance_ms` of `GET /v1/time`.

Clients of v2 expect this member. The server does not use the value.
"""

logger = log.get_logger(__name__)


class SystemRoutes:
    """REST operations for time, health, readiness, metrics and API descriptions."""

    def __init__(
        self,
        sessions: Sessions,
        find_schema_state: Callable[[], Awaitable[SchemaState]],
        is_draining: Callable[[], bool],
        refresh_gauges: Sequence[Callable[[], Awaitable[None]]],
        work: ClientWorkLimits,
        root_path: str = "",
        page_headers: Sequence[tuple[bytes, bytes]] = (),
        api_page: bytes = b"",
        knows_revocations: Callable[[], bool] = lambda: True,
        has_tenants: Callable[[], bool] = lambda: False,
        render_metrics: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        """Create the routes.

        - `find_schema_state`: returns whether Postgres answers and has the migrations of this release.
        - `is_draining`: returns whether the instance drains, so that `/ready` must answer 503.
        - `refresh_gauges`: functions that read values from the stores into gauges. They run before `/metrics`, at
          most once a second.
        - `work`: the budgets of the clients.
        - `root_path`: the public sub-path, such as `/clock`. Empty if there is no sub-path.
        - `page_headers`: the headers of the pages, see `build_page_headers`.
        - `api_page`: the HTML of the page of both descriptions.
        - `knows_revocations`: returns whether the instance knows all revocations. If it does not, it can accept no
          credential, and `/ready` must answer 503.
        - `has_tenants`: returns whether the instance has callers of several tenants. Then `/metrics` needs the metrics
          token or the key of an operator, because it shows all tenants.
        - `render_metrics`: returns the metrics in the text format of Prometheus. None for those of this process.
        """
        self._render_metrics = render_metrics or _render_own_metrics
        self._sessions = sessions
        self._is_draining = is_draining
        self._knows_revocations = knows_revocations
        self._has_tenants = has_tenants
        self._refresh_gauges = tuple(refresh_gauges)
        self._work = work
        self._stores = CachedProbe(partial(check_stores, sessions, find_schema_state))
        self._gauges = CachedProbe(self._refresh_all_gauges)
        self._rendering: SharedRead[bytes] = SharedRead()
        self._stale_gauges = LogThrottle()
        self._root_path = root_path
        self._page_headers = page_headers
        self._api_page = api_page
        self._openapi = b""
        self._asyncapi = render_asyncapi(root_path)

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        home = read_page(page_folder("view") / "home.html", self._root_path)
        return [
            Operation(
                "GET", "/v1/time", "time", self.time, "Read the server time", "system",
                response_model=response_models.TimeView, refusal_statuses=(503,), is_rate_limited=False,
            ),
            Operation(
                "GET", "/health", "health", self.health, "Check that the process runs", "system",
                response_model=response_models.Health, is_rate_limited=False,
            ),
            Operation(
                "GET", "/ready", "ready", self.ready, "Check that the instance can serve requests", "system",
                response_model=response_models.Readiness, is_rate_limited=False, can_be_unready=True,
            ),
            Operation(
                "GET", "/metrics", "metrics", self.metrics, "Read metrics in the Prometheus text format", "system",
                is_rate_limited=False, media_types=("text/plain",),
            ),
            Operation(
                "GET", "/openapi.json", "api_description", self.openapi,
                "Read the OpenAPI description of REST", "system",
                is_rate_limited=False, media_types=("application/json",),
            ),
            Operation(
                "GET", "/asyncapi.json", "api_description", self.asyncapi,
                "Read the AsyncAPI description of the sockets at `/ws`",
                "system", is_rate_limited=False, media_types=("application/json",),
            ),
            Operation("GET", "/", "page", self._page_handler(home), "", "", is_rate_limited=False),
            Operation("GET", "/ws", "page", self.refuse_without_upgrade, "", "", is_rate_limited=False),
            # The paths of the API description and of its web page in v2.
            Operation("GET", "/api-docs.json", "api_description", self.openapi, "", "", is_rate_limited=False),
            Operation("GET", "/api-docs", "page", self._page_handler(self._api_page), "", "", is_rate_limited=False),
        ]  # fmt: skip

    async def time(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/time`: read the time of Redis."""
        now = {
            "timestamp_ms": await self._sessions.now_ms(),
            "server_version": __version__,
            "drift_tolerance_ms": DRIFT_TOLERANCE_MS,
        }
        return RestResponse(orjson.dumps(now), headers=[(b"cache-control", b"no-store")])

    async def refuse_without_upgrade(self, request: RestRequest) -> RestResponse:
        """Refuse an HTTP request to `/ws` without a WebSocket upgrade (RFC 9110, section 7.8)."""
        detail = "This path accepts only WebSocket upgrades. A proxy must forward the headers Upgrade and Connection"
        return render_problem(UpgradeRequired(detail), [(b"upgrade", b"websocket"), (b"connection", b"upgrade")])

    async def health(self, request: RestRequest) -> RestResponse:
        """Answer `GET /health`: state that the process runs. No store is used."""
        return RestResponse(b'{"status":"ok"}')

    async def ready(self, request: RestRequest) -> RestResponse:
        """Answer `GET /ready`: check that the instance can serve requests."""
        reason, degraded = "draining" if self._is_draining() else "", ""
        if not reason:
            reason, degraded = await self._stores.get_or_run()
            if not reason and not self._knows_revocations():
                reason = "the revocations are not known"
        if reason:
            # v2 clients read the reason from the member `error`.
            body = {"status": "not_ready"} | self._reason_members(request, reason, "reason", "error")
            return RestResponse(orjson.dumps(body), 503, headers=[(b"retry-after", b"1")])
        if not degraded:
            return RestResponse(b'{"status":"ready"}')
        return RestResponse(orjson.dumps({"status": "degraded"} | self._reason_members(request, degraded, "reason")))

    def _reason_members(self, request: RestRequest, reason: str, *names: str) -> dict[str, str]:
        """Return the members with the reason, none for callers that must not learn it.

        With authentication the route is public, and strangers must not learn which store is down. A monitor learns it.
        """
        is_shown = request.is_monitor or request.principal.role == "admin"
        return dict.fromkeys(names, reason) if is_shown else {}

    async def metrics(self, request: RestRequest) -> RestResponse:
        """Answer `GET /metrics`: read metrics in the text format of Prometheus."""
        if self._has_tenants() and not (request.is_monitor or request.principal.is_operator):
            raise Forbidden("/metrics shows all tenants, so it needs the token of SYNCKAIROS_METRICS_TOKEN")
        self._work.charge(request.principal.limited_client_id, SCRAPES)
        await self._gauges.get_or_run()
        # Rendering takes about 10 ms, so it runs in a thread. Requests during a rendering share the next one.
        text = await self._rendering.join_next_read(self._render_metrics)
        return RestResponse(text, content_type=metrics.CONTENT_TYPE.encode())

    async def _refresh_all_gauges(self) -> None:
        try:
            async with asyncio.timeout(STORE_CHECK_TIMEOUT_S):
                await asyncio.gather(*(refresh() for refresh in self._refresh_gauges))
        except (StoreUnavailable, TimeoutError):
            if (more_before := self._stale_gauges.allow_next_line()) is not None:
                logger.warning("some gauges are stale: a store is not reachable", more_before=more_before)

    async def openapi(self, request: RestRequest) -> RestResponse:
        """Answer `GET /openapi.json`: read the OpenAPI description of REST."""
        return RestResponse(self._openapi, headers=[(b"cache-control", b"no-cache")])

    async def asyncapi(self, request: RestRequest) -> RestResponse:
        """Answer `GET /asyncapi.json`: read the AsyncAPI description of the sockets."""
        return RestResponse(self._asyncapi, headers=[(b"cache-control", b"no-cache")])

    def set_openapi_operations(self, operations: Sequence[Operation]) -> None:
        """Set the operations that the OpenAPI description lists. Call this once, before the first request."""
        self._openapi = render_openapi(operations, self._root_path)

    def _page_handler(self, body: bytes) -> Handler:
        async def handle(request: RestRequest) -> RestResponse:
            return RestResponse(body, content_type=b"text/html; charset=utf-8", headers=list(self._page_headers))

        return handle


def _render_own_metrics() -> Awaitable[bytes]:
    return run_in_thread(partial(metrics.render_metrics, "server"))
