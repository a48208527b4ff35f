"""Requests to the REST operations of the server. Connections are kept open and used again.

The requests run in threads of the event loop's executor, because the standard library has no asynchronous HTTP client.
"""

import asyncio
import http.client
import ssl
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import orjson

from synckairos_client.errors import RequestFailed, parse_retry_after_s
from synckairos_client.generated.backoff import Backoff
from synckairos_client.token_source import TokenSource

TIMEOUT_S = 30.0
"""Seconds: maximum time of connecting, and of waiting for each part of an answer."""

MAX_ATTEMPTS = 3
"""Attempts of a request that can be repeated safely, if the server cannot answer now."""

MAX_RETRY_AFTER_S = 10.0
"""Seconds: a request does not wait longer than this for its next attempt."""

RETRIED_STATUSES = frozenset({0, 429, 502, 503, 504})
"""HTTP statuses after which the same request can succeed soon. 0: the request got no answer."""

QueryValue = str | int | bool | Sequence[str] | None


def path_part(value: str) -> str:
    """Return an id as one part of a path."""
    return quote(value, safe="")


def random_key() -> str:
    """Return a new random idempotency key."""
    return str(uuid4())


class HttpConnections:
    """Connections to one HTTP server. Any thread can use an idle connection.

    `base_url` is the URL of the server with its sub-path. `proxy` is the URL of an HTTP proxy, None for no proxy.
    """

    def __init__(self, base_url: str, proxy: str | None = None) -> None:
        parts = urlsplit(base_url)
        self._is_tls = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._path = parts.path
        self._proxy = None if proxy is None else urlsplit(proxy)
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes, str | None]:
        """Send one request. Return the status, the body and the header `Retry-After` of the answer.

        Raises: OSError or HTTPException if there is no answer.
        """
        connection = self._take()
        try:
            connection.request(method, self._path + path, body, dict(headers))
            with connection.getresponse() as response:
                answer = response.read()
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)
        return response.status, answer, response.getheader("Retry-After")

    def close(self) -> None:
        """Close the idle connections. Later requests open new connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __del__(self) -> None:
        # A client can be used for REST alone, without a block that closes it.
        self.close()

    def _take(self) -> http.client.HTTPConnection:
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if not _is_closed_by_peer(connection):
                    return connection
                connection.close()
        host, port = self._host, self._port
        if self._proxy is not None:
            host, port = self._proxy.hostname or "", self._proxy.port
        new: http.client.HTTPConnection
        if self._is_tls:
            new = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
        else:
            new = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        if self._proxy is not None:
            new.set_tunnel(self._host, self._port or (443 if self._is_tls else 80))
        return new


def _is_closed_by_peer(connection: http.client.HTTPConnection) -> bool:
    """Return whether an idle connection has something to read: its end, or bytes that belong to no request."""
    if connection.sock is None:
        return True
    connection.sock.setblocking(False)
    try:
        connection.sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
    finally:
        connection.sock.settimeout(TIMEOUT_S)
    return True


class RestClient:
    """The REST side of a client. `call` is the function that the generated operations use."""

    def __init__(
        self, base_url: str, tokens: TokenSource, headers: Mapping[str, str] | None = None, proxy: str | None = None
    ) -> None:
        self._connections = HttpConnections(base_url, proxy)
        self._tokens = tokens
        self._headers = dict(headers or {})

    def close(self) -> None:
        """Close the idle connections."""
        self._connections.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, QueryValue] | None = None,
        body: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        if_match: str | None = None,
        has_data: bool = False,
    ) -> Any:
        """Call an operation. Return the JSON value of the answer, or its member `data` if `has_data`.

        A request that can be repeated safely (GET, DELETE, or with an idempotency key) has up to `MAX_ATTEMPTS`
        attempts. A token that was refused is fetched anew once.

        Raises: RequestFailed if the request fails. TokenUnavailable if `get_token` raises.
        """
        headers = {"Accept": "application/json", **self._headers}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        if if_match is not None:
            headers["If-Match"] = if_match
        content = None
        if body is not None:
            content, headers["Content-Type"] = orjson.dumps(body), "application/json"
        is_repeatable = method in ("GET", "DELETE") or idempotency_key is not None
        target = path + _query_text(query or {})
        answer = await self._send_repeatedly(method, target, headers, content, MAX_ATTEMPTS if is_repeatable else 1)
        return answer["data"] if has_data else answer

    async def _send_repeatedly(
        self, method: str, target: str, headers: dict[str, str], content: bytes | None, attempts: int
    ) -> Any:
        backoff = Backoff()
        is_token_renewed = False
        attempt = 1
        while True:
            token = await self._tokens.fetch()
            if token is not None:
                headers["Authorization"] = f"Bearer {token}"
            try:
                return await asyncio.to_thread(self._send, method, target, headers, content)
            except RequestFailed as failure:
                if failure.status == 401 and self._tokens.can_renew and not is_token_renewed:
                    is_token_renewed = True
                    continue
                delay_s = failure.retry_after_s or backoff.next_s()
                if attempt >= attempts or failure.status not in RETRIED_STATUSES or delay_s > MAX_RETRY_AFTER_S:
                    raise
                attempt += 1
                await asyncio.sleep(delay_s)

    def _send(self, method: str, target: str, headers: Mapping[str, str], content: bytes | None) -> Any:
        try:
            status, text, retry_after = self._connections.send(method, target, headers, content)
        except (OSError, http.client.HTTPException) as fault:
            raise RequestFailed("NETWORK_ERROR", f"{method} {target}: {str(fault) or type(fault).__name__}") from fault
        try:
            answer = orjson.loads(text) if text else None
        except orjson.JSONDecodeError:
            answer = None
        if status < 300:
            return answer
        error = answer.get("error") if isinstance(answer, dict) else None
        described = error if isinstance(error, dict) else {"code": "UNKNOWN", "message": f"HTTP status {status}"}
        raise RequestFailed(
            described["code"],
            described["message"],
            described.get("details"),
            status=status,
            retry_after_s=parse_retry_after_s(retry_after),
        )


def _query_text(query: Mapping[str, QueryValue]) -> str:
    given = {name: _query_value(value) for name, value in query.items() if value is not None}
    return f"?{urlencode(given, doseq=True)}" if given else ""


def _query_value(value: QueryValue) -> str | Sequence[str]:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value or ""
