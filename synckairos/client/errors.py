"""What a client is told, as named errors: refusals of what it asked, and ends that it must not come back from."""

from typing import Any

from synckairos.errors import Forbidden, PayloadTooLarge, SessionNotFound, SyncKairosError, Unauthorized

NO_SUCH_SESSION = 4504
DELETED = 4510
ABOUT_A_SESSION = frozenset({NO_SUCH_SESSION, DELETED})
"""Ends of a connection whose last session is gone; the client itself may watch another one."""


class CommandRefused(SyncKairosError):
    """The server decided against a command, or couldn't decide it now; `code` and `details` are the server's.

    After `STORE_UNAVAILABLE` or `RATE_LIMIT_EXCEEDED` nothing was decided: the same `command_id` may be sent again.
    """

    def __init__(self, code: str, message: str, details: Any = None) -> None:
        super().__init__(message, details)
        self.code = code


class SubscriptionRefused(CommandRefused):
    """The server doesn't let this client watch a session that is there."""


class SessionDeleted(SessionNotFound):
    """A session that was watched is gone for good."""

    code = "SESSION_DELETED"

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.message = f"Session {session_id} was deleted"
        self.args = (self.message,)


class TooManyConnections(SyncKairosError):
    code = "TOO_MANY_CONNECTIONS"
    status = 503


class ConnectionEnded(SyncKairosError):
    """The server ended the connection for good, with the WebSocket close code or HTTP status `ended_with`."""

    code = "CONNECTION_ENDED"

    def __init__(self, ended_with: int, reason: str) -> None:
        super().__init__(f"The server ended the connection for good: {ended_with} {reason}".rstrip())
        self.ended_with = ended_with
        self.reason = reason


class ClientClosed(SyncKairosError):
    """The client was left, or never entered, while something was asked of it."""

    code = "CLIENT_CLOSED"

    def __init__(self) -> None:
        super().__init__("The client is closed; ask inside of its `async with`")


def error_for_close(code: int, reason: str) -> SyncKairosError | None:
    """Return what a close code means for a client; None where it is to come back."""
    match code:
        case 4501:
            return Unauthorized(reason)
        case 4503:
            return Forbidden(reason)
        case 4513:
            return PayloadTooLarge(reason)
        case 4520:
            return TooManyConnections(reason)
        case _ if 4500 <= code <= 4999 and code not in ABOUT_A_SESSION:
            return ConnectionEnded(code, reason)
        case _:
            return None


def error_for_status(status: int) -> SyncKairosError | None:
    """Return what a refused handshake's HTTP status means for a client; None where it is to come back."""
    match status:
        case 401:
            return Unauthorized("The server wants to know who asks")
        case 403:
            return Forbidden("The server doesn't let this client in")
        case 408 | 425 | 429:
            return None
        case _ if status < 500:
            return ConnectionEnded(status, "instead of a WebSocket; is this the address of a SyncKairos server?")
        case _:
            return None
