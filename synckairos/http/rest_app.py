"""REST as one ASGI application: routing, origin checks, rate limits, error responses, metrics and the request log.

For each request the application finds the operation, checks `Host` and `Origin`, calls the handler and sends the
response. It turns errors into problem responses and adds the headers that every response has. The route modules
contain the handlers.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import getrandbits

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synckairos.access_log.recorder import AccessRecorder
from synckairos.config import Settings
from synckairos.errors import (
    Forbidden,
    MethodNotAllowed,
    NotFound,
    RateLimitExceeded,
    StoreUnavailable,
    SyncKairosError,
)
from synckairos.http.allowed_origins import AllowedOrigins
from synckairos.http.operations import Handler, Operation, OperationTable
from synckairos.http.problem_responses import rate_limit_headers, render_internal_error, render_problem
from synckairos.http.request_authentication import RequestAuthentication
from synckairos.http.request_response import ClientDisconnected, HeaderList, RestRequest, RestResponse
from synckairos.http.streaming_response import send_stream
from synckairos.http.sub_path import to_public_path
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.revocations.credential_ends import CredentialEnds
from synckairos.store.rate_limited_clients import LimitedClients
from synckairos.store.rate_limits import RateLimits
from synckairos.store.rate_meter import RateMeter
from synckairos.store.rate_quotas import Quota, general_rate
from synckairos.telemetry import log
from synckairos.telemetry.metrics import HTTP_DURATION, HTTP_REQUESTS, RATE_LIMITED
from synckairos.telemetry.outages import LogThrottle

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
KNOWN_METHODS = SAFE_METHODS | {"POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"}

UNMATCHED_ROUTE = "unmatched"
"""Value of the label `route` in metrics for paths without an operation."""

EVENT_STREAM = b"text/event-stream"
"""Content type of live tails. They have no end, so their end by the server is no fault."""

UNBUFFERED = (b"x-accel-buffering", b"no")
"""Response header of streams. nginx and other proxies that support this header forward each piece at once.

