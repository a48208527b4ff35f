"""REST as one ASGI application: headers of every response, the fallback application, metrics and the request log.

`RequestMatcher` finds the operation of a request and checks the caller, `RequestResponder` calls the handler and turns
errors into problem responses. The route modules contain the handlers.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from random import getrandbits

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synckairos.access_log.recorder import AccessRecorder
from synckairos.config import Settings
from synckairos.errors import (
    NotFound,
)
from synckairos.http.allowed_origins import AllowedOrigins
from synckairos.http.operations import OperationTable
from synckairos.http.problem_responses import render_internal_error, render_method_not_allowed, render_problem
from synckairos.http.request_authentication import RequestAuthentication
from synckairos.http.request_matcher import SAFE_METHODS, UNMATCHED_ROUTE, RequestMatcher
from synckairos.http.request_responder import RequestResponder
from synckairos.http.request_response import ClientDisconnected, HeaderList, RestRequest, RestResponse
from synckairos.http.streaming_response import EVENT_STREAM, ByteStream, send_stream
from synckairos.http.sub_path import to_public_path
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.revocations.credential_ends import CredentialEnds
from synckairos.store.rate_limits import RateLimits
from synckairos.telemetry import log
from synckairos.telemetry.metrics import HTTP_DURATION, HTTP_REQUESTS

KNOWN_METHODS = SAFE_METHODS | {"POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"}

UNBUFFERED = (b"x-accel-buffering", b"no")
"""Response header of streams. nginx and other proxies that support this header forward each piece at once.

