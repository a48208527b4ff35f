"""Errors of the client: refusals by the server, and permanent ends of the connection.

Codes of the server are listed in `docs/reference/errors.md`. Errors of the client itself are codes of this module.
"""

from typing import Any

import orjson

NO_SUCH_SESSION = 4504
DELETED = 4510
SESSION_CLOSE_CODES = frozenset({NO_SUCH_SESSION, DELETED})
"""Close codes of a connection whose only session does not exist. The client can still watch another session."""

TEMPORARY_CODES = frozenset({"STORE_UNAVAILABLE", "RATE_LIMIT_EXCEEDED"})
"""Codes of temporary refusals. The same request can succeed later."""


class SyncKairosError(Exception):
    """Base class of all errors of the client.

    `code` is stable. `message` is the text. `details` is further data as JSON values, None if there is none.
    """

    code: str = "CLIENT_ERROR"

    def __init__(self, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class Unauthorized(SyncKairosError):
    """The server requires a credential, or does not accept the credential of this client."""

    code = "UNAUTHORIZED"


class Forbidden(SyncKairosError):
    """The credential of this client does not give the right."""

    code = "FORBIDDEN"


class PayloadTooLarge(SyncKairosError):
    """A message or a body has more bytes than allowed."""

    code = "PAYLOAD_TOO_LARGE"


class TooManyConnections(SyncKairosError):
    """The server already has the maximum number of connections, in total or of this client."""

    code = "TOO_MANY_CONNECTIONS"


class SessionNotFound(SyncKairosError):
    """The session does not exist, or this client cannot reach it. Both cases have the same answer."""

    code = "SESSION_NOT_FOUND"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"Session {session_id} not found")
        self.session_id = session_id


class ParticipantNotFound(SyncKairosError):
    """The session has no participant with this id."""

    code = "PARTICIPANT_NOT_FOUND"

    def __init__(self, participant_id: str) -> None:
        super().__init__(f"Participant {participant_id} is not in this session")
        self.participant_id = participant_id


class CommandRefused(SyncKairosError):
    """The server refused a command, or could not decide it now. `code` and `details` are from the server.

    After `STORE_UNAVAILABLE` or `RATE_LIMIT_EXCEEDED` the command is not decided. Send the command again with the same
    `command_id`.
    """

    def __init__(self, code: str, message: str, details: Any = None) -> None:
        super().__init__(message, details)
        self.code = code


class RequestFailed(SyncKairosError):
    """A REST request failed. `code`, `message` and `details` are from the server.

    `status` is the HTTP status, 0 if there was no answer. The code is then `NETWORK_ERROR`, and the outcome of the
    request is unknown. `retry_after_s` is the number of seconds after which the same request can succeed, 0 if the
    server named none.
    """

    code = "NETWORK_ERROR"

    def __init__(
        self, code: str, message: str, details: Any = None, *, status: int = 0, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(message, details)
        self.code = code
        self.status = status
        self.retry_after_s = retry_after_s


class ServerTimeUnknown(SyncKairosError, ValueError):
    """The server's time is unknown: there was no measurement yet, or none after this machine slept the last time."""

    code = "SERVER_TIME_UNKNOWN"

    def __init__(self) -> None:
        super().__init__("The server's time is not known yet; await `Client.measure()`")


class SubscriptionRefused(CommandRefused):
    """The server does not allow this client to watch an existing session."""


class SessionDeleted(SessionNotFound):
    """A watched session was deleted."""

    code = "SESSION_DELETED"

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.message = f"Session {session_id} was deleted"
        self.args = (self.message,)


class TokenUnavailable(SyncKairosError):
    """The function `get_token` raised an exception. The message names the exception. The client tries again."""

    code = "TOKEN_UNAVAILABLE"


class ConnectionEnded(SyncKairosError):
    """The server ended the connection permanently, with the close code or HTTP status `ended_with`."""

    code = "CONNECTION_ENDED"

    def __init__(self, ended_with: int, reason: str) -> None:
        super().__init__(f"The server ended the connection permanently: {ended_with} {reason}".rstrip())
        self.ended_with = ended_with
        self.reason = reason


class ClientClosed(SyncKairosError):
    """The client was used outside of its `async with` block."""

    code = "CLIENT_CLOSED"

    def __init__(self) -> None:
        super().__init__("The client is closed; use it inside its `async with` block")


def error_for_close(code: int, reason: str) -> SyncKairosError | None:
    """Return the error that later calls of the client must raise after a close code.

    Return None if the code is not permanent, so that the client must reconnect.
    """
    match code:
        case 4501:
            return Unauthorized(reason)
        case 4503:
            return Forbidden(reason)
        case 4513:
            return PayloadTooLarge(reason)
        case 4520:
            return TooManyConnections(reason)
        case _ if 4500 <= code <= 4999 and code not in SESSION_CLOSE_CODES:
            return ConnectionEnded(code, reason)
        case _:
            return None


def error_for_http_status(status: int) -> SyncKairosError | None:
    """Return the error that later calls of the client must raise after a handshake was refused with this HTTP status.

    Return None if the status is not permanent, so that the client must connect again. Do not call this for the status
    401. Call `TokenSource.refused` instead.
    """
    match status:
        case 403:
            return Forbidden("The server does not accept this client")
        case 101:
            return ConnectionEnded(status, "without the subprotocol synckairos.v3")
        case 408 | 425 | 429:
            return None
        case _ if status < 500:
            return ConnectionEnded(status, "instead of a connection; is this the URL of a SyncKairos server?")
        case _:
            return None


def parse_retry_after_s(text: str | None) -> float:
    """Return the seconds of a `Retry-After` header. Return 0 if it is None (no such header) or not a plain number."""
    return float(text) if text is not None and text.isdecimal() else 0.0


def error_code_in(body: bytes | bytearray | None) -> str | None:
    """Return the error code in the body of an HTTP answer. Return None if the body is not from a SyncKairos server."""
    try:
        answer = orjson.loads(body or b"null")
    except orjson.JSONDecodeError:
        return None
    error = answer.get("error") if isinstance(answer, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else None
