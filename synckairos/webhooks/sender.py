"""Sends one signed message to one URL, safely, and says how it went. Knows neither events nor Postgres.

The name is looked up once, every address is checked, and the connection goes to the very address that was checked: no
second look-up lies between. No redirect is followed, no proxy of the environment is asked, and of an answer no more
than its head and a few kilobytes are read, none of which anybody gets to see.
"""

import asyncio
import email.utils
import random
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import httpcore
import httpx
from standardwebhooks import Webhook

from synckairos import __version__
from synckairos.webhooks.address_guard import AddressGuard, AddressRefused
from synckairos.webhooks.pinned_connections import NameResolver, PinnedBackend, Resolve

TIMEOUT_S = 15.0
"""Seconds a message may take in all, from the look-up to the end of the answer."""

MAX_ANSWER_BYTES = 64 * 1024
MAX_ERROR = 500
MAX_RETRY_AFTER_S = 86_400


@dataclass(frozen=True, slots=True)
class SendResult:
    """How it went: the answer's status, or None and what was in the way.

    `retry_after_s` is how long we were asked to wait, up to a day.
    """

    status_code: int | None
    duration_ms: int
    error: str | None = None
    retry_after_s: float | None = None

    @property
    def accepted(self) -> bool:
        """Whether the receiver has it: any 2xx."""
        return self.status_code is not None and 200 <= self.status_code < 300


class WebhookSender:
    """Sends signed messages, any number at once. Use it as an async context manager."""

    def __init__(
        self,
        guard: AddressGuard,
        *,
        timeout_s: float = TIMEOUT_S,
        resolve: Resolve | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """Take what is allowed; `resolve` asks the system's resolver and `trust` is the usual one, by default."""
        self._guard = guard
        self._timeout_s = timeout_s
        self._names = NameResolver()
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context() if trust is None else trust,
            max_connections=None,
            max_keepalive_connections=64,
            keepalive_expiry=5.0,
            network_backend=PinnedBackend(guard, resolve or self._names.resolve),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.aclose()
        self._names.close()

    async def send(self, url: str, secrets: Sequence[str], message_id: str, body: bytes) -> SendResult:
        """Send a message, signed with every secret, and return how it went. Raises nothing that a receiver can cause.

        `secrets` are `whsec_` and base64; `body` is JSON in UTF-8 and stays as it is, byte for byte.
        """
        began = time.monotonic()
        status, error, retry_after_s = None, None, None
        try:
            async with asyncio.timeout(self._timeout_s):
                self._guard.check_url(url)
                headers = [
                    ("content-type", "application/json"),
                    ("user-agent", f"SyncKairos/{__version__}"),
                    *sign(secrets, message_id, datetime.now(UTC), body).items(),
                ]
                request = self._pool.stream("POST", url, headers=headers, content=body)
                async with request as response:
                    status = response.status
                    retry_after_s = _retry_after_s(response.headers)
                    if 300 <= status < 400:
                        error = "redirects aren't followed: register the URL it leads to"
                    await _read_some(response)
        except TimeoutError:
            error = f"no whole answer within {self._timeout_s:g} s"
        except AddressRefused as fault:
            error = fault.message
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError, ValueError) as fault:
            error = f"{type(fault).__name__}: {fault}".removesuffix(": ").replace("\0", "")[:MAX_ERROR]
        took_ms = round((time.monotonic() - began) * 1000)
        if status is not None and 200 <= status < 300:
            return SendResult(status, took_ms)  # whatever became of the rest of the answer
        return SendResult(status, took_ms, error or f"answered {status}", retry_after_s)


def sign(secrets: Iterable[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers that say who sent a message and when, one signature a secret."""
    text = body.decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, at, text) for secret in secrets),
    }


async def _read_some(response: httpcore.Response) -> None:
    """Read an answer to its end, so that the connection can be used again; one that has none loses it."""
    size = 0
    async for chunk in response.aiter_stream():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            return


def _retry_after_s(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Return how many seconds an answer asks us to wait; None where it doesn't, or not in a way anybody can read."""
    for name, value in headers:
        if name.lower() == b"retry-after":
            text = value.decode("latin-1").strip()
            if text.isascii() and text.isdigit():
                return min(float(text[:9]), MAX_RETRY_AFTER_S)
            try:
                until = email.utils.parsedate_to_datetime(text)
                left_s = (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - time.time()
            except (ValueError, OverflowError):
                return None
            return min(max(left_s, 0.0), MAX_RETRY_AFTER_S)
    return None


def with_jitter(delay_s: float) -> float:
    """Return a delay, up to a fifth longer: those who failed together shouldn't come back together."""
    return delay_s * (1 + 0.2 * random.random())  # noqa: S311