Without this header, such proxies wait until a buffer is full.
"""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

logger = log.get_logger(__name__)
_enabled = logging.getLogger(__name__).isEnabledFor


class RestApp:
    """ASGI application for REST requests.

    WebSockets, static files and lifespan events are passed to the fallback application.
    """

    def __init__(
        self,
        operations: OperationTable,
        rate_limits: RateLimits,
        origins: AllowedOrigins,
        authentication: RequestAuthentication,
        work: ClientWorkLimits,
        settings: Settings,
        access_recorder: AccessRecorder | None,
        credential_ends: CredentialEnds | None,
        fallback: ASGIApp,
        fallback_prefixes: Sequence[str],
    ) -> None:
        """Create the application.

        `access_recorder` gets administrative acts and refusals, None while authentication is off. `fallback` serves all
        HTTP paths that begin with one of `fallback_prefixes`, and all other ASGI scopes.
        """
        self._matcher = RequestMatcher(operations, rate_limits, origins, authentication, work, settings)
        self._responder = RequestResponder(rate_limits, work, settings, access_recorder)
        self._origins = origins
        self._dev = settings.dev
        self._work = work
        self._credential_ends = credential_ends
        self._fallback = fallback
        self._fallback_prefixes = tuple(fallback_prefixes)
        self._counters: dict[tuple[str, str, int], Callable[[], None]] = {}
        self._timers: dict[tuple[str, str], Callable[[float], None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._fallback(scope, receive, send)
            return
        started = time.perf_counter()
        headers = _headers_by_name(scope)
        request_id = _request_id(headers)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        common: HeaderList = [
            (b"x-request-id", request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
            *self._origins.cors_headers(headers.get(b"origin"), headers.get(b"host")),
        ]
        status, route, is_stream = 500, UNMATCHED_ROUTE, False
        try:
            prefix = self._fallback_prefix(scope["path"])
            if prefix is not None and self._origins.allows_host(headers.get(b"host")):
                route = prefix
                status = await self._serve_by_fallback(scope, receive, send, common)
                return
            request, outcome = await self._matcher.match(scope, receive, headers)
            route = request.route
            response = await self._responder.respond(request, outcome)
            status, is_stream = response.status, response.stream is not None
            if response.stream is None:
                await _send(response, common, scope, send)
            else:
                await self._send_stream(response, response.stream, common, request, receive, send)
        except ClientDisconnected:
            status = 499
        finally:
            self._record(scope, route, status, time.perf_counter() - started, is_stream)

    async def _send_stream(
        self,
        response: RestResponse,
        stream: ByteStream,
        common: HeaderList,
        request: RestRequest,
        receive: Receive,
        send: Send,
    ) -> None:
        """Send a response with a stream. The stream ends with the credential of the client, or by itself.

        The processor time of each piece counts for the share of the client.
        """
        ends = self._credential_ends if response.ends_with_credential else None
        processor_time = self._work.processor_time
        with nullcontext() if ends is None else ends.watch_stream(request.principal, request.member_changes) as ended:
            await send_stream(
                stream,
                response.status,
                _render_headers(response, common) + ([] if _has_length(response) else [UNBUFFERED]),
                receive,
                send,
                headers_only=request.scope["method"] == "HEAD",
                pace=partial(processor_time.pace, request.principal.limited_client_id),
                ended=ended,
                is_endless=response.content_type == EVENT_STREAM,
            )

    # -- fallback application -----------------------------------------------------------------------------------------

    def _fallback_prefix(self, path: str) -> str | None:
        """Return the prefix of `path` that belongs to the fallback application; None for REST paths."""
        if not path.startswith(self._fallback_prefixes):
            return None
        prefixes = (each for each in self._fallback_prefixes if path == each or path.startswith(f"{each}/"))
        return next(prefixes, None)

    async def _serve_by_fallback(self, scope: Scope, receive: Receive, send: Send, common: HeaderList) -> int:
        """Serve a request through the fallback application. Return the status of the response.

        `common` are headers that are added to the response.
        """
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *common]}
            await send(message)

        try:
            # Serve the index page of a folder without a redirect. This is possible because the page's links are
            # absolute.
            path = scope["path"] + "/" if scope["path"] in self._fallback_prefixes else scope["path"]
            # Starlette expects that `path` begins with `root_path`. Here `path` has no sub-path, so clear `root_path`.
            await self._fallback({**scope, "path": path, "root_path": ""}, receive, send_with_headers)
        except Exception as failure:
            if status:
                raise
            response = self._render_fallback_failure(failure, scope)
            status = response.status
            await _send(response, common, scope, send)
        return status

    def _render_fallback_failure(self, failure: Exception, scope: Scope) -> RestResponse:
        if isinstance(failure, HTTPException) and failure.status_code == 404:
            return render_problem(NotFound(f"There is nothing at {to_public_path(scope, scope['path'])}"))
        if isinstance(failure, HTTPException) and failure.status_code == 405:
            return render_method_not_allowed(scope["method"], ("GET", "HEAD"))
        logger.error("request failed", method=scope["method"], path=scope["path"], exc_info=failure)
        return render_internal_error(failure, self._dev)

    # -- metrics and log ----------------------------------------------------------------------------------------------

    def _record(self, scope: Scope, route: str, status: int, elapsed_s: float, is_stream: bool) -> None:
        """Write the metrics and the log line of a request.

        The duration of a stream is not observed, because it depends on how long the client reads the stream.
        """
        method = scope["method"] if scope["method"] in KNOWN_METHODS else "other"
        count = self._counters.get((method, route, status))
        if count is None:
            count = self._counters[method, route, status] = HTTP_REQUESTS.labels(method, route, str(status)).inc
        count()
        if not is_stream:
            observe = self._timers.get((method, route))
            if observe is None:
                observe = self._timers[method, route] = HTTP_DURATION.labels(method, route).observe
            observe(elapsed_s)
        level = logging.DEBUG if status < 400 else logging.INFO
        if _enabled(level):
            logger.log(
                level, "request", method=method, path=scope["path"], status=status, ms=round(elapsed_s * 1000, 2)
            )


def _headers_by_name(scope: Scope) -> dict[bytes, bytes]:
    """Return the request's headers by lower-case name. The values of a repeated header are joined by commas."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _request_id(headers: dict[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode()
    return f"{getrandbits(128):032x}"  # only identifies log lines, so a predictable value is no risk


async def _send(response: RestResponse, common: HeaderList, scope: Scope, send: Send) -> None:
    """Send a response that is not a stream."""
    headers = _render_headers(response, common)
    if response.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(response.body)))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    body = b"" if scope["method"] == "HEAD" or response.status == 304 else response.body
    await send({"type": "http.response.body", "body": body})


def _has_length(response: RestResponse) -> bool:
    return any(name == b"content-length" for name, _ in response.headers)


def _render_headers(response: RestResponse, common: HeaderList) -> HeaderList:
    headers = [*response.headers, *common]
    if response.status != 204:
        headers.append((b"content-type", response.content_type))
    return headers
