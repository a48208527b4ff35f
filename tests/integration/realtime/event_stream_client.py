"""Client of the fallback transport for tests: an event stream, and requests with frames."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import orjson
from websockets.asyncio.client import ClientConnection

from tests.integration.realtime.v3_client import V3Client

RESEND_S = 0.5
"""Seconds without a confirmation after which the client sends a batch again."""


class StreamClosed(Exception):
    """The stream ended. `code` and `reason` come from the event `close`, None without this event."""

    def __init__(self, code: int | None, reason: str | None) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class EventStreamClient:
    """A connection over the fallback transport. Each batch goes to the next of `frame_urls`."""

    def __init__(
        self, http: httpx.AsyncClient, lines: AsyncIterator[str], frame_urls: Sequence[str], headers: Mapping[str, str]
    ) -> None:
        self.stream_id = ""
        self._http = http
        self._lines = lines
        self._frame_urls = itertools.cycle(frame_urls)
        self._headers = headers
        self._sent = 0
        self._received = 0
        self._confirmed = asyncio.Event()
        self._messages: asyncio.Queue[str | StreamClosed] = asyncio.Queue()
        self._pongs: list[str] = []
        self.pings: list[str] = []
        """The payloads of all pings of the server."""

    async def read(self) -> None:
        """Read all events of the stream."""
        closed = StreamClosed(None, None)
        try:
            async for name, data in self._events():
                match name:
                    case "open":
                        self.stream_id = orjson.loads(data)["stream_id"]
                        self._confirmed.set()
                    case "received":
                        self._received = int(data)
                        self._confirmed.set()
                    case "ping":
                        self.pings.append(data)
                        self._pongs.append(data)
                    case "close":
                        closed = StreamClosed(**orjson.loads(data))
                    case "message":
                        self._messages.put_nowait(data)
        except httpx.TransportError:
            pass
        self._messages.put_nowait(closed)

    async def _events(self) -> AsyncIterator[tuple[str, str]]:
        name = "message"
        data: list[str] = []
        async for line in self._lines:
            if not line:
                if data:
                    yield name, "\n".join(data)
                name, data = "message", []
                continue
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)

    async def wait_open(self) -> None:
        await self._confirmed.wait()

    async def send(self, *messages: str) -> None:
        """Send messages as one batch. Return when the stream has confirmed the batch."""
        self._sent += 1
        pong, self._pongs = self._pongs[-1:], []
        body = self.batch(self._sent, *messages, **({"pong": pong[0]} if pong else {}))
        while self._received < self._sent:
            self._confirmed.clear()
            answer = await self.post(body)
            assert answer.status_code == 204, answer.text
            try:
                async with asyncio.timeout(RESEND_S):
                    await self._confirmed.wait()
            except TimeoutError:
                continue

    def batch(self, sequence: int, *messages: str, **members: Any) -> dict[str, Any]:
        return {"stream_id": self.stream_id, "sequence": sequence, "frames": list(messages), **members}

    async def post(self, body: object, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Send a request with a batch, and return its answer."""
        sent_headers = self._headers if headers is None else headers
        return await self._http.post(next(self._frame_urls), json=body, headers=dict(sent_headers))

    async def recv(self) -> str:
        """Return the next message. Raises: StreamClosed."""
        message = await self._messages.get()
        if isinstance(message, StreamClosed):
            self._messages.put_nowait(message)
            raise message
        return message

    async def wait_closed(self) -> StreamClosed:
        """Discard all messages until the end of the stream, and return the end."""
        async with asyncio.timeout(10):
            while True:
                try:
                    await self.recv()
                except StreamClosed as closed:
                    return closed


@asynccontextmanager
async def event_stream(
    base_url: str,
    *,
    frame_bases: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    query: str = "",
    frame_headers: Mapping[str, str] | None = None,
) -> AsyncIterator[EventStreamClient]:
    """Open an event stream. Raises: httpx.HTTPStatusError if the server refuses it.

    `frame_bases` are the base URLs to which the batches go in turn. Default: `base_url`. `frame_headers` are the
    headers of the batches. Default: `headers`.
    """
    urls = [f"{base}/v3/frames" for base in frame_bases or (base_url,)]
    async with (
        httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(10, read=None)) as http,
        http.stream("GET", f"{base_url}/v3/stream{query}", headers=dict(headers or {})) as answer,
    ):
        if answer.status_code != 200:
            await answer.aread()
        answer.raise_for_status()
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store, no-transform"
        lines = answer.aiter_lines()
        client = EventStreamClient(http, lines, urls, headers or {} if frame_headers is None else frame_headers)
        reading = asyncio.create_task(client.read())
        try:
            async with asyncio.timeout(10):
                await client.wait_open()
            yield client
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


@asynccontextmanager
async def v3_stream(base_url: str, **options: Any) -> AsyncIterator[V3Client]:
    """Open an event stream for a v3 client."""
    async with event_stream(base_url, **options) as stream:
        yield V3Client(cast(ClientConnection, stream))
