"""The HTTP connection under an event stream. Implements `StreamTransport`."""

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl

from synckairos.server.unsent_bytes import count_unsent_bytes


class HttpStreamTransport:
    """The transport of an HTTP connection, for the body of an event stream."""

    def __init__(self, transport: asyncio.Transport, flow: FlowControl) -> None:
        self._transport = transport
        self._flow = flow

    def begin_stream(self) -> None:
        """Let the transport buffer at most one piece of the body, so that newer states can replace older states."""
        self._transport.set_write_buffer_limits(high=0)

    def unsent_bytes(self) -> int:
        """Return the number of written bytes that the client has not acknowledged."""
        return count_unsent_bytes(self._transport)

    async def wait_until_writable(self) -> None:
        """Wait until the operating system accepts data, or the client is disconnected."""
        await self._flow.drain()

    def abort_stream(self) -> None:
        """Close the connection immediately."""
        self._transport.abort()
