"""TCP proxy between instances and Redis. It can drop pub/sub messages, and switch to another Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class StoreProxy:
    """Proxy that forwards bytes in order. Drops a published message if `loses` returns True for the message."""

    def __init__(self, target_url: str) -> None:
        self.target_url = target_url
        self.loses: Callable[[bytes], bool] = lambda message: False
        self.lost = 0
        self.url = ""
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Abort all connections, as if the server died."""
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        self.cut()
        if self._connections:
            await asyncio.wait(self._connections)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._connect(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = urlsplit(self.target_url)
        try:
            store_reader, store_writer = await asyncio.open_connection(target.hostname, target.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, store_writer}
        subscribes = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward_commands(reader, store_writer, subscribes))
                group.create_task(self._forward_replies(store_reader, writer, subscribes))
        finally:
            self._writers -= {writer, store_writer}

    async def _forward_commands(
        self, reader: asyncio.StreamReader, store: asyncio.StreamWriter, subscribes: asyncio.Event
    ) -> None:
        try:
            while chunk := await reader.read(65_536):
                if b"\r\nSUBSCRIBE\r\n" in chunk:
                    subscribes.set()
                store.write(chunk)
        except OSError:
            pass
        store.transport.abort()

    async def _forward_replies(
        self, store: asyncio.StreamReader, writer: asyncio.StreamWriter, subscribes: asyncio.Event
    ) -> None:
        """Forward replies. After the first SUBSCRIBE, forward them one by one, except dropped messages."""
        rest = b""
        try:
            while chunk := await store.read(65_536):
                if not subscribes.is_set():
                    writer.write(chunk)
                    continue
                rest += chunk
                while end := end_of_reply(rest):
                    reply, rest = rest[:end], rest[end:]
                    if reply.startswith(b"*3\r\n$7\r\nmessage\r\n") and self.loses(reply):
                        self.lost += 1
                    else:
                        writer.write(reply)
        except OSError:
            pass
        writer.transport.abort()


def end_of_reply(data: bytes, begin: int = 0) -> int:
    """Return the end of the RESP2 reply that starts at `begin`. Return 0 if the reply is incomplete."""
    line_end = data.find(b"\r\n", begin) + 2
    if line_end < 2:
        return 0
    match data[begin : begin + 1]:
        case b"$":
            size = int(data[begin + 1 : line_end])
            end = line_end if size < 0 else line_end + size + 2
            return end if end <= len(data) else 0
        case b"*":
            end = line_end
            for _ in range(int(data[begin + 1 : line_end])):
                end = end_of_reply(data, end)
                if not end:
                    return 0
            return end
        case _:
            return line_end


@asynccontextmanager
async def store_proxy(target_url: str) -> AsyncIterator[StoreProxy]:
    """Run a proxy in front of a Redis inside the block."""
    proxy = StoreProxy(target_url)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
        await server.wait_closed()
