"""A refusal as JSON: RFC 9457's members, and v2's `error` beside them."""

from http import HTTPStatus
from typing import Any

import orjson

from synckairos.errors import RateLimitExceeded, SyncKairosError

MEDIA_TYPE = b"application/problem+json"


def problem_json(error: SyncKairosError, stack: str | None = None) -> bytes:
    """Render a named error; it comes out the same for the same error, so that replays are. `stack` is for dev alone."""
    named: dict[str, Any] = {"code": error.code, "message": error.message}
    if (details := error_details(error)) is not None:
        named["details"] = details
    if isinstance(error, RateLimitExceeded):
        named["retry_after_seconds"] = error.retry_after_s  # where v2 said it
    if stack is not None:
        named["stack"] = stack
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.message,
        "error": named,
    }
    return orjson.dumps(problem)


def error_details(error: SyncKairosError) -> Any:
    """Return what an error says besides its message, None where nothing; of a conflict the state that won, too."""
    if error.code == "CONFLICT" and error.document is not None:
        return {**(error.details or {}), "state": orjson.Fragment(error.document)}
    return error.details
