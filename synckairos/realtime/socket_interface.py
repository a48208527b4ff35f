"""Interfaces between a WebSocket and its connection: `Socket` and `AdoptableSocket` down, `SocketEventReceiver` up.

The server's WebSocket protocol implements the sockets. Frames are whole WebSocket frames, with their header.
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SOCKET_EXTENSION = "synckairos.socket"
"""Key in `scope["extensions"]` of the ASGI scope, under which the server provides the `AdoptableSocket`."""


class Socket(Protocol):
    """A WebSocket after its handshake."""

    ready: bool
    """Whether a frame written now is sent at once, without a queue in this process."""

    last_received_s: float
    """Instant of the last data from the client, by `time.monotonic()`."""

    def write(self, frame: bytes, /) -> None:
        """Write a whole frame without blocking. Clears `ready` if the client does not take more."""

    def unsent_bytes(self) -> int:
        """Return the bytes that the client has not taken yet, as far as the operating system shows."""

    def close(self, code: int, reason: str, last_frames: Sequence[bytes] = ()) -> None:
        """Send `last_frames` and a close frame, then disconnect, soon also if the client does not read.

        `SocketEventReceiver.connection_lost` follows.
        """

    def abort(self) -> None:
        """Disconnect at once."""


class SocketEventReceiver(Protocol):
    """Receiver of a socket's events. All methods are called synchronously."""

    @property
    def message_too_big_code(self) -> int:
        """Return the close code for a message that is too large."""

    def allow_frame(self) -> bool:
        """Count a frame that is not a whole message: ping, pong or fragment. Return False to discard the frame."""

    def text_received(self, text: str) -> None: ...
    def bytes_received(self, data: bytes) -> None: ...
    def pong_received(self, payload: bytes) -> None: ...
    def write_resumed(self) -> None: ...
    def connection_lost(self) -> None: ...


class AdoptableSocket(Socket, Protocol):
    """A socket that can hand its messages to a client directly, without ASGI."""

    def adopt(self, client: SocketEventReceiver) -> None:
        """Send all further messages to `client`, until `SocketEventReceiver.connection_lost`."""
