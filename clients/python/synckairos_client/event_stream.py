"""The transport where WebSockets are blocked: messages of the server as Server-Sent Events, messages of the client in
POST requests.

The server confirms each batch of messages by its number, and the client repeats a batch until it is confirmed. So each
message arrives once. `docs/reference/event-streams.md` describes the protocol.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import orjson

from synckairos_client.errors import error_code_in, parse_retry_after_s
from synckairos_client.http_connection import HttpConnection
from synckairos_client.socket_interface import (
    MAX_RECEIVED_BYTES,
    NO_CLOSE_FRAME,
    MessageSocket,
    OpeningFailed,
    OpeningRefused,
    SocketClosed,
)

MAX_FRAMES = 64
"""Maximum number of messages in one batch."""

MAX_BATCH_BYTES = 262_144
"""Bytes: maximum size of the messages of one batch together, except that one message is always a batch.

The body of a request can have 1 MiB, and a message in it is up to twice as large, because its quotes are escaped.
"""

CLOSE_WAIT_S = 5.0
"""Seconds for which a client whose message was refused with 401 waits for the close code of the stream."""

RESEND_S = 2.0
"""Seconds without a confirmation after which a batch is sent again."""

POST_TIMEOUT_S = 10.0
"""Seconds: maximum duration of one request with a batch."""

_EVENT = re.compile(rb"(?:event: ([^\n]*)\n)?data: ([^\n]*)")

Headers = Callable[[], Mapping[str, str]]
"""Function that returns the headers of a request, with the newest token."""


class EventStream:
    """An open event stream with its requests. Implements `MessageSocket`."""

    def __init__(self, stream: HttpConnection, base_url: str, headers: Headers, proxy: str | None) -> None:
        """Use a stream whose answer has begun. `base_url` is the HTTP URL of the server with its sub-path."""
        self.close_code = NO_CLOSE_FRAME
        self.close_reason = ""
        self._stream = stream
        self._base_url = base_url
        self._headers = headers
        self._proxy = proxy
        self._stream_id = ""
        self._received = bytearray()
        self._searched = 0
        """Bytes at the start of `_received` that contain no end of an event."""
        self._is_over = False
        self._unsent: deque[bytes] = deque()
        self._pong: str | None = None
        self._has_unsent = asyncio.Event()
        self._sequence = 0
        self._confirmed = asyncio.Event()

    async def wait_until_open(self) -> None:
        """Wait for the first event, which names the stream. Raises: SocketClosed."""
        while not self._stream_id:
            self._handle(*await self._next_event())

    async def receive(self) -> bytes:
        while True:
            name, data = await self._next_event()
            if name == b"":
                return data
            self._handle(name, data)

    async def send(self, message: bytes) -> None:
        if self._is_over:
            raise SocketClosed
        self._unsent.append(message)
        self._has_unsent.set()

    async def close(self, code: int, reason: str) -> None:
        self._end(code, reason)

    # -- from the server ----------------------------------------------------------------------------------------------

    async def _next_event(self) -> tuple[bytes, bytes]:
        """Return name and data of the next event. The name is empty for a message."""
        while not self._is_over:
            end = self._received.find(b"\n\n", self._searched)
            if end >= 0:
                event = _EVENT.fullmatch(self._received[:end])
                del self._received[: end + 2]
                self._searched = 0
                if event is not None:
                    return bytes(event[1] or b""), bytes(event[2])
                continue
            self._searched = max(0, len(self._received) - 1)
            try:
                part = await self._stream.read_part()
            except OSError as fault:
                part = b""
                self._end(NO_CLOSE_FRAME, str(fault))
            if not part or len(self._received) > MAX_RECEIVED_BYTES:
                self._end(NO_CLOSE_FRAME, "the stream ended")
            self._received += part
        raise SocketClosed

    def _handle(self, name: bytes, data: bytes) -> None:
        match name:
            case b"open":
                self._stream_id = orjson.loads(data)["stream_id"]
            case b"ping":
                self._pong = data.decode()
                self._has_unsent.set()
            case b"received" if int(data) == self._sequence:
                self._confirmed.set()
            case b"close":
                closed = orjson.loads(data)
                self._end(closed["code"], closed["reason"])
            case _:
                pass  # an event of a later version of the server

    def _end(self, code: int, reason: str) -> None:
        if not self._is_over:
            self._is_over = True
            self.close_code, self.close_reason = code, reason
            self._stream.abort()

    # -- to the server ------------------------------------------------------------------------------------------------

    async def send_batches(self) -> None:
        """Send all messages in batches until the end of the stream. A batch waits for the confirmation of the last."""
        poster = BatchPoster(self._base_url, self._headers, self._proxy)
        try:
            while not self._is_over:
                await self._has_unsent.wait()
                body = self._next_batch()
                while not self._confirmed.is_set() and not self._is_over:
                    delay_s = await poster.post(body)
                    if delay_s is None:
                        if poster.status == 401:
                            # The server ends the stream of a revoked or expired credential, with the reason. This task
                            # is cancelled then.
                            await asyncio.sleep(CLOSE_WAIT_S)
                        self._end(NO_CLOSE_FRAME, f"messages were refused with {poster.status}")
                        break
                    with suppress(TimeoutError):
                        async with asyncio.timeout(delay_s):
                            await self._confirmed.wait()
        except Exception as fault:
            self._end(NO_CLOSE_FRAME, f"no messages can be sent: {fault!r}")
            raise
        finally:
            poster.close()

    def _next_batch(self) -> bytes:
        frames: list[str] = []
        size = 0
        while self._unsent and len(frames) < MAX_FRAMES and (not frames or size < MAX_BATCH_BYTES):
            size += len(self._unsent[0])
            frames.append(self._unsent.popleft().decode())
        if not self._unsent:
            self._has_unsent.clear()
        self._sequence += 1
        self._confirmed.clear()
        pong, self._pong = {} if self._pong is None else {"pong": self._pong}, None
        return orjson.dumps({"stream_id": self._stream_id, "sequence": self._sequence, "frames": frames, **pong})


class BatchPoster:
    """Sends batches over a connection of their own, which is kept open."""

    def __init__(self, base_url: str, headers: Headers, proxy: str | None) -> None:
        self.status = 0
        """Status of the last answer, 0 without an answer."""
        self._base_url = base_url
        self._headers = headers
        self._proxy = proxy
        self._connection: HttpConnection | None = None

    async def post(self, body: bytes) -> float | None:
        """Send a batch once. Return the seconds until it must be sent again without a confirmation.

        Return None if the server refused the batch permanently.
        """
        self.status, delay_s = 0, RESEND_S
        # The server or a proxy can have closed the kept connection. A new connection has the next attempt at once.
        delay_without_answer_s = RESEND_S if self._connection is None else 0.0
        try:
            async with asyncio.timeout(POST_TIMEOUT_S):
                connection = self._connection or await HttpConnection.open(self._base_url, self._proxy)
                self._connection = connection
                headers = {**self._headers(), "Content-Type": "application/json"}
                await connection.request("POST", f"{urlsplit(self._base_url).path}/v3/frames", headers, body)
                self.status = connection.status
                delay_s = max(RESEND_S, parse_retry_after_s(connection.headers.get("Retry-After")))
                await connection.read_all()
                if connection.headers.get("Connection", "").lower() == "close":
                    self.close()
        except OSError:
            self.close()
            delay_s = delay_without_answer_s
        if 300 <= self.status < 500 and self.status not in (408, 425, 429):
            return None
        return delay_s

    def close(self) -> None:
        """Close the connection. The next batch opens a new connection."""
        if self._connection is not None:
            self._connection.abort()
            self._connection = None


@asynccontextmanager
async def open_event_stream(
    base_url: str, headers: Headers, proxy: str | None, open_timeout_s: float
) -> AsyncIterator[MessageSocket]:
    """Open an event stream, and close it at the end of the block.

    `base_url` is the HTTP URL of the server with its sub-path. `headers` returns the headers of each request. `proxy`
    is the URL of an HTTP proxy, None for no proxy. `open_timeout_s` is the time limit in seconds until the stream is
    open.

    Raises: OpeningRefused, OpeningFailed, and other OSErrors if there is no network connection.
    """
    connection: HttpConnection | None = None
    sending: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(open_timeout_s):
            connection = await HttpConnection.open(base_url, proxy)
            accepted = {**headers(), "Accept": "text/event-stream"}
            await connection.request("GET", f"{urlsplit(base_url).path}/v3/stream", accepted)
            is_stream = connection.headers.get("Content-Type", "").startswith("text/event-stream")
            if connection.status != 200 or not is_stream:
                raise await _refusal_of(connection)
            stream = EventStream(connection, base_url, headers, proxy)
            try:
                await stream.wait_until_open()
            except SocketClosed as closed:
                raise OpeningFailed(f"the stream ended: {stream.close_code} {stream.close_reason}") from closed
        sending = asyncio.create_task(stream.send_batches())
        yield stream
    finally:
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        if connection is not None:
            connection.abort()


async def _refusal_of(connection: HttpConnection) -> OpeningRefused:
    retry_after_s = parse_retry_after_s(connection.headers.get("Retry-After"))
    # A page of another site, such as the sign-in page of a network, is no stream either.
    status = 404 if connection.status == 200 else connection.status
    try:
        code = error_code_in(await connection.read_all())
    except OSError:
        code = None
    return OpeningRefused(status, code, retry_after_s)
