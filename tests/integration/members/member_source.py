"""An HTTP source of members on loopback. A test sets its answer, and reads the requests that it got."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Literal

import orjson

from synckairos.members.source_download import MemberSourceDownload
from synckairos.webhooks.address_guard import AddressGuard

Row = tuple[str, str, str]
"""Subject, resource and role of a member."""

Framing = Literal["length", "chunked", "until closed"]
"""How the answer marks its end: by its length, by a last chunk, or only by the end of the connection."""

LOOPBACK = AddressGuard((ip_network("127.0.0.0/8"),), http=True)


@dataclass(slots=True)
class MemberSource:
    """The source. Its answer is `body`, of which it sends `sent_bytes` bytes before it ends the connection.

    While `may_end` is not set, it neither sends the last byte nor ends the connection.
    """

    body: bytes = b""
    status: str = "200 OK"
    framing: Framing = "length"
    headers: list[str] = field(default_factory=list)
    sent_bytes: int | None = None
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/members?of={{tenant}}"

    def publish(self, rows: Iterable[Row]) -> None:
        """Answer with rows of subject, resource and role from now on."""
        self.body = render_rows(rows)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            framing = {
                "length": [f"Content-Length: {len(self.body)}"],
                "chunked": ["Transfer-Encoding: chunked"],
                "until closed": [],
            }[self.framing]
            head = [f"HTTP/1.1 {self.status}", *framing, "Connection: close", *self.headers, "", ""]
            body = self.body
            if self.framing == "chunked":
                body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
            sent = body if self.sent_bytes is None else body[: self.sent_bytes]
            writer.write("\r\n".join(head).encode() + sent[:-1])
            await writer.drain()
            await self.may_end.wait()
            writer.write(sent[-1:])
            await writer.drain()
        except OSError:
            pass  # the client has left
        finally:
            writer.close()


def render_rows(rows: Iterable[Row]) -> bytes:
    """Return rows of subject, resource and role as lines of JSON."""
    lines = (orjson.dumps({"subject": a, "resource": b, "role": c}) + b"\n" for a, b, c in rows)
    return b"".join(lines)


def make_download(url: str, *, timeout_s: float = 20, guard: AddressGuard = LOOPBACK) -> MemberSourceDownload:
    return MemberSourceDownload(url, None, guard, timeout_s=timeout_s)


@asynccontextmanager
async def serving_members() -> AsyncIterator[MemberSource]:
    """Run a source inside the block."""
    source = MemberSource()
    source.may_end.set()
    server = await asyncio.start_server(source.serve, "127.0.0.1", 0)
    source.port = server.sockets[0].getsockname()[1]
    try:
        yield source
    finally:
        server.close()
        source.may_end.set()
