"""Problem details (RFC 9457) of a refusal as JSON, with the JSON member `error` of v2."""

from http import HTTPStatus
from typing import Any

import orjson

from synckairos.errors import RateLimitExceeded, SyncKairosError, ValidationFailed

MEDIA_TYPE = b"application/problem+json"


def problem_json(error: SyncKairosError, stack: str | None = None) -> bytes:
    """Render the problem details of an error. Equal arguments always give the same bytes, as replays need.

    `stack` is the text of the stack trace, None to omit it. The caller must pass it only in development mode.
    """
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if (details := error_details(error)) is not None:
        body["details"] = details
    if isinstance(error, RateLimitExceeded):
        body["retry_after_seconds"] = error.retry_after_s  # the position of this JSON member in v2
    if stack is not None:
        body["stack"] = stack
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": _detail(error),
        "error": body,
    }
    return orjson.dumps(problem)


def _detail(error: SyncKairosError) -> str:
    """Return the text that describes an error.

    For an invalid request this is the first fault with its path, for any other error the message.
    """
    if error.code != ValidationFailed.code or not error.details:
        return error.message
    first = error.details[0]
    return f"{first['path']}: {first['message']}" if first["path"] else str(first["message"])


def error_details(error: SyncKairosError) -> Any:
    """Return the details of an error as JSON values, None if it has none.

    For CONFLICT the details include the session's current `state`, if the error has the document.
    """
    if error.code == "CONFLICT" and error.document is not None:
        return {**(error.details or {}), "state": orjson.Fragment(error.document)}
    return error.details
