"""Webhook receiver for tests: an HTTP server that keeps the requests and sends configurable answers."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
from standardwebhooks import Webhook


@dataclass(frozen=True, slots=True)
class Received:
    """One request that the receiver got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    server_name: str | None = None

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found

    def verify(self, secret: str) -> dict[str, Any]:
        """Verify the signature with the Standard Webhooks library and return the message.

        Raises: The exceptions of the library.
        """
        found: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return found


Answer = Callable[[Received], Awaitable[bytes]]
"""Function that returns the bytes of the complete HTTP answer to a request."""


def answer(status: int, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} So", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def accept(received: Received) -> bytes:
    return answer(204)


@dataclass(slots=True)
class Receiver:
    """Receiver on a free port of loopback. A test can replace `answer_with` at any time."""

    answer_with: Answer = accept
    tls: ssl.SSLContext | None = None
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    _server: asyncio.Server | None = None
    _names: list[str | None] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        if self.tls is not None:
            self.tls.sni_callback = lambda sock, name, context: self._names.append(name)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [each.message_id for each in self.received]

    @property
    def types(self) -> list[str]:
        return [each.message["type"] for each in self.received]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        name = self._names[-1] if self._names else None
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                received = Received(method, path, headers, body, name)
                self.received.append(received)
                writer.write(await self.answer_with(received))
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()
