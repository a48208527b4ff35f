"""Errors as HTTP: problem+json (RFC 9457) that also carries v2's `error` member. The only file that makes them."""

import traceback
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson

from synckairos.errors import SyncKairosError
from synckairos.http.call import Headers, Reply
from synckairos.store.limits import Standing

MEDIA_TYPE = b"application/problem+json"


def render_problem(error: SyncKairosError, headers: Sequence[tuple[bytes, bytes]] = ()) -> Reply:
    """Render a named error; it comes out the same for the same error, so that replays are."""
    details = error.details
    if error.code == "CONFLICT" and error.document is not None:
        details = {**(details or {}), "state": orjson.Fragment(error.document)}
    reply = _render(error.status, error.code, error.message, details)
    retry_after_s = getattr(error, "retry_after_s", None) or getattr(error, "reset_s", None)
    if error.status in (429, 503):
        reply.headers.append((b"retry-after", b"%d" % max(1, retry_after_s or 1)))
    if error.replayed:
        reply.headers.append((b"idempotency-replayed", b"true"))
    reply.headers += headers
    return reply


def render_failure(failure: Exception, dev: bool) -> Reply:
    """Render what nobody foresaw: nothing of it is told, but for its stack in dev."""
    stack = "".join(traceback.format_exception(failure)) if dev else None
    return _render(500, "INTERNAL_ERROR", "Something went wrong on our side", None, stack)


def _render(status: int, code: str, message: str, details: Any, stack: str | None = None) -> Reply:
    error: dict[str, Any] = {"code": code, "message": message}
    if details is not None:
        error["details"] = details
    if stack is not None:
        error["stack"] = stack
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": message,
        "error": error,
    }
    return Reply(orjson.dumps(problem), status, MEDIA_TYPE)


def render_limits(standings: Sequence[Standing]) -> Headers:
    """Render the rate limit nearest to its end, empty where the request isn't limited."""
    if not standings:
        return []
    tightest = min(standings, key=lambda each: (not each.exceeded, each.remaining, -each.reset_s))
    return [
        (b"ratelimit-limit", b"%d" % tightest.limit),
        (b"ratelimit-remaining", b"%d" % tightest.remaining),
        (b"ratelimit-reset", b"%d" % tightest.reset_s),
    ]
