"""What is asked about the server itself: its time, its health, its numbers, its description."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources

import orjson

from synckairos import __version__
from synckairos.errors import StoreUnavailable, SyncKairosError
from synckairos.http.asyncapi import render_asyncapi
from synckairos.http.openapi import render_openapi
from synckairos.http.operations import Handler, Operation
from synckairos.http.request import RestRequest, RestResponse
from synckairos.service.sessions import Sessions
from synckairos.telemetry import log, metrics
from synckairos.wire import response_models

DRIFT_TOLERANCE_MS = 50

STORE_CHECK_TIMEOUT_S = 2.0
"""How long a store is waited for before it counts as gone."""

PAGE_HEADERS = [
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
]

logger = log.get_logger(__name__)


class SystemRoutes:
    """The operations that no session is behind."""

    def __init__(
        self,
        sessions: Sessions,
        is_postgres_reachable: Callable[[], Awaitable[bool]],
        is_draining: Callable[[], bool],
        refresh_gauges: Sequence[Callable[[], Awaitable[None]]],
    ) -> None:
        """Take what readiness stands on; `refresh_gauges` refreshes gauges that nobody counts as they change."""
        self._sessions = sessions
        self._is_postgres_reachable = is_postgres_reachable
        self._is_draining = is_draining
        self._refresh_gauges = tuple(refresh_gauges)
        self._openapi = b""
        self._asyncapi = render_asyncapi()

    def operations(self) -> list[Operation]:
        """Return the operations for the table."""
        files = ("docs.js", "schema.js", "sockets.js", "docs.css")
        return [
            Operation("GET", "/v1/time", self.time, "The time that decides", "system", answer=response_models.TimeView,
                      refusals=(503,), limited=False),
            Operation("GET", "/health", self.health, "Whether the process lives", "system",
                      answer=response_models.Health, limited=False),
            Operation("GET", "/ready", self.ready, "Whether it takes requests", "system",
                      answer=response_models.Readiness, limited=False, more={"not_ready": True}),
            Operation("GET", "/metrics", self.metrics, "Numbers for Prometheus", "system", limited=False,
                      media_types=("text/plain",)),
            Operation("GET", "/openapi.json", self.openapi, "This description", "system", limited=False,
                      media_types=("application/json",)),
            Operation("GET", "/asyncapi.json", self.asyncapi, "What the sockets at `/ws` say", "system", limited=False,
                      media_types=("application/json",)),
            Operation("GET", "/docs", self._file("index.html"), "A page to read them", "system", limited=False,
                      media_types=("text/html",)),
            Operation("GET", "/", self.redirect_to_docs, "", "", limited=False),
            *(Operation("GET", f"/docs/{name}", self._file(name), "", "", limited=False) for name in files),
        ]  # fmt: skip

    async def time(self, request: RestRequest) -> RestResponse:
        now = {
            "timestamp_ms": await self._sessions.now_ms(),
            "server_version": __version__,
            "drift_tolerance_ms": DRIFT_TOLERANCE_MS,
        }
        return RestResponse(orjson.dumps(now), headers=[(b"cache-control", b"no-store")])

    async def redirect_to_docs(self, request: RestRequest) -> RestResponse:
        """Lead whoever opens the bare address to the page that explains it."""
        return RestResponse(b"", 307, headers=[(b"location", b"/docs")])

    async def health(self, request: RestRequest) -> RestResponse:
        return RestResponse(b'{"status":"ok"}')

    async def ready(self, request: RestRequest) -> RestResponse:
        reason = "draining" if self._is_draining() else None
        archived = False
        if reason is None:
            try:
                async with asyncio.timeout(STORE_CHECK_TIMEOUT_S):
                    _, archived = await asyncio.gather(self._sessions.now_ms(), self._is_postgres_up())
            except (SyncKairosError, TimeoutError):
                reason = "redis is not reachable"
        if reason is not None:
            # v2 said `error` where we say `reason`.
            body = {"status": "not_ready", "reason": reason, "error": reason}
            return RestResponse(orjson.dumps(body), 503, headers=[(b"retry-after", b"1")])
        if not archived:
            return RestResponse(b'{"status":"degraded","reason":"postgres is not reachable"}')
        return RestResponse(b'{"status":"ready"}')

    async def _is_postgres_up(self) -> bool:
        try:
            async with asyncio.timeout(STORE_CHECK_TIMEOUT_S / 2):
                return await self._is_postgres_reachable()
        except (SyncKairosError, TimeoutError):
            return False

    async def metrics(self, request: RestRequest) -> RestResponse:
        try:
            async with asyncio.timeout(STORE_CHECK_TIMEOUT_S):
                await asyncio.gather(*(refresh() for refresh in self._refresh_gauges))
        except (StoreUnavailable, TimeoutError):
            logger.warning("some gauges are stale: a store is not reachable")
        return RestResponse(metrics.render(), content_type=metrics.CONTENT_TYPE.encode())

    async def openapi(self, request: RestRequest) -> RestResponse:
        return RestResponse(self._openapi, headers=[(b"cache-control", b"no-cache")])

    async def asyncapi(self, request: RestRequest) -> RestResponse:
        return RestResponse(self._asyncapi, headers=[(b"cache-control", b"no-cache")])

    def set_openapi(self, operations: Sequence[Operation]) -> None:
        """Make the description of all operations, which `/openapi.json` gives."""
        self._openapi = render_openapi(operations)

    def _file(self, name: str) -> Handler:
        kinds = {"html": b"text/html; charset=utf-8", "js": b"text/javascript; charset=utf-8", "css": b"text/css"}
        body = resources.files("synckairos.http").joinpath("static", "docs", name).read_bytes()
        content_type = kinds[name.rpartition(".")[2]]

        async def handle(request: RestRequest) -> RestResponse:
            return RestResponse(body, content_type=content_type, headers=list(PAGE_HEADERS))

        return handle
