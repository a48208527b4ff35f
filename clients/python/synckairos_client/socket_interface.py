"""What a connection needs of its transport, and the errors of all transports."""

from typing import Literal, Protocol

Transport = Literal["websocket", "event-stream"]
"""How messages travel: over a WebSocket, or over an event stream with requests where WebSockets are blocked."""

SUBPROTOCOL = "synckairos.v3"
"""The dialect of all connections."""

MAX_RECEIVED_BYTES = 64 << 20
"""Bytes: maximum size of a message that the client accepts."""

NO_CLOSE_FRAME = 1006
"""Close code of a connection that ended without a close code of the server."""

UPGRADE_REQUIRED = "UPGRADE_REQUIRED"
"""Code with which the server answers a handshake that lost its `Upgrade` header on its way."""


class SocketClosed(ConnectionError):
    """The transport of a connection ended. `close_code` and `close_reason` of the socket say why."""


class OpeningFailed(ConnectionError):
    """A connection could not be opened, and there was no answer with an HTTP status."""


class OpeningRefused(Exception):
    """The request that opens a connection was answered with another HTTP status.

    `code` is the error code of the server, None if the answer is not from a SyncKairos server. `retry_after_s` is the
    number of seconds after which the same request can succeed, 0 if the answer names none.
    """

    def __init__(self, status: int, code: str | None = None, retry_after_s: float = 0.0) -> None:
        super().__init__(f"the server answers {status}")
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class MessageSocket(Protocol):
    """An open transport that carries messages in both directions, in order."""

    @property
    def close_code(self) -> int:
        """Return the code with which the transport ended, `NO_CLOSE_FRAME` without a code. Valid after the end."""

    @property
    def close_reason(self) -> str:
        """Return the reason for the end, an empty text if there is none. Valid after the end."""

    async def receive(self) -> bytes:
        """Return the next message of the server, as UTF-8 JSON. Raises: SocketClosed."""

    async def send(self, message: bytes) -> None:
        """Send a message, or queue it. `message` is UTF-8 JSON. Raises: SocketClosed."""

    async def close(self, code: int, reason: str) -> None:
        """End the transport. Later calls have no effect."""
