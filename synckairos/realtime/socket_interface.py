"""What a connection needs of its socket, and the plain ASGI way to have it.

The other way is `protocol.SocketProtocol`, which writes to the transport itself. Both take whole WebSocket frames.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Protocol

from synckairos.wire.websocket_frames import text_payload

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

EXTENSION = "synckairos.socket"
"""Under this name `SocketProtocol` puts itself into `scope["extensions"]`."""


class Socket(Protocol):
    """A socket after its handshake. `ready` says that a frame written now isn't kept waiting behind others."""

    ready: bool
    heard_at: float
    """When the client was last heard of, by `time.monotonic()`."""

    def write(self, frame: bytes, /) -> None:
        """Write a whole frame; never blocks. Clears `ready` when the client takes no more."""

    def waiting(self) -> int:
        """Return how many bytes the client hasn't taken yet, as far as one can see."""

    def close(self, code: int, reason: str, last: Sequence[bytes] = ()) -> None:
        """Say goodbye, after these `last` frames, and go, soon even if the client takes nothing.

        `SocketClient.lost` follows.
        """

    def abort(self) -> None:
        """Go at once."""


class SocketClient(Protocol):
    """What a socket tells. Called synchronously."""

    @property
    def too_big_code(self) -> int:
        """Return what a socket is closed with whose client sends too large a message."""

    def may_send(self) -> bool:
        """Count what comes and isn't told of: pings, pongs, pieces of messages. False: no more of it is taken."""

    def received(self, text: str) -> None: ...
    def received_bytes(self, data: bytes) -> None: ...
    def ponged(self, payload: bytes) -> None: ...
    def resumed(self) -> None: ...
    def lost(self) -> None: ...


class AdoptableSocket(Socket, Protocol):
    """A socket that hands its messages to a client directly, without ASGI, once it has adopted one."""

    def adopt(self, client: SocketClient) -> None:
        """Send all further messages to `client`, until `SocketClient.lost`."""


class AsgiSocket:
    """The fallback on any ASGI server: one frame at a time through `send`, ready again when that returned.

    The server pings and notices dead clients by its own rules, and a client that never reads is only let go when the
    server's own buffers say so. ASGI has no pings, so a client's lag can't be measured.
    """

    def __init__(self, send: Send) -> None:
        self.ready = True
        self.heard_at = time.monotonic()
        self._send = send
        self._closing: Message | None = None
        self._frames: deque[bytes] = deque()
        self._work = asyncio.Event()

    def write(self, frame: bytes, /) -> None:
        if frame[0] == 0x81 and self._closing is None:
            self._frames.append(frame)
            self.ready = False
            self._work.set()

    def waiting(self) -> int:
        return sum(map(len, self._frames))

    def close(self, code: int, reason: str, last: Sequence[bytes] = ()) -> None:
        if self._closing is None:
            for frame in last:
                self.write(frame)
            self.ready = False
            self._closing = {"type": "websocket.close", "code": code, "reason": reason}
            self._work.set()

    def abort(self) -> None:
        self.close(1001, "")

    async def run(self, client: SocketClient, receive: Receive) -> None:
        """Serve a client whose connection was accepted, until it is gone."""
        writing = asyncio.create_task(self._write_all(client))
        try:
            while (message := await receive())["type"] == "websocket.receive":
                self.heard_at = time.monotonic()
                if (text := message.get("text")) is not None:
                    client.received(text)
                else:
                    client.received_bytes(message.get("bytes") or b"")
        finally:
            self.ready = False
            writing.cancel()
            client.lost()

    async def _write_all(self, client: SocketClient) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                while self._frames:
                    await self._send({"type": "websocket.send", "text": text_payload(self._frames[0]).decode()})
                    self._frames.popleft()
                if self._closing is not None:
                    await self._send(self._closing)
                    return
            except (OSError, RuntimeError):
                return  # the client went away; `receive` says so, too
            self.ready = True
            client.resumed()
