"""The door: one ASGI application from a request's bytes to its answer's, in a single layer.

It matches, checks where the caller comes from, counts, calls the operation, turns errors into problems, and puts on
every answer what every answer carries. What an operation does is its own business.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import getrandbits

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
from synckairos.http.caller_identity import CallerIdentity
from synckairos.http.operations import Handler, Operation, OperationTable
from synckairos.http.problem_responses import render_failure, render_limits, render_problem
from synckairos.http.request import ClientGone, Headers, RestRequest, RestResponse
from synckairos.http.streaming_response import send_stream
from synckairos.store.rate_limits import RateLimits, RateMeter, general_quota
from synckairos.telemetry import log
from synckairos.telemetry.metrics import HTTP_DURATION, HTTP_REQUESTS, RATE_LIMITED

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS = SAFE | {"POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"}

UNMATCHED = "unmatched"
"""The route, for metrics and logs, of paths that nobody serves."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

logger = log.get(__name__)
_enabled = logging.getLogger(__name__).isEnabledFor


class RestApp:
    """REST as an ASGI application; what isn't an operation (sockets, files, lifespan) goes to `beyond`."""

    def __init__(
        self,
        table: OperationTable,
        limits: RateLimits,
        origins: AllowedOrigins,
        callers: CallerIdentity,
        settings: Settings,
        beyond: ASGIApp,
        beyond_paths: Sequence[str],
    ) -> None:
        """Take the operations and what they stand on; `beyond_paths` are the prefixes that `beyond` serves."""
        self._table = table
        self._limits = limits
        self._origins = origins
        self._callers = callers
        self._general_limit = settings.rate_limit_general
        self._dev = settings.dev
        self._beyond = beyond
        self._beyond_paths = tuple(beyond_paths)
        self._counters: dict[tuple[str, str, int], Callable[[], None]] = {}
        self._timers: dict[tuple[str, str], Callable[[float], None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._beyond(scope, receive, send)
            return
        started = time.perf_counter()
        headers = _headers(scope)
        request_id = _request_id(headers)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        common: Headers = [
            (b"x-request-id", request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
            *self._origins.headers(headers.get(b"origin"), headers.get(b"host")),
        ]
        status, route, lasting = 500, UNMATCHED, False
        try:
            beyond = self._prefix_beyond(scope["path"])
            if beyond is not None and self._origins.trusts_host(headers.get(b"host")):
                route = beyond
                status = await self._pass_on(scope, receive, send, common)
                return
            call, answer = self._match(scope, receive, headers)
            route = call.route
            reply = await self._answer(call, answer)
            status, lasting = reply.status, reply.stream is not None
            await _send(reply, common, scope, receive, send)
        except ClientGone:
            status = 499
        finally:
            self._record(scope, route, status, time.perf_counter() - started, lasting)

    # -- answering ----------------------------------------------------------------------------------------------------

    def _match(
        self, scope: Scope, receive: Receive, headers: dict[bytes, bytes]
    ) -> tuple[RestRequest, Handler | RestResponse | SyncKairosError]:
        """Return the call, and what answers it: its operation, or why none does."""
        method: str = scope["method"]
        path: str = scope["path"]
        methods, texts = self._table.find(path)
        found = methods.get("GET" if method == "HEAD" else method)
        params: dict[str, str] = {}
        answer: Handler | RestResponse | SyncKairosError
        if found is not None:
            operation, names = found
            route, is_limited, answer = operation.route, operation.limited, operation.handle
            params = dict(zip(names, texts, strict=True))
        elif methods:
            operation, _ = next(iter(methods.values()))
            route, is_limited = operation.route, operation.limited
            answer = self._no_such_method(method, methods, headers)
        else:
            route, is_limited = UNMATCHED, path.startswith("/v1/")
            answer = NotFound(f"There is nothing at {path}")
        if "session_id" in params:
            structlog.contextvars.bind_contextvars(session_id=params["session_id"])
        principal = self._callers.principal_of(scope)
        meter = RateMeter(general_quota(principal.address, self._general_limit)) if is_limited else RateMeter()
        call = RestRequest(scope, receive, headers, route, params, principal, meter, self._limits)
        if not self._origins.trusts_host(headers.get(b"host")):
            answer = Forbidden("This Host isn't ours; list its origin in SYNCKAIROS_ALLOWED_ORIGINS")
        elif method not in SAFE and not self._origins.admits(scope):
            answer = Forbidden("Pages of this origin may not; list it in SYNCKAIROS_ALLOWED_ORIGINS")
        return call, answer

    def _no_such_method(
        self, method: str, methods: dict[str, tuple[Operation, tuple[str, ...]]], headers: dict[bytes, bytes]
    ) -> RestResponse | SyncKairosError:
        names = sorted({*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())})
        allow = (b"allow", ", ".join(names).encode())
        if method != "OPTIONS":
            refused = MethodNotAllowed(f"{method} isn't possible here; {', '.join(names)} are")
            return render_problem(refused, [allow])
        origin = headers.get(b"origin")
        if origin is None or b"access-control-request-method" not in headers:
            return RestResponse(status=204, headers=[allow])
        if not self._origins.is_allowed(origin, headers.get(b"host")):
            return Forbidden("Pages of this origin may not; list it in SYNCKAIROS_ALLOWED_ORIGINS")
        return RestResponse(status=204, headers=[allow, *self._origins.preflight_headers()])

    async def _answer(self, call: RestRequest, answer: Handler | RestResponse | SyncKairosError) -> RestResponse:
        """Let the operation answer; whatever it raises becomes a problem, and everything is counted."""
        try:
            if isinstance(answer, RestResponse):
                # Answers to OPTIONS, which nobody asks for by hand, and to methods that don't exist.
                reply = answer
                if call.scope["method"] != "OPTIONS":
                    await self._count(call)
            elif isinstance(answer, SyncKairosError):
                raise answer
            else:
                reply = await answer(call)
        except ClientGone:
            raise
        except SyncKairosError as error:
            reply = await self._refuse(call, error)
        except Exception as failure:
            logger.error("request failed", method=call.scope["method"], route=call.route, exc_info=failure)
            return render_failure(failure, self._dev)
        reply.headers += render_limits(call.meter.statuses)
        return reply

    async def _refuse(self, call: RestRequest, error: SyncKairosError) -> RestResponse:
        if not isinstance(error, StoreUnavailable):
            try:
                await self._count(call)
            except RateLimitExceeded as exceeded:
                error = exceeded
        if isinstance(error, RateLimitExceeded):
            RATE_LIMITED.labels("http").inc()
        if error.status >= 500:
            logger.warning("request refused", code=error.code, route=call.route, cause=repr(error.__cause__))
        return render_problem(error)

    async def _count(self, call: RestRequest) -> None:
        """Count a request that never came as far as being counted; a store that is away excuses it."""
        if call.meter.is_due:
            with suppress(StoreUnavailable):
                await self._limits.take(call.meter)

    # -- what lies beyond ---------------------------------------------------------------------------------------------

    def _prefix_beyond(self, path: str) -> str | None:
        """Return the prefix by which a path is somebody else's, None where it is ours."""
        owned = (prefix for prefix in self._beyond_paths if path == prefix or path.startswith(f"{prefix}/"))
        return next(owned, None)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, common: Headers) -> int:
        """Let somebody else answer, our headers put on it; return the status."""
        status = 0

        async def dress(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *common]}
            await send(message)

        try:
            # The folder's own page without a redirect: its links are absolute.
            path = scope["path"] + "/" if scope["path"] in self._beyond_paths else scope["path"]
            await self._beyond({**scope, "path": path}, receive, dress)
        except Exception as failure:
            if status:
                raise
            reply = self._problem_of(failure, scope)
            status = reply.status
            await _send(reply, common, scope, receive, send)
        return status

    def _problem_of(self, failure: Exception, scope: Scope) -> RestResponse:
        if isinstance(failure, HTTPException) and failure.status_code == 404:
            return render_problem(NotFound(f"There is nothing at {scope['path']}"))
        if isinstance(failure, HTTPException) and failure.status_code == 405:
            refused = MethodNotAllowed(f"{scope['method']} isn't possible here; GET, HEAD are")
            return render_problem(refused, [(b"allow", b"GET, HEAD")])
        logger.error("request failed", method=scope["method"], path=scope["path"], exc_info=failure)
        return render_failure(failure, self._dev)

    # -- keeping count ------------------------------------------------------------------------------------------------

    def _record(self, scope: Scope, route: str, status: int, elapsed_s: float, lasting: bool) -> None:
        """Count the request, and its time where that says something: a tail lasts as long as somebody reads it."""
        method = scope["method"] if scope["method"] in METHODS else "other"
        count = self._counters.get((method, route, status))
        if count is None:
            count = self._counters[method, route, status] = HTTP_REQUESTS.labels(method, route, str(status)).inc
        count()
        if not lasting:
            observe = self._timers.get((method, route))
            if observe is None:
                observe = self._timers[method, route] = HTTP_DURATION.labels(method, route).observe
            observe(elapsed_s)
        level = logging.DEBUG if status < 400 else logging.INFO
        if _enabled(level):
            logger.log(
                level, "request", method=method, path=scope["path"], status=status, ms=round(elapsed_s * 1000, 2)
            )


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """Return the request's headers by name, several of one name joined by commas."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _request_id(headers: dict[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode()
    return f"{getrandbits(128):032x}"  # a name for the log, no secret


async def _send(reply: RestResponse, common: Headers, scope: Scope, receive: Receive, send: Send) -> None:
    headers = [*reply.headers, *common]
    if reply.status != 204:
        headers.append((b"content-type", reply.content_type))
    if reply.stream is not None:
        await send_stream(reply.stream, reply.status, headers, receive, send, head=scope["method"] == "HEAD")
        return
    if reply.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    body = b"" if scope["method"] == "HEAD" or reply.status == 304 else reply.body
    await send({"type": "http.response.body", "body": body})