Without this header, such proxies wait until a buffer is full.
"""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

_FOREIGN_HOST = "The Host header does not name this server. Add its origin to SYNCKAIROS_ALLOWED_ORIGINS"
_FOREIGN_ORIGIN = "Pages of this origin are not allowed. Add the origin to SYNCKAIROS_ALLOWED_ORIGINS"

logger = log.get_logger(__name__)
_enabled = logging.getLogger(__name__).isEnabledFor

Outcome = Handler | RestResponse | SyncKairosError
"""Result of routing: a handler to call, a complete response, or an error for the response."""


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
        self._operations = operations
        self._rate_limits = rate_limits
        self._work = work
        self._limited_clients = LimitedClients()
        self._origins = origins
        self._authentication = authentication
        self._general_rate = general_rate(settings.rate_limit_general)
        self._dev = settings.dev
        self._access_recorder = access_recorder
        self._credential_ends = credential_ends
        self._fallback = fallback
        self._fallback_prefixes = tuple(fallback_prefixes)
        self._counters: dict[tuple[str, str, int], Callable[[], None]] = {}
        self._timers: dict[tuple[str, str], Callable[[float], None]] = {}
        self._refusal_lines: dict[tuple[str, str | None], LogThrottle] = {}

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
            request, outcome = await self._match(scope, receive, headers)
            route = request.route
            response = await self._respond(request, outcome)
            status, is_stream = response.status, response.stream is not None
            if response.stream is None or self._credential_ends is None:
                await _send(response, common, scope, receive, send)
            else:
                with self._credential_ends.watch_stream(request.principal) as ended:
                    await _send(response, common, scope, receive, send, ended)
        except ClientDisconnected:
            status = 499
        finally:
            self._record(scope, route, status, time.perf_counter() - started, is_stream)

    # -- responses ----------------------------------------------------------------------------------------------------

    async def _match(self, scope: Scope, receive: Receive, headers: dict[bytes, bytes]) -> tuple[RestRequest, Outcome]:
        """Build the request, and determine its outcome: the handler of its operation, a response, or an error."""
        method: str = scope["method"]
        path: str = scope["path"]
        methods, values = self._operations.find(path)
        found = methods.get("GET" if method == "HEAD" else method)
        path_parameters: dict[str, str] = {}
        outcome: Outcome
        if found is not None:
            operation, names = found
            route, is_limited, outcome = operation.route_label, operation.is_rate_limited, operation.handle
            path_parameters = dict(zip(names, values, strict=True))
        elif methods:
            operation, _ = next(iter(methods.values()))
            route, is_limited = operation.route_label, operation.is_rate_limited
            outcome = self._respond_without_operation(method, methods, headers)
        else:
            route, is_limited = UNMATCHED_ROUTE, path.startswith("/v1/")
            outcome = self._not_found(method, path, scope)
        if "session_id" in path_parameters:
            structlog.contextvars.bind_contextvars(session_id=path_parameters["session_id"])
        caller = await self._authentication.authenticate(scope, None if found is None else found[0], path_parameters)
        principal = caller.principal
        meter = RateMeter(Quota(self._general_rate, principal.limited_client_id)) if is_limited else RateMeter()
        request = RestRequest(
            scope, receive, headers, route, path_parameters, principal, meter, self._rate_limits, self._work
        )
        request.is_monitor = caller.is_monitor
        request.is_administrative = found is not None and found[0].is_administrative
        if not self._origins.allows_host(headers.get(b"host")):
            outcome = Forbidden(_FOREIGN_HOST)
        elif method not in SAFE_METHODS and not self._origins.allows_request(scope):
            outcome = Forbidden(_FOREIGN_ORIGIN)
        elif caller.refusal is not None:
            outcome = caller.refusal
        return request, outcome

    def _not_found(self, method: str, path: str, scope: Scope) -> NotFound:
        """Return the error for an unknown path. For paths under `/v1/` the error lists the valid names."""
        names = self._operations.valid_sibling_names(path, "GET" if method == "HEAD" else method)
        known = f". Known names for {method}: {', '.join(names)}" if names and path.startswith("/v1/") else ""
        return NotFound(f"There is nothing at {to_public_path(scope, path)}{known}")

    def _respond_without_operation(
        self, method: str, methods: dict[str, tuple[Operation, tuple[str, ...]]], headers: dict[bytes, bytes]
    ) -> RestResponse | SyncKairosError:
        """Return the response to OPTIONS, or to another HTTP method without an operation at this path.

        `methods` are the operations of the path by HTTP method.
        """
        names = sorted({*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())})
        allow = (b"allow", ", ".join(names).encode())
        if method != "OPTIONS":
            return render_problem(_method_not_allowed(method, ", ".join(names)), [allow])
        origin = headers.get(b"origin")
        if origin is None or b"access-control-request-method" not in headers:
            return RestResponse(status=204, headers=[allow])
        if not self._origins.allows_origin(origin, headers.get(b"host")):
            return Forbidden(_FOREIGN_ORIGIN)
        return RestResponse(status=204, headers=[allow, *self._origins.preflight_headers()])

    async def _respond(self, request: RestRequest, outcome: Outcome) -> RestResponse:
        """Return the response to a request: call its handler, or use the response or error that `outcome` is.

        Errors become problem responses. If a handler returns a response, this method does not count the request. A
        refusal, and a response without a handler, is counted against the request's rate limits if it is not counted
        yet. Exceptions: OPTIONS, and refusals because a store is unavailable, are not counted.

        Raises: ClientDisconnected.
        """
        self._work.processor_time.note_activity(request.principal.limited_client_id)
        try:
            if isinstance(outcome, RestResponse):
                # Do not count OPTIONS, because browsers send preflight requests automatically.
                response = outcome
                if request.scope["method"] != "OPTIONS":
                    await self._count(request)
            elif isinstance(outcome, SyncKairosError):
                raise outcome
            else:
                self._refuse_if_limited(request)
                response = await self._call_in_turn(request, outcome)
                self._record_act(request, response.status)
        except ClientDisconnected:
            raise
        except SyncKairosError as error:
            response = await self._refuse(request, error)
        except Exception as failure:
            logger.error("request failed", method=request.scope["method"], route=request.route, exc_info=failure)
            return render_internal_error(failure, self._dev)
        response.headers += rate_limit_headers(request.meter.statuses)
        return response

    async def _call_in_turn(self, request: RestRequest, handler: Handler) -> RestResponse:
        """Wait until the client has used no more than its share of the processor, then call the handler.

        The handlers of presses are called without a wait.

        Raises: RateLimitExceeded if the wait takes too long; the handler was not called then. And all exceptions of the
            handler.
        """
        client, processor_time = request.principal.limited_client_id, self._work.processor_time
        if request.is_press:
            return await handler(request)
        response = await processor_time.run(client, lambda: handler(request), is_rate_limited=request.meter.is_due)
        processor_time.charge_response(client, len(response.body))
        return response

    def _refuse_if_limited(self, request: RestRequest) -> None:
        """Refuse a request if this instance knows that its client's general quota is used up.

        The check reads no body and needs no Redis. It never refuses a press, because the press is possibly legal. It
        also never refuses a request with an `Idempotency-Key`, because the request is possibly a replay.

        Raises: RateLimitExceeded.
        """
        meter = request.meter
        if not meter.is_due or b"idempotency-key" in request.headers or request.is_press:
            return
        if (limited := self._limited_clients.find(request.principal.limited_client_id)) is not None:
            meter.refuse_uncounted(*limited)

    async def _refuse(self, request: RestRequest, error: SyncKairosError) -> RestResponse:
        if not isinstance(error, StoreUnavailable):
            try:
                await self._count(request)
            except RateLimitExceeded as exceeded:
                error = exceeded
        if self._access_recorder is not None and error.status in (401, 403):
            self._access_recorder.record_refusal(request.principal.address, error.code)
        if isinstance(error, RateLimitExceeded):
            RATE_LIMITED.labels("http").inc()
            self._limited_clients.remember_if_limited(request.principal.limited_client_id, request.meter.statuses)
            await self._work.processor_time.delay_refusal(request.principal.limited_client_id)
        if error.status >= 500:
            self._log_refusal(request, error)
        return render_problem(error)

    def _record_act(self, request: RestRequest, status: int) -> None:
        """Record an executed administrative operation for the access log."""
        if self._access_recorder is not None and request.is_administrative:
            action = f"{request.scope['method']} {request.route}"
            target = " ".join(request.path_parameters.values())
            self._access_recorder.record_act(request.principal, action, target, status)

    def _log_refusal(self, request: RestRequest, error: SyncKairosError) -> None:
        """Log a refusal, at most once a minute for each code and store.

        The caller must call this only for refusals with a 5xx status. During an outage of a store every request is
        refused, which would fill the log.
        """
        store = error.setting if isinstance(error, StoreUnavailable) else None
        quiet = self._refusal_lines.setdefault((error.code, store), LogThrottle())
        if (suppressed := quiet.allow_next_line()) is not None:
            cause = repr(error.__cause__)
            logger.warning("request refused", code=error.code, route=request.route, cause=cause, more_before=suppressed)

    async def _count(self, request: RestRequest) -> None:
        """Count a request against its rate limits if it is not counted yet. If Redis is unavailable, do nothing.

        Raises: RateLimitExceeded if a rate limit is used up.
        """
        if request.meter.is_due:
            with suppress(StoreUnavailable):
                await self._rate_limits.count(request.meter)

    # -- fallback application -----------------------------------------------------------------------------------------

    def _fallback_prefix(self, path: str) -> str | None:
        """Return the prefix of `path` that belongs to the fallback application; None for REST paths."""
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
            await _send(response, common, scope, receive, send)
        return status

    def _render_fallback_failure(self, failure: Exception, scope: Scope) -> RestResponse:
        if isinstance(failure, HTTPException) and failure.status_code == 404:
            return render_problem(NotFound(f"There is nothing at {to_public_path(scope, scope['path'])}"))
        if isinstance(failure, HTTPException) and failure.status_code == 405:
            return render_problem(_method_not_allowed(scope["method"], "GET, HEAD"), [(b"allow", b"GET, HEAD")])
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


def _method_not_allowed(method: str, allowed: str) -> MethodNotAllowed:
    return MethodNotAllowed(f"{method} is not allowed here. Allowed methods: {allowed}")


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


async def _send(
    response: RestResponse,
    common: HeaderList,
    scope: Scope,
    receive: Receive,
    send: Send,
    ended: asyncio.Event | None = None,
) -> None:
    headers = [*response.headers, *common]
    if response.status != 204:
        headers.append((b"content-type", response.content_type))
    if response.stream is not None:
        headers.append(UNBUFFERED)
        is_head = scope["method"] == "HEAD"
        await send_stream(
            response.stream,
            response.status,
            headers,
            receive,
            send,
            headers_only=is_head,
            ended=ended,
            is_endless=response.content_type == EVENT_STREAM,
        )
        return
    if response.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(response.body)))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    body = b"" if scope["method"] == "HEAD" or response.status == 304 else response.body
    await send({"type": "http.response.body", "body": body})
