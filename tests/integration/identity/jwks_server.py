"""A server of key sets on loopback, over HTTP or HTTPS. A test sets its answer and reads how often it was asked."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.tokens import SigningKey


class JwksServer:
    """The server. `body` is its answer. While `may_answer` is not set, it waits after it has chosen its answer.

    If `sent_bytes` is set, the server sends only this many bytes of the body and ends the connection.
    """

    def __init__(self) -> None:
        self.url = ""
        self.status = "200 OK"
        self.headers: list[str] = []
        self.body = b""
        self.sent_bytes: int | None = None
        self.requests = 0
        self._asked = asyncio.Condition()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def publish(self, *keys: SigningKey, others: Sequence[dict[str, Any]] = ()) -> None:
        """Answer with these keys from now on."""
        self.body = json.dumps({"keys": [*(key.jwk for key in keys), *others]}).encode()

    async def wait_until_asked(self, times: int = 1) -> None:
        """Wait until the server has received this number of requests, and has chosen its answers."""
        async with asyncio.timeout(10), self._asked:
            await self._asked.wait_for(lambda: self.requests >= times)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            head = [f"HTTP/1.1 {self.status}", f"Content-Length: {len(self.body)}", "Connection: close", *self.headers]
            data = "\r\n".join([*head, "", ""]).encode() + self.body[: self.sent_bytes]
            async with self._asked:
                self._asked.notify_all()
            await self.may_answer.wait()
            writer.write(data)
            await writer.drain()
        except OSError:
            pass  # the client has left
        finally:
            writer.close()


@asynccontextmanager
async def serving_jwks(tls: ssl.SSLContext | None = None) -> AsyncIterator[JwksServer]:
    """Run a server inside the block."""
    jwks = JwksServer()
    server = await asyncio.start_server(jwks.answer, "127.0.0.1", 0, ssl=tls)
    jwks.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"
    try:
        yield jwks
    finally:
        server.close()
        jwks.may_answer.set()
