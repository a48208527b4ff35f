"""A server of key sets on loopback, over HTTP or HTTPS. A test sets its answer and reads how often it was asked."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.tokens import SigningKey


class JwksServer:
    """The server. `body` is its answer. While `may_answer` is not set, it waits after it has chosen its answer."""

    def __init__(self) -> None:
        self.url = ""
        self.status = "200 OK"
        self.headers: list[str] = []
        self.body = b""
        self.requests = 0
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def publish(self, *keys: SigningKey, others: Sequence[dict[str, Any]] = ()) -> None:
        """Answer with these keys from now on."""
        self.body = json.dumps({"keys": [*(key.jwk for key in keys), *others]}).encode()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            head = [f"HTTP/1.1 {self.status}", f"Content-Length: {len(self.body)}", "Connection: close", *self.headers]
            data = "\r\n".join([*head, "", ""]).encode() + self.body
            self.asked.set()
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
