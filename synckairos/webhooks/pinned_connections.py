"""Network backend for httpcore that resolves a host name, checks the addresses, and connects to a checked address.

A second resolution between check and connection could return another address (DNS rebinding). Therefore one step does
all three. httpcore still uses the host name for TLS, and verifies that the certificate has this name.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

import httpcore

from synckairos.webhooks.address_guard import Address, AddressGuard, AddressRefused

_RESOLVER_THREADS = 100
"""Number of threads for name resolution: one for each endpoint. They are started when they are needed.

With fewer threads, endpoints whose name servers do not answer would delay the others.
"""
_CONNECT_S = 5.0
"""Seconds for the attempt to connect to one address. The limit leaves time to try further addresses of the host."""

Resolve = Callable[[str], Awaitable[list[Address]]]
"""Function that returns all addresses of a host name."""


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """Network backend that connects only to addresses that the guard allows."""

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
        """Try the addresses of a host in order, and return a connection to the first address that answers.

        `timeout` is the maximum number of seconds for each address; None means `_CONNECT_S`.

        Raises:
            AddressRefused: The guard refuses an address of the host. No connection was tried.
            httpcore.ConnectError, httpcore.ConnectTimeout: The host has no address, or no address answers.
        """
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
        """Refuse the connection, because webhooks use no Unix sockets."""
        raise AddressRefused("a webhook cannot be sent to a Unix socket")

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`. httpcore calls this method between attempts."""
        await asyncio.sleep(seconds)


class NameResolver:
    """Resolver of host names with the system's resolver, in separate threads.

    Concurrent calls for one name share one query. A slow name server therefore blocks only one thread for each name.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="webhook names")
        self._queries: dict[str, asyncio.Future[list[Address]]] = {}

    def close(self) -> None:
        """Cancel queries that have not begun, and return without a wait for running queries."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def resolve(self, host: str) -> list[Address]:
        """Return all IP addresses of a host name, without duplicates, in the order of the system's resolver.

        Raises: httpcore.ConnectError if the name has no address.
        """
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
            done.exception()  # marks the error as retrieved, because all calls can have been cancelled


def _resolve_in_thread(host: str) -> list[Address]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(place[4][0])) for place in found))
