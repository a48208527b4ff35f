"""Network backend for httpcore that resolves, checks and connects in one step, so that DNS rebinding is impossible.

TLS still sends the host name and checks the certificate against it; httpcore does that.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

import httpcore

from synckairos.webhooks.address_guard import Address, AddressGuard, AddressRefused

_RESOLVER_THREADS = 16
_CONNECT_S = 5.0  # for each address, so that an address that does not answer leaves time for the next one

Resolve = Callable[[str], Awaitable[list[Address]]]


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects only to addresses that the guard allows."""

    def __init__(self, guard: AddressGuard, resolve: Resolve) -> None:
        self._guard = guard
        self._resolve = resolve
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of a host that answers. Raises: AddressRefused, httpcore.ConnectError."""
        addresses = await self._resolve(host)
        self._guard.check_addresses(addresses)
        first_fault: Exception | None = None
        for address in addresses:
            try:
                return await self._backend.connect_tcp(
                    str(address), port, timeout or _CONNECT_S, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as fault:
                first_fault = first_fault or fault
        assert first_fault is not None
        raise first_fault

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise AddressRefused("a webhook cannot be sent to a Unix socket")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class NameResolver:
    """Resolves host names with the system's resolver, in its own threads. Concurrent queries for a name share a result.

    So a name server that is slow for one name blocks one thread, however many messages need that name.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="webhook names")
        self._queries: dict[str, asyncio.Future[list[Address]]] = {}

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def resolve(self, host: str) -> list[Address]:
        """Return every address of a host name. Raises: httpcore.ConnectError if none is found."""
        query = self._queries.get(host)
        if query is None:
            query = asyncio.get_running_loop().run_in_executor(self._threads, _resolve_in_thread, host)
            query.add_done_callback(lambda done: self._forget(host, done))
            self._queries[host] = query
        try:
            return await asyncio.shield(query)
        except (OSError, UnicodeError) as fault:
            raise httpcore.ConnectError(f"no address of {host} found: {fault}") from fault

    def _forget(self, host: str, done: "asyncio.Future[list[Address]]") -> None:
        self._queries.pop(host, None)
        if not done.cancelled():
            done.exception()  # marks the error as retrieved: all callers may have been cancelled


def _resolve_in_thread(host: str) -> list[Address]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(place[4][0])) for place in found))
