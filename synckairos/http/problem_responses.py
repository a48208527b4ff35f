"""Error responses in `application/problem+json` (RFC 9457), and the rate-limit headers of all responses."""

import traceback
from collections.abc import Sequence

from synckairos.errors import InternalError, MethodNotAllowed, SyncKairosError, Unauthorized
from synckairos.http.request_response import HeaderList, RestResponse
from synckairos.store.rate_meter import RateLimitStatus
from synckairos.wire.problem_json import MEDIA_TYPE, problem_json


def render_problem(error: SyncKairosError, headers: Sequence[tuple[bytes, bytes]] = ()) -> RestResponse:
    """Return the problem response for an error, with the error's status and the additional `headers`.

    The response has `Retry-After` if the error names a delay, or if its status is 429 or 503. It has
    `Idempotency-Replayed` if the error is a replay, and `WWW-Authenticate` if its status is 401.
    """
    response = RestResponse(problem_json(error), error.status, MEDIA_TYPE)
    retry_after_s = getattr(error, "retry_after_s", 1 if error.status in (429, 503) else None)
    if retry_after_s is not None:
        response.headers.append((b"retry-after", b"%d" % retry_after_s))
    if isinstance(error, Unauthorized):
        response.headers.append((b"www-authenticate", error.challenge.encode()))
    if error.replayed:
        response.headers.append((b"idempotency-replayed", b"true"))
    response.headers += headers
    return response


def render_method_not_allowed(method: str, allowed: Sequence[str]) -> RestResponse:
    """Return the response with status 405 to the HTTP method `method`. Its header `Allow` names `allowed`."""
    names = ", ".join(allowed)
    error = MethodNotAllowed(f"{method} is not allowed here. Allowed methods: {names}")
    return render_problem(error, [(b"allow", names.encode())])


def render_internal_error(failure: Exception, dev: bool) -> RestResponse:
    """Return the response with status 500 for an unexpected exception.

    If `dev` is True, it contains the stack trace.
    """
    stack = "".join(traceback.format_exception(failure)) if dev else None
    return RestResponse(problem_json(InternalError(), stack), 500, MEDIA_TYPE)


def rate_limit_headers(statuses: Sequence[RateLimitStatus]) -> HeaderList:
    """Return the `RateLimit-*` headers of the rate limit with the fewest remaining requests.

    If the request exceeded rate limits, only these rate limits are compared. Return no headers if the request was not
    counted against a rate limit.
    """
    if not statuses:
        return []
    tightest = min(statuses, key=lambda each: (not each.exceeded, each.remaining, -each.reset_s))
    return [
        (b"ratelimit-limit", b"%d" % tightest.limit),
        (b"ratelimit-remaining", b"%d" % tightest.remaining),
        (b"ratelimit-reset", b"%d" % tightest.reset_s),
    ]
