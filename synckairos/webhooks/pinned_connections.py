"""Connections to addresses that were checked, and to no other: the look-up, the check and the connection are one step.

TLS still asks for the host's name and checks the certificate by it: that is httpcore's part.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

import httpcore

from synckairos.webhooks.address_guard import Address, AddressGuard, AddressRefused

_LOOKUPS = 16
_CONNECT_S = 5.0  # for each address: one that is silent leaves time for the next

Resolve = Callable[[str], Awaitable[list[Address]]]


class PinnedBackend(httpcore.AsyncNetworkBackend):
    """A network for httpcore in which nothing can be reached that the guard doesn't allow."""

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
        """Connect to the first address of a host that answers. Raises Refused, httpcore.ConnectError."""
        addresses = await self._resolve(host)
        self._guard.check_addresses(addresses)
        fault: Exception | None = None
        for address in addresses:
            try:
                return await self._backend.connect_tcp(
                    str(address), port, timeout or _CONNECT_S, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as refused:
                fault = fault or refused
        assert fault is not None
        raise fault

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise AddressRefused("a webhook goes to a host")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class NameResolver:
    """Asks the system's resolver, in threads of its own; those who ask for a name at once share one answer.

    So a name server that is slow for one name holds one thread, however many messages wait for it.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="webhook names")
        self._asked: dict[str, asyncio.Future[list[Address]]] = {}

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def resolve(self, host: str) -> list[Address]:
        """Return every address of a name. Raises httpcore.ConnectError where none can be found."""
        asked = self._asked.get(host)
        if asked is None:
            asked = asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host)
            asked.add_done_callback(lambda done: self._forget(host, done))
            self._asked[host] = asked
        try:
            return await asyncio.shield(asked)
        except (OSError, UnicodeError) as fault:
            raise httpcore.ConnectError(f"no address of {host} found: {fault}") from fault

    def _forget(self, host: str, done: "asyncio.Future[list[Address]]") -> None:
        self._asked.pop(host, None)
        if not done.cancelled():
            done.exception()  # whoever asked may be gone


def _look_up(host: str) -> list[Address]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(place[4][0])) for place in found))
