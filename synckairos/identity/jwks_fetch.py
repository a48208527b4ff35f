"""Download of a key set (JWKS), with bounds on time and size."""

import asyncio
import ssl
from typing import Any

import httpx
import orjson

from synckairos.errors import SyncKairosError

TIMEOUT_S = 5.0
"""Seconds from the connection to the end of the response."""

MAX_BYTES = 1 << 20
"""Maximum bytes of a key set."""

MAX_KEYS = 100
"""Maximum number of keys of a key set."""


class JwksFetchFailed(SyncKairosError):
    """The key set was not fetched. The message contains the reason, and no part of the response."""

    code = "KEYS_UNAVAILABLE"
    status = 503


async def fetch_jwks(url: str, timeout_s: float = TIMEOUT_S) -> list[dict[str, Any]]:
    """Fetch a key set and return its keys as JSON objects. Redirects are not followed.

    TLS certificates are checked against the authorities of the system. `SSL_CERT_FILE` sets other authorities.
    `timeout_s` is the maximum number of seconds.

    Raises: JwksFetchFailed if the key set cannot be fetched, or is too large or invalid.
    """
    try:
        async with asyncio.timeout(timeout_s):
            body = await _read(url, timeout_s)
    except TimeoutError:
        raise JwksFetchFailed(f"no complete answer within {timeout_s:g} s") from None
    except (httpx.HTTPError, OSError) as error:
        raise JwksFetchFailed(f"no answer: {type(error).__name__}") from None
    try:
        document = orjson.loads(body)
    except ValueError:
        raise JwksFetchFailed("the answer is not JSON") from None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(each, dict) for each in keys):
        raise JwksFetchFailed('the answer has no list of objects "keys"')
    if len(keys) > MAX_KEYS:
        raise JwksFetchFailed(f"the answer has {len(keys):,} keys, more than {MAX_KEYS}")
    return keys


async def _read(url: str, timeout_s: float) -> bytes:
    headers = {"accept": "application/jwk-set+json, application/json", "accept-encoding": "identity"}
    async with (
        httpx.AsyncClient(
            verify=ssl.create_default_context(), trust_env=False, follow_redirects=False, timeout=timeout_s
        ) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        if response.status_code != 200:
            raise JwksFetchFailed(f"the answer has status {response.status_code}, not 200")
        # A compressed answer could grow far beyond the bound while it is unpacked.
        if response.headers.get("content-encoding", "identity") != "identity":
            raise JwksFetchFailed("the answer is compressed")
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > MAX_BYTES:
                raise JwksFetchFailed(f"the answer is larger than {MAX_BYTES:,} bytes")
        return bytes(body)
