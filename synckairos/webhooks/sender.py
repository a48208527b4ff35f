"""Sender of signed webhook messages, protected against SSRF. Independent of events and Postgres.

For each message the sender resolves the host name one time, checks all addresses, and connects to a checked address. It
does not follow redirects and ignores proxy settings of the environment. It reads the headers and at most 64 KiB of an
answer, and returns only the status. The body of an answer therefore cannot reach a caller of the API.
"""

import asyncio
import email.utils
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
"""Maximum seconds of one attempt, from the DNS query to the end of the answer."""

MAX_ANSWER_BYTES = 64 * 1024
"""Maximum bytes of an answer's body that are read."""

MAX_ERROR = 500
"""Maximum characters of an error text."""

MAX_RETRY_AFTER_S = 86_400
"""Maximum seconds of a receiver's `Retry-After` that are respected."""


@dataclass(frozen=True, slots=True)
class SendResult:
    """Result of one attempt to send a message.

    - `status_code`: HTTP status of the answer; None without an answer.
    - `error`: reason of the failure; None on success.
    - `retry_after_s`: the receiver's `Retry-After` in seconds, cut to a day. None on success, or without a
      valid header.
    """

    status_code: int | None
    duration_ms: int
    error: str | None = None
    retry_after_s: float | None = None

    @property
    def accepted(self) -> bool:
        """Return whether the receiver accepted the message with a 2xx status."""
        return self.status_code is not None and 200 <= self.status_code < 300


class WebhookSender:
    """Sends signed messages, any number at the same time. Use it with `async with`, which closes its connections."""

    def __init__(
        self,
        guard: AddressGuard,
        *,
        timeout_s: float = TIMEOUT_S,
        resolve: Resolve | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """Create a sender.

        - `guard`: the rules for URLs and addresses.
        - `timeout_s`: maximum seconds of one attempt.
        - `resolve`: resolver of host names. None uses the system's resolver.
        - `trust`: TLS context. None uses the default context of httpx.
        """
        self._guard = guard
        self._timeout_s = timeout_s
        self._resolver = NameResolver()
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context() if trust is None else trust,
            max_connections=None,
            max_keepalive_connections=64,
            keepalive_expiry=5.0,
            network_backend=PinnedBackend(guard, resolve or self._resolver.resolve),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.aclose()
        self._resolver.close()

    async def send(self, url: str, secrets: Sequence[str], message_id: str, body: bytes) -> SendResult:
        """Send one message by POST, and return the result. Failures are returned, never raised.

        The message is signed with each of `secrets`, which have the form `whsec_` and base64. `message_id` is the value
        of the header `webhook-id`. `body` is JSON in UTF-8 and is sent unchanged.
        """
        started_s = time.monotonic()
        status, error, retry_after_s = None, None, None
        try:
            async with asyncio.timeout(self._timeout_s):
                self._guard.check_url(url)
                headers = [
                    ("content-type", "application/json"),
                    ("user-agent", f"SyncKairos/{__version__}"),
                    *signature_headers(secrets, message_id, datetime.now(UTC), body).items(),
                ]
                request = self._pool.stream("POST", url, headers=headers, content=body)
                async with request as response:
                    status = response.status
                    retry_after_s = _parse_retry_after(response.headers)
                    if 300 <= status < 400:
                        error = "redirects are not followed: register the URL to which it leads"
                    await _read_answer(response)
        except TimeoutError:
            error = f"no complete answer within {self._timeout_s:g} s"
        except AddressRefused as fault:
            error = fault.message
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError, ValueError) as fault:
            text = f"{type(fault).__name__}: {fault}".removesuffix(": ").replace("\0", "")
            error = text.encode(errors="replace").decode()[:MAX_ERROR]  # Postgres stores no other text
        duration_ms = round((time.monotonic() - started_s) * 1000)
        if status is not None and 200 <= status < 300:
            return SendResult(status, duration_ms)  # a success, even if the body of the answer could not be read
        return SendResult(status, duration_ms, error or f"answered {status}", retry_after_s)


def signature_headers(secrets: Iterable[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the HTTP headers of Standard Webhooks by name: message id, timestamp, and one signature for each secret.

    `at` is the instant of the attempt. The receiver refuses messages with an old timestamp.
    """
    text = body.decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, at, text) for secret in secrets),
    }


async def _read_answer(response: httpcore.Response) -> None:
    """Read the body of an answer to its end, so that the connection can be reused.

    Stop after 64 KiB. The connection is then closed and not reused.
    """
    size = 0
    async for chunk in response.aiter_stream():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            return


def _parse_retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Return the `Retry-After` of an answer in seconds, cut to a day; None if it is absent or invalid."""
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
