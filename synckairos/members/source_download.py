"""Reads of a member source: from the URL of the settings, or from a file.

A worker can reach internal networks. Therefore the download follows no redirect, ignores proxy settings of the
environment, and connects only to public addresses and to the networks that the operator allows. Pieces are parsed in a
thread, so that the event loop is not blocked. The memory is bounded for each size of the source.
"""

import asyncio
import ssl
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import BinaryIO, Self
from urllib.parse import urlsplit

import httpcore
from pydantic import SecretStr

from synckairos import __version__
from synckairos.config import Settings
from synckairos.members.source_rows import PIECE_BYTES, SourceIncomplete, SourceRefused, SourceRows
from synckairos.webhooks.address_guard import AddressGuard, AddressRefused
from synckairos.webhooks.pinned_connections import NameResolver, PinnedBackend, Resolve

_RETRIED_STATUSES = frozenset({408, 425, 429, *range(500, 600)})
"""HTTP statuses after which a retry can help."""


class MemberSourceDownload:
    """The download of the members of tenants from a URL, with bounds on time, size and addresses."""

    def __init__(
        self,
        url: str,
        token: SecretStr | None,
        guard: AddressGuard,
        *,
        timeout_s: float,
        resolve: Resolve | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """Create a download that has not begun.

        - `url`: the URL. `{tenant}` stands for the name of the tenant.
        - `token`: the bearer token of the requests. None: no token.
        - `guard`: the rules for URLs and addresses.
        - `timeout_s`: maximum seconds from the DNS query to the end of the answer.
        - `resolve`: resolver of host names. None uses the system's resolver.
        - `trust`: TLS context. None uses the authorities of the system, or those of `SSL_CERT_FILE`.
        """
        self._url = url
        self._token = token
        self._guard = guard
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._trust = trust

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """Return the download from the URL of the settings. Return None if no URL is set."""
        if settings.members_url is None:
            return None
        networks = tuple(ip_network(each, strict=False) for each in settings.members_allowed_networks)
        guard = AddressGuard(networks, http=_is_loopback(settings.members_url))
        return cls(settings.members_url, settings.members_token, guard, timeout_s=settings.members_timeout_s)

    async def read(self, tenant: str, rows: SourceRows) -> None:
        """Add all rows of the tenant's source to `rows`, and finish `rows`.

        Raises: SourceRefused, SourceIncomplete.
        """
        resolver = NameResolver()
        try:
            async with asyncio.timeout(self._timeout_s):
                self._guard.check_url(url := self._url.replace("{tenant}", tenant))
                async with httpcore.AsyncConnectionPool(
                    ssl_context=self._trust or ssl.create_default_context(),
                    network_backend=PinnedBackend(self._guard, self._resolve or resolver.resolve),
                ) as connections:
                    await self._read(connections, url, rows)
        except TimeoutError:
            raise SourceIncomplete(f"The source did not end within {self._timeout_s:g} s") from None
        except AddressRefused as fault:
            raise SourceRefused(f"SYNCKAIROS_MEMBERS_URL is not allowed: {fault.message}", "address") from None
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as fault:
            raise SourceIncomplete(f"The source was not read to its end: {type(fault).__name__}: {fault}") from None
        finally:
            resolver.close()

    async def _read(self, connections: httpcore.AsyncConnectionPool, url: str, rows: SourceRows) -> None:
        headers: dict[bytes | str, bytes | str] = {
            "accept": "application/x-ndjson",
            "accept-encoding": "identity",
            "user-agent": f"SyncKairos/{__version__}",
        }
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token.get_secret_value()}"
        async with connections.stream("GET", url, headers=headers) as response:
            answered = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
            _check_answer(response.status, answered)
            length = answered.get("content-length")
            if length is not None and int(length) > rows.max_bytes:
                raise rows.too_large()
            pending = bytearray()
            async for piece in response.aiter_stream():
                pending += piece
                if len(pending) >= PIECE_BYTES:
                    await asyncio.to_thread(rows.add, bytes(pending))
                    pending.clear()
            await asyncio.to_thread(rows.add, bytes(pending))
            # The HTTP client raises if the body is shorter than its length, or has no last chunk.
            has_marked_end = length is not None or "transfer-encoding" in answered
        rows.finish(has_marked_end=has_marked_end)


async def read_file(file: BinaryIO, rows: SourceRows) -> None:
    """Add all rows of a file to `rows`, and finish `rows`. The end of the file is the end of the source.

    Raises: SourceRefused, SourceIncomplete.
    """
    while True:
        try:
            piece = await asyncio.to_thread(file.read, PIECE_BYTES)
        except OSError as fault:
            raise SourceRefused(f"The file cannot be read: {fault.strerror}", "file") from None
        if not piece:
            break
        await asyncio.to_thread(rows.add, piece)
    rows.finish(has_marked_end=True)


def _check_answer(status: int, headers: Mapping[str, str]) -> None:
    """Raise SourceRefused or SourceIncomplete if the answer has no rows. `headers` have lower-case names."""
    if 300 <= status < 400:
        raise SourceRefused("The source redirects. Set SYNCKAIROS_MEMBERS_URL to the URL to which it leads", "redirect")
    if status in _RETRIED_STATUSES:
        raise SourceIncomplete(f"The source answered with status {status}")
    if status != 200:
        raise SourceRefused(f"The source answered with status {status}, not 200", "status", status=status)
    # A compressed answer could grow far beyond the maximum while it is unpacked.
    if headers.get("content-encoding", "identity") != "identity":
        raise SourceRefused("The source sent a compressed answer", "encoding")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
