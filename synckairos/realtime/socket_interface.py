"""Interfaces between the server's WebSocket protocol and the connections of the two dialects.

The protocol implements `Socket` and `DirectSocket`. The connections implement `SocketEventReceiver`. A frame here is
a complete WebSocket frame with its header.
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SOCKET_EXTENSION = "synckairos.socket"
"""Name of the ASGI extension in `scope["extensions"]`. The extension's value is the `DirectSocket`."""


class Socket(Protocol):
    """A WebSocket after its handshake."""

    ready: bool
    """Whether the operating system accepts a frame at once, so that no frame waits in this process."""

    last_received_s: float
    """Instant of the latest data from the client in seconds, by `time.monotonic()`."""

    def write(self, frame: bytes, /) -> None:
        """Write a complete frame without blocking. Call this only while `ready` is True.

        The socket sets `ready` to False if further frames must wait.
        """

    def unsent_bytes(self) -> int:
        """Return the number of written bytes that the client has not acknowledged.

        The number includes bytes in this process, and bytes in the kernel if the operating system reports them.
        """

    def pause_reading(self, seconds: float) -> None:
        """Read nothing from the client for `seconds` seconds. Messages that were already received are still passed.

        If the reading is paused already, nothing changes.
        """

    def close(self, code: int, reason: str, last_frames: Sequence[bytes] = ()) -> None:
        """Send `last_frames` and a close frame with `code` and `reason`, then disconnect. Return immediately.

        A timer disconnects a client that does not read or does not answer the close frame. After the disconnection the
        socket calls `SocketEventReceiver.connection_lost`.
        """

    def abort(self) -> None:
        """Disconnect immediately, without a close frame."""


class SocketEventReceiver(Protocol):
    """Receiver of the events of one socket. The methods are synchronous and must not block."""

    @property
    def message_too_big_code(self) -> int:
        """Return the WebSocket close code for a message that is too large."""

    def allow_control_frame(self) -> bool:
        """Count a received ping, pong or fragment for the message rate limit.

        Return whether to handle the frame. If the result is False, the socket discards the frame.
        """

    def text_received(self, text: str) -> None:
        """Called with each text message of the client."""

    def bytes_received(self, data: bytes) -> None:
        """Called with each binary message of the client."""

    def pong_received(self, payload: bytes) -> None:
        """Called with the payload of each pong of the client."""

    def write_resumed(self) -> None:
        """Called when `Socket.ready` has become True again."""

    def connection_lost(self) -> None:
        """Called once, after the connection has ended. No other method is called afterwards."""


class DirectSocket(Socket, Protocol):
    """A socket that can pass its messages to a `SocketEventReceiver` directly, without ASGI."""

    def attach_receiver(self, client: SocketEventReceiver) -> None:
        """Pass all messages and events of this socket to `client`, from this call until the connection is lost.

        Messages that arrived before this call are passed during this call.
        """
