"""Matching of REST requests to operations, with the checks before a handler: credential, role, `Host` and `Origin`."""

import structlog
from starlette.types import Receive, Scope

from synckairos.config import Settings
from synckairos.errors import (
    Forbidden,
    NotFound,
    SyncKairosError,
)
from synckairos.http.allowed_origins import AllowedOrigins
from synckairos.http.operations import Handler, Operation, OperationTable
from synckairos.http.problem_responses import render_method_not_allowed
from synckairos.http.request_authentication import RequestAuthentication
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.http.sub_path import to_public_path
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.store.rate_limits import RateLimits
from synckairos.store.rate_meter import RateMeter
from synckairos.store.rate_quotas import Quota, general_rate

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

UNMATCHED_ROUTE = "unmatched"
"""Value of the label `route` in metrics for paths without an operation."""

_FOREIGN_HOST = "The Host header does not name this server. Add its origin to SYNCKAIROS_ALLOWED_ORIGINS"
_FOREIGN_ORIGIN = "Pages of this origin are not allowed. Add the origin to SYNCKAIROS_ALLOWED_ORIGINS"

_ORIGIN_OF_ANOTHER_TENANT = "Pages of this origin are not allowed for this tenant. An operator sets its origins"

Outcome = Handler | RestResponse | SyncKairosError
"""Result of matching a request: a handler to call, a complete response, or an error to respond with."""


class RequestMatcher:
    """Determines the outcome of each REST request before its handler is called."""

    def __init__(
        self,
        operations: OperationTable,
        rate_limits: RateLimits,
        origins: AllowedOrigins,
        authentication: RequestAuthentication,
        work: ClientWorkLimits,
        settings: Settings,
    ) -> None:
        self._operations = operations
        self._rate_limits = rate_limits
        self._origins = origins
        self._authentication = authentication
        self._work = work
        self._general_rate = general_rate(settings.rate_limit_general)

    async def match(self, scope: Scope, receive: Receive, headers: dict[bytes, bytes]) -> tuple[RestRequest, Outcome]:
        """Build a request and determine its outcome. No handler is called.

        `headers` are the headers by lower-case name. Refusals are in the outcome and are not raised.
        """
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
        operation_found = None if found is None else found[0]
        caller = await self._authentication.authenticate(scope, headers, operation_found, path_parameters)
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
        elif principal.life is not None and not self._origins.allows_tenant(principal.tenant, scope):
            outcome = Forbidden(_ORIGIN_OF_ANOTHER_TENANT)
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
            return render_method_not_allowed(method, names)
        origin = headers.get(b"origin")
        if origin is None or b"access-control-request-method" not in headers:
            return RestResponse(status=204, headers=[allow])
        if not self._origins.allows_origin(origin, headers.get(b"host")):
            return Forbidden(_FOREIGN_ORIGIN)
        return RestResponse(status=204, headers=[allow, *self._origins.preflight_headers()])
