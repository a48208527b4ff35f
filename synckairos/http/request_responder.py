"""Responses to matched REST requests: calls of handlers, rate limits, problem responses and the access log."""

from contextlib import suppress

from synckairos.access_log.recorder import AccessRecorder
from synckairos.config import Settings
from synckairos.errors import (
    RateLimitExceeded,
    StoreUnavailable,
    SyncKairosError,
    TooManyConnections,
)
from synckairos.http.large_bodies import LARGE_BYTES, Downloads, stream_large_body
from synckairos.http.operations import Handler
from synckairos.http.problem_responses import rate_limit_headers, render_internal_error, render_problem
from synckairos.http.request_matcher import Outcome
from synckairos.http.request_response import ClientDisconnected, RestRequest, RestResponse
from synckairos.http.streaming_response import EVENT_STREAM
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.service.visible_rows import limit_document
from synckairos.store.rate_limited_clients import LimitedClients
from synckairos.store.rate_limits import RateLimits
from synckairos.telemetry import log, tracing
from synckairos.telemetry.metrics import RATE_LIMITED
from synckairos.telemetry.outages import LogThrottle
from synckairos.wire.document_scan import find_session_id

logger = log.get_logger(__name__)


class RequestResponder:
    """Turns the outcome of each REST request into its response."""

    def __init__(
        self,
        rate_limits: RateLimits,
        work: ClientWorkLimits,
        settings: Settings,
        access_recorder: AccessRecorder | None,
    ) -> None:
        """Create the responder.

        `access_recorder` gets administrative acts and refusals. It is None while authentication is off.
        """
        self._rate_limits = rate_limits
        self._tenants = work.tenants
        self._processor_time = work.processor_time
        self._dev = settings.dev
        self._access_recorder = access_recorder
        self._limited_clients = LimitedClients()
        self._downloads = Downloads()
        self._refusal_lines: dict[tuple[str, str | None], LogThrottle] = {}

    async def respond(self, request: RestRequest, outcome: Outcome) -> RestResponse:
        """Return the response to a request: call its handler, or use the response or error that `outcome` is.

        Errors become problem responses. If a handler returns a response, this method does not count the request. A
        refusal, and a response without a handler, is counted against the request's rate limits if it is not counted
        yet. Exceptions: OPTIONS, and refusals because a store is unavailable, are not counted.

        Raises: ClientDisconnected.
        """
        self._processor_time.note_activity(request.principal.limited_client_id)
        if tracing.active is not None:
            tracing.note_request(request.headers)
        try:
            if isinstance(outcome, RestResponse):
                # Do not count OPTIONS, because browsers send preflight requests automatically.
                response = outcome
                if request.scope["method"] != "OPTIONS":
                    await self._count(request)
            elif isinstance(outcome, SyncKairosError):
                try:
                    raise outcome
                finally:
                    del outcome  # with it, this frame and the traceback of the error would be a reference cycle
            else:
                if not request.is_press:
                    self._refuse_if_limited(request)
                response = await self._call_for_tenant(request, outcome)
                self._record_act(request, response.status)
        except ClientDisconnected:
            raise
        except SyncKairosError as error:
            response = await self._refuse(request, error)
        except Exception as failure:
            logger.error(
                "request failed",
                method=request.scope["method"],
                route=request.route,
                exc_info=failure,
            )
            return render_internal_error(failure, self._dev)
        response.headers += rate_limit_headers(request.meter.statuses)
        has_credential = request.principal.life is not None or request.principal.is_operator
        if has_credential and all(name != b"cache-control" for name, _ in response.headers):
            # After a sign-out, a browser must not show this answer to the next user of the machine.
            response.headers.append((b"cache-control", b"no-store"))
        return response

    async def _call_for_tenant(self, request: RestRequest, handler: Handler) -> RestResponse:
        """Charge the request to the tenant of its caller, then call the handler. Replays are not charged.

        Raises: RateLimitExceeded if the limit of the tenant is reached. And the exceptions of `_call_in_turn`.
        """
        is_press = request.is_press
        call = self._call_press if is_press else self._call_in_turn
        if not request.meter.is_due:
            return await call(request, handler)
        tenant = request.principal.tenant
        self._tenants.charge_requests(tenant, are_presses=is_press)
        response = await call(request, handler)
        if (b"idempotency-replayed", b"true") in response.headers:
            self._tenants.undo_request(tenant, is_press=is_press)
        return response

    async def _call_press(self, request: RestRequest, handler: Handler) -> RestResponse:
        """Call the handler of a press, see `ProcessorTime.run_press`.

        Raises: RateLimitExceeded if the wait takes too long; the handler was not called then. TooManyConnections if the
            client has too many downloads. And all exceptions of the handler.
        """
        client, tenant = request.principal.limited_client_id, request.principal.tenant
        session_id = request.path_parameters.get("session_id", "").lower()
        response = await self._processor_time.run_press(client, tenant, session_id, lambda: handler(request))
        if response.stream is None and len(response.body) <= LARGE_BYTES:
            return response
        return await self._count_download(client, response)

    async def _call_in_turn(self, request: RestRequest, handler: Handler) -> RestResponse:
        """Wait until the client has used no more than its share of the processor, then call the handler.

        Raises: RateLimitExceeded if the wait takes too long; the handler was not called then. TooManyConnections if the
            client has too many downloads. And all exceptions of the handler.
        """
        client, processor_time = request.principal.limited_client_id, self._processor_time
        response = await processor_time.run(client, lambda: handler(request), is_rate_limited=request.meter.is_due)
        response = await self._count_download(client, response)
        processor_time.charge_response(client, len(response.body))  # each piece of a stream is charged later
        return response

    async def _count_download(self, client: str, response: RestResponse) -> RestResponse:
        """Return a response, which counts as a download of the client if it is large and has an end.

        Raises: TooManyConnections if the client has too many downloads. A command was executed nevertheless; the client
            gets its result with the same `Idempotency-Key`, as after each 503.
        """
        if response.stream is None and len(response.body) > LARGE_BYTES:
            stream_large_body(response)
        if response.stream is not None and response.content_type != EVENT_STREAM:
            response.stream = await self._downloads.count(client, response.stream)
        return response

    def _refuse_if_limited(self, request: RestRequest) -> None:
        """Refuse a request if this instance knows that its client's general quota is used up.

        The check reads no body and needs no Redis. The caller must not use it for a press, because the press is
        possibly legal. It never refuses a request with an `Idempotency-Key`, because the request is possibly a replay.

        Raises: RateLimitExceeded.
        """
        meter = request.meter
        if not meter.is_due or b"idempotency-key" in request.headers:
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
        if isinstance(error, RateLimitExceeded | TooManyConnections):
            await self._processor_time.delay_refusal(request.principal.limited_client_id)
        if error.status >= 500:
            self._log_refusal(request, error)
        if error.document is not None:
            error.document = limit_document(request.principal, find_session_id(error.document), error.document)
        return render_problem(error)

    def _record_act(self, request: RestRequest, status: int) -> None:
        """Record an executed administrative operation for the access log."""
        if self._access_recorder is not None and request.is_administrative:
            action = f"{request.scope['method']} {request.route}"
            self._access_recorder.record_act(request.principal, action, request.act_target, status)

    def _log_refusal(self, request: RestRequest, error: SyncKairosError) -> None:
        """Log a refusal, at most once a minute for each code and store.

        The caller must call this only for refusals with a 5xx status. During an outage of a store every request is
        refused, which would fill the log.
        """
        store = error.setting if isinstance(error, StoreUnavailable) else None
        quiet = self._refusal_lines.setdefault((error.code, store), LogThrottle())
        if (suppressed := quiet.allow_next_line()) is not None:
            cause = repr(error.__cause__)
            logger.warning(
                "request refused",
                code=error.code,
                route=request.route,
                cause=cause,
                more_before=suppressed,
            )

    async def _count(self, request: RestRequest) -> None:
        """Count a request against its rate limits if it is not counted yet. If Redis is unavailable, do nothing.

        Raises: RateLimitExceeded if a rate limit is used up.
        """
        if request.meter.is_due:
            with suppress(StoreUnavailable):
                await self._rate_limits.count(request.meter)
